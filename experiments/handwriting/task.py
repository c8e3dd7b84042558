"""Handwriting as a training task: network, data, restoring."""

import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import config_dict

from experiments import restore as restore_lib
from experiments import stages, train
from seqmodels import errors, losses, trained_handwriting
from seqmodels.data.handwriting import batching, strokes
from seqmodels.data.handwriting import datasets as handwritings
from seqmodels.evaluation import handwriting as evaluation
from seqmodels.io import distributed, files, progress
from seqmodels.models import networks

PEN = trained_handwriting.PEN
build_network = networks.handwriting


def pen_of(data: handwritings.Handwriting) -> strokes.Pen:
  """Alphabet and scaling of a data set."""
  return strokes.Pen(data.alphabet, data.scaling)


def load(
  config: config_dict.ConfigDict,
  data_dir: pathlib.Path,
  signals: distributed.Interruption,
) -> handwritings.Handwriting:
  """The lines that `config.data` names, with progress on stderr."""
  bar: list[progress.Progress] = []

  def tell(done: int, total: int) -> None:
    signals.check()
    if not bar:
      bar.append(
        progress.Progress(total, "reading", unit="byte", symbols="bytes")
      )
    bar[0].update(done)
    if done >= total:
      bar.pop().close()

  return handwritings.load(
    config.data.source,
    data_dir,
    alphabet=config.data.alphabet,
    limit=config.data.limit,
    transcribed=config.data.transcribed,
    # The synthetic pen is one data set, whatever the seed of the training.
    seed=0,
    progress=tell,
    warn=lambda text: print(text, file=sys.stderr, flush=True),
  )


def settle_data(workdir: pathlib.Path, data: handwritings.Handwriting) -> None:
  """Writes what the run is trained on into its folder, or checks it.

  Raises:
    UserError: the folder's run was begun on other data.
  """
  require_same(
    trained_handwriting.read_pen(workdir)
    if (workdir / PEN).is_file()
    else None,
    data,
    workdir,
  )
  restore_lib.settle_files(workdir, data.provenance)
  if not (workdir / PEN).is_file():
    files.write_json(workdir / PEN, pen_of(data).record)


def require_same(
  pen: strokes.Pen | None, data: handwritings.Handwriting, folder: pathlib.Path
) -> None:
  """Refuses data whose alphabet or scaling is not the run's.

  Raises:
    UserError: it is another.
  """
  if pen is not None and pen.hash != pen_of(data).hash:
    raise errors.UserError(
      f"the run in {folder} was trained with another alphabet or on other "
      f"lines ({pen.alphabet.size} symbols, deviations "
      f"{_figures(pen.scaling)}; these have {data.alphabet.size} and "
      f"{_figures(data.scaling)}); give it the data it was trained on"
    )


def _figures(scaling: strokes.Scaling) -> str:
  return " and ".join(f"{value:.3f}" for value in scaling.deviation)


def restore_weights(
  config: config_dict.ConfigDict, target: Any, pen: strokes.Pen
) -> Any:
  """The weights of the run `config.restore`, to go on training from.

  Args:
    config: of the run that goes on.
    target: names, shapes and dtypes of the weights wanted.
    pen: what they must have been trained with.

  Raises:
    UserError: no such run, another network, or other data.
  """
  with restore_lib.continuing(config):
    source = restore_lib.opened(config.restore, "handwriting")
    restore_lib.require_same_model(config, source)
    restore_lib.require_same_symbols(source, pen)
    return source.weights(target).params


# Padded lengths are multiples of this, and there are at most so many of them:
# each is compiled on its own.
MULTIPLE, SHAPES = 16, 12


def task(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: networks.SequenceModel,
) -> train.Task:
  """A network that learns to move a pen.

  Args:
    config: as `configs.handwriting_prediction.base`.
    data: the lines.
    network: of its alphabet.

  Raises:
    UserError: fewer lines than a minibatch takes.
  """
  pen = pen_of(data)
  stream = _stream(config, data, network)

  def figures(metrics: losses.Metrics) -> dict[str, float]:
    lines = evaluation.PointMetrics(*metrics)
    return {
      "nats_per_point": lines.nats_per_point,
      "sse": lines.sse,
      "half_sse": lines.half_sse,
    }

  def validate(weights: Any, check: Callable[[], None]) -> train.Validation:
    totals = evaluate(
      config, data, network, weights, "valid", callback=lambda done: check()
    )
    return train.Validation(
      totals.nats_per_point,
      {"nats_per_sequence": totals.nats_per_sequence, **figures(totals)},
      f"{totals.lines:,} lines of {totals.count:,} points",
    )

  sizes = ", ".join(
    f"{name} {len(lines):,} lines of {len(lines.points):,} points"
    for name, lines in data.splits.items()
  )
  return train.Task(
    model=network,
    data=data,
    stream=stream,
    plan=train.make_plan(config, stream),
    positions=len(data.splits["train"].points),
    figures=figures,
    unit="points",
    kind="handwriting",
    symbols=pen,
    settle=lambda workdir: settle_data(workdir, data),
    restored=lambda target: restore_weights(config, target, pen),
    validate=validate,
    facts=(
      f"{data.provenance['source']}, {sizes}",
      minibatch(config),
    ),
    name=stages.model_name(config),
    smaller="a smaller config.training.points, config.training.batch or "
    "config.model.features",
  )


def _stream(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: networks.SequenceModel,
) -> batching.PenBatches | batching.PenChunks:
  """The training lines, whole or a segment at a time."""
  training = config.training
  shared: dict[str, Any] = {
    "batch": training.batch,
    "alphabet": data.alphabet if network.window else None,
    "seed": config.seed,
  }
  lines = data.splits["train"]
  if training.points:
    return batching.PenChunks(lines, length=training.points, **shared)
  return batching.PenBatches(
    lines,
    dispatch=training.steps_per_dispatch,
    multiple=MULTIPLE,
    shapes=SHAPES,
    **shared,
  )


def evaluate(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: networks.SequenceModel,
  weights: Any,
  split: str,
  *,
  lines: int = 0,
  callback: Callable[[int], None] | None = None,
) -> evaluation.PointMetrics:
  """Totals of a split, or of `lines` lines of it, evenly spaced."""
  chosen = data.splits[split]
  if lines:
    chosen = chosen.spread(lines)
  return evaluation.evaluate(
    network,
    weights,
    _segments(config, data, network, chosen),
    callback=callback,
  )


def _segments(
  config: config_dict.ConfigDict,
  data: handwritings.Handwriting,
  network: networks.SequenceModel,
  lines: strokes.PenLines,
) -> Iterator[batching.PenSegment]:
  minibatches = batching.evaluation(
    lines,
    data.alphabet if network.window else None,
    config.evaluation.batch,
    MULTIPLE,
    shapes=SHAPES,
  )
  for _, segment in minibatches:
    yield segment


def minibatch(config: config_dict.ConfigDict) -> str:
  """The minibatch of a step, as in "32 lines, 128 points of each"."""
  training = config.training
  part = f", {training.points} points of each" if training.points else ""
  return f"{training.batch} lines{part}"
