"""Gaussian noise on weights (Graves, 2013, section 3.1)."""

from typing import Any

import jax
import jax.numpy as jnp

from seqmodels import errors

Tree = Any


def perturb(params: Tree, key: jax.Array, deviation: float) -> Tree:
  """Every weight with a draw of N(0, deviation^2) added.

  The paper draws once a training sequence, with a deviation of 0.075, and
  uses the weights without noise for evaluation.

  Args:
    params: tree of weights.
    key: consumed.
    deviation: standard deviation of the noise; 0 gives `params` back.

  Raises:
    UserError: the deviation is negative or not finite.

  >>> noisy = perturb({"w": jnp.zeros(10_000)}, jax.random.key(0), 0.075)
  >>> bool(0.07 < jnp.std(noisy["w"]) < 0.08)
  True
  """
  check_deviation(deviation)
  if not deviation:
    return params
  return jax.tree.map(
    lambda leaf, noise: leaf + deviation * noise,
    params,
    standard_normal(params, key),
  )


def standard_normal(like: Tree, key: jax.Array) -> Tree:
  """A draw of N(0, 1) for every number of a tree, each leaf by its own key.

  Args:
    like: gives shapes and dtypes.
    key: consumed.

  >>> standard_normal((jnp.zeros(2), jnp.zeros((1, 3))), jax.random.key(0))[
  ...   1
  ... ].shape
  (1, 3)
  """
  leaves, structure = jax.tree.flatten(like)
  draws = [
    jax.random.normal(jax.random.fold_in(key, index), leaf.shape, leaf.dtype)
    for index, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(structure, draws)


def check_deviation(deviation: float) -> None:
  """Refuses what is no standard deviation.

  Raises:
    UserError: `deviation` is negative, infinite or NaN.

  >>> check_deviation(0.075)
  """
  if not 0.0 <= deviation < float("inf"):
    raise errors.UserError(
      f"the standard deviation of weight noise is {deviation}; it must be a "
      "finite number, at least 0"
    )


def signal_to_noise(mean: jax.Array, deviation: jax.Array) -> jax.Array:
  """|mean| / deviation, the order in which weights can be spared.

  >>> float(signal_to_noise(jnp.float32(-3.0), jnp.float32(1.5)))
  2.0
  """
  return jnp.abs(mean) / deviation
