"""Markov chains, linear and recurrent autoregression, state-space models.

What follows from a Markov chain's kernel alone: by sums, powers and maxima.

A kernel of order k is an array [V, ..., V] of k + 1 axes: P(x_t | the k symbols
before it), oldest first, the last axis being x_t. With pi what the chain keeps,

    entropy rate         sum_a pi(a) sum_b -P(b | a) log P(b | a)
    n steps on           P^n
    read from its end    P(x_t = a | x_{t+1} = b) = pi(a) P(b | a) / pi(b)
    likeliest sequence   max over V^T of them, in O(V^2 T)

Markov models of order k, fitted by counting and scored exactly.

    P(x_1, ..., x_T) = prod_t P(x_t | x_{t-k}, ..., x_{t-1})
    P(b | a) = (n(a b) + eps) / (n(a) + V eps)

n(a b) counts b after the context a of k symbols, and n(a) is its sum over b.
The first symbols of a sequence have contexts as short as what there is, so a
model of order k has the tables of all shorter contexts, too, and the whole is a
distribution over sequences: it sums to 1.

A kernel is the table as an array [V, ..., V] of k + 1 axes, the last being the
symbol that comes next. `data.markov_chain` samples from one.

Hidden Markov models: the filter, the smoother, and a missing symbol.

    P(x, h) = prod_t P(h_t | h_{t-1}) P(x_t | h_t)

Sums over all K^T ways of the states cost O(K^2 T) by recursion. With

    pi_1(h) = P(h),    pi_{t+1}(h') = sum_h pi_t(h) P(x_t | h) P(h' | h)
    rho_T(h) = 1,    rho_{t-1}(h) = sum_h' P(h' | h) P(x_t | h') rho_t(h')

(pi_t knows what is before t, rho_t what is after it) every place t gives

    P(x) = sum_h pi_t(h) P(x_t | h) rho_t(h)
    P(x_t | all others) in proportion to sum_h pi_t(h) P(x_t | h) rho_t(h)

Everything is kept as logarithms: the sums themselves underflow within a few
hundred steps. Of all predictions of the next symbol the filter's are the best
there are: its nats are the floor under any other model of such a source.

The linear autoregressive model: fitted, iterated, and at its very best.

    x^_t = w . [x_{t-tau}, ..., x_{t-1}] + b

Fed with its own predictions it is a linear recursion. With the state
z_t = [x_{t-tau+1}, ..., x_t, 1], oldest value first,

    z_{t+1} = C z_t,    C = | 0  I_{tau-1}  0 |
                            |     w         b |
                            |     0         1 |

so that the prediction k steps ahead is one row of C^k: a linear model again.
Where all roots of C (but the 1 of the constant) lie inside the unit circle, the
predictions decay to the fixed point b / (1 - sum w).

For a stationary series of mean 0 and autocovariance g the best weights of any
chosen values, past or future, follow from g alone:

    w = G^-1 c,   error = g(0) - c . w,   G_ij = g(o_i - o_j),  c_i = g(o_i)

with o_i the values' positions relative to the one that is sought.

Linear state-space models: a state that nobody sees, read through noise.

    z_{t+1} = F z_t + w_t,  w_t ~ N(0, Q)
    x_t     = c . z_t + v_t,  v_t ~ N(0, r)

the counterpart for numbers of a hidden Markov model. The filter of Kalman
(1960) keeps what is known of the state, its mean m and its covariance P given
all values so far. No prediction of the next value is better than its own:

    x^_t = c . m,   s = c P c + r                 (before x_t is read)
    m <- F (m + k (x_t - x^_t)),   k = P c / s
    P <- F (P - k c P) F' + Q

P does not depend on the values; it settles, and s with it: the floor under the
mean squared error of any model of such a series. The memory is K numbers,
however far back the series reaches.

Of a series that only has the same autocovariance the filter gives the best
linear prediction. A sine whose phase drifts is one: it turns on a circle, which
no linear filter knows. Its best prediction of all keeps a distribution over the
circle, here over points of it.

Models of the next value of a series, by a window or by a state.

    window   x^_{t+1} = f(x_{t-tau+1}, ..., x_t)
    latent   h_t = g(h_{t-1}, x_t),   x^_{t+1} = o(h_t)

The state after reading x_t predicts x_{t+1}. A window is a state, too: a shift
register of the last tau values. So one contract, `Forecaster`, holds both, and
all that `evaluation.forecasts` does with one it does with the other.

Problems with sequences by their shape, each a thin head on one core.

    fixed target   x_1 .. x_T -> y             the last state is read
    fixed input    v -> y_1 .. y_T             v makes the first state
    aligned        x_1 .. x_T -> y_1 .. y_T    every state is read
    unaligned      x_1 .. x_S -> y_1 .. y_T    a second core goes on from the
                                               first one's last state
    density        P(x_1 .. x_T)               aligned, with y_t = x_t and the
                                               inputs one step late

The core is `layers.stack.DeepRecurrent`, whatever its cell and layers,
and a head is one linear map to logits. Who writes a sequence (second, fourth
and fifth shape) reads what has been written before, from the null vector on:
the true symbols in training (`shifted`), its own afterwards (`greedy`).

Predictions of a series: one step, k steps, and on and on by themselves.

Reading true values throughout gives predictions one step ahead. From any place
on, a model can read its own predictions instead: the k-th of them is k steps
ahead, and beyond the model's reach all that it reads is its own.

    x^_{t+1} = f(x_t, ...),   x^_{t+k} = f(x^_{t+k-1}, ...)
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.layers import stack
from seqmodels.layers import stack as stack_lib


def stationary(kernel: np.ndarray) -> np.ndarray:
  """The distribution of k symbols in a row that the chain keeps.

  Args:
    kernel: [V, ..., V], k + 1 axes with k at least 1.

  Returns:
    float64 [V, ..., V], k axes. Of a chain that falls apart into several, the
    one that least squares prefers.

  Raises:
    UserError: no context, or rows that are no distributions.

  >>> stationary(np.array([[0.9, 0.1], [0.3, 0.7]])).round(3)
  array([0.75, 0.25])
  """
  size, contexts = _checked_kernel(kernel)
  rows = np.arange(contexts)[:, None]
  moves = np.zeros((contexts, contexts))
  # The context a_1 .. a_k, b next, becomes a_2 .. a_k b.
  after = (rows * size + np.arange(size)) % contexts
  np.add.at(moves, (rows, after), kernel.reshape(contexts, size))
  system = np.vstack([moves.T - np.eye(contexts), np.ones(contexts)])
  sought = np.append(np.zeros(contexts), 1.0)
  shares = np.clip(np.linalg.lstsq(system, sought)[0], 0, None)
  return (shares / shares.sum()).reshape(kernel.shape[:-1])


def entropy_rate(kernel: np.ndarray, order: int | None = None) -> float:
  """Nats a symbol of the stationary chain for who sees `order` past symbols.

      H(x_t | x_{t-j}, ..., x_{t-1}),   j = order

  Args:
    kernel: [V, ..., V], k + 1 axes.
    order: j, from 0 to k; k by default, which is the entropy rate: more of the
      past does not help.

  Raises:
    UserError: an order outside 0 to k.

  >>> fair = np.full((2, 2), 0.5)
  >>> print(round(entropy_rate(fair) / np.log(2), 6))
  1.0
  """
  known = kernel.ndim - 1
  seen = known if order is None else order
  if not 0 <= seen <= known:
    raise errors.UserError(
      f"a chain of order {known} seen through {seen} past symbols; give 0 to "
      f"{known}"
    )
  joint = stationary(kernel)[..., None] * kernel
  joint = joint.sum(axis=tuple(range(known - seen)))
  context = joint.sum(axis=-1, keepdims=True)
  with np.errstate(divide="ignore", invalid="ignore"):
    nats = np.where(joint > 0, -np.log(joint / context), 0.0)
  return float((joint * nats).sum())


def n_step(kernel: np.ndarray, steps: int) -> np.ndarray:
  """P(x_{t+n} | x_t) of a chain of order 1: the n-th power of its matrix.

      P(x_{t+2} = c | x_t = a) = sum_b P(c | b) P(b | a)

  Raises:
    UserError: a negative number of steps, or no square matrix.

  >>> n_step(np.array([[0.0, 1.0], [1.0, 0.0]]), 2)
  array([[1., 0.], [0., 1.]])
  """
  _check_first_order(kernel)
  if steps < 0:
    raise errors.UserError(f"a chain taken {steps} steps on; give 0 or more")
  return np.linalg.matrix_power(kernel, steps)


def reversed_kernel(kernel: np.ndarray) -> np.ndarray:
  """The same stationary chain of order 1 read from its end.

      P(x_t = a | x_{t+1} = b) = pi(a) P(b | a) / pi(b)

  Returns:
    float64 [V, V], the row being what comes later. A symbol that never comes
    has the uniform row.

  Raises:
    UserError: no square matrix of distributions.

  >>> cycle = np.roll(np.eye(3), 1, axis=1)
  >>> bool(np.allclose(reversed_kernel(cycle), cycle.T))
  True
  """
  _check_first_order(kernel)
  shares = stationary(kernel)
  joint = (shares[:, None] * kernel).T
  uniform = np.full_like(joint, 1 / len(shares))
  totals = joint.sum(axis=1, keepdims=True)
  return np.divide(joint, totals, out=uniform, where=totals > 0)


def most_likely(
  initial: np.ndarray, kernel: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, float]:
  """The best path through a chain of order 1 (Viterbi), in O(V^2 T).

  Args:
    initial: [V], of the first symbol.
    kernel: [V, V], of each symbol by the one before.
    scores: [T, V], what each symbol adds at each step, in nats: zeros for the
      likeliest sequence of the chain itself, log P(seen_t | state) for the
      states of a hidden Markov model.

  Returns:
    int64 [T], the lowest ids in a tie from the end; and its log probability
    together with its scores.

  Raises:
    UserError: no steps, or no square matrix of distributions.

  >>> kernel = np.array([[0.6, 0.4], [0.1, 0.9]])
  >>> path, log = most_likely(np.array([0.6, 0.4]), kernel, np.zeros((4, 2)))
  >>> path.tolist(), round(float(np.exp(log)), 4)
  ([1, 1, 1, 1], 0.2916)
  """
  _check_first_order(kernel)
  if not len(scores):
    raise errors.UserError("the best path of 0 steps; give at least 1")
  with np.errstate(divide="ignore"):
    best, logs = np.log(initial) + scores[0], np.log(kernel)
  came_from = np.zeros(scores.shape, np.int64)
  for step in range(1, len(scores)):
    paths = best[:, None] + logs
    came_from[step] = paths.argmax(axis=0)
    best = paths.max(axis=0) + scores[step]
  path = np.empty(len(scores), np.int64)
  path[-1] = best.argmax()
  for step in range(len(scores) - 1, 0, -1):
    path[step - 1] = came_from[step, path[step]]
  return path, float(best.max())


def _checked_kernel(kernel: np.ndarray) -> tuple[int, int]:
  """V, and the number of contexts."""
  size = kernel.shape[-1]
  if kernel.ndim < 2 or set(kernel.shape) != {size}:
    raise errors.UserError(
      f"a kernel of shape {list(kernel.shape)}; give at least two axes, all of "
      "one length"
    )
  off = np.abs(kernel.sum(axis=-1) - 1).max()
  if kernel.min() < 0 or not off < 1e-6:
    raise errors.UserError(
      f"a kernel has the least entry {kernel.min():g} and a row that misses "
      f"the sum 1 by {off:.2g}; give rows from 0 up that sum to 1"
    )
  return size, kernel.size // size


def _check_first_order(kernel: np.ndarray) -> None:
  if kernel.ndim != 2:
    raise errors.UserError(
      f"a kernel of order {kernel.ndim - 1}; this is for chains of order 1, so "
      "give a square matrix"
    )
  _checked_kernel(kernel)


# A table beyond this is no longer counted but stored zeros.
_MOST_ENTRIES = 50_000_000


@dataclasses.dataclass(frozen=True)
class Markov:
  """A fitted model.

  Attributes:
    order: k, the symbols that the next one depends on.
    vocabulary_size: V; ids are 0 to V - 1.
    tables: for j = 0 to k, the next symbol after every context of j symbols,
      float64 [V^j, V]; a context's row is its ids read as a number of base V.

  >>> model = Markov.fit(np.array([0, 1, 0, 1, 1]), 2, order=1)
  >>> model.tables[1]
  array([[0. , 1. ], [0.5, 0.5]])
  >>> np.exp(-model.nats(np.array([1, 1, 0])))
  array([0.6, 0.5, 0.5])
  """

  order: int
  vocabulary_size: int
  tables: tuple[np.ndarray, ...]

  @classmethod
  def fit(
    cls,
    tokens: np.ndarray,
    vocabulary_size: int,
    *,
    order: int,
    epsilon: float = 0.0,
  ) -> Self:
    """Counts a sequence.

    Args:
      tokens: integer ids [N].
      vocabulary_size: V.
      order: k, from 1 to N - 1. `up_to(0)` of the model is the one of
        independent symbols.
      epsilon: added to every count, at least 0. Without it what was not seen is
        impossible, and a context that was not seen has the uniform row.

    Raises:
      UserError: no tokens, an id outside the vocabulary, an order outside its
        range, a table beyond memory, or a negative epsilon.
    """
    tokens = _checked(tokens, vocabulary_size)
    if not 1 <= order < len(tokens):
      raise errors.UserError(
        f"a Markov model of order {order} cannot be counted in {len(tokens)} "
        f"symbols; give an order from 1 to {len(tokens) - 1}"
      )
    if vocabulary_size ** (order + 1) > _MOST_ENTRIES:
      raise errors.UserError(
        f"the table of order {order} over {vocabulary_size} symbols has "
        f"{vocabulary_size ** (order + 1):,} entries and may have "
        f"{_MOST_ENTRIES:,}; lower the order, or take models.ngram, which "
        "stores what was seen only"
      )
    if not epsilon >= 0:
      raise errors.UserError(f"epsilon is {epsilon}; it must be at least 0")
    tables = []
    for length in range(order + 1):
      rows = vocabulary_size**length
      places = _contexts(tokens, vocabulary_size, length)[length:]
      cells = places * vocabulary_size + tokens[length:]
      counts = np.bincount(cells, minlength=rows * vocabulary_size)
      shares = counts.reshape(rows, vocabulary_size) + epsilon
      totals = shares.sum(axis=1, keepdims=True)
      uniform = np.full_like(shares, 1 / vocabulary_size)
      tables.append(np.divide(shares, totals, out=uniform, where=totals > 0))
    return cls(order, vocabulary_size, tuple(tables))

  def up_to(self, order: int) -> "Markov":
    """The model that reads at most the last `order` symbols.

    Raises:
      UserError: an order that this model does not hold.
    """
    if not 0 <= order <= self.order:
      raise errors.UserError(
        f"a model of order {self.order} holds no model of order {order}; give "
        f"0 to {self.order}"
      )
    return Markov(order, self.vocabulary_size, self.tables[: order + 1])

  @property
  def kernel(self) -> np.ndarray:
    """The longest table as [V, ..., V] with k + 1 axes."""
    return self.tables[-1].reshape((self.vocabulary_size,) * (self.order + 1))

  def distribution(self, context: np.ndarray) -> np.ndarray:
    """Of the symbol after any sequence of ids, float64 [V]."""
    read = np.append(np.asarray(context, np.int64), 0)
    read = _checked(read, self.vocabulary_size)[-self.order - 1 :]
    length = len(read) - 1
    row = _contexts(read, self.vocabulary_size, length)[-1]
    return self.tables[length][row]

  def nats(self, tokens: np.ndarray) -> np.ndarray:
    """-log P of every symbol given those before it, float64 [N].

    Their sum is that of the whole sequence, its first symbols included.

    Raises:
      UserError: no tokens, or an id outside the vocabulary.
    """
    tokens = _checked(tokens, self.vocabulary_size)
    shares = np.empty(len(tokens))
    for length, table in enumerate(self.tables):
      last = len(tokens) if length == self.order else length + 1
      part = slice(length, last)
      rows = _contexts(tokens[:last], self.vocabulary_size, length)
      shares[part] = table[rows[length:], tokens[part]]
    with np.errstate(divide="ignore"):
      return -np.log(shares)


def _contexts(tokens: np.ndarray, size: int, length: int) -> np.ndarray:
  """The `length` ids before each place as a number; right from there on."""
  found = np.zeros(len(tokens), np.int64)
  for back in range(length, 0, -1):
    found = found * size + np.roll(tokens, back)
  return found


def _checked(tokens: np.ndarray, vocabulary_size: int) -> np.ndarray:
  if not len(tokens):
    raise errors.UserError(
      "a Markov model was given no symbols; give at least 1"
    )
  found = np.asarray(tokens, np.int64)
  outside = found[(found < 0) | (found >= vocabulary_size)]
  if len(outside):
    raise errors.UserError(
      f"a Markov model over {vocabulary_size} symbols was given the id "
      f"{outside[0]}; give ids from 0 to {vocabulary_size - 1}"
    )
  return found


@dataclasses.dataclass(frozen=True)
class HiddenMarkov:
  """A known model.

  Attributes:
    initial: [K], of the first state.
    transition: [K, K], of the next state by the present one.
    emission: [K, V], of the symbol by the state.

  Raises:
    UserError: shapes that do not fit, or rows that are no distributions.

  >>> coins = HiddenMarkov(
  ...   np.array([0.5, 0.5]),
  ...   np.array([[0.9, 0.1], [0.1, 0.9]]),
  ...   np.array([[0.8, 0.2], [0.2, 0.8]]),
  ... )
  >>> np.exp(-coins.nats(np.array([0, 0]))).round(3)
  array([0.5  , 0.644])
  """

  initial: np.ndarray
  transition: np.ndarray
  emission: np.ndarray

  def __post_init__(self) -> None:
    """Refuses what is no such model."""
    states = len(self.initial)
    if self.transition.shape != (states, states) or (
      self.emission.ndim != 2 or len(self.emission) != states
    ):
      raise errors.UserError(
        f"{states} states with transitions {list(self.transition.shape)} and "
        f"emissions {list(self.emission.shape)}; give [{states}, {states}] and "
        f"[{states}, V]"
      )
    for name in ("initial", "transition", "emission"):
      rows = getattr(self, name)
      off = np.abs(rows.sum(axis=-1) - 1).max()
      if rows.min() < 0 or not off < 1e-6:
        raise errors.UserError(
          f"{name} has the least entry {rows.min():g} and misses the sum 1 by "
          f"{off:.2g}; give entries from 0 up that sum to 1"
        )

  def forward(self, symbols: np.ndarray) -> np.ndarray:
    """log pi, float64 [T + 1, K]; the last row is after all symbols.

    Raises:
      UserError: no symbols, or one that the states do not show.
    """
    seen, moves = self._seen(symbols), _log(self.transition)
    found = np.empty((len(seen) + 1, len(moves)))
    found[0] = _log(self.initial)
    for step, here in enumerate(seen):
      found[step + 1] = _sum((found[step] + here)[:, None] + moves, axis=0)
    return found

  def backward(self, symbols: np.ndarray) -> np.ndarray:
    """log rho, float64 [T, K].

    Raises:
      UserError: no symbols, or one that the states do not show.
    """
    seen, moves = self._seen(symbols), _log(self.transition)
    found = np.zeros_like(seen)
    for step in range(len(seen) - 1, 0, -1):
      found[step - 1] = _sum(moves + seen[step] + found[step], axis=1)
    return found

  def log_probability(self, symbols: np.ndarray) -> float:
    """log P(x_1, ..., x_T), in nats."""
    return float(_sum(self.forward(symbols)[-1], axis=0))

  def nats(self, symbols: np.ndarray) -> np.ndarray:
    """-log P(x_t | x_1, ..., x_{t-1}) of every symbol, float64 [T].

    Infinite from a symbol on that could not come.
    """
    # The mass of pi_t is the probability of all before t.
    logs = _sum(self.forward(symbols), axis=1)
    possible = np.isfinite(logs)
    logs[~possible] = 0.0
    return np.where(possible[1:], -np.diff(logs), np.inf)

  def state_posterior(self, symbols: np.ndarray) -> np.ndarray:
    """P(h_t | all symbols), float64 [T, K]."""
    logs = self.forward(symbols)[:-1] + self._seen(symbols)
    logs += self.backward(symbols)
    return np.exp(logs - _sum(logs, axis=1)[:, None])

  def fill_in(self, symbols: np.ndarray) -> np.ndarray:
    """P(x_t | all symbols but x_t), float64 [T, V], for every place."""
    around = self.forward(symbols)[:-1] + self.backward(symbols)
    logs = _sum(around[:, :, None] + _log(self.emission), axis=1)
    return np.exp(logs - _sum(logs, axis=1)[:, None])

  def most_likely_states(self, symbols: np.ndarray) -> tuple[np.ndarray, float]:
    """The likeliest states int64 [T], and their log P with the symbols."""
    return most_likely(self.initial, self.transition, self._seen(symbols))

  def entropy_by_window(self, longest: int) -> np.ndarray:
    """The best nats a symbol for who sees the last k only, k = 0 to `longest`.

        H(x_{k+1} | x_1, ..., x_k)  of the stationary source, by enumeration

    No model that reads windows of k does better. The values fall, as k grows,
    towards the entropy rate, which is the filter's.

    Returns:
      float64 [longest + 1].

    Raises:
      UserError: a negative length, or more than a million windows.

    >>> cycle = np.roll(np.eye(3), 1, axis=1)
    >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> seen = HiddenMarkov(np.full(3, 1 / 3), cycle, rows)  # 0 0 1 0 0 1
    >>> bool(np.allclose(seen.entropy_by_window(2)[2], 0))
    True
    """
    size = self.emission.shape[1]
    if longest < 0 or size ** (longest + 1) > 1_000_000:
      raise errors.UserError(
        f"windows of {longest} out of {size} symbols; give a length from 0 on "
        "with at most 1,000,000 windows of one more"
      )
    entropies, before = [], 0.0
    # pi after every sequence of k symbols, [V^k, K].
    prefixes = stationary(self.transition)[None]
    for _ in range(longest + 1):
      shown = prefixes[:, None, :] * self.emission.T
      prefixes = shown.reshape(-1, len(self.initial)) @ self.transition
      shares = prefixes.sum(axis=1)
      joint = float(-(shares * np.log(np.where(shares > 0, shares, 1))).sum())
      entropies.append(joint - before)
      before = joint
    return np.array(entropies)

  def _seen(self, symbols: np.ndarray) -> np.ndarray:
    """log P(x_t | h), [T, K]."""
    if not len(symbols):
      raise errors.UserError(
        "a hidden Markov model was given no symbols; give at least 1"
      )
    found, size = np.asarray(symbols, np.int64), self.emission.shape[1]
    outside = found[(found < 0) | (found >= size)]
    if len(outside):
      raise errors.UserError(
        f"a hidden Markov model over {size} symbols was given the id "
        f"{outside[0]}; give ids from 0 to {size - 1}"
      )
    return _log(self.emission).T[found]


def _log(values: np.ndarray) -> np.ndarray:
  with np.errstate(divide="ignore"):
    return np.log(values)


def _sum(logs: np.ndarray, axis: int) -> np.ndarray:
  """log sum exp; -inf where all is."""
  highest = logs.max(axis=axis, keepdims=True)
  highest = np.where(np.isfinite(highest), highest, 0.0)
  return np.squeeze(highest, axis) + _log(np.exp(logs - highest).sum(axis=axis))


Autocovariance = Callable[[np.ndarray], np.ndarray]


class Linear(NamedTuple):
  """Weights of a window, float64.

  Attributes:
    weights: [tau], that of the oldest value first.
    bias: b.
  """

  weights: np.ndarray
  bias: float = 0.0

  def predict(self, features: np.ndarray) -> np.ndarray:
    """Predictions [...] from windows [..., tau]."""
    return features @ self.weights + self.bias

  @property
  def companion(self) -> np.ndarray:
    """C, float64 [tau + 1, tau + 1]."""
    tau = len(self.weights)
    matrix = np.zeros((tau + 1, tau + 1))
    matrix[: tau - 1, 1:tau] = np.eye(tau - 1)
    matrix[tau - 1, :tau] = self.weights
    matrix[tau - 1, tau] = self.bias
    matrix[tau, tau] = 1.0
    return matrix

  @property
  def radius(self) -> float:
    """The largest |root| of C without the constant: below 1, it forgets."""
    return float(np.abs(np.linalg.eigvals(self.companion[:-1, :-1])).max())

  @property
  def fixed_point(self) -> float:
    """The value it predicts after itself for ever; infinite if sum w is 1."""
    rest = 1 - float(self.weights.sum())
    return self.bias / rest if rest else float("inf")

  def ahead(self, steps: int) -> "Linear":
    """The model that predicts `steps` ahead by feeding predictions back.

    Raises:
      UserError: less than one step.

    >>> Linear(np.array([0.5]), 1.0).ahead(2)
    Linear(weights=array([0.25]), bias=1.5)
    """
    if steps < 1:
      raise errors.UserError(
        f"a prediction {steps} steps ahead; it must be at least 1"
      )
    tau = len(self.weights)
    row = np.linalg.matrix_power(self.companion, steps)[tau - 1]
    return Linear(row[:tau], float(row[tau]))

  def free_run(self, window: np.ndarray, steps: int) -> np.ndarray:
    """All predictions 1 to `steps` ahead of a window, by powers of C.

    Raises:
      UserError: a window of another length.

    >>> Linear(np.array([0.5])).free_run(np.array([8.0]), 3)
    array([4., 2., 1.])
    """
    if window.shape != self.weights.shape:
      raise errors.UserError(
        f"a window of {len(window)} values for {len(self.weights)} weights; "
        "give as many values as weights"
      )
    return np.array(
      [self.ahead(step).predict(window) for step in range(1, steps + 1)]
    )


class Optimum(NamedTuple):
  """The best linear prediction of a stationary series of mean 0.

  Attributes:
    weights: [n], in the order of the positions.
    error: its mean squared error.
  """

  weights: np.ndarray
  error: float


def least_squares(features: np.ndarray, labels: np.ndarray) -> Linear:
  """The weights and bias of least mean squared error over N pairs.

  The shortest such weights where the pairs do not settle them.

  Args:
    features: [N, tau].
    labels: [N].

  Raises:
    UserError: no pairs.

  >>> xs = np.array([[0.0], [1.0], [2.0]])
  >>> model = least_squares(xs, 3 * xs[:, 0] + 1)
  >>> model.weights.round(6), round(model.bias, 6)
  (array([3.]), 1.0)
  """
  if not len(labels):
    raise errors.UserError(
      "least squares was given 0 pairs; give at least 1, better many more than "
      "weights"
    )
  # Around the mean, so that the bias does not count as a weight to be short.
  middle, level = features.mean(axis=0), labels.mean()
  weights = np.linalg.lstsq(features - middle, labels - level)[0]
  return Linear(weights, float(level - middle @ weights))


def sine_autocovariance(
  *, rate: float = 0.01, noise: float = 0.2, drift: float = 0.0
) -> Autocovariance:
  """That of sin(rate t + phase) + noise e_t with a phase that may be any.

      g(h) = 1/2 cos(rate h) exp(-drift^2 |h| / 2) + noise^2 [h = 0]

  Args:
    rate: radians a step.
    noise: standard deviation of what is added to the sine.
    drift: standard deviation of what is added to the phase, radians a step.

  >>> sine_autocovariance()(np.array([0, 1])).round(5)
  array([0.54   , 0.49998])
  """

  def at(lags: np.ndarray) -> np.ndarray:
    lasting = np.exp(-(drift**2) * np.abs(lags) / 2)
    return 0.5 * np.cos(rate * lags) * lasting + noise**2 * (lags == 0)

  return at


def optimum(
  autocovariance: Autocovariance,
  positions: Sequence[int] | np.ndarray,
  *,
  mixing: np.ndarray | None = None,
) -> Optimum:
  """The best weights of values at some positions.

  Args:
    autocovariance: g, of whole numbers.
    positions: of the values relative to the one sought: -1 is the value before
      it, 1 the one after it.
    mixing: [n, positions]: features that are sums of these values, such as
      means; each value is its own feature if left out.

  Raises:
    UserError: no positions, or the sought value among them.

  Four values before, or two on either side:

  >>> g = sine_autocovariance()
  >>> round(optimum(g, [-4, -3, -2, -1]).error, 4)
  0.0501
  >>> round(optimum(g, [-2, -1, 1, 2]).error, 4)
  0.0498
  """
  places = np.asarray(positions)
  if not len(places) or 0 in places:
    raise errors.UserError(
      f"{len(places)} positions to predict from, 0 being the value sought; "
      "give at least 1, and none of them 0"
    )
  between, to = autocovariance(places[:, None] - places), autocovariance(places)
  if mixing is not None:
    between, to = mixing @ between @ mixing.T, mixing @ to
  # Without noise many weights are best; these are the shortest.
  weights = np.linalg.lstsq(between, to)[0]
  here = float(autocovariance(np.zeros(1))[0])
  return Optimum(weights, here - float(to @ weights))


def error_of(
  autocovariance: Autocovariance,
  positions: Sequence[int] | np.ndarray,
  weights: np.ndarray,
) -> float:
  """The mean squared error of any weights, good or not.

  >>> g = sine_autocovariance()
  >>> round(error_of(g, [-1], np.array([0.0])), 2)
  0.54
  """
  places = np.append(np.asarray(positions), 0)
  signed = np.append(weights, -1.0)
  return float(signed @ autocovariance(places[:, None] - places) @ signed)


def gain(weights: np.ndarray, rate: float) -> float:
  """How much of a sine's height a window's weights let through, w >= 0.

      |sum_j w_j exp(i rate j)|

  >>> gain(np.array([0.5, 0.5]), 0.0)
  1.0
  """
  turns = np.exp(1j * rate * np.arange(len(weights)))
  return float(np.abs(weights @ turns))


def accumulated_error(
  error: float, factor: float, steps: int | np.ndarray
) -> np.ndarray:
  """What becomes of an error that each step hands on and adds to.

      eps_1 = e,  eps_k = e + c eps_{k-1}  =>  eps_k = e (1 - c^k) / (1 - c)

  It grows like k at c = 1, geometrically above, and levels out at e / (1 - c)
  below.

  Args:
    error: e, of one step.
    factor: c, at least 0.
    steps: k.

  >>> accumulated_error(1.0, 2.0, np.array([1, 2, 3]))
  array([1., 3., 7.])
  >>> accumulated_error(1.0, 1.0, np.array([1, 2, 3]))
  array([1., 2., 3.])
  """
  ks = np.asarray(steps, np.float64)
  if factor == 1:
    return error * ks
  return error * (1 - factor**ks) / (1 - factor)


# P is taken for settled when a step changes s by less.
_SETTLED = 1e-13
_MOST_STEPS = 50_000


@dataclasses.dataclass(frozen=True)
class StateSpace:
  """A known model, begun from a state of mean 0.

  Attributes:
    transition: F, [K, K].
    drive: Q, [K, K].
    readout: c, [K].
    variance: r of the noise on what is read, above 0.
    start: [K, K], covariance of the first state.

  Raises:
    UserError: shapes that do not fit, or a variance that is not above 0.

  A level that never changes is the mean of what was seen, as soon as the noise
  is small beside what is not known of it:

  >>> one = np.eye(1)
  >>> level = StateSpace(one, 0 * one, np.ones(1), 1.0, 1e9 * one)
  >>> level.predictions(np.array([2.0, 4.0, 9.0])).round(6)
  array([0., 2., 3.])
  """

  transition: np.ndarray
  drive: np.ndarray
  readout: np.ndarray
  variance: float
  start: np.ndarray

  def __post_init__(self) -> None:
    """Refuses what is no such model."""
    size = len(self.readout)
    for name in ("transition", "drive", "start"):
      shape = getattr(self, name).shape
      if shape != (size, size):
        raise errors.UserError(
          f"a state read by {size} weights with {name} {list(shape)}; give "
          f"[{size}, {size}]"
        )
    if not self.variance > 0:
      raise errors.UserError(
        f"the variance of the noise is {self.variance}; it must be above 0"
      )

  def predictions(self, values: np.ndarray) -> np.ndarray:
    """x^_t of every value from those before it, float64 [T]."""
    mean, covariance = np.zeros(len(self.readout)), self.start
    found = np.empty(len(values))
    for step, value in enumerate(values):
      found[step] = self.readout @ mean
      gain, covariance = self._read(covariance)
      mean = self.transition @ (mean + gain * (value - found[step]))
    return found

  @property
  def error(self) -> float:
    """s once it has settled: the mean squared error of the best prediction.

    Raises:
      UserError: it does not settle.
    """
    covariance, before = self.start, np.inf
    for _ in range(_MOST_STEPS):
      error = float(self.readout @ covariance @ self.readout) + self.variance
      if abs(error - before) < _SETTLED * error:
        return error
      _, covariance = self._read(covariance)
      before = error
    raise errors.UserError(
      f"the error of the filter is {before:.4g} after {_MOST_STEPS:,} steps "
      "and does not settle; give every state a drive, so that old values are "
      "forgotten"
    )

  def _read(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k, and P of the next state."""
    seen = covariance @ self.readout
    gain = seen / (self.readout @ seen + self.variance)
    left = covariance - np.outer(gain, seen)
    return gain, self.transition @ left @ self.transition.T + self.drive


def rotation(*, rate: float, noise: float, drift: float) -> StateSpace:
  """A point that turns, grows smaller and is pushed; one coordinate is read.

      F = rho [cos a, -sin a; sin a, cos a],   rho = exp(-drift^2 / 2),
      Q = (1 - rho^2) / 2 I,   c = [1, 0],   r = noise^2

  The stationary series has the autocovariance of a sine whose phase drifts
  (`sine_autocovariance`), so its filter is the best
  linear prediction of one, from two numbers.

  Args:
    rate: a, radians a step.
    noise: standard deviation of what is read, above 0.
    drift: standard deviation of what is added to the phase, radians a step.

  Raises:
    UserError: no noise.

  >>> round(rotation(rate=0.1, noise=0.5, drift=0.05).error, 4)
  0.2749
  """
  rho = np.exp(-(drift**2) / 2)
  cos, sin = np.cos(rate), np.sin(rate)
  return StateSpace(
    rho * np.array([[cos, -sin], [sin, cos]]),
    (1 - rho**2) / 2 * np.eye(2),
    np.array([1.0, 0.0]),
    noise**2,
    np.eye(2) / 2,
  )


def phase_predictions(
  values: np.ndarray,
  *,
  rate: float,
  noise: float,
  drift: float,
  points: int = 128,
) -> np.ndarray:
  """The best prediction of each value of a sine whose phase drifts.

      b(a) -> b(a) exp(-(x_t - sin a)^2 / (2 noise^2)), to sum 1,   x_t is read
      b(a) -> sum_a' b(a') N(a - a' - rate; drift^2)                one step on
      x^_t = sum_a b(a) sin a

  over equally spaced phases a, all alike at first.

  Args:
    values: [T], as `data.noisy_sine` makes them.
    rate: radians a step.
    noise: standard deviation of what is added to the sine, above 0.
    drift: standard deviation of what is added to the phase in a step, at least
      the distance of two points: 2 pi / `points`.
    points: phases that are told apart.

  Returns:
    float64 [T].

  Raises:
    UserError: no noise or no drift, or too few points for the drift.

  >>> xs = np.sin(0.2 * np.arange(1, 60))
  >>> found = phase_predictions(xs, rate=0.2, noise=0.1, drift=0.05)
  >>> bool(np.abs(found - xs)[10:].max() < 0.02)
  True
  """
  if not min(noise, drift) > 0:
    raise errors.UserError(
      f"the noise is {noise} and the drift {drift}; both must be above 0"
    )
  apart = 2 * np.pi / points
  if apart > drift:
    raise errors.UserError(
      f"{points} phases are {apart:.3g} apart and the drift is {drift:g}; tell "
      f"at least {math.ceil(2 * np.pi / drift)} apart"
    )
  angles = apart * np.arange(points)
  # From a' to a, the shorter way round.
  turned = angles[:, None] - angles - rate
  turned = (turned + np.pi) % (2 * np.pi) - np.pi
  moves = np.exp(-0.5 * (turned / drift) ** 2)
  moves /= moves.sum(axis=0)
  heights, belief = np.sin(angles), np.full(points, 1 / points)
  found = np.empty(len(values))
  for step, value in enumerate(values):
    found[step] = belief @ heights
    likely = -0.5 * ((value - heights) / noise) ** 2
    belief = belief * np.exp(likely - likely.max())
    belief = moves @ (belief / belief.sum())
  return found


Tree = Any


class Forecaster(NamedTuple):
  """A next-value model as pure functions of its parameters.

  Attributes:
    apply: `(params, carry, values) -> (carry, predictions)`, both float32
      [T, B]; predictions[t] is of the value that follows values[t].
    initial_carry: `batch -> carry`, leaves [B, ...].
    init: `key -> params`.
    reach: values to be read before a prediction is meant: tau of a window, 1 of
      a latent model.
  """

  apply: Any
  initial_carry: Any
  init: Any
  reach: int


class _Window(nn.Module):
  """A shift register, and a network over what it holds."""

  tau: int
  hidden: tuple[int, ...]

  @nn.compact
  def __call__(
    self, carry: jax.Array, values: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    seen = jnp.concatenate([carry.T, values])
    steps = values.shape[0]
    # After value t the register holds the tau values up to it, oldest first.
    shifted = [seen[j + 1 : j + 1 + steps] for j in range(self.tau)]
    found = jnp.stack(shifted, axis=-1)
    xavier = nn.initializers.xavier_uniform()
    for width in self.hidden:
      found = nn.relu(nn.Dense(width, kernel_init=xavier)(found))
    last = xavier if self.hidden else nn.initializers.normal(0.01)
    found = nn.Dense(1, kernel_init=last, name="readout")(found)
    return seen[steps:].T, found[..., 0]


class _Latent(nn.Module):
  """A recurrent stack that reads one number a step, and a linear readout."""

  cell: str
  features: tuple[int, ...]

  def stack(self) -> stack_lib.DeepRecurrent:
    return stack_lib.DeepRecurrent(
      features=self.features,
      in_features=1,
      cell=self.cell,
      name="stack",
      parent=None,
    )

  @nn.compact
  def __call__(self, carry: Tree, values: jax.Array) -> tuple[Tree, jax.Array]:
    stack = self.stack().clone(parent=self)
    carry, outputs = stack(carry, values[..., None])
    found = stack_lib.Head(1, name="readout")(outputs)
    return carry, found[..., 0]


@functools.cache
def window(tau: int, hidden: tuple[int, ...] = ()) -> Forecaster:
  """A window of tau values, linear or with layers of rectifiers between.

  The linear weights begin at N(0, 0.01^2), those of a network at Xavier's
  uniform draw, biases at 0.

  Args:
    tau: at least 1.
    hidden: units of each layer; none is the linear model.

  Returns:
    The same object for the same arguments.

  Raises:
    UserError: a width below 1.

  >>> model = window(4)
  >>> params = model.init(jax.random.key(0))
  >>> params["readout"]["kernel"].shape
  (4, 1)
  >>> model.apply(params, model.initial_carry(2), jnp.ones((9, 2)))[1].shape
  (9, 2)
  """
  if min((tau, *hidden)) < 1:
    raise errors.UserError(
      f"a window of {tau} values with layers of {list(hidden)}; each must be "
      "at least 1"
    )
  return _forecaster(
    _Window(tau, tuple(hidden)),
    lambda batch: jnp.zeros((batch, tau), jnp.float32),
    reach=tau,
  )


@functools.cache
def latent(cell: str, features: tuple[int, ...]) -> Forecaster:
  """A recurrent network that keeps what it needs of the past.

  Args:
    cell: a name in `cells.cell.CELLS`.
    features: H of each layer.

  Returns:
    The same object for the same arguments.

  Raises:
    UserError: no layer, or a width below 1; no such cell.

  >>> model = latent("elman", (8,))
  >>> params = model.init(jax.random.key(0))
  >>> model.apply(params, model.initial_carry(2), jnp.ones((9, 2)))[1].shape
  (9, 2)
  """
  if not features or min(features) < 1:
    raise errors.UserError(
      f"a latent model has layers of {list(features)}; give at least one "
      "layer, of at least 1 unit"
    )
  module = _Latent(cell, tuple(features))
  return _forecaster(module, module.stack().initial_carry, reach=1)


def _forecaster(
  module: nn.Module, initial_carry: Any, reach: int
) -> Forecaster:
  def init(key: jax.Array) -> Tree:
    return module.init(key, initial_carry(1), jnp.zeros((1, 1)))["params"]

  def apply(params: Tree, carry: Tree, values: jax.Array) -> Any:
    return module.apply({"params": params}, carry, values)

  return Forecaster(apply, initial_carry, init, reach)


def of_linear(linear: Linear) -> Tree:
  """A linear model's weights as the parameters of `window(tau)`.

  >>> linear = Linear(np.array([0.5, 0.25]), 1.0)
  >>> of_linear(linear)["readout"]["kernel"].ravel()
  Array([0.5 , 0.25], dtype=float32)
  """
  kernel = jnp.asarray(linear.weights, jnp.float32)[:, None]
  return {
    "readout": {"kernel": kernel, "bias": jnp.full(1, linear.bias, jnp.float32)}
  }


def to_linear(params: Tree) -> Linear:
  """The parameters of `window(tau)` as a linear model in float64.

  >>> to_linear(window(2).init(jax.random.key(0))).weights.shape
  (2,)
  """
  readout = jax.device_get(params)["readout"]
  weights = np.asarray(readout["kernel"], np.float64)[:, 0]
  return Linear(weights, float(readout["bias"][0]))


class PerStep(nn.Module):
  """A label for every step; of `shifted` symbols, a language model.

  Attributes:
    core: what reads.
    outputs: K kinds of label.

  >>> core = stack.DeepRecurrent(features=(4,), in_features=2)
  >>> ids = jnp.zeros((5, 3), int)
  >>> jax.eval_shape(
  ...   PerStep(core, 7).init_with_output, jax.random.key(0), ids)[0].shape
  (5, 3, 7)
  """

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Logits [T, B, K] from ids [T, B] or dense [T, B, D]."""
    _, states = _read(self.core, inputs)
    return stack.Head(self.outputs, name="head")(states)


class LastState(nn.Module):
  """One label for a sequence.

  Attributes:
    core: what reads.
    outputs: K kinds of label.

  >>> core = stack.DeepRecurrent(features=(4,), in_features=2)
  >>> ids = jnp.zeros((5, 3), int)
  >>> jax.eval_shape(
  ...   LastState(core, 7).init_with_output, jax.random.key(0), ids)[0].shape
  (1, 3, 7)
  """

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(
    self, inputs: jax.Array, lengths: jax.Array | None = None
  ) -> jax.Array:
    """Logits [1, B, K].

    Args:
      inputs: ids [T, B] or dense [T, B, D].
      lengths: [B], from 1 on: where each sequence ends; T by default.
    """
    _, states = _read(self.core, inputs)
    steps, batch = inputs.shape[:2]
    last = jnp.full(batch, steps) if lengths is None else lengths
    places = (last - 1)[None, :, None]
    ends = tuple(jnp.take_along_axis(hs, places, axis=0) for hs in states)
    return stack.Head(self.outputs, name="head")(ends)


class FromVector(nn.Module):
  """A sequence about one object.

  Every number of the first state is tanh of a linear map of the vector.

  Attributes:
    core: what writes.
    outputs: K kinds of symbol.

  >>> core = stack.DeepRecurrent(features=(4,), in_features=7)
  >>> written, vector = jnp.zeros((5, 3), int), jnp.ones((3, 2))
  >>> begin = FromVector(core, 7).init_with_output
  >>> jax.eval_shape(begin, jax.random.key(0), vector, written)[0].shape
  (5, 3, 7)
  """

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, vector: jax.Array, written: jax.Array) -> jax.Array:
    """Logits [T, B, K] of what follows each symbol.

    Args:
      vector: [B, D].
      written: ids [T, B], `shifted`.
    """
    empty, shape = jax.tree.flatten(self.core.initial_carry(len(vector)))
    first = [
      nn.tanh(nn.Dense(leaf.shape[-1], name=f"first_{i}")(vector))
      for i, leaf in enumerate(empty)
    ]
    _, states = self.core(jax.tree.unflatten(shape, first), written)
    return stack.Head(self.outputs, name="head")(states)


class EncoderDecoder(nn.Module):
  """A sequence for a sequence, of any two lengths.

  Attributes:
    encoder: the core that reads.
    decoder: the core that writes, with layers like the encoder's.
    outputs: K kinds of symbol.

  >>> core = stack.DeepRecurrent(features=(4,), in_features=7)
  >>> source, written = jnp.zeros((6, 3), int), jnp.zeros((5, 3), int)
  >>> begin = EncoderDecoder(core, core.copy(), 7).init_with_output
  >>> jax.eval_shape(begin, jax.random.key(0), source, written)[0].shape
  (5, 3, 7)
  """

  encoder: stack.DeepRecurrent
  decoder: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, source: jax.Array, written: jax.Array) -> jax.Array:
    """Logits [T, B, K] of what follows each symbol.

    Args:
      source: ids [S, B] or dense [S, B, D].
      written: ids [T, B], `shifted`.
    """
    carry, _ = _read(self.encoder, source)
    _, states = self.decoder(carry, written)
    return stack.Head(self.outputs, name="head")(states)


def _read(core: stack.DeepRecurrent, inputs: jax.Array) -> Any:
  return core(core.initial_carry(inputs.shape[1]), inputs)


def shifted(targets: np.ndarray) -> np.ndarray:
  """What has been written before each symbol: the null vector, then the truth.

  >>> shifted(np.array([[5], [6], [7]])).ravel().tolist()
  [-1, 5, 6]
  """
  return np.concatenate([np.full_like(targets[:1], -1), targets[:-1]])


def greedy(
  logits: Callable[[np.ndarray], jax.Array], steps: int, batch: int
) -> np.ndarray:
  """Sequences that a model writes by itself, the likeliest symbol each time.

  Args:
    logits: written [T, B] -> [T, B, K], such as
      `lambda written: model.apply(variables, source, written)`; one that looks
      ahead would see null vectors.
    steps: T, at least 1.
    batch: B.

  Returns:
    int32 [T, B].

  Raises:
    UserError: no steps.

  >>> counting = lambda written: jax.nn.one_hot(written + 1, 9)
  >>> greedy(counting, 4, 1).ravel().tolist()
  [0, 1, 2, 3]
  """
  if steps < 1:
    raise errors.UserError(
      f"a sequence of {steps} symbols was to be written; give at least 1"
    )
  # T passes over all T steps; but one shape, compiled once.
  written = np.full((steps + 1, batch), -1, np.int32)
  for step in range(steps):
    found = np.asarray(logits(written[:-1]))
    written[step + 1] = found[step].argmax(axis=-1)
  return written[1:]


class Forecasts(NamedTuple):
  """Predictions of values of a series.

  Attributes:
    times: int [N], the positions of the values that are predicted.
    values: float32 [N].
  """

  times: np.ndarray
  values: np.ndarray


def one_step(model: Forecaster, params: Tree, series: np.ndarray) -> Forecasts:
  """Each value from the true ones before it: T - reach predictions.

  Raises:
    UserError: a series that is not longer than the model's reach.

  >>> mean = of_linear(Linear(np.array([0.5, 0.5])))
  >>> model = window(2)
  >>> one_step(model, mean, np.array([1.0, 3.0, 5.0, 7.0]))
  Forecasts(times=array([2, 3]), values=array([2., 4.], dtype=float32))
  """
  _check(series, model.reach, 1)
  found = _read_series(model, params, _column(series))
  places = np.arange(model.reach, len(series))
  return Forecasts(places, np.asarray(found)[places - 1])


def free_run(
  model: Forecaster, params: Tree, seen: np.ndarray, steps: int
) -> np.ndarray:
  """What the model says once it reads its own predictions, float32 [steps].

  Args:
    model: the model.
    params: its parameters.
    seen: the true values that it reads first; the first prediction follows the
      last of them.
    steps: at least 1.

  Raises:
    UserError: no steps, or fewer true values than the model's reach.

  >>> halve = of_linear(Linear(np.array([0.5])))
  >>> free_run(window(1), halve, np.array([8.0]), 3)
  array([4., 2., 1.], dtype=float32)
  """
  _check(seen, model.reach, steps, beyond=True)
  return np.asarray(_ahead(model, params, _column(seen), steps, 1))[:, 0]


def k_steps(
  model: Forecaster,
  params: Tree,
  series: np.ndarray,
  longest: int,
) -> list[Forecasts]:
  """Predictions 1, 2, ..., `longest` steps ahead, from every place there is.

  From each place of the series the model reads the true values up to it and
  then its own predictions. Each k has its own times: k steps after the place.

  Returns:
    T - reach - k + 1 predictions for k = 1, 2, ... in this order.

  Raises:
    UserError: no steps, or a series that ends before the last of them.

  >>> halve = of_linear(Linear(np.array([0.5])))
  >>> k_steps(window(1), halve, np.array([8.0, 4.0, 2.0]), 2)[1]
  Forecasts(times=array([2]), values=array([2.], dtype=float32))
  """
  _check(series, model.reach, longest)
  values = _column(series)
  found = np.asarray(_ahead(model, params, values, longest, len(values)))
  forecasts = []
  for k, values in enumerate(found, 1):
    origins = np.arange(model.reach - 1, len(series) - k)
    forecasts.append(Forecasts(origins + k, values[origins]))
  return forecasts


def errors_by_step(
  forecasts: Sequence[Forecasts], series: np.ndarray, first: int = 0
) -> np.ndarray:
  """The mean squared error of each k over times from `first` on.

  >>> ones = Forecasts(np.array([1, 2]), np.array([1.0, 1.0]))
  >>> errors_by_step([ones], np.array([0.0, 1.0, 3.0]))
  array([2.])
  """
  return np.array(
    [
      np.mean((values - series[times])[times >= first] ** 2, dtype=np.float64)
      for times, values in forecasts
    ]
  )


@functools.partial(jax.jit, static_argnames="model")
def _read_series(
  model: Forecaster, params: Tree, values: jax.Array
) -> jax.Array:
  return model.apply(params, model.initial_carry(1), values)[1][:, 0]


@functools.partial(jax.jit, static_argnames=("model", "steps", "places"))
def _ahead(
  model: Forecaster,
  params: Tree,
  values: jax.Array,
  steps: int,
  places: int,
) -> jax.Array:
  """Predictions [steps, places] from the states after the last values."""

  def step(carry: Tree, value: jax.Array) -> tuple[Tree, jax.Array]:
    carry, predictions = model.apply(params, carry, value[None])
    return carry, predictions[0]

  def read(carry: Tree, value: jax.Array) -> tuple[Tree, Any]:
    carry, prediction = step(carry, value)
    return carry, (carry, prediction)

  def dream(state: tuple[Tree, jax.Array], _: None) -> tuple[Any, jax.Array]:
    carry, prediction = state
    state = step(carry, prediction)
    return state, state[1]

  _, states = jax.lax.scan(read, model.initial_carry(1), values)
  # Each place becomes a row of one batch.
  state = jax.tree.map(lambda leaf: leaf[-places:, 0], states)
  _, rest = jax.lax.scan(dream, state, length=steps - 1)
  return jnp.concatenate([state[1][None], rest])


def _column(series: np.ndarray) -> jax.Array:
  return jnp.asarray(series, jnp.float32)[:, None]


def _check(
  series: np.ndarray, reach: int, longest: int, *, beyond: bool = False
) -> None:
  if longest < 1:
    raise errors.UserError(
      f"a prediction {longest} steps ahead; it must be at least 1"
    )
  least = reach + (0 if beyond else longest)
  if len(series) < least:
    raise errors.UserError(
      f"the series has {len(series)} values, and {longest} steps ahead of a "
      f"model that reads {reach} take {least}; use a longer series or fewer "
      "steps"
    )
