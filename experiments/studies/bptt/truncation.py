"""Truncated backpropagation: estimators of the gradient of a long sequence.

A strategy leaves all values as they are and weighs the recurrent term of the
derivative dh_t/dw by a factor xi_t: 1 or 0, or drawn so that its mean is 1
(Tallec and Ollivier, 2017). A sliding window, in which each state sees its last
`window` steps, is no product of such factors and is run window by window.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.cells import scan


def scale_gradient(tree: Any, factor: jax.Array) -> Any:
  """Leaves [B, ...] as they are, their derivatives times a factor [B] or [].

  Equal to `factor * x + stop_gradient((1 - factor) * x)`, arranged so that
  values keep every bit.

  >>> jax.grad(lambda x: scale_gradient(x, jnp.float32(0.5)) ** 2)(3.0)
  Array(3., dtype=float32, weak_type=True)
  """
  factor = jax.lax.stop_gradient(jnp.asarray(factor))

  def one(leaf: jax.Array) -> jax.Array:
    spread = factor.reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim))
    nothing = leaf - jax.lax.stop_gradient(leaf)
    return leaf + (spread - 1).astype(leaf.dtype) * nothing

  return jax.tree.map(one, tree)


def weighted(step: scan.Step) -> scan.Step:
  """The step over (x, xi_t [B]) whose recurrent derivative is weighed.

  `scan.unroll` takes it with `xs` the pair of inputs and factors [T, B].

  >>> add = lambda params, carry, x: (carry + x, carry + x)
  >>> def last(x, factors):
  ...   pair = (x.reshape(3, 1), factors)
  ...   return scan.unroll(weighted(add), None, jnp.zeros(1), pair)[0][0]
  >>> jax.grad(last)(jnp.ones(3), segment_factors(3, 1, length=2))
  Array([0., 0., 1.], dtype=float32)
  """

  def weighed(params: Any, carry: Any, x: Any) -> tuple[Any, jax.Array]:
    inputs, factor = x
    return step(params, scale_gradient(carry, factor), inputs)

  return weighed


def segment_factors(steps: int, batch: int, *, length: int) -> jax.Array:
  """Factors [T, B] of segments with a detached carry; the last may be shorter.

  The first step's is 1: the carry that comes from outside is the caller's.

  >>> segment_factors(5, 1, length=2).ravel()
  Array([1., 1., 0., 1., 0.], dtype=float32)
  """
  place = jnp.arange(steps)
  kept = (place % length != 0) | (place == 0)
  return jnp.broadcast_to(kept.astype(float)[:, None], (steps, batch))


def random_factors(
  key: jax.Array, steps: int, batch: int, *, keep: float
) -> jax.Array:
  """Factors [T, B] of randomised truncation: 1/keep or 0, 1 at the first step.

  Runs that are not cut have geometric lengths, 1 / (1 - keep) steps on average.
  Every row is cut on its own.

  >>> random_factors(jax.random.key(1), 5, 1, keep=0.5).ravel()
  Array([1., 0., 2., 2., 0.], dtype=float32)
  """
  if not 0 < keep <= 1:
    raise errors.UserError(
      f"the probability of keeping a recurrent term is {keep}; it must lie in "
      "(0, 1]"
    )
  kept = jax.random.bernoulli(key, keep, (steps, batch))
  return (kept.astype(float) / keep).at[0].set(1.0)


def outcomes(steps: int, *, keep: float) -> tuple[np.ndarray, np.ndarray]:
  """Every draw of `random_factors` for one row, with its probability.

  Factors [2^(T-1), T] and probabilities [2^(T-1)].

  >>> factors, probabilities = outcomes(2, keep=0.8)
  >>> factors.tolist(), probabilities.round(3).tolist()
  ([[1.0, 0.0], [1.0, 1.25]], [0.2, 0.8])
  """
  kept = np.array(list(itertools.product([False, True], repeat=steps - 1)))
  probabilities = np.prod(np.where(kept, keep, 1.0 - keep), axis=1)
  factors = np.insert(np.where(kept, 1.0 / keep, 0.0), 0, 1.0, axis=1)
  return factors, probabilities


def in_windows(step: scan.Step, window: int) -> Callable[..., Any]:
  """A sequence whose every state sees its last `window` steps, and no others.

  All steps are taken at once, `window` times over, each from the state that the
  round before gave its predecessor; the states of the first round are
  constants. The values are the same in every round, the derivatives reach one
  step further: T * window steps in all. A window of 1 leaves the direct term
  alone, one of T or more is the full gradient.

  >>> add = lambda params, carry, x: (carry + x, carry + x)
  >>> def total(x):
  ...   xs = x.reshape(3, 1)
  ...   return jnp.sum(in_windows(add, 2)(None, jnp.zeros(1), xs)[1])
  >>> jax.grad(total)(jnp.ones(3))
  Array([2., 2., 1.], dtype=float32)
  """
  everywhere = jax.vmap(step, in_axes=(None, 0, 0))

  def run(params: Any, carry: Any, xs: Any) -> tuple[Any, jax.Array]:
    def walk(carry: Any, x: Any) -> tuple[Any, Any]:
      after = step(params, carry, x)
      return after[0], after

    def again(state: Any, _: None) -> tuple[Any, None]:
      before = jax.tree.map(
        lambda first, later: jnp.concatenate([first[None], later[:-1]]),
        carry,
        state[0],
      )
      return everywhere(params, before, xs), None

    xs = jax.tree.map(jnp.asarray, xs)
    constants = jax.lax.stop_gradient(jax.lax.scan(walk, carry, xs)[1])
    (carries, ys), _ = jax.lax.scan(again, constants, length=window)
    return jax.tree.map(lambda leaf: leaf[-1], carries), ys

  return run


def random_moments(
  direct: float, factor: float, *, keep: float, steps: int
) -> np.ndarray:
  """Mean and variance of z_t = b + xi_t c z_{t-1}, z_1 = b: float64 [2, T].

      E z_t   = b + c E z_{t-1}
      E z_t^2 = b^2 + 2 b c E z_{t-1} + (c^2 / keep) E z_{t-1}^2

  b is `direct` and c is `factor`.

  >>> random_moments(1.0, 0.9, keep=0.9, steps=3)[0].round(3).tolist()
  [1.0, 1.9, 2.71]
  """
  mean, square, result = 0.0, 0.0, []
  for _ in range(steps):
    cross = 2 * direct * factor * mean
    square = direct**2 + cross + factor**2 / keep * square
    mean = direct + factor * mean
    result.append((mean, square - mean**2))
  return np.array(result).T


def limit_variance(direct: float, factor: float, *, keep: float) -> float:
  """The limit of the variance of `random_moments`; finite iff c^2 < keep.

  >>> [round(limit_variance(1.0, 0.9, keep=p), 1) for p in (0.95, 0.9, 0.81)]
  [28.9, 90.0, inf]
  """
  if factor**2 >= keep:
    return math.inf
  mean = direct / (1 - factor)
  square = direct**2 + 2 * direct * factor * mean
  return square / (1 - factor**2 / keep) - mean**2
