"""Chains of symbols: Markov chains and hidden Markov models.

A Markov chain of order k has a kernel, an array [V, ..., V] of k + 1 axes: the
probability of the next symbol (last axis) after the k before it, oldest first.
With pi the distribution that the chain keeps,

    entropy rate         sum_a pi(a) sum_b -P(b | a) log P(b | a)
    likeliest sequence   max over V^T of them, in O(V^2 T)

A hidden chain shows symbols that depend on a state which nobody sees,

    P(x, h) = prod_t P(h_t | h_{t-1}) P(x_t | h_t)

and the sum over all K^T ways of the states costs O(K^2 T) by recursion.
"""

import dataclasses

import numpy as np
from scipy import special


def markov_chain(
  kernel: np.ndarray,
  length: int,
  *,
  random: np.random.Generator,
  initial: np.ndarray | None = None,
) -> np.ndarray:
  """Symbols of a Markov chain of order k, int64 [length].

  The first k are drawn from `initial`, [V, ..., V] with k axes, or uniformly.
  """
  size, order = kernel.shape[-1], kernel.ndim - 1
  rows = kernel.reshape(-1, size)
  first = np.full(len(rows), 1 / len(rows)) if initial is None else initial
  context = int(_draw(first.reshape(1, -1), random.random(1))[0])
  symbols = [int(s) for s in np.unravel_index(context, kernel.shape[:-1])]
  # A running sum that rounding left below 1 must not yield a symbol V.
  sums = np.cumsum(rows, axis=1)[:, :-1]
  for uniform in random.random(max(length - order, 0)):
    symbol = int(np.searchsorted(sums[context], uniform, side="right"))
    symbols.append(symbol)
    context = (context * size + symbol) % len(rows)
  return np.array(symbols[:length], np.int64)


def _draw(rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
  """One symbol a row of distributions, by inverting the running sum."""
  return (np.cumsum(rows, axis=1)[:, :-1] <= uniform[:, None]).sum(axis=1)


def stationary(kernel: np.ndarray) -> np.ndarray:
  """The distribution of k symbols in a row that the chain keeps, k at least 1.

  >>> stationary(np.array([[0.9, 0.1], [0.3, 0.7]])).round(3)
  array([0.75, 0.25])
  """
  size = kernel.shape[-1]
  contexts = kernel.size // size
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
  """Nats a symbol of the stationary chain given `order` past symbols.

      H(x_t | x_{t-j}, ..., x_{t-1}),   j = order, k by default

  With j = k this is the entropy rate: more of the past does not help.
  """
  known = kernel.ndim - 1
  seen = known if order is None else order
  joint = stationary(kernel)[..., None] * kernel
  joint = joint.sum(axis=tuple(range(known - seen)))
  # H(context, next) - H(context).
  return float(special.entr(joint).sum() - special.entr(joint.sum(-1)).sum())


def most_likely(
  initial: np.ndarray, kernel: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, float]:
  """The best path [T] through a chain of order 1 (Viterbi), and its log P.

  The `scores` [T, V] are added to each symbol at each step, in nats: zeros for
  the likeliest sequence of the chain itself, log P(seen_t | state) for the
  states of a hidden Markov model. Ties go to the lowest ids, from the end on.

  >>> kernel = np.array([[0.6, 0.4], [0.1, 0.9]])
  >>> path, log = most_likely(np.array([0.6, 0.4]), kernel, np.zeros((4, 2)))
  >>> path.tolist(), round(float(np.exp(log)), 4)
  ([1, 1, 1, 1], 0.2916)
  """
  best, logs = _log(initial) + scores[0], _log(kernel)
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


@dataclasses.dataclass(frozen=True)
class HiddenMarkov:
  """A known hidden Markov model; everything is kept as logarithms.

      pi_1(h) = P(h),    pi_{t+1}(h') = sum_h pi_t(h) P(x_t | h) P(h' | h)
      rho_T(h) = 1,    rho_{t-1}(h) = sum_h' P(h' | h) P(x_t | h') rho_t(h')

  pi_t knows what is before t, rho_t what is after it, and every place t gives

      P(x) = sum_h pi_t(h) P(x_t | h) rho_t(h)

  No prediction of the next symbol is better than that of pi, the filter: its
  nats are the floor under any other model of such a source.

  >>> coins = HiddenMarkov(
  ...   np.array([0.5, 0.5]),
  ...   np.array([[0.9, 0.1], [0.1, 0.9]]),
  ...   np.array([[0.8, 0.2], [0.2, 0.8]]),
  ... )
  >>> np.exp(-coins.nats(np.array([0, 0]))).round(3)
  array([0.5  , 0.644])
  """

  initial: np.ndarray  # [K], of the first state
  transition: np.ndarray  # [K, K], of the next state by the present one
  emission: np.ndarray  # [K, V], of the symbol by the state

  def sample(
    self, length: int, random: np.random.Generator
  ) -> tuple[np.ndarray, np.ndarray]:
    """States and the symbols that they show, int64 [length] each."""
    states = markov_chain(
      self.transition, length, random=random, initial=self.initial
    )
    return states, _draw(self.emission[states], random.random(length))

  def forward(self, symbols: np.ndarray) -> np.ndarray:
    """log pi, float64 [T + 1, K]; the last row is after all symbols."""
    seen, moves = self._seen(symbols), _log(self.transition)
    result = np.empty((len(seen) + 1, len(moves)))
    result[0] = _log(self.initial)
    for step, here in enumerate(seen):
      result[step + 1] = _sum((result[step] + here)[:, None] + moves, axis=0)
    return result

  def backward(self, symbols: np.ndarray) -> np.ndarray:
    """log rho, float64 [T, K]."""
    seen, moves = self._seen(symbols), _log(self.transition)
    result = np.zeros_like(seen)
    for step in range(len(seen) - 1, 0, -1):
      result[step - 1] = _sum(moves + seen[step] + result[step], axis=1)
    return result

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
    """The best nats a symbol given the last k only, k = 0 to `longest`.

        H(x_{k+1} | x_1, ..., x_k)  of the stationary source, by enumeration

    No model that reads windows of k does better. The values fall, as k grows,
    towards the entropy rate, which is the filter's.
    """
    entropies, before = [], 0.0
    # pi after every sequence of k symbols, [V^k, K].
    prefixes = stationary(self.transition)[None]
    for _ in range(longest + 1):
      shown = prefixes[:, None, :] * self.emission.T
      prefixes = shown.reshape(-1, len(self.initial)) @ self.transition
      joint = float(special.entr(prefixes.sum(axis=1)).sum())
      entropies.append(joint - before)
      before = joint
    return np.array(entropies)

  def _seen(self, symbols: np.ndarray) -> np.ndarray:
    """log P(x_t | h), [T, K]."""
    return _log(self.emission).T[symbols]


def _log(values: np.ndarray) -> np.ndarray:
  with np.errstate(divide="ignore"):
    return np.log(values)


# log sum exp; -inf where all is.
_sum = np.logaddexp.reduce
