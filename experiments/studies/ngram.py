"""n-gram language models: counting, and what to do without a count."""

import math
from collections.abc import Sequence

import numpy as np

from experiments import fundamentals
from experiments.studies import ngram_samples, smoothing
from seqmodels import errors
from seqmodels.io import report, study_plot

UNITS = {"words": "word", "characters": "character"}
# Those of the figure.
DRAWN = (
  *(smoothing.ADD_K, smoothing.SINGLE, smoothing.SHORTER),
  *(smoothing.BACKING, smoothing.MODIFIED),
)
Fits = dict[str, dict[int, smoothing.Fit]]  # by form and order
REFERENCE = 141.0  # of 5-grams on the Penn Treebank
REFERENCE_SOURCE = "Mikolov, as Graves (2013) cites"


def run(study: fundamentals.Study) -> list[report.Row]:
  """The page: sizes of tables, smoothing compared, unknown words, samples.

  Raises:
    UserError: an order that is 0 or beyond the text, or an unknown level.
  """
  orders = sorted(set(study.config.settings.orders))
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
  rows = []
  for name in study.config.settings.levels:
    level = _level(study, name, orders)
    _sizes(study, level)
    study.signals.check()
    fits = _compared(study, level, orders)
    rows += _rows(study, level, fits)
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
  return rows


def _level(
  study: fundamentals.Study, name: str, orders: Sequence[int]
) -> smoothing.Level:
  if name not in UNITS:
    raise errors.UserError(
      f"config.settings.levels names {name!r}" + errors.closest(name, UNITS)
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


def _sizes(study: fundamentals.Study, level: smoothing.Level) -> None:
  page, size = study.lesson, level.counts.vocabulary_size
  total = len(level.splits["train"])
  page.section(
    f"{level.name.capitalize()}: what there is to count",
    f"""
    The training text has {total:,} {level.name} over a vocabulary of
    V = {size:,}. A table for n-grams would have V^n cells. At most N - n + 1 of
    them can be filled, and what is not filled is not impossible: the last
    column is the share of the test text's n-grams that training never showed.
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


def _compared(
  study: fundamentals.Study, level: smoothing.Level, orders: Sequence[int]
) -> Fits:
  """The forms at every order; the table and the figure."""
  page = study.lesson
  page.section(f"{level.name.capitalize()}: smoothing compared")
  if level.name == study.config.settings.levels[0]:
    _explained(study)
  settings = study.config.settings
  fits: Fits = {form: {} for form in smoothing.FORMS}
  for order in orders:
    found = smoothing.fitted(
      level, order, added=settings.added, pseudo_counts=settings.pseudo_counts
    )
    for form, fit in found.items():
      fits[form][order] = fit
    study.signals.check()
  page.say(f"""
    Perplexity a {UNITS[level.name]} of the test text,
    {len(level.splits["test"]):,} {level.name}, by order n; in brackets the k or
    e that did best on the validation text.
  """)
  page.table(
    ["form", *(f"n = {order}" for order in orders)],
    [
      [
        form,
        *(
          report.figure(fit.perplexity) + (fit.chosen and f" ({fit.chosen})")
          for fit in by_order.values()
        ),
      ]
      for form, by_order in fits.items()
    ],
  )
  _drawn(study, level, fits, orders)
  page.say(f"""
    Best orders: {_best(fits, smoothing.ADD_K)};
    {_best(fits, smoothing.SHORTER)}; {_best(fits, smoothing.MODIFIED)}. A form
    that knows contexts of one length alone gets worse as soon as those become
    rare. One that passes on to the next shorter context, step by step, can
    afford long ones, and what it does with the counts that it has decides the
    rest. Backing off uses the shorter context only for what was never seen;
    interpolating uses it always, which helps most where counts are ones.
  """)
  return fits


def _drawn(
  study: fundamentals.Study,
  level: smoothing.Level,
  fits: Fits,
  orders: Sequence[int],
) -> None:
  words = level.name == "words"
  unit = "perplexity a word" if words else "bits a character"
  study_plot.curves(
    study.lesson.figure(
      f"smoothing_{level.name}",
      f"{unit.capitalize()} of the test text against the order, by the form of "
      "smoothing"
      + ("." if words else " (bits are the logarithm of the perplexity)."),
    ),
    f"Orders and smoothing: {level.name}",
    {
      form: (
        orders,
        [
          value if words else math.log2(value)
          for value in (fits[form][order].perplexity for order in orders)
        ],
      )
      for form in DRAWN
    },
    x="order n",
    y=unit,
    log_y=words,
    marks=True,
  )


def _best(fits: Fits, form: str) -> str:
  order = min(fits[form], key=lambda n: fits[form][n].perplexity)
  value = report.figure(fits[form][order].perplexity)
  return f"{form}, n = {order} (perplexity {value})"


def _explained(study: fundamentals.Study) -> None:
  study.lesson.say("""
    A symbol never seen after a context must not be impossible: one such symbol
    makes the perplexity of the whole text infinite. Every remedy takes
    probability from what was seen and gives it to what was not, and they differ
    in how much, and to whom. Adding k to every count (Laplace: k = 1) gives to
    all alike. Pseudo-counts give to what another model b expects:
  """)
  study.lesson.shown("""
    add k           p(w | u) = (c(u w) + k) / (c(u) + k V)
    pseudo-counts   p(w | u) = (c(u w) + e b(w | u)) / (c(u) + e)
                    b = p(w), or b = p(w | u'), u' being u without its first
    Kneser-Ney      p(w | u) = (c(u w) - d) / c(u) + g(u) p(w | u'),
                    g(u) such that all sums to one
  """)
  study.lesson.say("""
    Kneser and Ney take the same d < 1 from every count, and count the shorter
    contexts differently: not how often u' w occurred, but after how many
    different symbols. A word that is frequent in one phrase only is a bad guess
    elsewhere. The modified form has three d, for counts of 1, 2 and more, all
    estimated from the counts themselves. Both are shown interpolated (as above)
    and backing off (the second term only where c(u w) = 0).
  """)


def _rows(
  study: fundamentals.Study, level: smoothing.Level, fits: Fits
) -> list[report.Row]:
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
        report.row(
          f"{order}-gram, {form}, {level.name}",
          split="test",
          evaluation="static",
          metric="perplexity",
          value=fit.perplexity,
          unit=f"per {UNITS[level.name]}",
          count=len(level.splits["test"]),
          seconds=fit.seconds,
          reference=REFERENCE if compared else None,
          reference_source=REFERENCE_SOURCE if compared else None,
        )
      )
  order, fit = max(fits[smoothing.MODIFIED].items())
  total = len(level.splits["train"]) + len(level.splits["test"])
  rows.append(
    report.row(
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
  study: fundamentals.Study,
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
