"""What follows from a Markov chain's kernel alone: by sums, powers and maxima.

A kernel of order k is an array [V, ..., V] of k + 1 axes: P(x_t | the k symbols
before it), oldest first, the last axis being x_t. With pi what the chain keeps,

    entropy rate         sum_a pi(a) sum_b -P(b | a) log P(b | a)
    n steps on           P^n
    read from its end    P(x_t = a | x_{t+1} = b) = pi(a) P(b | a) / pi(b)
    likeliest sequence   max over V^T of them, in O(V^2 T)
"""

import numpy as np

from seqmodels import errors


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
