"""Strategies for the gradient of a long sequence, over any cell's step.

The derivative of a state with respect to a weight recurs,

    dh_t/dw = df/dw + (df/dh_{t-1}) dh_{t-1}/dw,   h_t = f(x_t, h_{t-1}, w).

A strategy leaves all values as they are and weighs the recurrent term,

    z_t = df/dw + xi_t (df/dh_{t-1}) z_{t-1},

    full         xi_t = 1
    chunks       xi_t = 0 at the first step of a chunk, else 1
    randomised   xi_t = 1/p with probability p, else 0, independently

so that E xi_t = 1 and E z_t = dh_t/dw in the last (Tallec and Ollivier, 2017):
a path over k steps survives with probability p^k and then weighs p^-k. The
estimator recurs on itself, not on the true dh_{t-1}/dw, which nobody knows.

In a chunk the depth of the gradient depends on the place; a sliding window, in
which each state sees its last `window` steps, is no product of such factors and
is run window by window.

Where all is scalar and constant, a_t = b + c a_{t-1}, the estimator's variance
and the window's bias have closed forms, given at the end.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.cells import scan as unrolling

# (params, carry, xs) -> carry, ys
Sequence = Callable[
  [Any, unrolling.Carry, unrolling.Inputs], tuple[unrolling.Carry, jax.Array]
]

# 2^20 outcomes of a few gradients each still take seconds.
_MOST_ENUMERATED = 21


def scale_gradient(tree: Any, factor: jax.Array) -> Any:
  """The tree as it is, its derivative multiplied by `factor`.

  Equal to `factor * x + stop_gradient((1 - factor) * x)`, arranged so that
  values keep every bit.

  Args:
    tree: leaves [B, ...].
    factor: [B], or a scalar.

  >>> jax.grad(lambda x: scale_gradient(x, jnp.float32(0.5)) ** 2)(3.0)
  Array(3., dtype=float32, weak_type=True)
  """
  factor = jax.lax.stop_gradient(jnp.asarray(factor))

  def one(leaf: jax.Array) -> jax.Array:
    spread = factor.reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim))
    nothing = leaf - jax.lax.stop_gradient(leaf)
    return leaf + (spread - 1).astype(leaf.dtype) * nothing

  return jax.tree.map(one, tree)


def weighted(step: unrolling.Step) -> unrolling.Step:
  """The step whose recurrent derivative is weighed.

  Args:
    step: `(params, carry, x) -> (carry, y)`.

  Returns:
    A step over `(x, factor)`, the factor [B] being xi_t: for `scan.unroll`
    with `xs` the pair of inputs and factors [T, B].

  >>> add = lambda params, carry, x: (carry + x, carry + x)
  >>> def last(x, factors):
  ...   pair = (x.reshape(3, 1), factors)
  ...   return unrolling.unroll(weighted(add), None, jnp.zeros(1), pair)[0][0]
  >>> jax.grad(last)(jnp.ones(3), chunk_factors(3, 1, chunk=2))
  Array([0., 0., 1.], dtype=float32)
  """

  def weighed(
    params: Any, carry: unrolling.Carry, x: tuple[Any, jax.Array]
  ) -> tuple[unrolling.Carry, jax.Array]:
    inputs, factor = x
    return step(params, scale_gradient(carry, factor), inputs)

  return weighed


def chunk_factors(steps: int, batch: int, *, chunk: int) -> jax.Array:
  """Factors [T, B] of chunks with a detached carry; the last may be shorter.

  The first step's is 1: the carry that comes from outside is the caller's.

  Raises:
    UserError: a chunk below 1.

  >>> chunk_factors(5, 1, chunk=2).ravel()
  Array([1., 1., 0., 1., 0.], dtype=float32)
  """
  _check_window(chunk, "chunk")
  place = jnp.arange(steps)
  kept = (place % chunk != 0) | (place == 0)
  return jnp.broadcast_to(kept.astype(float)[:, None], (steps, batch))


def random_factors(
  key: jax.Array, steps: int, batch: int, *, keep: float
) -> jax.Array:
  """Factors [T, B] of randomised truncation: 1/keep or 0, 1 at the first step.

  Runs that are not cut have geometric lengths, 1 / (1 - keep) steps on average.

  Args:
    key: consumed.
    steps: T.
    batch: B; every row is cut on its own.
    keep: probability that a step's recurrent term is kept.

  Raises:
    UserError: a probability outside (0, 1].

  >>> random_factors(jax.random.key(1), 5, 1, keep=0.5).ravel()
  Array([1., 0., 2., 2., 0.], dtype=float32)
  """
  _check_keep(keep)
  kept = jax.random.bernoulli(key, keep, (steps, batch))
  return (kept.astype(float) / keep).at[0].set(1.0)


def outcomes(steps: int, *, keep: float) -> tuple[np.ndarray, np.ndarray]:
  """Every draw of `random_factors` for one row, with its probability.

  Returns:
    Factors [2^(T-1), T] and probabilities [2^(T-1)].

  Raises:
    UserError: too long a sequence to enumerate, or as `random_factors`.

  >>> factors, probabilities = outcomes(2, keep=0.8)
  >>> factors.tolist(), probabilities.round(3).tolist()
  ([[1.0, 0.0], [1.0, 1.25]], [0.2, 0.8])
  """
  _check_keep(keep)
  if not 1 <= steps <= _MOST_ENUMERATED:
    raise errors.UserError(
      f"{steps} steps have 2^{steps - 1} outcomes of truncation; enumerate 1 "
      f"to {_MOST_ENUMERATED} steps, or draw samples"
    )
  kept = np.array(list(itertools.product([False, True], repeat=steps - 1)))
  kept = kept.reshape(2 ** (steps - 1), steps - 1)
  probabilities = np.prod(np.where(kept, keep, 1.0 - keep), axis=1)
  factors = np.insert(np.where(kept, 1.0 / keep, 0.0), 0, 1.0, axis=1)
  return factors, probabilities


def windowed(step: unrolling.Step, window: int) -> Sequence:
  """A sequence whose every state sees its last `window` steps, and no others.

  Each window starts from the right carry, held constant, and is run anew:
  T * window steps in all, side by side.

  Args:
    step: `(params, carry, x) -> (carry, y)`.
    window: steps; 1 leaves the direct term alone, T or more is the full
      gradient.

  Returns:
    `(params, carry, xs) -> (carry, ys)`, values as of `scan.unroll`.

  Raises:
    UserError: a window below 1.

  >>> add = lambda params, carry, x: (carry + x, carry + x)
  >>> def total(x):
  ...   xs = x.reshape(3, 1)
  ...   return jnp.sum(windowed(add, 2)(None, jnp.zeros(1), xs)[1])
  >>> jax.grad(total)(jnp.ones(3))
  Array([2., 2., 1.], dtype=float32)
  """
  _check_window(window, "window")

  def run(
    params: Any, carry: unrolling.Carry, xs: unrolling.Inputs
  ) -> tuple[unrolling.Carry, jax.Array]:
    # NumPy's arrays are not indexed by what is traced.
    xs = jax.tree.map(jnp.asarray, xs)
    steps = jax.tree.leaves(xs)[0].shape[0]

    def walk(carry: Any, x: Any) -> tuple[Any, Any]:
      return step(params, carry, x)[0], carry

    _, starts = jax.lax.stop_gradient(jax.lax.scan(walk, carry, xs))

    def one(place: jax.Array) -> tuple[unrolling.Carry, jax.Array]:
      """The carry and output of one step, by way of its own window."""
      first = place - window + 1
      begin = jnp.maximum(first, 0)
      start = jax.tree.map(
        lambda held, given: jnp.where(first <= 0, given, held[begin]),
        starts,
        carry,
      )

      def body(state: Any, offset: jax.Array) -> tuple[Any, None]:
        at = first + offset
        x = jax.tree.map(lambda leaf: leaf[jnp.maximum(at, 0)], xs)
        after = step(params, state[0], x)
        # Nothing lies before the sequence: the given carry waits there.
        return jax.tree.map(
          lambda new, old: jnp.where(at >= 0, new, old), after, state
        ), None

      y = jax.eval_shape(step, params, start, jax.tree.map(lambda x: x[0], xs))
      blank = jnp.zeros(y[1].shape, y[1].dtype)
      (after, found), _ = jax.lax.scan(body, (start, blank), jnp.arange(window))
      return after, found

    carries, ys = jax.vmap(one)(jnp.arange(steps))
    return jax.tree.map(lambda leaf: leaf[-1], carries), ys

  return run


def kept_share(factor: float, window: int) -> float:
  """What a window keeps of a_t = b + c a_{t-1} in the long run: 1 - c^window.

  >>> [round(kept_share(0.9, window), 2) for window in (1, 4, 8, 16, 32)]
  [0.1, 0.34, 0.57, 0.81, 0.97]
  """
  return 1.0 - factor**window


class Moments(NamedTuple):
  """Of the randomised estimator of a_t, float64 [T]."""

  mean: np.ndarray
  variance: np.ndarray


def random_moments(
  direct: float, factor: float, *, keep: float, steps: int
) -> Moments:
  """Mean and variance of z_t = b + xi_t c z_{t-1}, with z_1 = b.

      E z_t   = b + c E z_{t-1}
      E z_t^2 = b^2 + 2 b c E z_{t-1} + (c^2 / keep) E z_{t-1}^2

  Args:
    direct: b.
    factor: c.
    keep: probability that the recurrent term is kept.
    steps: T.

  Raises:
    UserError: a probability outside (0, 1].

  >>> random_moments(1.0, 0.9, keep=0.9, steps=3).mean.round(3).tolist()
  [1.0, 1.9, 2.71]
  """
  _check_keep(keep)
  mean, square = np.zeros(steps), np.zeros(steps)
  m1, m2 = 0.0, 0.0
  for t in range(steps):
    m2 = direct**2 + 2 * direct * factor * m1 + factor**2 / keep * m2
    m1 = direct + factor * m1
    mean[t], square[t] = m1, m2
  return Moments(mean, square - mean**2)


def limit_variance(direct: float, factor: float, *, keep: float) -> float:
  """Where the variance of `random_moments` tends to; finite iff c^2 < keep.

  >>> [round(limit_variance(1.0, 0.9, keep=p), 1) for p in (0.95, 0.9, 0.81)]
  [28.9, 90.0, inf]
  """
  _check_keep(keep)
  if factor**2 >= keep:
    return math.inf
  mean = direct / (1 - factor)
  square = direct**2 + 2 * direct * factor * mean
  return square / (1 - factor**2 / keep) - mean**2


def _check_keep(keep: float) -> None:
  if not 0 < keep <= 1:
    raise errors.UserError(
      f"the probability of keeping a recurrent term is {keep}; it must lie in "
      "(0, 1]"
    )


def _check_window(window: int, name: str) -> None:
  if window < 1:
    raise errors.UserError(
      f"a {name} of {window} steps; it takes at least 1, the direct term"
    )
