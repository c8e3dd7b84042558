"""n-gram models: what there is to count, smoothing, unknown words, samples.

`smoothing.py` has the forms that are compared; here they are run on words and
on characters, a function for each part of `page.md`.
"""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import published
from experiments.report import runs as runs_lib
from experiments.studies import run as run_lib
from experiments.studies.common import figures, training
from experiments.studies.ngram import smoothing
from seqmodels import errors, units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary
from seqmodels.io import results

UNITS = {"words": "word", "characters": "character"}
# The forms of the figure.
DRAWN = (
  *(smoothing.ADD_K, smoothing.SINGLE, smoothing.SHORTER),
  *(smoothing.BACKING, smoothing.MODIFIED),
)
Fits = dict[str, dict[int, smoothing.Fit]]  # by form and order


def run(study: run_lib.Study) -> list[results.Row]:
  """Counts, fits and draws everything on the page."""
  settings, rows, best, shares = study.config.settings, [], {}, {}
  training.check_names(settings, "levels", UNITS)
  networks = runs_of(study)
  for name in settings.levels:
    level = _level(study, name)
    _sizes(study, level)
    fits: Fits = {form: {} for form in smoothing.FORMS}
    for order in sorted(set(settings.orders)):
      for form in fits:
        fits[form][order] = smoothing.fit(level, form, order, settings)
      study.signals.check()
    best[name] = _compare(study, level, fits)
    unknown = level.tokens.unknown_per_split["test"]
    shares[name] = f"{100 * unknown / len(level.splits['test']):.1f}"
    rows += _rows(study, level, fits)
    _samples(study, level, fits[smoothing.MODIFIED])
    if name == "words":
      _unknown_words(study)
  first = best[settings.levels[0]]
  study.page["best"] = {
    "name": first.name,
    "perplexity": 2**first.bits,
    "unit": UNITS[first.level],
    "unknown": shares[first.level],
  }
  return rows + beside(study, networks, best)


def tokens(
  study: run_lib.Study, level: str, min_frequency: int | None = None
) -> tokens_lib.Tokens:
  """The corpus at a level; rarer words than the least count are `<unk>`."""
  if level == "characters":
    return study.tokens(level)
  # The protocol of the published figures: the treebank's own vocabulary, and
  # each sentence a sequence of its own.
  treebank = study.config.data.source == "ptb"
  if min_frequency is None:
    min_frequency = 1 if treebank else study.config.settings.min_frequency
  return study.tokens(level, min_frequency=min_frequency, sentences=treebank)


def _level(study: run_lib.Study, name: str) -> smoothing.Level:
  corpus, orders = tokens(study, name), study.config.settings.orders
  total = len(corpus.splits["train"])
  for order in orders or (0,):
    if not 1 <= order <= total:
      raise errors.UserError(
        f"config.settings.orders is {tuple(orders)} and the training text has "
        f"{total:,} {name}; give at least one order, from 1 to that"
      )
  return smoothing.Level.of(name, corpus, max(orders))


def _sizes(study: run_lib.Study, level: smoothing.Level) -> None:
  """The sizes of tables: what could be counted, and what was."""
  total, size = len(level.splits["train"]), level.counts.vocabulary_size
  body = []
  for length in range(1, level.counts.order + 1):
    cells, places = size**length, f"{total - length + 1:,}"
    possible = f"{cells:.3g}" if cells >= 1e7 else f"{cells:,}"
    seen = f"{len(level.counts.table(length)[1]):,}"
    unseen = level.counts.unseen(level.splits["test"], length)
    body.append([length, possible, places, seen, unseen])
  study.page[f"{level.name}_sizes"] = body


class Compared(NamedTuple):
  """A score of a test text."""

  level: str  # "words" or "characters"
  name: str  # of the model
  evaluation: str  # "static", or "dynamic" where it went on learning
  bits: float  # a symbol
  scored: int | None = None  # symbols, where known


def _compare(
  study: run_lib.Study, level: smoothing.Level, fits: Fits
) -> Compared:
  """The table and the figure of all forms; returns the best of them."""
  page, modified = study.page, fits[smoothing.MODIFIED]
  train, test = (len(level.splits[name]) for name in ("train", "test"))

  def cell(fit: smoothing.Fit) -> str:
    chosen = f" ({fit.chosen})" if fit.chosen else ""
    return results.figure(fit.score.perplexity) + chosen

  body = [[form, *map(cell, fits[form].values())] for form in fits]
  head = ["form", *(f"n = {order}" for order in modified)]
  page.table(f"{level.name}_forms", head, body)

  def best(form: str) -> str:
    order, fit = min(
      fits[form].items(), key=lambda item: item[1].score.perplexity
    )
    value = results.figure(fit.score.perplexity)
    return f"{form}, n = {order} (perplexity {value})"

  chosen = (smoothing.ADD_K, smoothing.SHORTER, smoothing.MODIFIED)
  times = [f"{modified[n].score.seconds:.2f} s at n = {n}" for n in modified]
  page[level.name] = {
    "train": f"{train:,}",
    "vocabulary": f"{level.counts.vocabulary_size:,}",
    "unknown": run_lib.unknown(level.tokens),
    "test": f"{test:,}",
    "read": f"{train + test:,}",
    "times": ", ".join(times),
    "best": "; ".join(map(best, chosen)),
  }
  words = level.name == "words"
  unit = "perplexity a word" if words else "bits a character"
  curves = {}
  for form in DRAWN:
    values = [fit.score.perplexity for fit in fits[form].values()]
    curves[form] = ([*modified], values if words else np.log2(values))
  figures.curves(
    page.figure(f"smoothing_{level.name}"),
    f"Orders and smoothing: {level.name}",
    curves,
    x="order n",
    y=unit,
    log_y=words,
    marks=True,
  )
  perplexity, order, form = min(
    (fit.score.perplexity, order, form)
    for form, by_order in fits.items()
    for order, fit in by_order.items()
  )
  name = f"{order}-gram, {form}"
  return Compared(level.name, name, "static", math.log2(perplexity), test)


def _rows(
  study: run_lib.Study, level: smoothing.Level, fits: Fits
) -> list[results.Row]:
  """Every form at the highest order up to 5, the best form at every order."""
  data, count = study.config.data, len(level.splits["test"])
  treebank = data.source == "ptb" and not data.limit and level.name == "words"
  best = fits[smoothing.MODIFIED]
  shown = {max((n for n in best if n <= 5), default=0)}
  rows = []
  for form, by_order in fits.items():
    for order in best if by_order is best else shown & best.keys():
      cited: dict[str, Any] = {"unit": f"per {UNITS[level.name]}"}
      if treebank and order == 5 and by_order is best:
        # Of 5-grams on the Penn Treebank.
        cited["reference"] = 141.0
        cited["reference_source"] = "Mikolov, as Graves (2013) cites"
      name, score = f"{order}-gram, {form}, {level.name}", by_order[order].score
      rows.append(training.scored_row(name, score, split="test", **cited))
  order, fit = max(best.items())
  total = len(level.splits["train"]) + count
  rows.append(
    results.row(
      f"{order}-gram, {smoothing.MODIFIED}, {level.name}: counting and scoring",
      split="test",
      evaluation="static",
      metric="tokens_per_second",
      value=total / fit.score.seconds,
      count=total,
      seconds=fit.score.seconds,
    )
  )
  return rows


def _samples(
  study: run_lib.Study, level: smoothing.Level, fits: dict[int, smoothing.Fit]
) -> None:
  """Text of each order, drawn symbol by symbol from the model's own p."""
  join = vocabulary.named(level.name).join
  parts = []
  for order, fit in fits.items():
    random = np.random.default_rng([study.config.seed, order])
    drawn: list[int] = []
    for _ in range(study.config.settings.sample[level.name]):
      shares = fit.model.distribution(drawn[-order:])
      drawn.append(int(random.choice(len(shares), p=shares / shares.sum())))
    text = str(join(level.tokens.vocabulary.decode(drawn)))
    parts.append(f"n = {order}\n{text.strip()}")
  study.page.verbatim(f"{level.name}_samples", "\n\n".join(parts))


def _unknown_words(study: run_lib.Study) -> None:
  """How the least count of a word changes what a perplexity means."""
  settings, body = study.config.settings, []
  order = max(settings.orders)
  for least in settings.min_frequencies:
    level = smoothing.Level.of("words", tokens(study, "words", least), 1)
    test = level.splits["test"]
    nats = level.kneser_ney(order, modified=True).nats(test)
    known = test != level.tokens.vocabulary.unk
    every = units.perplexity(float(nats.sum()), len(nats))
    alone = units.perplexity(float(nats[known].sum()), int(known.sum()))
    listed = f"{level.tokens.vocabulary.size:,}"
    body.append([least, listed, run_lib.unknown(level.tokens), every, alone])
    study.signals.check()
  study.page["unknown"] = body
  study.page["longest"] = order


def runs_of(study: run_lib.Study) -> list[runs_lib.Run]:
  """The runs that the setting `beside` names, separated by commas.

  Raises:
    UserError: a folder of no finished language model, or of another text.
  """
  listed = [part.strip() for part in study.config.settings.beside.split(",")]
  return [_read(study, folder) for folder in listed if folder]


def _read(study: run_lib.Study, folder: str) -> runs_lib.Run:
  named = f"config.settings.beside names {folder}"
  try:
    run = runs_lib.read(pathlib.Path(folder).expanduser())
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


def _place(path: str) -> str:
  return os.path.realpath(os.path.expanduser(path))


def beside(
  study: run_lib.Study,
  runs: Sequence[runs_lib.Run],
  best: Mapping[str, Compared],
) -> list[results.Row]:
  """Sets networks beside the best n-gram of each level; returns their rows."""
  data, rows, networks = study.config.data, [], []
  for run in runs:
    for evaluation in ("static", "dynamic"):
      # Not the perplexity a word of a network of characters.
      row = run.row("test", evaluation, run.metric, results.METRICS[run.metric])
      if row and row["value"] is not None:
        rows.append({**row, "name": f"{run.name}: {row['name']}"})
        name, value = rows[-1]["name"].partition(",")[0], row["value"]
        bits = math.log2(value) if run.metric == "perplexity" else value
        networks.append(
          Compared(run.tokenizer, name, evaluation, bits, row["count"])
        )
  if data.source == "ptb" and not data.limit:
    for line in published.TABLE_1:
      if line.regularisation == "none" and line.tokenizer in best:
        words = line.tokenizer == "words"
        bits = math.log2(line.perplexity) if words else line.bits
        name = "LSTM of 1000 units, as Graves (2013) reports"
        networks.append(Compared(line.tokenizer, name, line.evaluation, bits))
  if not networks:
    return rows
  body = []
  for level, gram in best.items():
    for one in (gram, *(other for other in networks if other.level == level)):
      scored = f"{one.scored:,}" if one.scored else ""
      perplexity = 2**one.bits
      body.append([*one[:3], perplexity, one.bits, scored])
  study.page["networks"] = body
  better = sum(one.bits < best[one.level].bits for one in networks)
  study.page["beside"] = {"better": better, "scores": len(networks)}
  return rows
