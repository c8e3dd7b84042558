"""Whole sentences as minibatches: each a sequence from the null vector."""

import dataclasses
import functools

import numpy as np

from seqmodels import errors
from seqmodels.data import like_length, recoded, streams


@dataclasses.dataclass(frozen=True, eq=False)
class Sentences:
  """B whole sentences of like length a step, drawn anew every epoch.

  With B = 1 this is how Graves (2013, section 3.1) trains on the Penn
  Treebank: a sentence is a sequence, it starts from the null vector and the
  cleared state, and the weights change after each. Shorter ones are padded with
  positions that are not scored; `like_length.LikeLength` says which sentences a
  step takes and what they are padded to. Sentences left over after the last
  full batch wait for another epoch.

  The interface is that of `streams.SequentialStream`; segments are pure in
  (seed, step) too.

  >>> ids = np.array([5, 0, 6, 7, 0, 8, 9])
  >>> stream = Sentences(ids, batch=1, end=0)
  >>> stream.segments_per_epoch
  3
  >>> sorted(stream.segments(0, 3).mask.sum(axis=(1, 2)).tolist())
  [2, 2, 3]

  Attributes:
    tokens: integer ids [N], in memory or mapped.
    batch: B, sentences a step over all hosts.
    end: the id that ends a sentence and belongs to it.
    dispatch: K, steps that are padded alike.
    multiple: padded lengths are multiples of it.
    shapes: the most padded lengths there may be; each is compiled on its own.
    seed: of the orders.
    host: (index, count) of the host whose sentences this gives.
  """

  tokens: recoded.Ids
  _: dataclasses.KW_ONLY
  batch: int
  end: int
  dispatch: int = 1
  multiple: int = 1
  shapes: int = 24
  seed: int = 0
  host: tuple[int, int] = (0, 1)

  def __post_init__(self) -> None:
    streams.check_shape(self.tokens, self.batch, 1)
    _ = self.batches
    streams.host_range(self.batch, *self.host)
    if self.segments_per_epoch < 1:
      raise errors.UserError(
        f"the training text has {len(self._lengths):,} sentences and a batch "
        f"takes {self.batch:,}; use a longer text or a smaller batch"
      )

  @functools.cached_property
  def _edges(self) -> np.ndarray:
    """Where sentences begin, and the end of the last one."""
    ends = np.flatnonzero(np.asarray(self.tokens) == self.end) + 1
    total = len(self.tokens)
    last = [] if len(ends) and ends[-1] == total else [total]
    return np.concatenate([[0], ends, last]).astype(np.int64)

  @functools.cached_property
  def _lengths(self) -> np.ndarray:
    return np.diff(self._edges)

  @functools.cached_property
  def batches(self) -> like_length.LikeLength:
    """Which sentences a step takes, those of all hosts."""
    return like_length.LikeLength(
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
    chosen = self.batches.chosen(start, count)
    # All hosts pad alike: the longest is looked for among all rows.
    steps = np.arange(self.batches.steps(chosen))[:, None]
    chosen = chosen[:, np.array(streams.host_range(self.batch, *self.host))]
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
