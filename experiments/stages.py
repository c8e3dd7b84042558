"""The stages that follow training, and the words for a run in its reports.

Each finished stage is kept in the run folder (`evaluations.json`), so that a
run stopped in the middle of a long dynamic evaluation does not compute the
others again.
"""

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from ml_collections import config_dict

from experiments import train
from seqmodels import errors, units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary
from seqmodels.evaluation import static
from seqmodels.io import (
  checkpoint_integrity,
  distributed,
  files,
  progress,
  results,
)
from seqmodels.models.networks import SequenceModel

PHASES = "evaluations.json"

# Which weights are evaluated, by `config.training.select`.
SELECTED = {
  "validation": "the best on the validation split",
  "description_length": "of the shortest description length",
  "last": "of the last step",
}


# What needs less memory, by the first word of a stage.
LESS = {
  "static": "a smaller config.evaluation.segment or config.evaluation.streams",
  "dynamic": "a smaller config.dynamic.segment",
  "search": "a smaller config.dynamic.search_together",
  "compressors": "config.baselines.compressors=False",
}

# How the note of data begins that the model was not trained on.
OTHER = "another text than it was trained on: "


class Context(NamedTuple):
  """A trained model in its run folder, with its data."""

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  data: Any  # tokens of a text, or handwriting
  model: SequenceModel
  params: Any
  step: int  # of the parameters
  signals: distributed.Interruption


def train_and_evaluate(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  task: train.Task,
  evaluate: Callable[[Context, train.TrainResult], list[results.Row]],
  signals: distributed.Interruption,
) -> list[results.Row]:
  """Trains a task and gives what came of it to `evaluate`.

  All processes train; the rest is the first one's.

  Args:
    config: the settings.
    workdir: the run folder.
    task: model and data.
    evaluate: makes the result rows, and whatever else belongs to the run.
    signals: those that stop it, with the state saved.
  """
  # Settings that are refused here leave no trace in the run folder.
  setup = train.prepare(config, workdir, task)
  distributed.on_primary(lambda: task.settle(workdir))
  with errors.memory_of("training", task.smaller):
    result = train.train(setup, signals)
  context = Context(
    config, workdir, task.data, task.model, result.params, result.step, signals
  )
  return distributed.on_primary(lambda: evaluate(context, result))


class RunState(Protocol):
  """A run of any kind whose weights are those of a certain step."""

  @property
  def workdir(self) -> pathlib.Path:
    """The run folder."""

  @property
  def step(self) -> int:
    """The step of its weights."""

  @property
  def params(self) -> Any:
    """Its weights."""

  @property
  def signals(self) -> distributed.Interruption:
    """The signals that ask it to stop."""


def phase(
  context: RunState, name: str, compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
  """The result of a stage, computed once in the life of a run folder.

  Args:
    context: of the run; stages of another step or other weights are forgotten.
    name: of the stage.
    compute: gives plain data that JSON can hold.
  """
  context.signals.check()
  path = context.workdir / PHASES
  # Portable files of different runs may be of one step.
  which = {"step": context.step, "weights": fingerprint(context.params)}
  known: dict[str, Any] = {**which, "phases": {}}
  if path.is_file():
    recorded = files.read_sealed(path, step=int, phases=dict)
    if which.items() <= recorded.items():
      known = recorded
  if name not in known["phases"]:
    less = LESS.get(name.partition(" ")[0], "a smaller config.model.features")
    with progress.spending("evaluation"), errors.memory_of(name, less):
      known["phases"][name] = compute()
    files.write_sealed(path, known)
  return known["phases"][name]


def fingerprint(params: Any) -> str:
  """SHA-256 of the weights."""
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(params):
    digest.update(
      checkpoint_integrity.sha256(np.ascontiguousarray(leaf)).encode()
    )
  return digest.hexdigest()


def describe(context: Context) -> str:
  """The model in a few words; where the data are a prefix, it says so."""
  config = context.config
  lines = ", each line from the null vector" if config.data.sentences else ""
  parts = [
    model_name(config),
    f"{context.data.vocabulary.size:,} symbols",
    *noise_names(config),
    f"{config.training.optimizer}, {minibatch(config)}{lines}",
    f"{config.dtype} products",
  ]
  if config.restore:
    parts.append(f"begun from {pathlib.Path(config.restore).name}")
  return ", ".join(parts) + data_note(context)


def minibatch(config: config_dict.ConfigDict) -> str:
  """The minibatch of a step, as in "32 streams of 50" or "8 sentences"."""
  training = config.training
  if training.sampling == "sentences":
    return f"{training.batch} sentence{'s' if training.batch > 1 else ''}"
  return f"{training.batch} streams of {training.segment}"


def model_name(config: config_dict.ConfigDict) -> str:
  """Sizes, cell and wiring, as in "1x1000 peephole lstm"."""
  model = config.model
  cell = model.get("cell", "lstm")  # handwriting networks have no other
  widths = [str(width) for width in model.features]
  uniform = len(set(widths)) == 1
  size = f"{len(widths)}x{widths[0]}" if uniform else "-".join(widths)
  peepholes = " peephole" if cell == "lstm" and model.peepholes else ""
  name = f"{size}{peepholes} {cell}"
  if "components" in model:
    if model.network == "synthesis":
      name += f", window of {model.window}"
    name += f", {model.components} components"
  else:
    for kind in ("input", "output") if len(widths) > 1 else ():
      if not model[f"{kind}_skips"]:
        name += f", no {kind} skips"
  if "lstm" in cell and model.get("cell_clip"):
    name += f", cell clip {model.cell_clip:g}"
  if model.get("embedding"):
    name += f", {'tied ' if model.tied else ''}embedding {model.embedding}"
  return name


def noise_names(config: config_dict.ConfigDict) -> list[str]:
  """Noise, averaging and another choice of weights than validation's."""
  chosen = config.get("regularization") or {}
  training = config.training
  named = {
    "weight_noise": "weight noise",
    "adaptive": "adaptive weight noise from",
    "drop_connect": "DropConnect",
    "dropout_embedding": "embedding dropout",
    "dropout_input": "input dropout",
    "dropout_hidden": "hidden dropout",
    "dropout_output": "output dropout",
    "zoneout_cell": "cell zoneout",
    "zoneout_state": "state zoneout",
  }
  names = [
    f"{words} {chosen[key]:g}"
    for key, words in named.items()
    if chosen.get(key)
  ]
  weight = chosen.get("complexity", 1.0)
  if chosen.get("adaptive") and weight != 1.0:
    names.append(f"complexity times {weight:g}")
  average = training.get("average")
  if average:
    names.append(f"weights averaged over the last {average:.0%}")
  if training.get("select", "validation") != "validation":
    names.append(f"weights {selected(config)}")
  return names


def selected(config: config_dict.ConfigDict) -> str:
  """The weights of a run that are evaluated, in words."""
  return SELECTED[config.training.get("select", "validation")]


def data_note(context: Context) -> str:
  """A note for every row over other data, or part of them; empty elsewhere."""
  note = context.data.provenance["note"]
  limit = context.config.data.limit
  parts = [note] if note.startswith(("prefix", OTHER)) else []
  if limit:
    parts.append(f"first {limit:,} symbols of each split")
  return f" ({', '.join(parts)})" if parts else ""


def unknown(context: Context, split: str) -> str:
  """The share of a split that is `<unk>`, in words; empty where it is none.

  A model that knows only half of the words predicts that `<unk>` well.
  """
  count = context.data.unknown_per_split[split]
  if not count:
    return ""
  share = 100 * count / len(context.data.splits[split])
  digits = f"{share:.1f}" if share >= 0.1 else f"{share:.1g}"
  return f"{digits}% of this split is {vocabulary.UNKNOWN}"


def evaluated_splits(tokens: tokens_lib.Tokens) -> list[str]:
  """The splits that were not trained on: valid, and test where there is one."""
  return [name for name in ("valid", "test") if name in tokens.splits]


def score(metric: str, nats: float, count: int) -> float:
  """Totals as the metric of a corpus: perplexity, or bits a symbol."""
  if metric == "perplexity":
    return units.perplexity(nats, count)
  return units.bits_per_symbol(nats, count)


def lost_note(scores: static.Scores) -> str:
  """A warning of lost streams (`Scores.lost_streams`); "" without any."""
  lost = scores.lost_streams()
  if not lost:
    return ""
  worst = max(lost, key=lambda stream: lost[stream])
  return (
    f"; WARNING: {len(lost)} of the streams scored more than 1 bit a symbol "
    f"above the median, stream {worst} {lost[worst]:.2f} bits"
  )


def watch(
  context: Context, title: str, per_segment: int
) -> Callable[[int, int | None], None]:
  """A callback of (done, all) segments: shows progress, obeys signals.

  Args:
    context: of the run.
    title: the stage, as shown.
    per_segment: symbols in a segment of all its streams.
  """
  bar = progress.Progress(None, title, unit="symbol", symbols="symbols")
  before = 0

  def callback(done: int, total: int | None) -> None:
    nonlocal before
    whole = None if total is None else total * per_segment
    new = (done - before) * per_segment
    bar.update(done * per_segment, symbols=new, total=whole)
    before = done
    if done == total:
      bar.close()
    context.signals.check()

  return callback
