"""Trained models as objects, loaded from a run folder or a portable file."""

import abc
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from seqmodels import errors, losses, portable, pretrained, trees
from seqmodels.data.text import batching
from seqmodels.data.text import vocabulary as vocabularies
from seqmodels.evaluation import dynamic as dynamic_lib
from seqmodels.evaluation import static
from seqmodels.io import checkpoint_integrity, files
from seqmodels.models import networks
from seqmodels.sampling import text as text_lib

if TYPE_CHECKING:
  from seqmodels import trained_handwriting

Tree = Any
Any_ = TypeVar("Any_", bound="Loaded")

CHUNK = 64  # segments scored in one dispatch


class Symbols(Protocol):
  """What a network's inputs mean: a vocabulary, or the pen of handwriting."""

  @property
  def size(self) -> int:
    """The number of symbols."""

  @property
  def hash(self) -> str:
    """SHA-256 of all that decides what the inputs mean."""

  @property
  def record(self) -> dict[str, Any]:
    """As JSON holds it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded(abc.ABC):
  """A trained model; its parameters are only read.

  Attributes:
    model: the network as pure functions of its parameters.
    params: the parameters.
    settings: of its training.
    step: of its training, at which the parameters were saved.
    kind: "language_model" or "handwriting".
    symbols: what the network's inputs mean: a vocabulary or a pen.
    place: the run folder or the file that it came from.
    describe: what there is to say about it as it was loaded; see `card`.
    original: the parameters as they were loaded.
  """

  model: Any
  params: Tree
  settings: dict[str, Any]
  step: int
  kind: str
  symbols: Any
  place: pathlib.Path
  describe: Callable[[], dict[str, Any]]
  original: Tree

  @staticmethod
  @abc.abstractmethod
  def build(
    settings: Mapping[str, Any], symbols: int
  ) -> networks.SequenceModel:
    """The network of the settings, over so many symbols.

    Raises:
      UserError: settings that describe no network.
      KeyError: a setting is missing.
    """

  @staticmethod
  @abc.abstractmethod
  def parse(record: Mapping[str, Any]) -> Symbols:
    """The symbols of a `Symbols.record` that may come from anywhere."""

  @staticmethod
  @abc.abstractmethod
  def read_symbols(folder: pathlib.Path) -> Symbols:
    """The symbols of a run folder.

    Raises:
      UserError: it holds none, or damaged ones.
    """

  @property
  def card(self) -> dict[str, Any]:
    """Data and their terms, command, commit, scores, step.

    Of other parameters than those loaded it has no scores. Rounded ones keep
    the run's rows, but not the score of the fixed sample.
    """
    facts = self.describe()
    if not _equal(self.params, self.original):
      facts.pop("sample", None)
      if not any(
        _equal(self.params, _rounded(self.original, dtype))
        for dtype in portable.DTYPES.values()
      ):
        facts.pop("rows", None)
    return facts

  def apply(self, carry: Tree, *inputs: Any) -> tuple[Tree, jax.Array]:
    """The network's `apply` with its own parameters."""
    return self.model.apply(self.params, carry, *inputs)

  def rounded(self: Any_, dtype: str) -> Any_:
    """The same model with the parameters that `save` keeps in that dtype."""
    params = _rounded(self.params, portable.dtype_named(dtype))
    return dataclasses.replace(self, params=jax.device_put(params))

  def save(
    self,
    path: str | os.PathLike[str],
    dtype: str = "float32",
    *,
    card: Mapping[str, Any] | None = None,
  ) -> None:
    """Writes one file that `load` reads anywhere; see `portable`.

    Args:
      path: of the file, usually with the suffix `.safetensors`.
      dtype: of the weights, "float32" (exact) or "bfloat16" (half the size).
      card: facts to add to `card`.

    Raises:
      UserError, RunError: as `portable.write`.
    """
    data = dict(self.settings["data"])
    settings = {**self.settings, "data": data}
    # The run it began from and its text are known by name alone elsewhere.
    for of, key in ((settings, "restore"), (data, "path")):
      if isinstance(of.get(key), str):
        of[key] = pathlib.PurePath(of[key]).name
    stored = self.rounded(dtype)
    portable.write(
      path,
      portable.Portable(
        self.kind,
        settings,
        {**self.symbols.record, "sha256": self.symbols.hash},
        {**stored.card, "step": self.step, "weights": dtype, **(card or {})},
        {
          name: np.asarray(leaf)
          for name, leaf in trees.leaves_by_name(stored.params).items()
        },
      ),
      dtype,
    )


def _rounded(params: Tree, dtype: np.dtype) -> Tree:
  return jax.tree.map(
    lambda leaf: np.asarray(leaf).astype(dtype).astype(np.float32), params
  )


def _equal(first: Tree, second: Tree) -> bool:
  if first is second:
    return True
  one, other = map(trees.leaves_by_name, (first, second))
  return one.keys() == other.keys() and all(
    np.array_equal(one[name], other[name]) for name in one
  )


class TextMetrics(losses.Metrics):
  """The score of a text."""

  @property
  def unknown(self) -> int:
    """Symbols that the vocabulary lacks, scored as `<unk>`."""
    return int(self.sums["unknown"])


@dataclasses.dataclass(frozen=True, eq=False)
class TextModel(Loaded):
  """A trained language model.

  >>> import tempfile
  >>> folder = tempfile.mkdtemp()
  >>> letters = vocabularies.Vocabulary(tuple(" abc"))
  >>> from seqmodels import trained
  >>> untrained = trained.made(
  ...   "language_model", {"model": {"cell": "gru", "features": [4],
  ...   "input_skips": True, "output_skips": True, "gradient_clip": 1.0,
  ...   "chunk": 0}, "dtype": "float32", "data": {"tokenizer": "characters"}},
  ...   letters)
  >>> untrained.save(f"{folder}/letters.safetensors")
  >>> model = trained.load(f"{folder}/letters.safetensors")
  >>> model.score("a cab").count
  5
  >>> len(model.sample(prime="ab", length=8, temperature=0.5, top_k=2))
  10
  """

  @staticmethod
  def build(
    settings: Mapping[str, Any], symbols: int
  ) -> networks.SequenceModel:
    """The network of its settings, over a vocabulary."""
    return networks.language_model(settings, symbols)

  @staticmethod
  def parse(record: Mapping[str, Any]) -> vocabularies.Vocabulary:
    """The vocabulary of what JSON holds."""
    return vocabularies.Vocabulary.from_json(json.dumps(record))

  @staticmethod
  def read_symbols(folder: pathlib.Path) -> vocabularies.Vocabulary:
    """The vocabulary of a run folder."""
    if not (folder / VOCABULARY).is_file():
      raise errors.UserError(
        f"{folder} has no {VOCABULARY}: its run stopped before training; run "
        "its command again"
      )
    return vocabularies.Vocabulary.load(folder / VOCABULARY)

  @property
  def vocabulary(self) -> vocabularies.Vocabulary:
    """Its symbols by id."""
    return self.symbols

  @property
  def tokenizer(self) -> vocabularies.Tokenizer:
    """The tokenizer of its symbols: characters, words or bytes."""
    return vocabularies.named(self.settings["data"]["tokenizer"])

  @property
  def sentence_end(self) -> int | None:
    """The id after which the carry is cleared; None if it never is."""
    if not self.settings["data"].get("sentences"):
      return None
    return self.vocabulary.index[self.tokenizer.sentence_end]

  def score(
    self,
    text: str | bytes,
    *,
    dynamic: Mapping[str, float] | None = None,
    segment: int = 20,
  ) -> TextMetrics:
    """Scores a text, every symbol once, from an empty carry.

    Args:
      text: of the model's symbols; others count as `<unk>` if it has one.
      dynamic: settings of the rule "sgd" of `dynamic.RULES`, such as
        `{"learning_rate": 0.01, "momentum": 0.0}`: learn from each segment
        after it is scored. None leaves the weights alone.
      segment: symbols that dynamic evaluation learns from at a time. A static
        score does not depend on it.

    Returns:
      Metrics: `nats`, `count`, `bits_per_symbol` (bits per character, or byte),
      `perplexity`; `unknown`, the symbols that the vocabulary lacks. Each
      such symbol costs what `<unk>` does, so that scores with many of them
      are lower than those of the text itself.

    Raises:
      UserError: an empty text, or symbols that the vocabulary lacks if it has
        no `<unk>`.
    """
    data = text.encode("utf-8") if isinstance(text, str) else text
    if not data:
      raise errors.UserError(
        "the text to score is empty; give at least 1 symbol"
      )
    symbols = self.tokenizer.split(np.frombuffer(data, np.uint8))
    ids = self.vocabulary.encode(symbols)
    scores = self._scored(ids, dynamic, segment)
    unknown = len(self._unknown(symbols))
    sums = {**scores.sums, "unknown": unknown}
    return TextMetrics(*scores._replace(sums=sums))

  def _unknown(self, symbols: Sequence[Any]) -> list[Any]:
    if self.vocabulary.unk is None:  # encoding them has failed
      return []
    return [symbol for symbol in symbols if symbol not in self.vocabulary]

  def _scored(
    self,
    ids: np.ndarray,
    dynamic: Mapping[str, float] | None = None,
    segment: int = 20,
  ) -> losses.Metrics:
    stream = batching.SequentialStream(
      ids, batch=1, length=segment, sentence_end=self.sentence_end
    )
    pieces = batching.Chunks.of(stream, CHUNK)
    if dynamic is None:
      return static.evaluate(self.model, self.params, pieces)
    rule = dynamic_lib.make_rule("sgd", self.params, dynamic)
    return dynamic_lib.evaluate(self.model, self.params, pieces, rule)

  def sample(
    self,
    *,
    prime: str = "",
    length: int = 500,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
  ) -> str:
    """Continues a text.

    Args:
      prime: text to continue; empty starts from the null vector.
      length: symbols to draw.
      temperature: 1 draws from the model, below 1 is more careful, 0 takes the
        likeliest symbol.
      top_k: draw among so many of the likeliest; 0 among all.
      seed: equal seeds draw equal text.

    Returns:
      The prime and what follows it.

    Raises:
      UserError: a prime of other symbols, or a setting out of range.
    """
    symbols = self.tokenizer.prime(prime)
    ids = self.vocabulary.encode(symbols)
    unknown = self._unknown(symbols)
    if unknown:
      raise errors.UserError(
        f"the prime holds {unknown[0]!r}, which is not among the "
        f"{self.vocabulary.size} symbols of this vocabulary; leave it out or "
        f"give {vocabularies.UNKNOWN!r} for it"
      )
    temperature, sharpen = text_lib.of(temperature, top_k)
    drawn = text_lib.sample(
      self.model,
      self.params,
      jax.random.key(seed),
      prime=ids.tolist(),
      length=length,
      temperature=temperature,
      logit_filters=sharpen,
      sentence_end=self.sentence_end,
    )
    continued = np.concatenate([ids, drawn[:, 0]])
    return self.tokenizer.text(self.vocabulary.decode(continued))

  def check(self) -> dict[str, float]:
    """Nats and symbols of a fixed sample: what a shipped file must keep.

    Symbols that the vocabulary lacks are left out of it.
    """
    data = np.frombuffer(pretrained.SAMPLE.encode(), np.uint8)
    known = [
      symbol
      for symbol in self.tokenizer.split(data)
      if symbol in self.vocabulary or self.vocabulary.unk is not None
    ]
    total = self._scored(self.vocabulary.encode(known or self.vocabulary))
    return {"nats": total.nats, "count": total.count}


VOCABULARY = "vocabulary.json"

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


def _handwriting_model() -> type[Loaded]:
  # Not at the top: who trains or reads a language model needs none of it.
  from seqmodels import trained_handwriting

  return trained_handwriting.HandwritingModel


class Kind(NamedTuple):
  """A kind of model.

  Attributes:
    words: what it is called.
    identity: the name under which checkpoints keep the hash of its symbols.
    model: () -> what `load` makes of it.
  """

  words: str
  identity: str
  model: Callable[[], type[Loaded]]


KINDS = {
  "language_model": Kind("language model", "vocabulary", lambda: TextModel),
  "handwriting": Kind("handwriting network", "pen", _handwriting_model),
}


def load(
  path: str | os.PathLike[str], *, dtype: str = ""
) -> "TextModel | trained_handwriting.HandwritingModel":
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
  model: TextModel | trained_handwriting.HandwritingModel
  model = build(read(path), dtype=dtype)
  return model


def read(path: str | os.PathLike[str], kind: str = "") -> Source:
  """The contents of a run folder or a portable file, its weights not yet read.

  Args:
    path: of either.
    kind: a key of `KINDS` that it must be of; empty takes any.

  Raises:
    UserError: there is none, it is damaged, or of another kind.
  """
  place = pathlib.Path(os.path.expanduser(path))
  is_file = not place.is_dir() and (
    place.is_file() or place.suffix == portable.SUFFIX
  )
  return (_of_file if is_file else _of_folder)(place, kind)


def build(source: Source, *, dtype: str = "") -> Any:
  """The model of a source, its weights read.

  Raises:
    UserError: the settings describe no network, or another than the weights'.
    RunError: all checkpoints of the run are corrupt.
  """
  model, settings = KINDS[source.kind].model(), dict(source.settings)
  if dtype:
    settings["dtype"] = dtype
  try:
    network = model.build(settings, source.symbols.size)
    target = jax.eval_shape(network.init, jax.random.key(0))
  except FAULTS as error:
    raise source.damaged(f"it describes no network: {error}") from error
  step, params = source.weights(target)
  return model(
    network, params, settings, step, source.kind, source.symbols, source.place,
    source.card, params,
  )  # fmt: skip


def _is_bare(name: str) -> bool:
  """True for what can only be a name: no path of folders, no file name."""
  return os.path.basename(name) == name and not name.endswith(portable.SUFFIX)


def made(kind: str, settings: dict[str, Any], symbols: Symbols) -> Any:
  """An untrained model of plain settings, such as tests and examples need."""

  def weights(target: Tree) -> Weights:
    del target
    network = KINDS[kind].model().build(settings, symbols.size)
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
  """Raises UserError for weights of a `meta` that has other symbols."""
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


def _of_folder(folder: pathlib.Path, wanted: str) -> Source:
  # Not at the top: a portable file needs neither these nor what they import.
  from seqmodels.io import checkpoints, run_folder

  def damaged(reason: object) -> errors.UserError:
    return files.damaged(folder / run_folder.CONFIG, reason)

  settings = run_folder.read_config(folder)
  data = settings.get("data")
  kind = ""
  if settings.get("experiment") == "handwriting":
    kind = "handwriting"
  elif "model" in settings and isinstance(data, dict) and "tokenizer" in data:
    kind = "language_model"
  _require_kind(kind, wanted, settings, folder)
  seeds = settings.get("seeds", 1)
  if files.is_whole(seeds) and seeds > 1:
    first = folder / f"seed-{settings.get('seed')}"
    raise errors.UserError(
      f"{folder} holds {seeds} seeds; name one of them, such as {first}"
    )
  for name in ("model", "data"):
    if not isinstance(settings.get(name), dict):
      raise damaged(f"{name!r} is missing or no object")
  symbols = KINDS[kind].model().read_symbols(folder)

  def weights(target: Tree) -> Weights:
    params = checkpoints.restore_params(folder, target)
    require_same_symbols(params.meta, kind, symbols, folder)
    return Weights(params.step, params.tree)

  return Source(
    folder,
    kind,
    settings,
    symbols,
    lambda: portable.read_data(folder),
    weights,
    lambda: portable.of_run(folder, settings),
    damaged,
  )


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
  file = portable.read(path)

  def damaged(reason: object) -> errors.UserError:
    return portable.damaged(path, reason)

  _require_kind(file.kind, wanted, file.settings, path)
  try:
    record = dict(file.symbols)
    digest = record.pop("sha256")
    symbols = KINDS[file.kind].model().parse(record)
    model, data = file.settings["model"], file.card.get("data")
    if file.kind == "language_model":
      vocabularies.named(file.settings["data"]["tokenizer"])
    step = file.card["step"]
    if max(len(model["features"]), model.get("rounds", 0)) > DEEPEST:
      raise ValueError(f"it has more than {DEEPEST} layers or rounds")
    if data is not None and not all(map(portable.is_file_row, data["files"])):
      raise ValueError("a file of its data has no name, size or SHA-256")
    if not files.is_whole(step) or not all(
      map(portable.is_score, file.card.get("rows", []))
    ):
      raise ValueError("its card has no step, or scores that are none")
  except (*FAULTS, errors.UserError) as error:
    raise damaged(error) from error
  if digest != symbols.hash:
    raise damaged("its symbols do not match their checksum")

  def weights(target: Tree) -> Weights:
    notes = trees.differences(target, file.weights)
    if notes:
      raise errors.UserError(
        f"the weights in {path} are not those of this network: "
        f"{'; '.join(notes)}; give the settings they were trained with"
      )
    kinds = {
      name: checkpoint_integrity.Description(leaf.shape, str(leaf.dtype), "")
      for name, leaf in file.weights.items()
    }
    return Weights(
      step, checkpoint_integrity.rebuild(target, file.weights, kinds)
    )

  return Source(
    path, file.kind, file.settings, symbols, lambda: data, weights,
    lambda: dict(file.card), damaged,
  )  # fmt: skip
