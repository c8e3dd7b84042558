"""Hidden Markov models: the filter, the smoother, and a missing symbol.

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
"""

import dataclasses

import numpy as np

from seqmodels import errors
from seqmodels.models import markov_chain


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
    return markov_chain.most_likely(
      self.initial, self.transition, self._seen(symbols)
    )

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
    prefixes = markov_chain.stationary(self.transition)[None]
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
