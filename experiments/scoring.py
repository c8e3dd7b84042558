"""Static and dynamic evaluation of a trained network, as result rows."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments import (
  assembly,
  dynamic_settings,
  phases,
  resumable_dynamic,
  word_scores,
)
from seqmodels import errors
from seqmodels.evaluation import constant_cells, static, totals
from seqmodels.io import report

CURVE_POINTS = 400


def static_and_dynamic(
  context: phases.Context,
) -> tuple[list[report.Row], dict[str, dict[str, Any]]]:
  """Static evaluation of every split, dynamic of the last of them.

  Returns:
    The rows, and for figures the scores along each split by evaluation.
  """
  rows: list[report.Row] = []
  curves: dict[str, dict[str, Any]] = {}
  splits = phases.evaluated_splits(context.tokens)
  rows += training_rows(context, len(context.tokens.splits[splits[-1]]))
  for split in splits:
    found = static_phase(context, split)
    rows += rows_of(context, split, "static", found)
    curves[split] = {"static": found}
  if context.config.dynamic.rule:
    searched = dynamic_settings.searched(context)
    chosen = searched["best"]
    # The validation split chose the settings and the weights: learning from
    # it once more would tell nothing new, and takes as long as the test.
    split = splits[-1]
    found = dynamic_phase(context, split, chosen)
    note = dynamic_settings.describe(chosen)
    if split == "valid" and context.config.dynamic.search:
      symbols = context.config.dynamic.search_symbols
      note += f", chosen on the first {symbols:,} of these symbols"
    if not searched["helps"]:
      note += ", no better than static evaluation in the search"
    rows += rows_of(context, split, "dynamic", found, note=note)
    curves[split]["dynamic"] = found
  return rows, curves


def training_rows(context: phases.Context, most: int) -> list[report.Row]:
  """How well the weights fit what they were trained on.

  Scored like the other splits, over the first symbols of the training split: as
  many as `config.evaluation.train_symbols` allows (0: none), and no more than
  `most`.
  """
  train = len(context.tokens.splits["train"])
  # Runs older than this setting have none.
  limit = context.config.evaluation.get("train_symbols", 0)
  symbols = min(limit, most, train)
  if not symbols:
    return []
  found = static_phase(context, "train", symbols=symbols)
  part = "all" if symbols == train else f"the first {symbols:,}"
  note = f"weights fixed, {part} of {train:,} training symbols"
  return rows_of(context, "train", "static", found, note=note)


def static_phase(
  context: phases.Context, split: str, *, symbols: int = 0
) -> dict[str, Any]:
  """Static evaluation of one split: one pass, weights fixed.

  Args:
    context: of the run.
    split: its name.
    symbols: only the first so many; 0 takes all.
  """
  count = symbols or len(context.tokens.splits[split])

  def compute() -> dict[str, Any]:
    settings = context.config.evaluation
    pieces = assembly.chunks(
      context.tokens,
      split,
      streams_count=settings.streams,
      length=settings.segment,
      symbols=symbols,
    )
    scores = static.score(
      context.predictor,
      context.params,
      pieces,
      streams=settings.streams,
      callback=phases.watch(
        context,
        f"static evaluation, {split}",
        settings.streams * settings.segment,
      ),
    )
    return _record(scores, count)

  part = f", first {symbols}" if symbols else ""
  found = phases.phase(context, f"static {split}{part}", compute)
  if found.get("lost"):
    print(f"static evaluation, {split}{found['lost']}", file=sys.stderr)
  return found


def cell_facts(context: phases.Context) -> dict[str, str]:
  """How many cells still work on the last split, in words by name."""
  split = phases.evaluated_splits(context.tokens)[-1]
  found = phases.phase(
    context,
    f"cells {split}",
    lambda: constant_cells.measure(
      context.predictor, context.params, assembly.watched(context.tokens, split)
    ),
  )
  facts = {}
  if "constant_cells" in found:
    facts["constant cells"] = f"{found['constant_cells']:.1f}% on {split}"
  if "largest_cell" in found:
    facts["largest cell state"] = f"{found['largest_cell']:,.1f}"
  for name, fact in facts.items():
    print(f"{name}: {fact}", file=sys.stderr)
  return facts


def dynamic_phase(
  context: phases.Context, split: str, chosen: Mapping[str, Any]
) -> dict[str, Any]:
  """Dynamic evaluation of one split, from the trained weights."""

  def compute() -> dict[str, Any]:
    segment = int(chosen["segment"])
    pieces = assembly.chunks(
      context.tokens, split, streams_count=1, length=segment
    )
    scores = resumable_dynamic.score(
      context,
      key,
      pieces,
      dynamic_settings.make_rule(context, chosen),
      segment=segment,
    )
    return _record(scores, len(context.tokens.splits[split]))

  # Other settings are another phase.
  key = f"{split}: {dynamic_settings.describe(chosen)}"
  return phases.phase(context, f"dynamic {key}", compute)


def _record(scores: totals.Scores, expected: int) -> dict[str, Any]:
  """Totals and a curve, once it is sure that every symbol was scored."""
  found = scores.totals()
  if found.count != expected:
    raise errors.RunError(
      f"{found.count:,} symbols were scored where the split has {expected:,}; "
      "this is a fault of the program, please report it"
    )
  edges = np.unique(
    np.linspace(0, len(scores.nats), CURVE_POINTS, endpoint=False).astype(int)
  )
  return {
    "nats": found.nats,
    "count": found.count,
    "errors": found.errors,
    "seconds": found.seconds,
    "lost": phases.lost_note(scores),
    "curve_nats": np.add.reduceat(scores.nats, edges, dtype=float).tolist(),
    "curve_counts": np.add.reduceat(scores.counts, edges).tolist(),
  }


def rows_of(
  context: phases.Context,
  split: str,
  evaluation: str,
  found: Mapping[str, Any],
  *,
  note: str = "",
) -> list[report.Row]:
  """The metric of the corpus and the error rate, with the paper's if it has."""
  unit = assembly.UNITS[context.config.data.tokenizer]
  streams = context.config.evaluation.streams
  if evaluation == "static" and streams > 1:
    note += f"{'; ' if note else ''}scored in {streams} streams"
    note += found.get("lost", "")
  name = phases.describe(context) + (f"; {note}" if note else "")
  value = phases.score(unit.metric, found["nats"], found["count"])
  errors_percent = 100.0 * found["errors"] / found["count"]
  published = context.config.get("reference") or {}
  source = published.get("source", "")

  def row(metric: str, figure: float, key: str) -> report.Row:
    reference = published.get(f"{split}_{key}", 0.0) or None
    return report.row(
      name,
      split=split,
      evaluation=evaluation,
      metric=metric,
      value=figure,
      count=found["count"],
      seconds=found["seconds"],
      reference=reference,
      reference_source=source if reference else None,
    )

  return [
    row(unit.metric, value, evaluation),
    row("error_rate", errors_percent, f"{evaluation}_error_rate"),
    *word_scores.rows(context, split, evaluation, found, name),
  ]
