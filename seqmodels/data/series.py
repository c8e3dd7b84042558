"""Series made up from a seed: numbers, and symbols of chains.

noisy sine      x_t = sin(rate t + phase_t) + noise e_t,    e_t ~ N(0, 1)
                phase_t = phase_{t-1} + drift d_t,          d_t ~ N(0, 1)
random walk     x_t = x_{t-1} + scale e_t,  x_0 = 0
cubic           x_t = 3/2 x_{t-1} - 1/4 x_{t-1}^3 + noise e_t
Markov chain    x_t ~ P(. | x_{t-k}, ..., x_{t-1})
hidden chain    h_t ~ P(. | h_{t-1}),  x_t ~ P(. | h_t)
"""

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
