"""Minibatches of text and handwriting: randomness by epoch, like lengths."""

import abc
import dataclasses
import functools
from typing import Any, Generic, TypeVar

import numpy as np

from seqmodels import errors

# A NamedTuple of arrays.
Batch = TypeVar("Batch", bound=tuple[Any, ...])


class Stream(abc.ABC, Generic[Batch]):
  """Minibatches that are pure in (seed, step): the step is all the state."""

  @abc.abstractmethod
  def segments(self, start: int, count: int) -> Batch:
    """The minibatches of steps `start` to `start + count`, stacked."""

  def segment(self, step: int) -> Batch:
    """The minibatch of one step, counted from 0 over all epochs."""
    batch = self.segments(step, 1)
    return type(batch)(*(array[0] for array in batch))


def steps(start: int, count: int) -> range:
  """Steps `start` to `start + count`.

  Raises:
    UserError: `start` is negative or `count` below 1.
  """
  if start < 0 or count < 1:
    raise errors.UserError(
      f"segments({start}, {count}): start must be at least 0 and count at "
      "least 1"
    )
  return range(start, start + count)


def generator(seed: int, epoch: int) -> np.random.Generator:
  """The random numbers of one epoch: any seed, a stream of their own."""
  # Seeds of numpy are not negative, those of a config may be.
  return np.random.default_rng((seed % (1 << 64), epoch))


def lengths(
  sizes: np.ndarray, *, multiple: int = 1, shapes: int = 16
) -> np.ndarray:
  """The padded lengths that add the fewest steps to these sequences.

  Every padded length is a program to compile; too few of them are steps
  computed for nothing. Of all sets of at most `shapes` multiples, the one found
  here has the smallest sum of padded lengths (by dynamic programming over the
  multiples).

  >>> lengths(np.array([10, 11, 12, 40]), shapes=2).tolist()
  [12, 40]

  Args:
    sizes: int [L], lengths of at least 1.
    multiple: padded lengths are multiples of it.
    shapes: the largest number of them.

  Returns:
    int64, rising; the last is the first multiple that holds the longest.
  """
  units = -(-np.asarray(sizes, np.int64) // multiple)
  candidates, counts = np.unique(units, return_counts=True)
  if len(candidates) <= shapes:
    return candidates * multiple
  # One shape may always serve all below it: cost[j] is the sum of padded
  # lengths of the sequences up to candidate j, of which j is the last shape.
  below = np.concatenate([[0], np.cumsum(counts)])
  cost = candidates * below[1:]
  choices = []
  for _ in range(shapes - 1):
    # [last shape, the shape before it]; a later one cannot come before.
    both = cost[None, :] + candidates[:, None] * (
      below[1:, None] - below[None, 1:]
    )
    both[np.triu_indices(len(candidates))] = np.iinfo(np.int64).max
    best = both.argmin(axis=1)
    better = both[np.arange(len(candidates)), best]
    choices.append(np.where(better < cost, best, -1))
    cost = np.minimum(cost, better)
  place, chosen = len(candidates) - 1, [len(candidates) - 1]
  for choice in reversed(choices):
    if choice[place] >= 0:
      place = int(choice[place])
      chosen.append(place)
  return candidates[chosen[::-1]] * multiple


@dataclasses.dataclass(frozen=True, eq=False)
class LikeLength:
  """The sequences that a step takes, and the length they are padded to.

  Sequences are padded to one of a few lengths, chosen so that little is added
  (`lengths`). Those of one padded length are shuffled in every epoch
  and dealt out to the batches, whose order is shuffled as well. The batches of
  a dispatch are padded alike, so they are shuffled together: dispatches begin
  at the multiples of `dispatch`, as the training loop's do, whether or not an
  epoch ends within one. Sequences left over after the last full batch wait for
  another epoch.

  >>> batches = LikeLength(np.array([1, 2, 3, 3]), batch=2)
  >>> sorted(batches.indices(0).tolist() + batches.indices(1).tolist())
  [0, 1, 2, 3]
  >>> batches.steps(np.array([0, 1])), batches.steps(np.array([[2], [3]]))
  (2, 3)

  Attributes:
    lengths: int [L], at least `batch` of them.
    batch: B, sequences a step.
    dispatch: K, steps that are padded alike.
    multiple: padded lengths are multiples of it.
    shapes: the most padded lengths there may be.
    seed: of the orders.
  """

  lengths: np.ndarray
  _: dataclasses.KW_ONLY
  batch: int
  dispatch: int = 1
  multiple: int = 1
  shapes: int = 24
  seed: int = 0

  def __post_init__(self) -> None:
    check_sizes(
      batch=self.batch,
      dispatch=self.dispatch,
      multiple=self.multiple,
      shapes=self.shapes,
    )

  @property
  def batches_per_epoch(self) -> int:
    """Full batches."""
    return len(self.lengths) // self.batch

  @functools.cached_property
  def padded(self) -> np.ndarray:
    """The padded lengths in use, rising, int64 [at most `shapes`]."""
    return lengths(self.lengths, multiple=self.multiple, shapes=self.shapes)

  def chosen(self, start: int, count: int) -> np.ndarray:
    """The sequences of steps `start` to `start + count`, int64 [count, B].

    Raises:
      UserError: `start` is negative or `count` below 1.
    """
    return np.stack([self.indices(step) for step in steps(start, count)])

  def indices(self, step: int) -> np.ndarray:
    """The sequences of one step, counted over all epochs; int64 [B]."""
    epoch, place = divmod(step, self.batches_per_epoch)
    return self._order(epoch)[place]

  def steps(self, chosen: np.ndarray) -> int:
    """The padded length that holds all of these sequences."""
    longest = int(self.lengths[chosen].max())
    return int(self.padded[np.searchsorted(self.padded, longest)])

  def _order(self, epoch: int) -> np.ndarray:
    """The sequences of every batch of an epoch, int64 [batches, B]."""
    if epoch not in self._orders:
      # Kept for the epoch in use, and the one before it at the turn.
      for old in list(self._orders)[:-1]:
        del self._orders[old]
      self._orders[epoch] = self._drawn(epoch)
    return self._orders[epoch]

  @functools.cached_property
  def _orders(self) -> dict[int, np.ndarray]:
    return {}

  def _drawn(self, epoch: int) -> np.ndarray:
    random = generator(self.seed, epoch)
    batches = self.batches_per_epoch
    chosen = random.permutation(len(self.lengths))[: batches * self.batch]
    pool = np.searchsorted(self.padded, self.lengths[chosen])
    # Stable: within a pool the order stays that of the permutation.
    chosen = chosen[np.argsort(pool, kind="stable")]
    # The dispatches that this epoch shares with the one before it and with the
    # next get its middling lengths, so that both halves pad alike.
    first = epoch * batches
    head = min(-first % self.dispatch, batches)
    whole, tail = divmod(batches - head, self.dispatch)
    sizes = [self.dispatch] * whole
    sizes[whole // 2 : whole // 2] = [head, tail]
    groups = np.split(chosen, self.batch * np.cumsum(sizes)[:-1])
    head_group, tail_group = (groups.pop(whole // 2) for _ in range(2))
    order = [
      head_group,
      *(groups[index] for index in random.permutation(whole)),
      tail_group,
    ]
    return np.concatenate(
      [random.permutation(group) for group in order]
    ).reshape(batches, self.batch)


def check_sizes(**sizes: int) -> None:
  """Refuses sizes below 1.

  Raises:
    UserError: naming the first of them.
  """
  for name, size in sizes.items():
    if size < 1:
      raise errors.UserError(f"{name} is {size}; it must be at least 1")
