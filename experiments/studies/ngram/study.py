"""n-gram language models: counting, and what to do without a count."""

import math
from collections.abc import Sequence

import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.ngram import (
  beside_networks,
  ngram_samples,
  smoothing,
  smoothing_compared,
)
from seqmodels import errors
from seqmodels.io import results

REFERENCE = 141.0  # of 5-grams on the Penn Treebank
REFERENCE_SOURCE = "Mikolov, as Graves (2013) cites"


def run(study: run_lib.Study) -> list[results.Row]:
  """The page: sizes of tables, smoothing compared, unknown words, samples.

  Raises:
    UserError: no orders, or one that is 0 or beyond the text; an unknown level;
      a run that cannot be set beside.
  """
  orders = sorted(set(study.config.settings.orders))
  if not orders:
    raise errors.UserError(
      "config.settings.orders has 0 orders; give at least one, from 1 on"
    )
  networks = beside_networks.runs_of(study)
  study.lesson.say("""
    A language model gives every text a probability, one symbol after the other.
    An n-gram model makes that possible by counting: it looks at the last n - 1
    symbols only.
  """)
  study.lesson.shown("""
    p(x_1 .. x_T) = product over t of p(x_t | x_1 .. x_{t-1})
                  ~ product over t of p(x_t | x_{t-n+1} .. x_{t-1})

    p(w | u) = c(u w) / c(u)      c counts in the training text, u is a context
  """)
  rows, best = [], {}
  for name in study.config.settings.levels:
    level = _level(study, name, orders)
    _sizes(study, level)
    study.signals.check()
    fits = smoothing_compared.add(study, level, orders)
    rows += _rows(study, level, fits)
    best[name] = _best_of_all(level, fits)
    _checked(study, level, {form: fits[form][orders[-1]] for form in fits})
    study.signals.check()
    ngram_samples.samples(
      study,
      {order: fit.model for order, fit in fits[smoothing.MODIFIED].items()},
      level.tokens.vocabulary,
      name,
    )
    if name == "words":
      ngram_samples.unknown_words(study, orders[-1])
  return rows + beside_networks.add(study, networks, best)


def _level(
  study: run_lib.Study, name: str, orders: Sequence[int]
) -> smoothing.Level:
  if name not in smoothing_compared.UNITS:
    raise errors.UserError(
      f"config.settings.levels names {name!r}"
      + errors.closest(name, smoothing_compared.UNITS)
    )
  tokens = ngram_samples.tokens(study, name)
  total = len(tokens.splits["train"])
  for order in orders:
    if not 1 <= order <= total:
      raise errors.UserError(
        f"config.settings.orders holds {order} and the training text has "
        f"{total:,} {name}; give orders from 1 to that"
      )
  return smoothing.Level.of(name, tokens, orders[-1])


def _sizes(study: run_lib.Study, level: smoothing.Level) -> None:
  page, size = study.lesson, level.counts.vocabulary_size
  total = len(level.splits["train"])
  page.section(
    f"{level.name.capitalize()}: what there is to count",
    f"""
    The training text has {total:,} {level.name} over a vocabulary of
    V = {size:,}. A table for n-grams would have V^n cells. At most N - n + 1 of
    them can be filled, and what is not filled is not impossible: the last
    column is the share of the test text's n-grams that training never showed.
    (The weights of a recurrent network are as many however far back it looks.)
    """,
  )
  page.table(
    ["n", "V^n", "N - n + 1", "different n-grams seen", "unseen in the test"],
    [
      [
        length,
        f"{size**length:.3g}" if size**length >= 1e7 else f"{size**length:,}",
        f"{total - length + 1:,}",
        f"{len(level.counts.table(length)[1]):,}",
        level.counts.unseen(level.splits["test"], length),
      ]
      for length in range(1, level.counts.order + 1)
    ],
  )


def _best_of_all(
  level: smoothing.Level, fits: smoothing_compared.Fits
) -> beside_networks.Compared:
  """The best n-gram, to be set beside networks."""
  perplexity, order, form = min(
    (fit.perplexity, order, form)
    for form, by_order in fits.items()
    for order, fit in by_order.items()
  )
  return beside_networks.Compared(
    level.name,
    f"{order}-gram, {form}",
    "static",
    math.log2(perplexity),
    len(level.splits["test"]),
  )


def _rows(
  study: run_lib.Study,
  level: smoothing.Level,
  fits: smoothing_compared.Fits,
) -> list[results.Row]:
  """Every form at the highest order up to 5, the best form at every order."""
  whole_treebank = study.config.data.source == "ptb" and not (
    study.config.data.limit
  )
  shown = max([n for n in fits[smoothing.MODIFIED] if n <= 5], default=0)
  rows = []
  for form, by_order in fits.items():
    for order, fit in by_order.items():
      best = form == smoothing.MODIFIED
      if order != shown and not best:
        continue
      compared = (
        best and order == 5 and level.name == "words" and whole_treebank
      )
      rows.append(
        results.row(
          f"{order}-gram, {form}, {level.name}",
          split="test",
          evaluation="static",
          metric="perplexity",
          value=fit.perplexity,
          unit=f"per {smoothing_compared.UNITS[level.name]}",
          count=len(level.splits["test"]),
          seconds=fit.seconds,
          reference=REFERENCE if compared else None,
          reference_source=REFERENCE_SOURCE if compared else None,
        )
      )
  order, fit = max(fits[smoothing.MODIFIED].items())
  total = len(level.splits["train"]) + len(level.splits["test"])
  rows.append(
    results.row(
      f"{order}-gram, {smoothing.MODIFIED}, {level.name}: counting and scoring",
      split="test",
      evaluation="static",
      metric="tokens_per_second",
      value=total / fit.seconds,
      count=total,
      seconds=fit.seconds,
    )
  )
  return rows


def _checked(
  study: run_lib.Study,
  level: smoothing.Level,
  fits: dict[str, smoothing.Fit],
) -> None:
  """How far the probabilities of real contexts are from summing to one."""
  test, unknown = level.splits["test"], level.tokens.vocabulary.unk
  places = study.random.integers(
    len(test) + 1, size=study.config.settings.contexts
  )
  reach = max(study.config.settings.orders)
  histories = [test[max(0, place - reach) : place] for place in places]
  if unknown is not None:
    histories[::4] = [np.append(known, unknown) for known in histories[::4]]
  worst = max(
    abs(fit.model.distribution(history.tolist()).sum() - 1.0)
    for fit in fits.values()
    for history in histories
  )
  ending = "" if unknown is None else ", some ended by `<unk>`"
  study.lesson.say(f"""
    After {len(places)} contexts from the test text{ending}, the probabilities
    of all {level.counts.vocabulary_size:,} symbols were added up in each of the
    {len(fits)} forms: one, within {worst:.1g}.
  """)
