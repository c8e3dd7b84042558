"""Handwriting as something to be trained: a `Task` of lines of ink."""

from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import config_dict

from experiments import course, pen_assembly, pen_runs, training_setup
from seqmodels import loading
from seqmodels.data import handwriting as handwritings
from seqmodels.data import pen_batches, pen_chunks, pen_lines
from seqmodels.evaluation import handwriting as evaluation
from seqmodels.models import pen_network
from seqmodels.training import pen_objective

# Padded lengths are multiples of this, and there are at most so many of them:
# each is compiled on its own.
MULTIPLE, SHAPES = 16, 12


def task(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: pen_network.PenNetwork,
) -> training_setup.Task:
  """A network that learns to move a pen.

  Args:
    config: as `configs.handwriting_prediction.base`.
    data: the lines.
    network: of its alphabet.

  Raises:
    UserError: fewer lines than a minibatch takes.
  """
  pen = pen_assembly.pen_of(data)
  stream = _stream(config, data, network)

  def validate(
    weights: Any, check: Callable[[], None]
  ) -> training_setup.Validation:
    found = evaluate(
      config, data, network, weights, "valid", callback=lambda done: check()
    )
    return training_setup.Validation(
      found.nats_per_point,
      {
        "nats_per_sequence": found.nats_per_sequence,
        "nats_per_point": found.nats_per_point,
        "sse": found.sse,
        "half_sse": found.half_sse,
      },
      f"{found.lines:,} lines of {found.points:,} points",
    )

  sizes = ", ".join(
    f"{name} {len(lines):,} lines of {len(lines.points):,} points"
    for name, lines in data.splits.items()
  )
  return training_setup.Task(
    model=network,
    losses=pen_objective.of_points,
    course=course.laid_out(config, stream),
    positions=len(data.splits["train"].points),
    named=("nats_per_point", lambda nats, count: nats / max(count, 1)),
    speed="points",
    identity={"pen": pen.hash},
    check=lambda meta, folder: loading.require_same_symbols(
      meta, "handwriting", pen, folder
    ),
    restored=lambda target: pen_runs.restore_weights(config, target, pen),
    validate=validate,
    facts=(
      f"{data.provenance['source']}, {sizes}",
      stretches(config),
    ),
    name=name_of(config),
  )


def _stream(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: pen_network.PenNetwork,
) -> pen_batches.PenBatches | pen_chunks.PenChunks:
  """The training lines, whole or a stretch at a time."""
  training = config.training
  shared: dict[str, Any] = {
    "batch": training.batch,
    "alphabet": data.alphabet if network.symbols else None,
    "seed": config.seed,
  }
  lines = data.splits["train"]
  if training.points:
    return pen_chunks.PenChunks(lines, length=training.points, **shared)
  return pen_batches.PenBatches(
    lines,
    dispatch=training.steps_per_dispatch,
    multiple=MULTIPLE,
    shapes=SHAPES,
    **shared,
  )


def evaluate(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: pen_network.PenNetwork,
  weights: Any,
  split: str,
  *,
  lines: int = 0,
  callback: Callable[[int], None] | None = None,
) -> evaluation.Totals:
  """Totals of a split, or of `lines` lines of it, evenly spaced."""
  chosen = data.splits[split]
  if lines:
    chosen = chosen.spread(lines)
  return evaluation.evaluate(
    network,
    weights,
    _segments(config, data, network, chosen),
    finest=data.finest,
    callback=callback,
  )


def _segments(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: pen_network.PenNetwork,
  lines: pen_lines.PenLines,
) -> Iterator[pen_batches.PenSegment]:
  found = pen_batches.evaluation(
    lines,
    data.alphabet if network.symbols else None,
    config.evaluation.batch,
    MULTIPLE,
    shapes=SHAPES,
  )
  for _, segment in found:
    yield segment


def stretches(config: config_dict.ConfigDict) -> str:
  """What a step learns from, as in "32 lines, 128 points of each"."""
  training = config.training
  part = f", {training.points} points of each" if training.points else ""
  return f"{training.batch} lines{part}"


def name_of(config: config_dict.ConfigDict) -> str:
  """Sizes and parts, as in "3x400 peephole lstm, 20 components"."""
  model = config.model
  widths = [str(width) for width in model.features]
  uniform = len(set(widths)) == 1
  size = f"{len(widths)}x{widths[0]}" if uniform else "-".join(widths)
  peepholes = " peephole" if model.peepholes else ""
  window = f", window of {model.window}" if model.network == "synthesis" else ""
  name = f"{size}{peepholes} lstm{window}, {model.components} components"
  if model.get("cell_clip"):
    name += f", cell clip {model.cell_clip:g}"
  return name
