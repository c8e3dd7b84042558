"""Series and toy tasks of the study of autoregressive models.

Series made up from a seed: numbers, and symbols of chains.

noisy sine      x_t = sin(rate t + phase_t) + noise e_t,    e_t ~ N(0, 1)
                phase_t = phase_{t-1} + drift d_t,          d_t ~ N(0, 1)
random walk     x_t = x_{t-1} + scale e_t,  x_0 = 0
cubic           x_t = 3/2 x_{t-1} - 1/4 x_{t-1}^3 + noise e_t
Markov chain    x_t ~ P(. | x_{t-k}, ..., x_{t-1})
hidden chain    h_t ~ P(. | h_{t-1}),  x_t ~ P(. | h_t)

How a series of numbers becomes inputs and targets.

A model learns from a series x by windows: tau values in a row, oldest first,
and the value k steps after the last of them,

    [x_{t-tau}, ..., x_{t-1}] -> x_{t-1+k}

Whoever cuts a series into a part to learn from and a part to be judged on cuts
it in time: nothing that is learned from comes later than what is judged.

Small problems of every shape, with all examples that they have.

    parity       bits -> after each, 1 if the ones so far are odd   aligned
    majority     bits -> 1 if most of them are ones                 fixed target
    signs        a vector of +1 and -1 -> its signs as bits         fixed input
    reversal     a string -> the same from its end                  unaligned
    palindromes  strings that are their own mirror images           density

Whoever finds the rule in a part of the examples makes no mistake in the rest.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from seqmodels import errors

# The cubic has its turning points at +-sqrt(2), which it leaves where they are:
# a state rests near one of them until the noise throws it over to the other.
_CUBIC = (1.5, -0.25)


def noisy_sine(
  length: int,
  *,
  random: np.random.Generator,
  noise: float = 0.2,
  rate: float = 0.01,
  phase: float = 0.0,
  drift: float = 0.0,
) -> np.ndarray:
  """sin(rate t + phase) + noise e_t at t = 1 to `length`, float64 [length].

  Args:
    length: values, at least 1.
    random: what the noise is drawn from.
    noise: its standard deviation, at least 0.
    rate: radians a step.
    phase: radians, at t = 0.
    drift: standard deviation of what is added to the phase, radians a step.

  Raises:
    UserError: no values.

  >>> noisy_sine(3, random=np.random.default_rng(0), noise=0.0).round(4)
  array([0.01, 0.02, 0.03])
  """
  _check_length(length)
  angles = rate * np.arange(1, length + 1) + phase
  values = noise * random.standard_normal(length)
  if drift:
    angles += drift * np.cumsum(random.standard_normal(length))
  return np.sin(angles) + values


def random_walks(
  count: int, steps: int, *, random: np.random.Generator, scale: float = 1.0
) -> np.ndarray:
  """Walks without drift from 0, float64 [count, steps + 1].

  Their exponentials are prices of which no past says anything about the future.

  Raises:
    UserError: no walks, or no steps.

  >>> random_walks(2, 3, random=np.random.default_rng(0))[:, 0]
  array([0., 0.])
  """
  _check_length(min(count, steps))
  moves = scale * random.standard_normal((count, steps))
  return np.pad(np.cumsum(moves, axis=1), ((0, 0), (1, 0)))


def cubic(
  length: int, *, random: np.random.Generator, noise: float = 0.4
) -> np.ndarray:
  """The cubic recursion from a random start, float64 [length].

  Raises:
    UserError: no values.

  >>> cubic(500, random=np.random.default_rng(0)).shape
  (500,)
  """
  _check_length(length)
  linear, third = _CUBIC
  settling = 50
  moves = noise * random.standard_normal(length + settling)
  value, values = random.standard_normal(), []
  for move in moves:
    # Beyond sqrt(10) the recursion would run away; no noise leads there in
    # practice, and a draw that did is put back to the edge.
    value = float(np.clip(linear * value + third * value**3 + move, -3, 3))
    values.append(value)
  return np.array(values[settling:])


def markov_chain(
  kernel: np.ndarray,
  length: int,
  *,
  random: np.random.Generator,
  initial: np.ndarray | None = None,
) -> np.ndarray:
  """Symbols of a Markov chain of order k, int64 [length].

  Args:
    kernel: [V, ..., V] with k + 1 axes: the distribution of the next symbol
      (last axis) given the k before it, oldest first. A fitted
      `models.markov.Markov` has one, too.
    length: symbols, at least 1.
    random: what they are drawn from.
    initial: [V, ..., V] with k axes, of the first k symbols; uniform if left
      out.

  Raises:
    UserError: no symbols, or a row that is no distribution.

  >>> turn = np.array([[0.0, 1.0], [1.0, 0.0]])
  >>> start = np.array([1.0, 0.0])
  >>> rng = np.random.default_rng(0)
  >>> markov_chain(turn, 5, random=rng, initial=start).tolist()
  [0, 1, 0, 1, 0]
  """
  _check_length(length)
  size, order = kernel.shape[-1], kernel.ndim - 1
  rows = kernel.reshape(-1, size)
  _check_rows(rows)
  first = np.full(len(rows), 1 / len(rows)) if initial is None else initial
  first = first.reshape(1, -1)
  _check_rows(first)
  context = int(_draw(first, random.random(1))[0])
  symbols = [int(s) for s in np.unravel_index(context, kernel.shape[:-1])]
  # A running sum that rounding left below 1 must not yield a symbol V.
  sums = np.cumsum(rows, axis=1)[:, :-1]
  for uniform in random.random(max(length - order, 0)):
    symbol = int(np.searchsorted(sums[context], uniform, side="right"))
    symbols.append(symbol)
    context = (context * size + symbol) % len(rows)
  return np.array(symbols[:length], np.int64)


def hidden_markov(
  initial: np.ndarray,
  transition: np.ndarray,
  emission: np.ndarray,
  length: int,
  *,
  random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
  """A chain of states that nobody sees, and a symbol that each shows.

  Args:
    initial: [K], of the first state.
    transition: [K, K], of the next state by the present one.
    emission: [K, V], of the symbol by the state.
    length: steps, at least 1.
    random: what they are drawn from.

  Returns:
    States and symbols, int64 [length] each.

  Raises:
    UserError: no steps, or a row that is no distribution.

  >>> states, symbols = hidden_markov(
  ...   np.array([1.0, 0.0]), np.eye(2), np.eye(2), 4,
  ...   random=np.random.default_rng(0))
  >>> states.tolist(), symbols.tolist()
  ([0, 0, 0, 0], [0, 0, 0, 0])
  """
  _check_rows(emission)
  states = markov_chain(transition, length, random=random, initial=initial)
  return states, _draw(emission[states], random.random(length))


def _draw(rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
  """One symbol a row of distributions, by inverting the running sum."""
  return (np.cumsum(rows, axis=1)[:, :-1] <= uniform[:, None]).sum(axis=1)


def _check_length(length: int) -> None:
  if length < 1:
    raise errors.UserError(
      f"the series has {length} values; it must have at least 1"
    )


def _check_rows(rows: np.ndarray) -> None:
  off = np.abs(rows.sum(axis=-1) - 1).max()
  if rows.min() < 0 or not off < 1e-6:
    raise errors.UserError(
      f"a distribution has the least entry {rows.min():g} and misses the sum 1 "
      f"by {off:.2g}; give entries from 0 up that sum to 1"
    )


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


_MOST = 100_000


class Examples(NamedTuple):
  """What is given and what is wanted, an example a row.

  Attributes:
    given: ids [B, T] or vectors float32 [B, D]; none where nothing is given.
    targets: int32 [B, T].
  """

  given: np.ndarray | None
  targets: np.ndarray

  def rows(self, chosen: np.ndarray) -> Self:
    """Some of the examples.

    >>> parity(3).rows(np.array([5])).given
    array([[1, 0, 1]], dtype=int32)
    """
    given = None if self.given is None else self.given[chosen]
    return self._replace(given=given, targets=self.targets[chosen])


def parity(length: int) -> Examples:
  """All strings of so many bits; after each bit, 1 if the ones are odd.

  Raises:
    UserError: no bits, or too many strings.

  >>> parity(3).targets[5]
  array([1, 1, 0], dtype=int32)
  """
  bits = _strings(2, length)
  targets = np.cumsum(bits, axis=1, dtype=np.int32) % 2
  return Examples(bits, targets)


def majority(length: int) -> Examples:
  """All strings of an odd number of bits; 1 if most are ones.

  Raises:
    UserError: an even number of bits, or too many strings.

  >>> majority(3).targets.ravel()
  array([0, 0, 0, 1, 0, 1, 1, 1], dtype=int32)
  """
  if length % 2 == 0:
    raise errors.UserError(
      f"the majority of {length} bits may be none; give an odd number"
    )
  bits = _strings(2, length)
  ones = bits.sum(axis=1, keepdims=True)
  targets = (2 * ones > length).astype(np.int32)
  return Examples(bits, targets)


def signs(size: int) -> Examples:
  """All vectors of so many signs; each to be written out, 1 for a plus.

  Raises:
    UserError: no signs, or too many vectors.

  >>> found = signs(3)
  >>> found.given[5], found.targets[5]
  (array([ 1., -1.,  1.], dtype=float32), array([1, 0, 1], dtype=int32))
  """
  bits = _strings(2, size)
  return Examples((2 * bits - 1).astype(np.float32), bits)


def reversal(letters: int, length: int) -> Examples:
  """All strings of a length; each to be written from its end.

  Raises:
    UserError: no letters, no length, or too many strings.

  >>> found = reversal(3, 2)
  >>> found.given[5], found.targets[5]
  (array([1, 2], dtype=int32), array([2, 1], dtype=int32))
  """
  strings = _strings(letters, length)
  return Examples(strings, strings[:, ::-1])


def palindromes(letters: int, half: int) -> Examples:
  """All strings of a length followed by their mirror images; nothing is given.

  Their second halves follow from the first; no model that is right about all
  strings says them in fewer than `half` ln `letters` nats on average.

  Raises:
    UserError: no letters, no length, or too many strings.

  >>> palindromes(3, 2).targets[5]
  array([1, 2, 2, 1], dtype=int32)
  """
  strings = _strings(letters, half)
  targets = np.concatenate([strings, strings[:, ::-1]], axis=1)
  return Examples(None, targets)


def _strings(letters: int, length: int) -> np.ndarray:
  """All strings in order, int32 [letters ** length, length]."""
  if min(letters, length) < 1:
    raise errors.UserError(
      f"strings of {length} out of {letters} letters; both must be at least 1"
    )
  if letters**length > _MOST:
    raise errors.UserError(
      f"there are {letters**length:,} strings of {length} out of {letters} "
      f"letters; give sizes with at most {_MOST:,}"
    )
  strings = itertools.product(range(letters), repeat=length)
  return np.array(list(strings), np.int32)
