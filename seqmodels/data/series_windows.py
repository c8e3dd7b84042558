"""How a series of numbers becomes inputs and targets.

A model learns from a series x by windows: tau values in a row, oldest first,
and the value k steps after the last of them,

    [x_{t-tau}, ..., x_{t-1}] -> x_{t-1+k}

Whoever cuts a series into a part to learn from and a part to be judged on cuts
it in time: nothing that is learned from comes later than what is judged.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodels import errors


class Windows(NamedTuple):
  """What stands before each label, N pairs in the order of time.

  Attributes:
    features: [N, tau], oldest value first.
    labels: [N], what is to be predicted.
    times: int [N], the position of each label in the series.
  """

  features: np.ndarray
  labels: np.ndarray
  times: np.ndarray


class Segment(NamedTuple):
  """Stretches of a series side by side, time first.

  Attributes:
    inputs: float32 [T, B], the values read.
    targets: float32 [T, B], the value after each.
    mask: bool [T, B], true where the target is scored.
  """

  inputs: np.ndarray
  targets: np.ndarray
  mask: np.ndarray


def windows(
  series: np.ndarray, tau: int, *, ahead: int = 1, padded: bool = False
) -> Windows:
  """Every tau values in a row with the value `ahead` steps after the last.

  Args:
    series: [T].
    tau: values a window, at least 1.
    ahead: k, at least 1.
    padded: put tau zeros before the series, so that its first values are
      labels too.

  Returns:
    T - tau - k + 1 pairs, or T - k + 1 of the padded series.

  Raises:
    UserError: an empty series, tau or k below 1, or too few values for a pair.

  >>> found = windows(np.arange(6.0), 2)
  >>> found.features[0], found.labels[0], found.times
  (array([0., 1.]), np.float64(2.0), array([2, 3, 4, 5]))
  """
  if tau < 1 or ahead < 1:
    raise errors.UserError(
      f"a window of {tau} values and {ahead} steps ahead: both must be at "
      "least 1"
    )
  shift = tau if padded else 0
  values = np.pad(series, (shift, 0))
  count = len(values) - tau - ahead + 1
  if count < 1:
    raise errors.UserError(
      f"the series has {len(series)} values, and a window of {tau} with a "
      f"label {ahead} steps ahead takes {tau + ahead - shift}; use a longer "
      "series, a shorter window or fewer steps"
    )
  rows = np.lib.stride_tricks.sliding_window_view(values, tau)[:count]
  times = np.arange(count) + tau + ahead - 1 - shift
  return Windows(rows, series[times], times)


def neighbours(series: np.ndarray, positions: Sequence[int]) -> Windows:
  """The values around each value, at fixed distances.

  Args:
    series: [T].
    positions: distances to the label in steps, none of them 0: -1 is the value
      before it and 1 the one after.

  Raises:
    UserError: no positions, the label among them, or a series too short.

  >>> neighbours(np.arange(5.0), [-1, 2]).features
  array([[0., 3.], [1., 4.]])
  """
  places = np.asarray(positions, np.int64)
  if not len(places) or 0 in places:
    raise errors.UserError(
      f"{len(places)} positions around a label, 0 being the label; give at "
      "least 1, and none of them 0"
    )
  before, after = -min(places.min(), 0), max(places.max(), 0)
  times = np.arange(before, len(series) - after)
  if not len(times):
    raise errors.UserError(
      f"the series has {len(series)} values, and positions from {-before} to "
      f"{after} around a label take {before + after + 1}; use a longer series "
      "or closer positions"
    )
  return Windows(series[times[:, None] + places], series[times], times)


def split(pairs: Windows, count: int) -> tuple[Windows, Windows]:
  """The first `count` pairs, and those after them: past and future.

  Raises:
    UserError: one of the parts would be empty.

  >>> past, future = split(windows(np.arange(6.0), 2), 3)
  >>> past.times, future.times
  (array([2, 3, 4]), array([5]))
  """
  total = len(pairs.labels)
  if not 0 < count < total:
    raise errors.UserError(
      f"{count} of {total} windows to learn from leave none on one side; give "
      f"a number from 1 to {total - 1}"
    )
  past, future = (
    Windows(*(array[part] for array in pairs))
    for part in (slice(None, count), slice(count, None))
  )
  return past, future


def shuffled(
  count: int, *, batch: int, epochs: int, random: np.random.Generator
) -> np.ndarray:
  """Minibatches of 0 to `count` - 1 in a new order each epoch.

  Returns:
    int64 [steps, batch]; -1 fills up the last batch of each epoch.

  Raises:
    UserError: an argument below 1.

  >>> shuffled(3, batch=2, epochs=1, random=np.random.default_rng(0)).shape
  (2, 2)
  """
  if min(count, batch, epochs) < 1:
    raise errors.UserError(
      f"minibatches of {batch} out of {count} over {epochs} epochs: all must "
      "be at least 1"
    )
  orders = np.full((epochs, -(-count // batch) * batch), -1)
  for order in orders:
    order[:count] = random.permutation(count)
  return orders.reshape(-1, batch)


def segments(
  series: np.ndarray, starts: np.ndarray, *, length: int, scored: int
) -> Segment:
  """Stretches of the series as minibatches, arrays [steps, length, batch].

  Args:
    series: [T].
    starts: int [steps, batch], where each begins; one below 0 is masked.
    length: values read, the targets being one step later.
    scored: how many of them count, from the last backwards: 1 where a window
      model sees its whole window only then.

  Raises:
    UserError: a stretch that ends beyond the series.

  >>> cut = segments(np.arange(9.0), np.array([[0, -1]]), length=3, scored=1)
  >>> cut.inputs[0, :, 0], cut.targets[0, :, 0]
  (array([0., 1., 2.], dtype=float32), array([1., 2., 3.], dtype=float32))
  >>> cut.mask[0, -1]
  array([ True, False])
  """
  last = int(starts.max()) + length
  if last >= len(series):
    raise errors.UserError(
      f"a stretch of {length} values ends at {last} and its target lies beyond "
      f"the {len(series)} of the series; use a longer series or a shorter one"
    )
  steps = np.arange(length)
  places = np.maximum(starts, 0)[:, None, :] + steps[:, None]
  mask = (starts >= 0)[:, None, :] & (steps >= length - scored)[:, None]
  values = np.asarray(series, np.float32)
  return Segment(values[places], values[places + 1], mask)
