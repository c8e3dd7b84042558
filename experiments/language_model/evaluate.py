"""Evaluation of language models as result rows: static, dynamic, baselines.

Dynamic evaluation resumes where a signal or a kill stopped it, and so does the
pass over the training set that collects the statistics of its rule `rms`.

On the Penn Treebank, scores are also given in the unit of the other alphabet: a
split's nats are the same for characters and words. Divided by its words they
give a perplexity to compare with word models, divided by its characters the
bits to compare with character models.
"""

import functools
import itertools
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import published, stages
from experiments.language_model import task
from seqmodels import errors, losses, trees, units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary
from seqmodels.evaluation import (
  compressors,
  dynamic,
  static,
)
from seqmodels.io import checkpoints, files, results
from seqmodels.models import ngram
from seqmodels.plotting import curves
from seqmodels.regularization import weight_noise

CURVE_POINTS = 400


def static_and_dynamic(
  context: stages.Context,
) -> tuple[list[results.Row], dict[str, dict[str, Any]]]:
  """Static evaluation of every split, dynamic of the last of them.

  Returns:
    The rows, and for figures the scores along each split by evaluation.
  """
  rows: list[results.Row] = []
  curves: dict[str, dict[str, Any]] = {}
  splits = stages.evaluated_splits(context.data)
  rows += training_rows(context, len(context.data.splits[splits[-1]]))
  for split in splits:
    static = static_phase(context, split)
    rows += rows_of(context, split, "static", static)
    curves[split] = {"static": static}
  if context.config.dynamic.rule:
    searched = search_settings(context)
    chosen = searched["best"]
    # The validation split chose the settings and the weights: learning from
    # it once more would show nothing new, and takes as long as the test.
    split = splits[-1]
    static = dynamic_phase(context, split, chosen)
    note = describe(chosen)
    if split == "valid" and context.config.dynamic.search:
      symbols = context.config.dynamic.search_symbols
      note += f", chosen on the first {symbols:,} of these symbols"
    if not searched["helps"]:
      note += ", no better than static evaluation in the search"
    rows += rows_of(context, split, "dynamic", static, note=note)
    curves[split]["dynamic"] = static
  return rows, curves


def training_rows(context: stages.Context, most: int) -> list[results.Row]:
  """The score of the weights on the text they were trained on.

  Scored like the other splits, over the first symbols of the training split: as
  many as `config.evaluation.train_symbols` allows (0: none), and no more than
  `most`.
  """
  train = len(context.data.splits["train"])
  # Runs older than this setting have none.
  limit = context.config.evaluation.get("train_symbols", 0)
  symbols = min(limit, most, train)
  if not symbols:
    return []
  totals = static_phase(context, "train", symbols=symbols)
  part = "all" if symbols == train else f"the first {symbols:,}"
  note = f"weights fixed, {part} of {train:,} training symbols"
  return rows_of(context, "train", "static", totals, note=note)


def static_phase(
  context: stages.Context, split: str, *, symbols: int = 0
) -> dict[str, Any]:
  """Static evaluation of one split: one pass, weights fixed.

  Args:
    context: of the run.
    split: its name.
    symbols: only the first so many; 0 takes all.
  """
  count = symbols or len(context.data.splits[split])

  def compute() -> dict[str, Any]:
    settings = context.config.evaluation
    pieces = task.chunks(
      context.data,
      split,
      streams_count=settings.streams,
      length=settings.segment,
      symbols=symbols,
    )
    scores = static.score(
      context.model,
      context.params,
      pieces,
      streams=settings.streams,
      callback=stages.watch(
        context,
        f"static evaluation, {split}",
        settings.streams * pieces.stream.length,
      ),
    )
    return _record(scores, count)

  part = f", first {symbols}" if symbols else ""
  totals = stages.phase(context, f"static {split}{part}", compute)
  if totals.get("lost"):
    print(f"static evaluation, {split}{totals['lost']}", file=sys.stderr)
  return totals


def cell_facts(context: stages.Context) -> dict[str, str]:
  """The share of constant cells on the last split, in words by name."""
  split = stages.evaluated_splits(context.data)[-1]
  cells = stages.phase(
    context,
    f"cells {split}",
    lambda: static.constant_cells(
      context.model, context.params, task.watched(context.data, split)
    ),
  )
  facts = {}
  if "constant_cells" in cells:
    facts["constant cells"] = f"{cells['constant_cells']:.1f}% on {split}"
  if "largest_cell" in cells:
    facts["largest cell state"] = results.figure(cells["largest_cell"])
  for name, fact in facts.items():
    print(f"{name}: {fact}", file=sys.stderr)
  return facts


def dynamic_phase(
  context: stages.Context, split: str, chosen: Mapping[str, Any]
) -> dict[str, Any]:
  """Dynamic evaluation of one split, from the trained weights."""

  def compute() -> dict[str, Any]:
    segment = int(chosen["segment"])
    pieces = task.chunks(context.data, split, streams_count=1, length=segment)
    scores = score_dynamic(
      context,
      key,
      pieces,
      make_rule(context, chosen),
      segment=segment,
    )
    return _record(scores, len(context.data.splits[split]))

  # Other settings are another phase.
  key = f"{split}: {describe(chosen)}"
  return stages.phase(context, f"dynamic {key}", compute)


def _record(scores: static.Scores, expected: int) -> dict[str, Any]:
  """Totals and a curve, once it is sure that every symbol was scored."""
  totals = scores.totals()
  if totals.count != expected:
    raise errors.RunError(
      f"{totals.count:,} symbols were scored where the split has {expected:,}; "
      "this is a fault of the program, please report it"
    )
  nats, counts = scores.metrics.nats, scores.metrics.count
  edges = np.unique(
    np.linspace(0, len(counts), CURVE_POINTS, endpoint=False).astype(int)
  )
  return {
    "nats": totals.nats,
    "count": totals.count,
    "errors": totals.errors,
    "seconds": scores.seconds,
    "lost": stages.lost_note(scores),
    "curve_nats": np.add.reduceat(nats, edges, dtype=float).tolist(),
    "curve_counts": np.add.reduceat(counts, edges).tolist(),
  }


def rows_of(
  context: stages.Context,
  split: str,
  evaluation: str,
  totals: Mapping[str, Any],
  *,
  note: str = "",
) -> list[results.Row]:
  """The metric of the corpus and the error rate, with the paper's if it has."""
  unit = task.UNITS[context.config.data.tokenizer]
  streams = context.config.evaluation.streams
  if evaluation == "static" and streams > 1:
    note += f"{'; ' if note else ''}scored in {streams} streams"
    note += totals.get("lost", "")
  name = "; ".join(
    filter(
      None,
      [
        stages.describe(context),
        note,
        worse_than_uniform(context, totals),
        stages.unknown(context, split),
      ],
    )
  )
  value = stages.score(unit.metric, totals["nats"], totals["count"])
  errors_percent = 100.0 * totals["errors"] / totals["count"]
  published = context.config.get("reference") or {}
  source = published.get("source", "")

  def row(metric: str, figure: float, key: str) -> results.Row:
    reference = published.get(f"{split}_{key}", 0.0) or None
    return results.row(
      name,
      split=split,
      evaluation=evaluation,
      metric=metric,
      value=figure,
      count=totals["count"],
      seconds=totals["seconds"],
      reference=reference,
      reference_source=source if reference else None,
    )

  return [
    row(unit.metric, value, evaluation),
    row("error_rate", errors_percent, f"{evaluation}_error_rate"),
    *word_rows(context, split, evaluation, totals, name),
  ]


def worse_than_uniform(
  context: stages.Context, totals: Mapping[str, Any]
) -> str:
  """A warning of a score that needs no network; empty for others."""
  symbols = context.data.vocabulary.size
  if totals["nats"] <= totals["count"] * math.log(symbols):
    return ""
  return f"WORSE than uniform guesses among {symbols:,} symbols"


class Varied(NamedTuple):
  """A setting of a rule that a search varies.

  Attributes:
    values: where `config.dynamic` lists what to try.
    per: the segment length that the list is for; values for other lengths are
      in proportion, as Krause et al. (2017) scale them. 0: for any length.
  """

  values: str
  per: int = 0


# By rule and setting. The loss of `sgd` is a sum over the segment and grows
# with it; that of `rms` is a mean, so its step and pull have to.
VARIED: Mapping[str, Mapping[str, Varied]] = {
  "sgd": {
    "learning_rate": Varied("search_rates"),
    "momentum": Varied("search_momenta"),
  },
  "rms": {
    "learning_rate": Varied("search_rates", per=20),
    "decay": Varied("search_decays", per=20),
    "epsilon": Varied("search_epsilons"),
  },
}


def configured_settings(context: stages.Context) -> dict[str, Any]:
  """The dynamic rule and its settings as configured, without a search."""
  given = context.config.dynamic
  names = dynamic.RULES[given.rule].defaults
  return {
    "rule": given.rule,
    "segment": given.segment,
    **{name: given[name] for name in names},
  }


def search_settings(context: stages.Context) -> dict[str, Any]:
  """Settings of dynamic evaluation, searched on the validation split.

  Returns:
    `rows`, one a setting after the static one; `best`, the settings to use; and
    `helps`, whether they did better than static evaluation where they were
    chosen (without a search nobody knows, so they may).
  """
  given = context.config.dynamic
  if not given.search:
    return {"rows": [], "best": configured_settings(context), "helps": True}

  rows: list[dict[str, Any]] = []
  for segment in given.search_segments:
    name = f"search {given.rule}, segments of {segment}"
    result = stages.phase(
      context, name, functools.partial(_search_segment, context, segment)
    )
    kept = result["rows"] if not rows else result["rows"][1:]
    rows.extend({**row, "segment": segment} for row in kept)
  numbers = [
    {key: math.inf if value is None else value for key, value in row.items()}
    for row in rows
  ]
  best = dynamic.best_row(numbers)
  names = ("rule", "segment", *dynamic.RULES[given.rule].defaults)
  static = numbers[0]
  result = {
    "rows": rows,
    "best": {name: best[name] for name in names},
    "helps": best["nats"] < static["nats"],
  }
  if not result["helps"]:
    print(
      f"warning: none of the {len(rows) - 1} settings searched is better than "
      f"static evaluation: {results.figure(static['bits_per_symbol'])} bits a "
      f"symbol static, {results.figure(best['bits_per_symbol'])} at best with "
      f"{describe(result['best'])}; try other learning rates",
      file=sys.stderr,
      flush=True,
    )
  files.write_json(context.workdir / "dynamic_search.json", result)
  # The figure draws a line for each value of the second setting that varies,
  # and takes the others at their best.
  several = [
    name
    for name in ("segment", *list(VARIED[given.rule])[::-1])
    if len({row[name] for row in numbers[1:]}) > 1
  ]
  curves.dynamic_search(
    numbers,
    context.workdir / "figures" / "dynamic_search.png",
    settings=list(dict.fromkeys(("learning_rate", *several))),
  )
  return result


def _search_segment(context: stages.Context, segment: int) -> dict[str, Any]:
  """Every setting on the first validation symbols, cut into such segments."""
  given = context.config.dynamic
  pieces = task.chunks(
    context.data,
    "valid",
    streams_count=1,
    length=segment,
    symbols=given.search_symbols,
  )
  rows = dynamic.search(
    context.model,
    context.params,
    pieces,
    given.rule,
    grid(given, segment),
    statistics=rule_statistics(context, given.rule),
    together=given.search_together,
    callback=stages.watch(context, f"search, segments of {segment}", segment),
  )
  return {"rows": [_finite(row) for row in rows]}


def grid(given: Mapping[str, Any], segment: int) -> dict[str, list[float]]:
  """Values to try by setting, for segments of one length.

  Args:
    given: `config.dynamic`.
    segment: symbols a segment.

  >>> grid({"rule": "rms", "search_rates": (4e-4,), "search_decays": (0.02,),
  ...       "search_epsilons": (2e-5, 1e-4)}, 5)
  {'learning_rate': [0.0001], 'decay': [0.005], 'epsilon': [2e-05, 0.0001]}
  """
  return {
    name: [
      value * segment / varied.per if varied.per else value
      for value in given[varied.values]
    ]
    for name, varied in VARIED[given["rule"]].items()
  }


def make_rule(context: stages.Context, chosen: Mapping[str, Any]) -> Any:
  """The dynamic rule of some settings."""
  names = dynamic.RULES[chosen["rule"]].defaults
  return dynamic.make_rule(
    chosen["rule"],
    context.params,
    {name: chosen[name] for name in names},
    statistics=rule_statistics(context, chosen["rule"]),
  )


def rule_statistics(context: stages.Context, rule: str) -> Any:
  """Gradient statistics for the rule `rms`; None for others."""
  if rule != "rms":
    return None
  return gradient_statistics(context)


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
  """A diverged setting keeps its row; JSON knows no NaN."""
  return {
    key: None if isinstance(value, float) and not np.isfinite(value) else value
    for key, value in row.items()
  }


def describe(chosen: Mapping[str, Any]) -> str:
  """Settings in a few words.

  >>> describe({"rule": "sgd", "segment": 20, "learning_rate": 0.01,
  ...           "momentum": 0.0})
  'sgd, segments of 20, learning rate 0.01, momentum 0'
  """
  settings = [
    f"{name.replace('_', ' ')} {value:g}"
    for name, value in chosen.items()
    if name not in ("rule", "segment")
  ]
  return ", ".join(
    [str(chosen["rule"]), f"segments of {chosen['segment']}", *settings]
  )


SAVE_SECONDS = 60.0

Tree = Any


def score_dynamic(
  context: stages.Context,
  name: str,
  pieces: Sequence[Any],
  rule: dynamic.SGD | dynamic.RMS,
  *,
  segment: int,
) -> static.Scores:
  """Scores along a split, its state saved every minute and on a signal.

  The weights learnt so far, the rule's memory and the carry lie under
  `checkpoints/dynamic/NAME` until the whole split is scored; continuing from
  there gives the same bits.

  Args:
    context: of the run.
    name: of this evaluation: split and settings.
    pieces: the split as chunks of segments, one stream.
    rule: how to learn.
    segment: symbols a segment, for the display.

  Raises:
    Interrupted: after a signal, with the state saved.
  """

  def steps(state: Tree, left: Sequence[Any]) -> Iterator[tuple[Tree, Any]]:
    for after, part in dynamic.steps(context.model, state, left, rule):
      sums = part.metrics[:3]
      yield after, [array.tolist() for array in sums]

  done = _go_through(
    context,
    context.workdir / "checkpoints" / "dynamic" / _folder(name),
    name,
    dynamic.initial_state(context.model, context.params, rule),
    pieces,
    steps,
    title=f"dynamic evaluation, {name}",
    per_segment=segment,
  )
  nats, counts, wrong = (
    list(itertools.chain.from_iterable(parts))
    for parts in zip(*done.parts, strict=True)
  )
  return static.Scores(
    losses.Metrics(
      np.array(nats, np.float32),
      np.array(counts, np.int32),
      np.array(wrong, np.int32),
    ),
    done.seconds,
  )


def gradient_statistics(context: stages.Context) -> Tree:
  """Root mean squares of training gradients, collected once in a run.

  The sums of squares lie under `checkpoints/statistics/NAME`, where NAME says
  of which weights, text and segments they are: others are collected again. A
  collection is saved every minute and on a signal, as an evaluation is, and
  stays when it is complete.

  Raises:
    Interrupted: after a signal, with the state saved.
  """
  given = context.config.dynamic
  streams, length = given.statistics_streams, context.config.training.segment
  size = streams * length
  pieces = task.chunks(
    context.data,
    "train",
    streams_count=streams,
    length=length,
    symbols=given.statistics_segments * size,
    # Of many streams: a signal waits for the chunk under way.
    segments=max(1, task.CHUNK_SYMBOLS // size),
  )
  name = (
    f"{static.count(pieces)} segments of {streams} x {length}, "
    f"step {context.step}, weights {stages.fingerprint(context.params)[:16]}"
  )

  def steps(state: Tree, left: Sequence[Any]) -> Iterator[tuple[Tree, Any]]:
    for after in dynamic.statistics_steps(
      context.model, context.params, state, left, streams=streams
    ):
      yield after, None

  done = _go_through(
    context,
    context.workdir / "checkpoints" / "statistics" / _folder(name),
    name,
    dynamic.initial_statistics(context.model, context.params, streams=streams),
    pieces,
    steps,
    title="gradient statistics",
    per_segment=size,
    keep=True,
  )
  return dynamic.root_mean_square(done.state)


class _Done(NamedTuple):
  """A pass that came to its end."""

  state: Tree
  parts: list[Any]  # what each chunk gave
  seconds: float  # of all starts


def _go_through(
  context: stages.Context,
  area: pathlib.Path,
  name: str,
  state: Tree,
  pieces: Sequence[Any],
  steps: Callable[[Tree, Sequence[Any]], Iterator[tuple[Tree, Any]]],
  *,
  title: str,
  per_segment: int,
  keep: bool = False,
) -> _Done:
  """All chunks in their order, from where an earlier start has saved.

  Args:
    context: of the run.
    area: folder of the saved states.
    name: a saved state of another name is not used.
    state: before the first chunk.
    pieces: the chunks.
    steps: gives after each chunk the state and what to remember of it, plain
      data that JSON can hold.
    title: the pass, as shown.
    per_segment: symbols in a segment of all its streams.
    keep: save the last state, too; a later call then reads it.
  """
  parts: list[Any] = []
  spent, done = 0.0, 0
  with checkpoints.Checkpoints(area, keep=1) as saved:
    earlier = saved.restore_latest(state)
    if earlier is not None and earlier.meta["name"] == name:
      state, done = earlier.tree, earlier.step
      parts, spent = earlier.meta["parts"], earlier.meta["seconds"]
    if done == len(pieces):
      return _Done(state, parts, spent)
    watch = stages.watch(context, title, per_segment)
    begun = last = time.monotonic()
    total = static.count(pieces)
    for after, part in steps(state, pieces[done:]):
      state, done = after, done + 1
      parts.append(part)
      now = time.monotonic()
      meta = {"name": name, "parts": parts, "seconds": spent + now - begun}
      try:
        watch(static.count(pieces[:done]) or 0, total)
      except errors.Interrupted:
        saved.save(done, state, meta)
        saved.wait()
        raise
      if now - last > SAVE_SECONDS or (keep and done == len(pieces)):
        saved.save(done, state, meta)
        last = now
  return _Done(state, parts, spent + time.monotonic() - begun)


def _folder(name: str) -> str:
  """The name without what a file system may not like."""
  return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)


WORD = "per word"
WORD_OR_END = "per word or line end"


def word_rows(
  context: stages.Context,
  split: str,
  evaluation: str,
  totals: Mapping[str, Any],
  name: str,
) -> list[results.Row]:
  """Perplexity a word of character nets, bits a character of word nets.

  Two rows of perplexity, because there are two ways to count. Every symbol that
  a word net predicts is a word or a line end, 82,430 on the test split: that
  row compares with a word net's perplexity. The paper's own relation, 2 to the
  5.6 x bits a character, leaves the line ends out (442,423 characters on 78,669
  words are 5.62 a word): that row compares with the paper's column.

  Bits a character of a word net divide its bits by all characters of the split.
  The paper's column has log2(perplexity) / 5.6 there, which counts line ends
  above but not below, and gets no reference.

  Args:
    context: of the run.
    split: which was scored.
    evaluation: how.
    totals: `nats`, `count` (all symbols of the split) and `seconds`.
    name: of the rows.

  Returns:
    Nothing for other data, or where only a part of the split was scored. The
    count of a row is of the symbols that were scored, as in the rows beside it.
  """
  config, tokens = context.config, context.data
  whole = totals["count"] == len(tokens.splits[split])
  if config.data.source != "ptb" or not whole:
    return []

  def row(
    metric: str, value: float, unit: str, note: str, reference: float | None
  ) -> results.Row:
    return results.row(
      f"{name}; {note}",
      split=split,
      evaluation=evaluation,
      metric=metric,
      value=value,
      unit=unit,
      count=totals["count"],
      seconds=totals["seconds"],
      reference=reference,
      reference_source=published.SOURCE_1 if reference else None,
    )

  symbols = tokens.words_per_split[split]
  characters = tokens.characters_per_split[split]
  if config.data.tokenizer == "words":
    bits = units.bits_per_symbol(totals["nats"], characters)
    note = f"its bits over all {characters:,} characters"
    return [row("bits_per_character", bits, "bits/character", note, None)]
  if config.data.tokenizer != "characters":
    return []
  words = symbols - line_ends(tokens, split)
  if not words:
    return []
  compared = split == "test" and bool(config.get("reference"))
  return [
    row(
      "perplexity",
      units.perplexity(totals["nats"], words),
      WORD,
      f"per word, of {characters / words:.3f} characters, line ends not "
      "counted as words",
      published.perplexity(config, evaluation) if compared else None,
    ),
    row(
      "perplexity",
      units.perplexity(totals["nats"], symbols),
      WORD_OR_END,
      f"per word or line end, of {characters / symbols:.3f} characters, as a "
      "word net counts",
      None,
    ),
  ]


def line_ends(tokens: tokens_lib.Tokens, split: str) -> int:
  """Lines of a split of characters; one that is cut off counts as ended."""
  ids = np.asarray(tokens.splits[split])
  end = tokens.vocabulary.index.get("\n", -1)
  return int((ids == end).sum()) + bool(len(ids) and ids[-1] != end)


# At about 90 bytes a symbol: 2 GB.
NGRAM_SYMBOLS = 20_000_000


def baseline_rows(context: stages.Context) -> list[results.Row]:
  """Baselines as configured, on the split that the results are about."""
  given = context.config.baselines
  split = stages.evaluated_splits(context.data)[-1]
  rows: list[results.Row] = []
  if given.ngram_order:
    rows += ngram_rows(context, split)
  if given.compressors:
    rows += compressor_rows(context, split)
  return rows


def ngram_rows(context: stages.Context, split: str) -> list[results.Row]:
  """Interpolated modified Kneser-Ney over the network's own symbols."""
  tokens, order = context.data, context.config.baselines.ngram_order
  # The last symbols before the split, where all of them would not fit into a
  # laptop's memory.
  train = tokens.splits["train"][-NGRAM_SYMBOLS:]
  cut = ""
  if len(train) < len(tokens.splits["train"]):
    cut = f" of the last {len(train):,} training symbols"

  def compute() -> dict[str, Any]:
    start = time.perf_counter()
    model = ngram.NGram.fit(
      np.asarray(train),
      tokens.vocabulary.size,
      order=order,
      sentence_end=tokens.sentence_end,
      modified=True,
    )
    nats = model.nats(np.asarray(tokens.splits[split]))
    return {
      "nats": float(nats.sum()),
      "count": len(nats),
      "seconds": time.perf_counter() - start,
    }

  totals = stages.phase(context, f"{order}-gram {split}", compute)
  name = f"{order}-gram, modified Kneser-Ney{cut}{stages.data_note(context)}"
  unit = task.UNITS[context.config.data.tokenizer]
  return [
    results.row(
      "; ".join(filter(None, [name, stages.unknown(context, split)])),
      split=split,
      evaluation="static",
      metric=unit.metric,
      value=stages.score(unit.metric, totals["nats"], totals["count"]),
      count=totals["count"],
      seconds=totals["seconds"],
    )
  ]


def compressor_rows(context: stages.Context, split: str) -> list[results.Row]:
  """gzip, bzip2 and xz of a split, alone and after the training text."""
  tokens = context.data
  unit = task.UNITS[context.config.data.tokenizer]
  if unit.metric == "perplexity":
    return []  # bits of text say nothing of a perplexity over words

  def compute() -> dict[str, Any]:
    count, texts = len(tokens.splits[split]), tokens.bytes_per_split
    data, training = texts[split].tobytes(), texts["train"].tobytes()
    sizes = compressors.sizes(data, symbols=count)
    sizes += compressors.sizes(data, training=training, symbols=count)
    return {"sizes": [size._asdict() for size in sizes]}

  lengths = stages.phase(context, f"compressors {split}", compute)
  unknown = tokens.unknown_per_split[split]
  note = f"; {unknown:,} symbols of it are {vocabulary.UNKNOWN} to the network"
  return [
    results.row(
      size["name"] + stages.data_note(context) + (note if unknown else ""),
      split=split,
      evaluation="compressed",
      metric=unit.metric,
      value=units.bits_per_symbol(
        8 * size["compressed_bytes"] * units.LOG2, size["symbols"]
      ),
      count=size["symbols"],
      seconds=size["seconds"],
    )
    for size in lengths["sizes"]
  ]


FIGURE = "posterior"
SHARES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
# Validation symbols that each share of pruned weights is scored on.
SYMBOLS = 50_000
BINS = 60


def posterior_study(
  context: stages.Context, posterior: weight_noise.Posterior
) -> dict[str, Any]:
  """Signal to noise of all weights, and the loss without the weakest.

  Draws `figures/posterior.png`. The means are those at the end of training,
  where their deviations belong; the weights of the result rows are the best on
  validation.

  Args:
    context: of the run.
    posterior: at the end of training.

  Returns:
    `shares` pruned, the `scores` without them (bits a symbol, or perplexity),
    and the histogram: `edges` and `counts` of log10 |mean| / deviation.
  """
  study = stages.phase(
    context, "posterior", lambda: _posterior_study(context, posterior)
  )
  unit = task.UNITS[context.config.data.tokenizer]
  curves.posterior(
    study,
    context.workdir / "figures" / f"{FIGURE}.png",
    metric=unit.metric,
    title=stages.describe(context),
  )
  return study


def _posterior_study(
  context: stages.Context, posterior: weight_noise.Posterior
) -> dict[str, Any]:
  settings = context.config.evaluation
  streams = settings.validation_streams
  pieces = task.chunks(
    context.data,
    "valid",
    streams_count=streams,
    length=settings.segment,
    symbols=min(SYMBOLS, len(context.data.splits["valid"])),
  )
  signals = jax.tree.map(
    weight_noise.signal_to_noise,
    posterior.mean,
    weight_noise.deviations(posterior),
  )
  flat = np.concatenate(
    [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(signals)]
  )
  limits = np.quantile(flat, SHARES)
  limits[0] = -1.0  # nothing, not even a weight of exactly zero
  unit = task.UNITS[context.config.data.tokenizer]
  scores = []
  for limit in limits:
    context.signals.check()
    kept = jax.tree.map(
      lambda mean, signal, limit=limit: jnp.where(signal > limit, mean, 0.0),
      posterior.mean,
      signals,
    )
    totals = static.evaluate(context.model, kept, pieces, streams=streams)
    scores.append(stages.score(unit.metric, totals.nats, totals.count))
  counts, edges = np.histogram(
    np.log10(np.maximum(flat, 1e-4)), bins=BINS, range=(-4.0, 3.0)
  )
  return {
    "weights": trees.count_parameters(posterior.mean),
    "symbols": min(SYMBOLS, len(context.data.splits["valid"])),
    "complexity_nats": float(weight_noise.complexity(posterior)),
    "shares": list(SHARES),
    "scores": scores,
    "edges": edges.tolist(),
    "counts": counts.tolist(),
  }
