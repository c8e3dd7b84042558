"""Trained models as objects: what can be done with one."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from seqmodels import errors, portable, pretrained, trees, writing
from seqmodels.data import (
  chunked,
  pen_batches,
  pen_lines,
  streams,
  synthetic_pen,
  tokenizers,
)
from seqmodels.data import pen as pens
from seqmodels.data import vocabulary as vocabularies
from seqmodels.evaluation import dynamic as dynamics
from seqmodels.evaluation import dynamic_rules, static, totals
from seqmodels.evaluation import handwriting as pen_evaluation
from seqmodels.models import pen_network, predictor
from seqmodels.sampling import sharpening
from seqmodels.sampling import text as sampling

Tree = Any
Any_ = TypeVar("Any_", bound="Loaded")
CHUNK = 64  # segments scored in one dispatch


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
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

  @property
  def card(self) -> dict[str, Any]:
    """Data and their terms, command, commit, scores, step.

    Of other parameters than those loaded it has no scores. Rounded ones keep
    the run's rows, but not the score of the fixed sample.
    """
    found = self.describe()
    if not _equal(self.params, self.original):
      found.pop("sample", None)
      if not any(
        _equal(self.params, _rounded(self.original, dtype))
        for dtype in portable.DTYPES.values()
      ):
        found.pop("rows", None)
    return found

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


@dataclasses.dataclass(frozen=True)
class TextTotals(totals.Totals):
  """What scoring a text found.

  Attributes:
    unknown: scored symbols that the vocabulary lacks, taken for `<unk>`.
  """

  unknown: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class TextModel(Loaded):
  """A trained language model.

  >>> import tempfile
  >>> folder = tempfile.mkdtemp()
  >>> letters = vocabularies.Vocabulary(tuple(" abc"))
  >>> from seqmodels import loading
  >>> untrained = loading.made(
  ...   "language_model", {"model": {"cell": "gru", "features": [4],
  ...   "input_skips": True, "output_skips": True, "gradient_clip": 1.0,
  ...   "chunk": 0}, "dtype": "float32", "data": {"tokenizer": "characters"}},
  ...   letters)
  >>> untrained.save(f"{folder}/letters.safetensors")
  >>> model = loading.load(f"{folder}/letters.safetensors")
  >>> model.score("a cab").count
  5
  >>> len(model.sample(prime="ab", length=8, temperature=0.5, top_k=2))
  10
  """

  @property
  def predictor(self) -> predictor.Predictor:
    """The network, by the library's own name for it."""
    return self.model

  @property
  def vocabulary(self) -> vocabularies.Vocabulary:
    """Its symbols by id."""
    return self.symbols

  @property
  def tokenizer(self) -> tokenizers.Tokenizer:
    """What its symbols are: characters, words or bytes."""
    return tokenizers.named(self.settings["data"]["tokenizer"])

  @property
  def sentence_end(self) -> int | None:
    """The id after which it begins anew; None if it reads straight on."""
    if not self.settings["data"].get("sentences"):
      return None
    return self.vocabulary.index[self.tokenizer.sentence_end]

  def score(
    self,
    text: str | bytes,
    *,
    dynamic: Mapping[str, float] | None = None,
    segment: int = 20,
  ) -> TextTotals:
    """Scores a text, every symbol once, from an empty carry.

    Args:
      text: of the model's symbols; others count as `<unk>` if it has one.
      dynamic: settings of the rule "sgd" of `dynamic_rules`, such as
        `{"learning_rate": 0.01, "momentum": 0.0}`: learn from each segment
        after it is scored. None leaves the weights alone.
      segment: symbols that dynamic evaluation learns from at a time. A static
        score does not depend on it.

    Returns:
      Totals: `nats`, `count`, `bits_per_symbol` (bits per character, or byte),
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
    found = self._scored(ids, dynamic, segment)
    return TextTotals(
      **dataclasses.asdict(found), unknown=len(self._unknown(symbols))
    )

  def _unknown(self, symbols: Sequence[Any]) -> list[Any]:
    if self.vocabulary.unk is None:  # encoding them has failed
      return []
    return [symbol for symbol in symbols if symbol not in self.vocabulary]

  def _scored(
    self,
    ids: np.ndarray,
    dynamic: Mapping[str, float] | None = None,
    segment: int = 20,
  ) -> totals.Totals:
    stream = streams.SequentialStream(
      ids, batch=1, length=segment, sentence_end=self.sentence_end
    )
    pieces = chunked.Chunks.of(stream, CHUNK)
    if dynamic is None:
      return static.evaluate(self.model, self.params, pieces)
    rule = dynamic_rules.make("sgd", self.params, dynamic)
    return dynamics.evaluate(self.model, self.params, pieces, rule)

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
    temperature, sharpen = sharpening.of(temperature, top_k)
    drawn = sampling.sample(
      self.model,
      self.params,
      jax.random.key(seed),
      prime=ids.tolist(),
      length=length,
      temperature=temperature,
      sharpening=sharpen,
      sentence_end=self.sentence_end,
    )
    found = np.concatenate([ids, drawn[:, 0]])
    return self.tokenizer.text(self.vocabulary.decode(found))

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
    found = self._scored(self.vocabulary.encode(known or self.vocabulary))
    return {"nats": found.nats, "count": found.count}


@dataclasses.dataclass(frozen=True, eq=False)
class HandwritingModel(Loaded):
  """A trained handwriting network: of prediction, or of synthesis."""

  @property
  def network(self) -> pen_network.PenNetwork:
    """The network, by the library's own name for it."""
    return self.model

  @property
  def pen(self) -> pens.Pen:
    """Alphabet and scaling."""
    return self.symbols

  def write(
    self,
    text: str,
    *,
    bias: float = 0.5,
    prime: tuple[np.ndarray, str] | None = None,
    seed: int = 0,
    width: int = 30,
    points_per_character: int = 60,
  ) -> writing.Page:
    """Writes a text by hand.

    Args:
      text: of the alphabet's characters; long ones are broken into lines.
      bias: from 0 (as the network writes) to 10 (hardly any variation).
      prime: strokes [P, 3] of a real line in the data's units, whose hand is
        continued, and what that line says.
      seed: equal seeds write equal pages.
      width: characters of a line.
      points_per_character: at most; a line that takes more is cut there.

    Returns:
      A page with `strokes`, `svg()` and `save(path)`.

    Raises:
      UserError: as `writing.page`, or the network knows no text.
      RunError: it wrote nothing that can be drawn.
    """
    if self.network.window is None:
      raise errors.UserError(
        f"the network of {self.place} predicts pen movements and knows "
        "no text; give one of configs/handwriting_synthesis.py"
      )
    strokes, says = prime if prime is not None else (None, "")
    return writing.page(
      self.network,
      self.params,
      self.pen,
      text,
      bias=bias,
      seed=seed,
      width=width,
      points_per_character=points_per_character,
      prime=None if strokes is None else self.pen.scaling.standardise(strokes),
      before=f"{says} " if says else "",
    )

  def score(self, strokes: np.ndarray, text: str) -> pen_evaluation.Totals:
    """Scores a line of handwriting.

    Args:
      strokes: [T, 3] in the data's units: x offset, y offset (downwards), end
        of stroke.
      text: what it says; not looked at by a network of prediction.

    Returns:
      Totals: `nats`, `points`, `nats_per_sequence`, `nats_per_point`, `sse`.

    Raises:
      UserError: a text that the alphabet cannot spell.
    """
    lines = pen_lines.PenLines.of(
      [self.pen.scaling.standardise(strokes)], ["line"], [text]
    )
    alphabet = self.pen.alphabet if self.network.symbols else None
    found = pen_batches.evaluation(lines, alphabet, 1)
    return pen_evaluation.evaluate(
      self.network, self.params, (segment for _, segment in found)
    )

  def check(self) -> dict[str, float]:
    """Nats and points of a fixed line: what a shipped file must keep."""
    line = synthetic_pen.synthetic(lines=1, seed=0)
    found = self.score(line.line(0), line.texts[0])
    return {"nats": found.nats, "count": found.points}
