"""N-gram models: the study's page from beginning to end."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import published
from experiments.report import runs as runs_lib
from experiments.studies import run as run_lib
from experiments.studies.ngram import smoothing
from seqmodels import errors, units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary
from seqmodels.io import results
from seqmodels.models import ngram


def tokens(
  study: run_lib.Study, level: str, min_frequency: int | None = None
) -> tokens_lib.Tokens:
  """The corpus at a level.

  Args:
    study: whose corpus.
    level: "words" or "characters".
    min_frequency: rarer words become `<unk>`; None for the setting's, which
      the Penn Treebank does not need.
  """
  if level == "characters":
    return study.tokens(level)
  # The protocol of the published figures: the treebank's own vocabulary, and
  # each sentence a sequence of its own.
  treebank = study.config.data.source == "ptb"
  if min_frequency is None:
    min_frequency = 1 if treebank else study.config.settings.min_frequency
  return study.tokens(level, min_frequency=min_frequency, sentences=treebank)


def samples(
  study: run_lib.Study,
  models: Mapping[int, smoothing.Model],
  symbols: vocabulary.Vocabulary,
  level: str,
) -> None:
  """Text of each order, drawn symbol by symbol from the model's own p."""
  study.lesson.say("""
    A model can also be read forwards: draw a symbol, append it, draw the next.
    What it writes shows what its order can hold.
  """)
  join = vocabulary.named(level).join
  length = study.config.settings.sample[level]
  parts = []
  for order, model in models.items():
    random = np.random.default_rng([study.config.seed, order])
    drawn: list[int] = []
    for _ in range(length):
      shares = model.distribution(drawn[-order:])
      drawn.append(int(random.choice(len(shares), p=shares / shares.sum())))
    text = str(join(symbols.decode(drawn)))
    parts.append(f"n = {order}\n{text.strip()}")
  study.lesson.shown("\n\n".join(parts))


def unknown_words(study: run_lib.Study, order: int) -> None:
  """How the least count of a word changes what a perplexity means."""
  page = study.lesson
  page.section("Unknown words")
  page.say("""
    A test text has words that training did not. All of them are read as
    `<unk>`, a word like any other, which training must have seen to know how
    likely it is: so the rarest training words are made `<unk>` too. How many is
    a choice, and it changes the perplexity:
  """)
  body = []
  for least in study.config.settings.min_frequencies:
    found = tokens(study, "words", least)
    test = np.asarray(found.splits["test"])
    model = ngram.NGram.fit(
      np.asarray(found.splits["train"]),
      found.vocabulary.size,
      order=order,
      sentence_end=found.sentence_end,
      modified=True,
    )
    nats = model.nats(test)
    unknown = test == found.vocabulary.unk
    body.append(
      [
        least,
        f"{found.vocabulary.size:,}",
        float(np.mean(unknown)),
        units.perplexity(float(nats.sum()), len(nats)),
        units.perplexity(float(nats[~unknown].sum()), int((~unknown).sum())),
      ]
    )
    study.signals.check()
  page.table(
    [
      "least count",
      "vocabulary",
      "`<unk>` in the test",
      "perplexity",
      "of the known words alone",
    ],
    body,
  )
  page.say(f"""
    The same model of order {order} on the same text: the fewer words it knows,
    the better it looks, since `<unk>` becomes common and easy to predict. With
    a least count of 1 training has no `<unk>` (unless the corpus itself writes
    it, as the Penn Treebank does), and every unknown word costs as much as
    what is never seen. Perplexities compare only over one vocabulary.
  """)


class Compared(NamedTuple):
  """A score of a test text.

  Attributes:
    level: "words" or "characters".
    name: of the model.
    evaluation: "static", or "dynamic" where it went on learning.
    bits: a symbol.
    scored: symbols, where known.
  """

  level: str
  name: str
  evaluation: str
  bits: float
  scored: int | None = None


def runs_of(study: run_lib.Study) -> list[runs_lib.Run]:
  """The runs that the setting `beside` names, separated by commas.

  Raises:
    UserError: a folder of no finished language model, or of another text.
  """
  listed = [part.strip() for part in study.config.settings.beside.split(",")]
  return [_read(study, folder) for folder in listed if folder]


def add(
  study: run_lib.Study,
  runs: Sequence[runs_lib.Run],
  best: Mapping[str, Compared],
) -> list[results.Row]:
  """Adds the section to the study's page, where there is something to tell.

  Args:
    study: of the n-grams.
    runs: of networks.
    best: the best n-gram of each level.

  Returns:
    The rows of those runs.
  """
  data = study.config.data
  papers = data.source == "ptb" and not data.limit
  if not runs and not papers:
    return []
  rows = [row for run in runs for row in _scores(run)]
  networks = [_compared(run, row) for run in runs for row in _scores(run)]
  if papers:
    networks += [line for line in _published() if line.level in best]
  page = study.lesson
  page.section(
    "Beside networks",
    """
    Recurrent networks of the same training text, on the same test text, beside
    the best n-gram of this page:
    """,
  )
  page.table(
    [
      *("symbols", "model", "evaluation"),
      *("perplexity a symbol", "bits a symbol", "scored"),
    ],
    [
      [
        one.level,
        one.name,
        one.evaluation,
        2**one.bits,
        one.bits,
        f"{one.scored:,}" if one.scored else "",
      ]
      for level, gram in best.items()
      for one in (gram, *(other for other in networks if other.level == level))
    ],
  )
  better = [one for one in networks if one.bits < best[one.level].bits]
  page.say(
    f"""
    {len(better)} of these {len(networks)} scores are better than the n-gram of
    the same symbols. Static: the weights stay as they are. Dynamic: the network
    goes on learning from the test text, each symbol after it was scored, which
    the counts here do not. Nor do counts see that two words are alike: what was
    learned of one says nothing of the other.
    """
  )
  return rows


def _read(study: run_lib.Study, folder: str) -> runs_lib.Run:
  named = f"config.settings.beside names {folder}"
  try:
    run = runs_lib.read(pathlib.Path(os.path.expanduser(folder)))
  except errors.UserError as error:
    raise errors.UserError(
      f"{named}: {error}; give the run folder of a language model"
    ) from error
  levels = study.config.settings.levels
  data, own = run.config["data"], study.config.data
  same = data["source"] == own.source and not data["limit"]
  if own.source == "text":
    same = same and _place(data["path"]) == _place(own.path)
  if not run.finished or not same or run.tokenizer not in levels:
    what = "" if run.finished else "not finished, "
    raise errors.UserError(
      f"{named}, {what}of {run.tokenizer} of source {data['source']!r}"
      f"{' cut short' if data['limit'] else ''}; give finished runs of the "
      f"whole of {own.path or own.source!r} as {' or '.join(levels)}"
    )
  return run


def _place(path: str) -> pathlib.Path:
  return pathlib.Path(os.path.expanduser(path)).resolve()


def _scores(run: runs_lib.Run) -> list[results.Row]:
  """Its own scores of the test split, under its folder's name."""
  # Not the perplexity a word of a network of characters.
  unit = results.METRICS[run.metric]
  found = (
    run.row("test", evaluation, run.metric, unit)
    for evaluation in ("static", "dynamic")
  )
  return [
    {**row, "name": f"{run.name}: {row['name']}"}
    for row in found
    if row and row["value"] is not None
  ]


def _compared(run: runs_lib.Run, row: Mapping[str, Any]) -> Compared:
  bits = row["value"] if run.metric != "perplexity" else math.log2(row["value"])
  return Compared(
    run.tokenizer,
    str(row["name"]).partition(",")[0],
    row["evaluation"],
    bits,
    row["count"],
  )


def _published() -> list[Compared]:
  """The paper's network without noise on the Penn Treebank."""
  return [
    Compared(
      line.tokenizer,
      "LSTM of 1000 units, as Graves (2013) reports",
      line.evaluation,
      line.bits
      if line.tokenizer == "characters"
      else math.log2(line.perplexity),
    )
    for line in published.TABLE_1
    if line.regularisation == "none"
  ]


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
  networks = runs_of(study)
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
    fits = smoothing.add(study, level, orders)
    rows += _rows(study, level, fits)
    best[name] = _best_of_all(level, fits)
    _checked(study, level, {form: fits[form][orders[-1]] for form in fits})
    study.signals.check()
    samples(
      study,
      {order: fit.model for order, fit in fits[smoothing.MODIFIED].items()},
      level.tokens.vocabulary,
      name,
    )
    if name == "words":
      unknown_words(study, orders[-1])
  return rows + add(study, networks, best)


def _level(
  study: run_lib.Study, name: str, orders: Sequence[int]
) -> smoothing.Level:
  if name not in smoothing.UNITS:
    raise errors.UserError(
      f"config.settings.levels names {name!r}"
      + errors.closest(name, smoothing.UNITS)
    )
  corpus_tokens = tokens(study, name)
  total = len(corpus_tokens.splits["train"])
  for order in orders:
    if not 1 <= order <= total:
      raise errors.UserError(
        f"config.settings.orders holds {order} and the training text has "
        f"{total:,} {name}; give orders from 1 to that"
      )
  return smoothing.Level.of(name, corpus_tokens, orders[-1])


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


def _best_of_all(level: smoothing.Level, fits: smoothing.Fits) -> Compared:
  """The best n-gram, to be set beside networks."""
  perplexity, order, form = min(
    (fit.perplexity, order, form)
    for form, by_order in fits.items()
    for order, fit in by_order.items()
  )
  return Compared(
    level.name,
    f"{order}-gram, {form}",
    "static",
    math.log2(perplexity),
    len(level.splits["test"]),
  )


def _rows(
  study: run_lib.Study,
  level: smoothing.Level,
  fits: smoothing.Fits,
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
          unit=f"per {smoothing.UNITS[level.name]}",
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
