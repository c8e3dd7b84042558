"""Minibatches of text: contiguous streams, random windows, sentences."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np

from seqmodels import errors
from seqmodels.data import batching
from seqmodels.data.text import tokens as tokens_lib

NULL = -1


class Segment(NamedTuple):
  """One truncated-backpropagation window, time-major.

  Attributes:
    inputs: int32 [T, B], the previous symbol of each row; -1 is the null vector
      (nothing came before).
    targets: int32 [T, B], the symbol to predict; 0 where `mask` is False.
    mask: bool [T, B], True where the target is scored.
    reset: bool [T, B], True where the carry is cleared before the step.
  """

  inputs: np.ndarray
  targets: np.ndarray
  mask: np.ndarray
  reset: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class SequentialStream(batching.Stream[Segment]):
  """A text in B contiguous rows, read T symbols at a time, epoch after epoch.

  Row b is the b-th piece of ceil(N / B) symbols. In each epoch every symbol is
  a target exactly once; what a row lacks at its end is masked. A segment goes
  on where the one before it stopped, so the carry can cross; the first segment
  of an epoch resets it. Rows after the first begin within the text: their first
  input is the true symbol before them, their carry is fresh.

  >>> stream = SequentialStream(np.array([5, 6, 7, 8]), batch=1, length=3)
  >>> first, second = stream.segment(0), stream.segment(1)
  >>> first.inputs[:, 0], first.targets[:, 0]
  (array([-1,  5,  6], dtype=int32), array([5, 6, 7], dtype=int32))
  >>> second.targets[:, 0], second.mask[:, 0]
  (array([8, 0, 0], dtype=int32), array([ True, False, False]))

  Attributes:
    tokens: integer ids [N], in memory or mapped; cast a segment at a time.
    batch: B, rows.
    length: T, symbols a segment.
    seed: of the random offsets.
    sentence_end: an id; whatever follows it begins a sequence of its own, from
      the null vector with a fresh carry (Graves 2013 on Penn Treebank).
    reset_every: carries are also cleared every so many segments of an epoch.
    random_offset: rotate the text by a random number of symbols each epoch, so
      that rows and segments are cut elsewhere. What was the first symbol still
      follows nothing.
    training: refuse a text that does not fill one segment; evaluation takes any
      length and masks the rest.
  """

  tokens: tokens_lib.Ids
  _: dataclasses.KW_ONLY
  batch: int
  length: int
  seed: int = 0
  sentence_end: int | None = None
  reset_every: int | None = None
  random_offset: bool = False
  training: bool = False

  def __post_init__(self) -> None:
    check_shape(self.tokens, self.batch, self.length)
    if self.reset_every is not None and self.reset_every < 1:
      raise errors.UserError(
        f"reset_every is {self.reset_every}; it must be at least 1 segment, or "
        "None for no resets within an epoch"
      )
    if self.training and len(self.tokens) < self.batch * self.length:
      raise too_short(len(self.tokens), self.batch, self.length)

  @property
  def row_length(self) -> int:
    """Symbols a row: ceil(N / B)."""
    return -(-len(self.tokens) // self.batch)

  @property
  def segments_per_epoch(self) -> int:
    """Segments that hold every symbol once: ceil(row length / T)."""
    return -(-self.row_length // self.length)

  def segments(self, start: int, count: int) -> Segment:
    """Segments `start` to `start + count`, stacked; arrays [count, T, B]."""
    steps = np.array(batching.steps(start, count))
    epochs, places = np.divmod(steps, self.segments_per_epoch)
    rows = np.arange(self.batch)
    # Within the row, then within the text; [count, T, 1] and [count, T, B].
    local = (places[:, None] * self.length + np.arange(self.length))[..., None]
    nominal = rows * self.row_length + local
    total = len(self.tokens)
    mask = (local < self.row_length) & (nominal < total)
    offsets = np.array([self._offset(int(epoch)) for epoch in epochs])
    position = (nominal + offsets[:, None, None]) % total
    targets = np.where(mask, self.tokens[position], 0).astype(np.int32)
    inputs = self.tokens[position - 1].astype(np.int32)
    begins = position == 0
    if self.sentence_end is not None:
      begins |= inputs == self.sentence_end
    inputs[begins | ~mask] = NULL
    reset = begins & mask
    fresh = places == 0
    if self.reset_every is not None:
      fresh |= places % self.reset_every == 0
    reset[fresh, 0] = True
    return Segment(inputs, targets, mask, reset)

  def _offset(self, epoch: int) -> int:
    if not self.random_offset:
      return 0
    return _random_offset(self.seed, epoch, len(self.tokens))


# A segment costs less than making a generator; epochs last many segments.
@functools.lru_cache(maxsize=64)
def _random_offset(seed: int, epoch: int, total: int) -> int:
  return int(batching.generator(seed, epoch).integers(total))


def check_shape(tokens: tokens_lib.Ids, batch: int, length: int) -> None:
  """Checks what every stream is made of.

  Raises:
    UserError: no tokens, or a batch or length below 1.
  """
  if batch < 1 or length < 1:
    raise errors.UserError(
      f"batch is {batch} and length is {length}; both must be at least 1"
    )
  if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
    raise TypeError(
      f"tokens must be integers [N]; got {tokens.dtype}{list(tokens.shape)}"
    )
  if not len(tokens):
    raise errors.UserError("the text has 0 symbols; give one with at least 1")


def too_short(total: int, batch: int, length: int) -> errors.UserError:
  """The error of a training text that does not fill one segment."""
  return errors.UserError(
    f"the training text has {total:,} symbols and one segment takes "
    f"{batch * length:,} ({batch} rows of {length}); use a longer text, a "
    "smaller batch or shorter segments"
  )


@dataclasses.dataclass(frozen=True, eq=False)
class RandomWindows(batching.Stream[Segment]):
  """Windows of T symbols, shuffled each epoch, every one from a fresh carry.

  An epoch drops a random 0 to T - 1 symbols at the front, cuts the rest into
  windows of T that do not overlap, and deals them out in random order; windows
  left over after the last full batch wait for another epoch. The first input of
  a window is the true symbol before it (Zhang et al., Dive into Deep Learning,
  "Random Sampling").

  >>> windows = RandomWindows(np.arange(35), batch=2, length=5, seed=0)
  >>> windows.segments_per_epoch
  3
  >>> segment = windows.segment(0)
  >>> bool(np.all(segment.targets == segment.inputs + 1))
  True

  Attributes as of `SequentialStream`.
  """

  tokens: tokens_lib.Ids
  _: dataclasses.KW_ONLY
  batch: int
  length: int
  seed: int = 0

  def __post_init__(self) -> None:
    check_shape(self.tokens, self.batch, self.length)
    if self.segments_per_epoch < 1:
      # One symbol comes before the first window and up to T - 1 are dropped.
      raise errors.UserError(
        f"the training text has {len(self.tokens):,} symbols and random "
        f"sampling of {self.batch} windows of {self.length} needs "
        f"{(self.batch + 1) * self.length:,}; use a longer text, a smaller "
        "batch or shorter segments"
      )

  @property
  def segments_per_epoch(self) -> int:
    """Full batches that every offset allows."""
    return (len(self.tokens) // self.length - 1) // self.batch

  def segments(self, start: int, count: int) -> Segment:
    """Segments `start` to `start + count`, stacked; arrays [count, T, B]."""
    rows = np.arange(self.batch)
    firsts = np.stack(
      [self._firsts(step, rows) for step in batching.steps(start, count)]
    )
    position = firsts[:, None, :] + np.arange(self.length)[:, None]
    mask = np.ones(position.shape, bool)
    reset = np.zeros(position.shape, bool)
    reset[:, 0] = True
    return Segment(
      self.tokens[position - 1].astype(np.int32),
      self.tokens[position].astype(np.int32),
      mask,
      reset,
    )

  def _firsts(self, step: int, rows: np.ndarray) -> np.ndarray:
    """Positions of the first target of each row."""
    epoch, place = divmod(step, self.segments_per_epoch)
    firsts = _epoch_firsts(self.seed, epoch, len(self.tokens), self.length)
    return firsts[place * self.batch + rows]


# The order of an epoch is as long as its number of windows; kept for the epoch
# in use, and the one before it at the turn.
@functools.lru_cache(maxsize=2)
def _epoch_firsts(seed: int, epoch: int, total: int, length: int) -> np.ndarray:
  """Shuffled positions of the first target of every window of an epoch."""
  order = batching.generator(seed, epoch)
  offset = int(order.integers(length))
  count = (total - offset - 1) // length
  firsts = 1 + offset + length * np.arange(count)
  return order.permutation(firsts)


@dataclasses.dataclass(frozen=True, eq=False)
class Sentences(batching.Stream[Segment]):
  """B whole sentences of like length a step, drawn again every epoch.

  With B = 1 this is how Graves (2013, section 3.1) trains on the Penn
  Treebank: a sentence is a sequence, it starts from the null vector and the
  cleared state, and the weights change after each. Shorter ones are padded with
  positions that are not scored; `batching.LikeLength` says which sentences a
  step takes and what they are padded to. Sentences left over after the last
  full batch wait for another epoch.

  >>> ids = np.array([5, 0, 6, 7, 0, 8, 9])
  >>> stream = Sentences(ids, batch=1, end=0)
  >>> stream.segments_per_epoch
  3
  >>> sorted(stream.segments(0, 3).mask.sum(axis=(1, 2)).tolist())
  [2, 2, 3]

  Attributes:
    tokens: integer ids [N], in memory or mapped.
    batch: B, sentences a step.
    end: the id that ends a sentence and belongs to it.
    dispatch: K, steps that are padded alike.
    multiple: padded lengths are multiples of it.
    shapes: the most padded lengths there may be; each is compiled on its own.
    seed: of the orders.
  """

  tokens: tokens_lib.Ids
  _: dataclasses.KW_ONLY
  batch: int
  end: int
  dispatch: int = 1
  multiple: int = 1
  shapes: int = 24
  seed: int = 0

  def __post_init__(self) -> None:
    check_shape(self.tokens, self.batch, 1)
    _ = self.batches
    if self.segments_per_epoch < 1:
      raise errors.UserError(
        f"the training text has {len(self._lengths):,} sentences and a batch "
        f"takes {self.batch:,}; use a longer text or a smaller batch"
      )

  @functools.cached_property
  def _edges(self) -> np.ndarray:
    """The starts of all sentences, and the end of the last one."""
    ends = np.flatnonzero(np.asarray(self.tokens) == self.end) + 1
    total = len(self.tokens)
    last = [] if len(ends) and ends[-1] == total else [total]
    return np.concatenate([[0], ends, last]).astype(np.int64)

  @functools.cached_property
  def _lengths(self) -> np.ndarray:
    return np.diff(self._edges)

  @property
  def longest(self) -> int:
    """Symbols of the longest sentence."""
    return int(self._lengths.max())

  @functools.cached_property
  def batches(self) -> batching.LikeLength:
    """The sentences that a step takes."""
    return batching.LikeLength(
      self._lengths,
      batch=self.batch,
      dispatch=self.dispatch,
      multiple=self.multiple,
      shapes=self.shapes,
      seed=self.seed,
    )

  @property
  def segments_per_epoch(self) -> int:
    """Full batches of sentences."""
    return self.batches.batches_per_epoch

  def segments(self, start: int, count: int) -> Segment:
    """Minibatches `start` to `start + count`, padded alike; [count, T, B]."""
    chosen = self.batches.chosen(start, count)
    steps = np.arange(self.batches.steps(chosen))[:, None]
    first = self._edges[chosen][:, None, :]
    mask = steps < self._lengths[chosen][:, None, :]
    position = np.where(mask, first + steps, 0)
    targets = self.tokens[position].astype(np.int32)
    before = np.where(mask & (steps > 0), position - 1, 0)
    inputs = self.tokens[before].astype(np.int32)
    return Segment(
      np.where(mask & (steps > 0), inputs, -1),
      np.where(mask, targets, 0),
      mask,
      np.broadcast_to(steps == 0, mask.shape).copy(),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Chunks(Sequence[Segment]):
  """One epoch of a stream as a sequence of chunks [K, T, B].

  Segments are four arrays of ids and marks, ten bytes a symbol; of a long split
  only the chunk in use is in memory. Slices are cut as late.

  >>> stream = SequentialStream(np.arange(70), batch=1, length=10)
  >>> chunks = Chunks.of(stream, 3)
  >>> [len(chunk.targets) for chunk in chunks], chunks[1:].segments
  ([3, 3, 1], 4)

  Attributes:
    stream: what is cut.
    size: K, segments a chunk; the last may have fewer.
    places: numbers of the chunks that are in this sequence.
  """

  stream: SequentialStream
  size: int
  places: range

  @classmethod
  def of(cls, stream: SequentialStream, size: int) -> "Chunks":
    """The whole epoch in chunks of `size` segments."""
    return cls(stream, size, range(-(-stream.segments_per_epoch // size)))

  @property
  def segments(self) -> int:
    """Segments of all these chunks, known without cutting them."""
    return sum(self._count(place) for place in self.places)

  def __len__(self) -> int:
    return len(self.places)

  @overload
  def __getitem__(self, index: int) -> Segment: ...

  @overload
  def __getitem__(self, index: slice) -> "Chunks": ...

  def __getitem__(self, index: int | slice) -> "Segment | Chunks":
    if isinstance(index, slice):
      return dataclasses.replace(self, places=self.places[index])
    place = self.places[index]
    return self.stream.segments(place * self.size, self._count(place))

  def _count(self, place: int) -> int:
    return min(self.size, self.stream.segments_per_epoch - place * self.size)
