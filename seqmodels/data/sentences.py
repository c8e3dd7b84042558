"""Whole sentences as minibatches: each a sequence from the null vector."""

import dataclasses
import functools

import numpy as np

from seqmodels import errors
from seqmodels.data import recoded, streams


@dataclasses.dataclass(frozen=True, eq=False)
class Sentences:
  """B whole sentences a step, in an order shuffled anew every epoch.

  With B = 1 this is how Graves (2013, section 3.1) trains on the Penn
  Treebank: a sentence is a sequence, it starts from the null vector and the
  cleared state, and the weights change after each. Sentences left over after
  the last full batch wait for another epoch. Shorter ones are padded with
  positions that are not scored; the length of a dispatch is that of its longest
  sentence, rounded up to a multiple of `length`, so that few shapes are
  compiled.

  The interface is that of `streams.SequentialStream`; segments are pure in
  (seed, step) too.

  >>> ids = np.array([5, 0, 6, 7, 0, 8, 9])
  >>> stream = Sentences(ids, batch=1, length=2, end=0)
  >>> stream.segments_per_epoch
  3
  >>> sorted(stream.segments(0, 3).mask.sum(axis=(1, 2)).tolist())
  [2, 2, 3]

  Attributes:
    tokens: integer ids [N], in memory or mapped.
    batch: B, sentences a step over all hosts.
    length: what padded lengths are multiples of.
    end: the id that ends a sentence and belongs to it.
    seed: of the orders.
    host: (index, count) of the host whose sentences this gives.
  """

  tokens: recoded.Ids
  _: dataclasses.KW_ONLY
  batch: int
  length: int
  end: int
  seed: int = 0
  host: tuple[int, int] = (0, 1)

  def __post_init__(self) -> None:
    streams.check_shape(self.tokens, self.batch, self.length)
    streams.host_range(self.batch, *self.host)
    if self.segments_per_epoch < 1:
      raise errors.UserError(
        f"the training text has {len(self._edges) - 1:,} sentences and a batch "
        f"takes {self.batch:,}; use a longer text or a smaller batch"
      )

  @functools.cached_property
  def _edges(self) -> np.ndarray:
    """Where sentences begin, and the end of the last one."""
    ends = np.flatnonzero(np.asarray(self.tokens) == self.end) + 1
    total = len(self.tokens)
    last = [] if len(ends) and ends[-1] == total else [total]
    return np.concatenate([[0], ends, last]).astype(np.int64)

  @property
  def segments_per_epoch(self) -> int:
    """Full batches of sentences."""
    return (len(self._edges) - 1) // self.batch

  @property
  def targets_per_epoch(self) -> int:
    """Symbols of the text; an epoch scores all but a batch's leftovers."""
    return len(self.tokens)

  def segment(self, step: int) -> streams.Segment:
    """The minibatch of one step; arrays [T, B of this host].

    Args:
      step: 0, 1, ... counted over all epochs.
    """
    return streams.Segment(*(array[0] for array in self.segments(step, 1)))

  def segments(self, start: int, count: int) -> streams.Segment:
    """Minibatches `start` to `start + count`, padded alike; [count, T, B]."""
    if start < 0 or count < 1:
      raise errors.UserError(
        f"segments({start}, {count}): start must be at least 0 and count at "
        "least 1"
      )
    rows = np.array(streams.host_range(self.batch, *self.host))
    chosen = np.stack(
      [self._sentences(step)[rows] for step in range(start, start + count)]
    )
    # All hosts pad alike: the longest is looked for among all rows.
    longest = max(
      int(self._lengths[self._sentences(step)].max())
      for step in range(start, start + count)
    )
    steps = np.arange(self.length * -(-longest // self.length))[:, None]
    first = self._edges[chosen][:, None, :]
    mask = steps < self._lengths[chosen][:, None, :]
    position = np.where(mask, first + steps, 0)
    targets = self.tokens[position].astype(np.int32)
    before = np.where(mask & (steps > 0), position - 1, 0)
    inputs = self.tokens[before].astype(np.int32)
    return streams.Segment(
      np.where(mask & (steps > 0), inputs, -1),
      np.where(mask, targets, 0),
      mask,
      np.broadcast_to(steps == 0, mask.shape).copy(),
    )

  def host_rows(self, index: int, count: int) -> "Sentences":
    """The same sentences, only those of host `index` of `count`.

    Raises:
      UserError: the rows cannot be shared out evenly.
    """
    return dataclasses.replace(self, host=(index, count))

  @functools.cached_property
  def _lengths(self) -> np.ndarray:
    return np.diff(self._edges)

  def _sentences(self, step: int) -> np.ndarray:
    """Numbers of a step's sentences, those of all hosts."""
    epoch, place = divmod(step, self.segments_per_epoch)
    order = _order(self.seed, epoch, len(self._edges) - 1)
    return order[place * self.batch : (place + 1) * self.batch]


# Kept for the epoch in use, and the one before it at the turn.
@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, sentences: int) -> np.ndarray:
  return streams.generator(seed, epoch).permutation(sentences)
