"""What a trained pen network scores, as result rows."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from experiments import pen_assembly, pen_task, phases
from seqmodels.evaluation import handwriting as evaluation
from seqmodels.io import progress, report

# Units of the paper's layers.
PAPERS = ((400, 400, 400), (900,))


def describe(context: pen_assembly.Context) -> str:
  """The network and its training in a few words."""
  config, training = context.config, context.config.training
  parts = [
    pen_task.name_of(config),
    *phases.noise_names(config),
    f"{training.optimizer}, {pen_task.stretches(config)} a step, "
    f"{training.epochs:g} epochs",
    f"{config.dtype} products",
  ]
  if config.data.source != "iamondb":
    parts.append(f"{config.data.source} pen")
  if config.data.limit:
    parts.append(f"first {config.data.limit:,} lines of each split")
  if config.restore:
    parts.append(f"begun from {pathlib.Path(config.restore).name}")
  return ", ".join(parts)


def rows(context: pen_assembly.Context) -> list[report.Row]:
  """Nats a line and squared errors a point, of both splits."""
  found = []
  train = context.config.evaluation.train_lines
  if train:
    found += _rows(
      context, "train", min(train, len(context.data.splits["train"]))
    )
  return found + _rows(context, "valid", 0)


def published(config: config_dict.ConfigDict, split: str) -> Mapping[str, Any]:
  """The paper's values, where what is scored is what the paper scored."""
  data, model = config.data, config.model
  papers = (
    split == "valid"
    and data.source == "iamondb"
    and not data.limit
    and tuple(model.features) in PAPERS
    and (model.components, model.window, model.peepholes) == (20, 10, True)
  )
  return (config.get("reference") if papers else None) or {}


def _rows(
  context: pen_assembly.Context, split: str, lines: int
) -> list[report.Row]:
  def compute() -> dict[str, Any]:
    total = len(context.data.splits[split].points)
    bar = progress.Progress(
      None if lines else total,
      f"scoring {split}",
      unit="point",
      symbols="points",
    )

    def tell(done: int) -> None:
      context.signals.check()
      bar.update(done)

    with bar:
      totals = pen_task.evaluate(
        context.config,
        context.data,
        context.network,
        context.params,
        split,
        lines=lines,
        callback=tell,
      )
    return dataclasses.asdict(totals)

  totals = evaluation.Totals(**phases.phase(context, f"score {split}", compute))
  name = describe(context)
  every = len(context.data.splits[split])
  if lines and lines < every:
    name += f"; {lines:,} of {every:,} lines, evenly spaced"
  reference = published(context.config, split)

  def row(
    what: str, metric: str, value: float, count: int, key: str = ""
  ) -> report.Row:
    published = reference.get(key) if key else None
    return report.row(
      f"{name}; {what}" if what else name,
      split=split,
      evaluation="static",
      metric=metric,
      value=value,
      count=count,
      seconds=totals.seconds,
      reference=published,
      reference_source=reference["source"] if published is not None else None,
    )

  wrong = 100.0 * totals.wrong / max(totals.points, 1)
  return [
    row(
      "",
      "nats_per_sequence",
      totals.nats_per_sequence,
      totals.points,
      "nats_per_sequence",
    ),
    row("", "nats_per_point", totals.nats_per_point, totals.points),
    *(
      [
        row(
          "no deviation finer than half a unit of the data",
          "nats_per_sequence",
          totals.coarse_nats_per_sequence,
          totals.points,
        )
      ]
      if context.data.finest
      else []
    ),
    row("of the mixture's mean", "sse", totals.sse, totals.points),
    row(
      "of the likeliest component's mean",
      "sse",
      totals.sse_likeliest,
      totals.points,
    ),
    row(
      "half the squared error of the likeliest component's mean",
      "half_sse",
      totals.half_sse,
      totals.points,
      "half_sse",
    ),
    row("ends of strokes", "error_rate", wrong, totals.points),
  ]
