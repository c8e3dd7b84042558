"""Settings of the compression model, and how a file is cut into streams."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.compression import experts

# What anybody's file may make a reader hold.
_MOST_WEIGHTS = 1 << 28
_MOST_LAYERS = 8
# Numbers that a gradient keeps of the symbols it goes back over.
_MOST_KEPT = 1 << 27
# Of every stream in a block, or hardly anything would be learnt.
_LEAST_STEPS = 16
_DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Settings:
  """A model of bytes and the way a file is cut for it.

  Attributes:
    streams: parallel pieces of a block, the batch of every step. More are
      faster and compress less: pieces cannot learn from each other's beginning.
    block: bytes of a block, the unit of checks, of resuming and of memory.
    layers: width of each layer of the network; empty does without a network.
    cell: of the network.
    dtype: of the operands of the network's products.
    segment: steps between two updates of the network.
    learning_rate: of the first of them; 0 leaves the weights as they are.
    final_learning_rate: of the last, linear in between.
    replay_every: updates between two that learn again from the past; 0: none.
    replay_windows: sequences in such an update.
    replay_length: bytes of each.
    contexts: of the context expert; empty does without.
    context_bits: its table has 2^bits rows of 64 bytes.
    match: bytes that must agree for the match expert to speak; 0 does without.
    mixing_rate: of the mixer.
    seed: of all that is random.

  Raises:
    UserError: a value outside its bounds.

  >>> Settings(streams=0)
  Traceback (most recent call last):
  seqmodels.errors.UserError: streams is 0; it must be from 1 to 4,096
  """

  streams: int = 4
  block: int = 65_536
  layers: tuple[int, ...] = (256,)
  cell: str = "layer_norm_lstm"
  dtype: str = "float32"
  segment: int = 8
  learning_rate: float = 5e-3
  final_learning_rate: float = 5e-4
  replay_every: int = 0
  replay_windows: int = 16
  replay_length: int = 64
  contexts: tuple[str, ...] = ("1", "2", "3", "4", "5", "6", "word")
  context_bits: int = 22
  match: int = 6
  mixing_rate: float = 0.002
  seed: int = 0

  def __post_init__(self) -> None:
    """Refuses what no model can be made of, whoever asks for it."""
    for name, (least, most) in BOUNDS.items():
      value = getattr(self, name)
      for one in value if name == "layers" else (value,):
        whole = isinstance(least, int)
        right = isinstance(one, int if whole else (int, float))
        if isinstance(one, bool) or not right or not least <= one <= most:
          raise errors.UserError(
            f"{name} is {value!r}; it must be from {least:,} to {most:,}"
          )
    below = [0, *self.layers]
    weights = sum(
      4 * own * (256 + under + own)
      for own, under in zip(self.layers, below, strict=False)
    )
    if weights > _MOST_WEIGHTS:
      raise errors.UserError(
        f"layers of {self.layers} have about {weights:,} weights; they may "
        f"have {_MOST_WEIGHTS:,}"
      )
    if len(self.layers) > _MOST_LAYERS:
      raise errors.UserError(
        f"there are {len(self.layers)} layers; there may be {_MOST_LAYERS}"
      )
    if self.streams * _LEAST_STEPS > self.block:
      raise errors.UserError(
        f"a block of {self.block:,} bytes is too short for {self.streams:,} "
        f"streams: it takes {_LEAST_STEPS} bytes of each"
      )
    width = 256 + sum(self.layers)
    for first, second in (
      ("streams", "segment"),
      ("replay_windows", "replay_length"),
    ):
      symbols = getattr(self, first) * getattr(self, second)
      if symbols * width > _MOST_KEPT:
        raise errors.UserError(
          f"{first} x {second} is {symbols:,}, too many for layers of "
          f"{self.layers}: it may be {_MOST_KEPT // width:,}"
        )
    if len(set(map(str, self.contexts))) < len(self.contexts):
      raise errors.UserError(f"a context is named twice in {self.contexts}")
    for name in self.contexts:
      if not isinstance(name, str) or name not in experts.CONTEXTS:
        near = errors.closest(str(name), experts.CONTEXTS)
        raise errors.UserError(f"there is no context {name!r}{near}")
    if not isinstance(self.cell, str) or self.cell not in cells.CELLS:
      near = errors.closest(str(self.cell), cells.CELLS)
      raise errors.UserError(f"there is no cell {self.cell!r}{near}")
    if self.dtype not in _DTYPES:
      raise errors.UserError(
        f"dtype is {self.dtype!r}; it must be one of {', '.join(_DTYPES)}"
      )

  @classmethod
  def of(cls, values: Mapping[str, Any]) -> Self:
    """From plain values, such as JSON has.

    Raises:
      UserError: a name that is none of the attributes, or a bad value.
    """
    fields = {field.name for field in dataclasses.fields(cls)}
    for name, value in values.items():
      if name not in fields:
        raise errors.UserError(
          f"there is no setting {name!r}{errors.closest(name, fields)}"
        )
      sequence = name in ("layers", "contexts")
      if sequence != isinstance(value, (list, tuple)):
        raise errors.UserError(f"{name} is {value!r}, which it cannot be")
    plain: dict[str, Any] = {
      name: tuple(value) if isinstance(value, list) else value
      for name, value in values.items()
    }
    return cls(**plain)


BOUNDS: Mapping[str, tuple[float, float]] = {
  "streams": (1, 4096),
  "block": (64, 1 << 26),
  "layers": (1, 8192),
  "segment": (1, 1024),
  "learning_rate": (0.0, 1.0),
  "final_learning_rate": (0.0, 1.0),
  "replay_every": (0, 1 << 20),
  "replay_windows": (1, 4096),
  "replay_length": (16, 4096),
  "context_bits": (8, 24),
  "match": (0, 64),
  "mixing_rate": (0.0, 1.0),
  "seed": (0, (1 << 32) - 1),
}


# Streams of a file that is shorter than this many bytes each are not worth it.
_SHORTEST_STREAM = 1024


class Block(NamedTuple):
  """Consecutive bytes that are coded together.

  Attributes:
    number: 0, 1, ...
    begin: of its first byte in the file.
    size: bytes.
    streams: pieces that it is cut into; the first `size % streams` are one
      byte longer than the others.
  """

  number: int
  begin: int
  size: int
  streams: int

  @property
  def starts(self) -> np.ndarray:
    """The start of each stream within the block, and the block's end."""
    short, longer = divmod(self.size, self.streams)
    index = np.arange(self.streams + 1)
    return index * short + np.minimum(index, longer)

  @property
  def offsets(self) -> np.ndarray:
    """The start of each stream within the file, as experts want it."""
    starts = (self.begin + self.starts[:-1]) % experts.OFFSETS
    return starts.astype(np.int32)

  @property
  def steps(self) -> int:
    """Steps in which every stream has a byte."""
    return self.size // self.streams

  def split(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes in the order of coding: [steps, streams], and what is left.

    >>> Block(0, 0, 5, 2).split(np.arange(5))
    (array([[0, 3],
           [1, 4]]), array([2]))
    """
    starts = self.starts[:-1]
    whole = data[starts + np.arange(self.steps)[:, None]]
    rest = data[starts[: self.size % self.streams] + self.steps]
    return whole, rest

  def join(self, whole: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Undoes `split`."""
    data = np.empty(self.size, np.uint8)
    starts = self.starts[:-1]
    data[starts + np.arange(self.steps)[:, None]] = whole
    data[starts[: len(rest)] + self.steps] = rest
    return data


def streams(settings: Settings, size: int) -> int:
  """Streams of every block of a file of so many bytes.

  >>> streams(Settings(streams=16), 3000)
  2
  """
  return max(1, min(settings.streams, size // _SHORTEST_STREAM))


def count(settings: Settings, size: int) -> int:
  """Blocks of a file of so many bytes."""
  return -(-size // settings.block)


def blocks(settings: Settings, size: int, *, first: int = 0) -> Iterator[Block]:
  """The blocks of a file, from the given one on.

  >>> [block.size for block in blocks(Settings(block=64), 100)]
  [64, 36]
  """
  for number in range(first, count(settings, size)):
    begin = number * settings.block
    yield Block(
      number,
      begin,
      min(settings.block, size - begin),
      streams(settings, size),
    )
