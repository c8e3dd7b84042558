"""Random sampling of minibatches: windows of a text in shuffled order."""

import dataclasses
import functools

import numpy as np

from seqmodels import errors
from seqmodels.data import recoded, streams


@dataclasses.dataclass(frozen=True, eq=False)
class RandomWindows:
  """Windows of T symbols, shuffled each epoch, every one from a fresh carry.

  An epoch drops a random 0 to T - 1 symbols at the front, cuts the rest into
  windows of T that do not overlap, and deals them out in random order; windows
  left over after the last full batch wait for another epoch. The first input of
  a window is the true symbol before it (Zhang et al., Dive into Deep Learning,
  "Random Sampling"). The interface is that of `streams.SequentialStream`, and
  segments are pure in (seed, step) too.

  >>> windows = RandomWindows(np.arange(35), batch=2, length=5, seed=0)
  >>> windows.segments_per_epoch
  3
  >>> segment = windows.segment(0)
  >>> bool(np.all(segment.targets == segment.inputs + 1))
  True

  Attributes:
    tokens: integer ids [N], in memory or mapped; cast a segment at a time.
    batch: B, windows a segment over all hosts.
    length: T, symbols a window.
    seed: of offsets and orders.
    host: (index, count) of the host whose windows this gives.
  """

  tokens: recoded.Ids
  _: dataclasses.KW_ONLY
  batch: int
  length: int
  seed: int = 0
  host: tuple[int, int] = (0, 1)

  def __post_init__(self) -> None:
    streams.check_shape(self.tokens, self.batch, self.length)
    streams.host_range(self.batch, *self.host)
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

  @property
  def targets_per_epoch(self) -> int:
    """Symbols scored in an epoch over all hosts."""
    return self.segments_per_epoch * self.batch * self.length

  def segment(self, step: int) -> streams.Segment:
    """The segment of one step; arrays [T, B of this host].

    Args:
      step: 0, 1, ... counted over all epochs.
    """
    return streams.Segment(*(array[0] for array in self.segments(step, 1)))

  def segments(self, start: int, count: int) -> streams.Segment:
    """Segments `start` to `start + count`, stacked; arrays [count, T, B]."""
    if start < 0 or count < 1:
      raise errors.UserError(
        f"segments({start}, {count}): start must be at least 0 and count at "
        "least 1"
      )
    rows = np.array(streams.host_range(self.batch, *self.host))
    firsts = np.stack(
      [self._firsts(step, rows) for step in range(start, start + count)]
    )
    position = firsts[:, None, :] + np.arange(self.length)[:, None]
    mask = np.ones(position.shape, bool)
    reset = np.zeros(position.shape, bool)
    reset[:, 0] = True
    return streams.Segment(
      self.tokens[position - 1].astype(np.int32),
      self.tokens[position].astype(np.int32),
      mask,
      reset,
    )

  def host_rows(self, index: int, count: int) -> "RandomWindows":
    """The same windows, only those of host `index` of `count`.

    Raises:
      UserError: the rows cannot be shared out evenly.
    """
    return dataclasses.replace(self, host=(index, count))

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
  generator = streams.generator(seed, epoch)
  offset = int(generator.integers(length))
  count = (total - offset - 1) // length
  firsts = 1 + offset + length * np.arange(count)
  return generator.permutation(firsts)
