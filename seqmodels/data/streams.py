"""Contiguous streams of segments whose position is one number."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.data import recoded

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
class SequentialStream:
  """A text in B contiguous rows, read T symbols at a time, epoch after epoch.

  Row b is the b-th piece of ceil(N / B) symbols. In each epoch every symbol is
  a target exactly once; what a row lacks at its end is masked. A segment goes
  on where the one before it stopped, so the carry can cross; the first segment
  of an epoch resets it. Rows after the first begin within the text: their first
  input is the true symbol before them, their carry is fresh.

  Segments are pure in (seed, step): there is no state to save but the step.

  >>> stream = SequentialStream(np.array([5, 6, 7, 8]), batch=1, length=3)
  >>> first, second = stream.segment(0), stream.segment(1)
  >>> first.inputs[:, 0], first.targets[:, 0]
  (array([-1,  5,  6], dtype=int32), array([5, 6, 7], dtype=int32))
  >>> second.targets[:, 0], second.mask[:, 0]
  (array([8, 0, 0], dtype=int32), array([ True, False, False]))

  Attributes:
    tokens: integer ids [N], in memory or mapped; cast a segment at a time.
    batch: B, rows over all hosts.
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
    host: (index, count) of the host whose rows this stream gives.
  """

  tokens: recoded.Ids
  _: dataclasses.KW_ONLY
  batch: int
  length: int
  seed: int = 0
  sentence_end: int | None = None
  reset_every: int | None = None
  random_offset: bool = False
  training: bool = False
  host: tuple[int, int] = (0, 1)

  def __post_init__(self) -> None:
    check_shape(self.tokens, self.batch, self.length)
    if self.reset_every is not None and self.reset_every < 1:
      raise errors.UserError(
        f"reset_every is {self.reset_every}; it must be at least 1 segment, or "
        "None for no resets within an epoch"
      )
    if self.training and len(self.tokens) < self.batch * self.length:
      raise too_short(len(self.tokens), self.batch, self.length)
    host_range(self.batch, *self.host)

  @property
  def row_length(self) -> int:
    """Symbols a row: ceil(N / B)."""
    return -(-len(self.tokens) // self.batch)

  @property
  def segments_per_epoch(self) -> int:
    """Segments that hold every symbol once: ceil(row length / T)."""
    return -(-self.row_length // self.length)

  @property
  def targets_per_epoch(self) -> int:
    """Symbols scored in an epoch over all hosts: all of them, N."""
    return len(self.tokens)

  def segment(self, step: int) -> Segment:
    """The segment of one step; arrays [T, B of this host].

    Args:
      step: 0, 1, ... counted over all epochs.
    """
    return Segment(*(array[0] for array in self.segments(step, 1)))

  def segments(self, start: int, count: int) -> Segment:
    """Segments `start` to `start + count`, stacked; arrays [count, T, B]."""
    if start < 0 or count < 1:
      raise errors.UserError(
        f"segments({start}, {count}): start must be at least 0 and count at "
        "least 1"
      )
    steps = np.arange(start, start + count)
    epochs, places = np.divmod(steps, self.segments_per_epoch)
    rows = np.array(host_range(self.batch, *self.host))
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

  def host_rows(self, index: int, count: int) -> "SequentialStream":
    """The same stream, only the rows of host `index` of `count`.

    Raises:
      UserError: the rows cannot be shared out evenly.
    """
    return dataclasses.replace(self, host=(index, count))

  def _offset(self, epoch: int) -> int:
    if not self.random_offset:
      return 0
    return _random_offset(self.seed, epoch, len(self.tokens))


def generator(seed: int, epoch: int) -> np.random.Generator:
  """The random numbers of one epoch: any seed, a stream of their own."""
  # Seeds of numpy are not negative, those of a config may be.
  return np.random.default_rng((seed % (1 << 64), epoch))


# A segment costs less than making a generator; epochs last many segments.
@functools.lru_cache(maxsize=64)
def _random_offset(seed: int, epoch: int, total: int) -> int:
  return int(generator(seed, epoch).integers(total))


def host_range(batch: int, index: int, count: int) -> range:
  """The rows of a batch that belong to one host.

  >>> host_range(6, 1, 3)
  range(2, 4)

  Raises:
    UserError: `batch` is no multiple of `count`, or there is no such host.
  """
  if count < 1 or batch % count:
    raise errors.UserError(
      f"a batch of {batch} rows cannot be shared evenly by {count} hosts; make "
      "it a multiple"
    )
  if not 0 <= index < count:
    raise errors.UserError(
      f"host index is {index}; with {count} hosts it must be in [0, {count})"
    )
  share = batch // count
  return range(index * share, (index + 1) * share)


def check_shape(tokens: recoded.Ids, batch: int, length: int) -> None:
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
