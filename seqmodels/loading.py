"""Trained models, to use: of a run folder, or of one portable file."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from seqmodels import cards, errors, portable, pretrained, trained, trees
from seqmodels.data import pen as pens
from seqmodels.data import tokenizers
from seqmodels.data import vocabulary as vocabularies
from seqmodels.io import checkpoint_arrays, json_file
from seqmodels.models import from_settings

Tree = Any
Symbols = vocabularies.Vocabulary | pens.Pen

VOCABULARY, PEN = "vocabulary.json", "pen.json"

# Layers, or rounds of a cell, that a file may ask for.
DEEPEST = 100

# What settings that describe no network raise on the way to one.
FAULTS = (
  AttributeError, KeyError, TypeError, ValueError, ArithmeticError,
)  # fmt: skip


class Weights(NamedTuple):
  """Parameters and the training step that left them."""

  step: int
  params: Tree


class Source(NamedTuple):
  """A run folder or a portable file, its weights not yet read.

  Attributes:
    place: of it.
    kind: a key of `KINDS`.
    settings: of the training, plain as JSON holds them.
    symbols: what the network's inputs mean.
    data: () -> what it was trained on, as data.json holds it, or None.
    weights: target -> parameters of those names and shapes; raises UserError
      where it holds others, RunError where they are corrupt.
    card: () -> what there is to say about the weights, plain as JSON.
    damaged: reason -> the error to raise.
  """

  place: pathlib.Path
  kind: str
  settings: dict[str, Any]
  symbols: Any
  data: Callable[[], dict[str, Any] | None]
  weights: Callable[[Tree], Weights]
  card: Callable[[], dict[str, Any]]
  damaged: Callable[[object], errors.UserError]


class Kind(NamedTuple):
  """A kind of model.

  Attributes:
    words: what it is called.
    identity: the name under which checkpoints keep the hash of its symbols.
    build: (settings, number of symbols) -> network.
    parse: what JSON holds -> symbols.
    model: what `load` makes of it.
  """

  words: str
  identity: str
  build: Callable[[Mapping[str, Any], int], Any]
  parse: Callable[[Mapping[str, Any]], Any]
  model: type[trained.Loaded]


KINDS = {
  "language_model": Kind(
    "language model",
    "vocabulary",
    from_settings.language_model,
    lambda record: vocabularies.Vocabulary.from_json(json.dumps(record)),
    trained.TextModel,
  ),
  "handwriting": Kind(
    "pen network",
    "pen",
    from_settings.handwriting_network,
    pens.Pen.of,
    trained.HandwritingModel,
  ),
}


def load(
  path: str | os.PathLike[str], *, dtype: str = ""
) -> trained.TextModel | trained.HandwritingModel:
  """A trained model.

  Args:
    path: a run folder, a portable file, or a name of `pretrained`.
    dtype: of the matrix products' operands; empty takes the training's own.

  Raises:
    UserError: there is none, it is damaged, or of no known kind.
    RunError: all checkpoints of the run are corrupt.
  """
  name = os.fspath(path)
  if _is_bare(name) and not os.path.exists(name):
    path = pretrained.path(name)
  return build(read(path), dtype=dtype)


def read(path: str | os.PathLike[str], kind: str = "") -> Source:
  """What a run folder or a portable file holds, its weights not yet read.

  Args:
    path: of either.
    kind: a key of `KINDS` that it must be of; empty takes any.

  Raises:
    UserError: there is none, it is damaged, or of another kind.
  """
  place = pathlib.Path(os.path.expanduser(path))
  is_file = place.is_file() or place.suffix == portable.SUFFIX
  return (_of_file if is_file else _of_folder)(place, kind)


def build(source: Source, *, dtype: str = "") -> Any:
  """The model of a source, its weights read.

  Raises:
    UserError: the settings describe no network, or another than the weights'.
    RunError: all checkpoints of the run are corrupt.
  """
  kind, settings = KINDS[source.kind], dict(source.settings)
  if dtype:
    settings["dtype"] = dtype
  try:
    network = kind.build(settings, source.symbols.size)
    target = jax.eval_shape(network.init, jax.random.key(0))
  except FAULTS as error:
    raise source.damaged(f"it describes no network: {error}") from error
  step, params = source.weights(target)
  return kind.model(
    network, params, settings, step, source.kind, source.symbols, source.place,
    source.card, params,
  )  # fmt: skip


def _is_bare(name: str) -> bool:
  """Whether this can only be a name: no path of folders, no file name."""
  return os.path.basename(name) == name and not name.endswith(portable.SUFFIX)


def made(kind: str, settings: dict[str, Any], symbols: Symbols) -> Any:
  """An untrained model of plain settings, such as tests and examples need."""

  def weights(target: Tree) -> Weights:
    del target
    network = KINDS[kind].build(settings, symbols.size)
    return Weights(0, network.init(jax.random.key(0)))

  source = Source(
    pathlib.Path("untrained"), kind, settings, symbols, lambda: None, weights,
    dict,
    lambda reason: errors.UserError(f"these settings are no model: {reason}"),
  )  # fmt: skip
  return build(source)


def require_same_symbols(
  meta: Mapping[str, Any], kind: str, symbols: Symbols, place: pathlib.Path
) -> None:
  """Refuses weights that were trained on other symbols.

  Args:
    meta: record of the weights.
    kind: a key of `KINDS`.
    symbols: that they must have been trained on.
    place: of the weights.

  Raises:
    UserError: they were not.
  """
  saved, ours = meta.get(KINDS[kind].identity), symbols.hash
  if saved == ours:
    return
  these = (
    f"the vocabulary {str(saved)[:12]}, but this one is {ours[:12]}"
    if kind == "language_model"
    else f"alphabet and scaling {str(saved)[:12]}, but these are {ours[:12]}"
  )
  raise errors.UserError(
    f"the checkpoint in {place} was trained with {these}; use the data it was "
    "trained on"
  )


def read_pen(folder: pathlib.Path) -> pens.Pen:
  """The alphabet and the scaling of a run folder.

  Raises:
    UserError: it holds none, or a damaged one.
  """
  path = folder / PEN
  if not path.is_file():
    raise errors.UserError(
      f"{folder} has no {PEN}: it holds no handwriting run, or one that "
      "stopped before training; give the run folder of a trained network"
    )
  found = json_file.read(path)
  try:
    return pens.Pen.of(found)
  except (KeyError, ValueError, TypeError, OverflowError) as error:
    raise json_file.damaged(path, error) from error


def _of_folder(folder: pathlib.Path, wanted: str) -> Source:
  # Not at the top: a portable file needs neither these nor what they import.
  from seqmodels.io import checkpoints, run_record

  def damaged(reason: object) -> errors.UserError:
    return json_file.damaged(folder / run_record.CONFIG, reason)

  settings = run_record.read_config(folder)
  data = settings.get("data")
  kind = ""
  if settings.get("experiment") == "handwriting":
    kind = "handwriting"
  elif "model" in settings and isinstance(data, dict) and "tokenizer" in data:
    kind = "language_model"
  _require_kind(kind, wanted, settings, folder)
  seeds = settings.get("seeds", 1)
  if json_file.is_whole(seeds) and seeds > 1:
    first = folder / f"seed-{settings.get('seed')}"
    raise errors.UserError(
      f"{folder} holds {seeds} seeds; name one of them, such as {first}"
    )
  for name in ("model", "data"):
    if not isinstance(settings.get(name), dict):
      raise damaged(f"{name!r} is missing or no object")
  symbols = _symbols(folder, kind)

  def weights(target: Tree) -> Weights:
    found = checkpoints.restore_params(folder, target)
    require_same_symbols(found.meta, kind, symbols, folder)
    return Weights(found.step, found.tree)

  return Source(
    folder,
    kind,
    settings,
    symbols,
    lambda: cards.read_data(folder),
    weights,
    lambda: cards.of_run(folder, settings),
    damaged,
  )


def _symbols(folder: pathlib.Path, kind: str) -> Symbols:
  if kind == "handwriting":
    return read_pen(folder)
  if not (folder / VOCABULARY).is_file():
    raise errors.UserError(
      f"{folder} has no {VOCABULARY}: its run stopped before training; run its "
      "command again"
    )
  return vocabularies.Vocabulary.load(folder / VOCABULARY)


def _require_kind(
  kind: str, wanted: str, settings: Mapping[str, Any], place: pathlib.Path
) -> None:
  if not kind or wanted not in ("", kind):
    words = KINDS[wanted].words if wanted else "network"
    raise errors.UserError(
      f"{place} holds a run of {settings.get('experiment')!r}, which trains no "
      f"{words}; give the run folder of a trained one"
    )


def _of_file(path: pathlib.Path, wanted: str) -> Source:
  found = portable.read(path)

  def damaged(reason: object) -> errors.UserError:
    return portable.damaged(path, reason)

  _require_kind(found.kind, wanted, found.settings, path)
  try:
    record = dict(found.symbols)
    digest = record.pop("sha256")
    symbols = KINDS[found.kind].parse(record)
    model, data = found.settings["model"], found.card.get("data")
    if found.kind == "language_model":
      tokenizers.named(found.settings["data"]["tokenizer"])
    step = found.card["step"]
    if max(len(model["features"]), model.get("rounds", 0)) > DEEPEST:
      raise ValueError(f"it has more than {DEEPEST} layers or rounds")
    if data is not None and not all(map(cards.is_file_row, data["files"])):
      raise ValueError("a file of its data has no name, size or SHA-256")
    if not json_file.is_whole(step) or not all(
      map(cards.is_score, found.card.get("rows", []))
    ):
      raise ValueError("its card has no step, or scores that are none")
  except (*FAULTS, errors.UserError) as error:
    raise damaged(error) from error
  if digest != symbols.hash:
    raise damaged("its symbols do not match their checksum")

  def weights(target: Tree) -> Weights:
    notes = trees.differences(target, found.weights)
    if notes:
      raise errors.UserError(
        f"the weights in {path} are not those of this network: "
        f"{'; '.join(notes)}; give the settings they were trained with"
      )
    kinds = {
      name: checkpoint_arrays.Description(leaf.shape, str(leaf.dtype), "")
      for name, leaf in found.weights.items()
    }
    return Weights(
      step, checkpoint_arrays.rebuild(target, found.weights, kinds)
    )

  return Source(
    path, found.kind, found.settings, symbols, lambda: data, weights,
    lambda: dict(found.card), damaged,
  )  # fmt: skip
