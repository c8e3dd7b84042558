"""Gaussian noise on weights, of fixed width or adaptive.

Adaptive noise is a Gaussian posterior whose widths are learned: Graves (2011,
"Practical variational inference for neural networks"), used in Graves (2013).
Each weight has a mean mu_i and a variance s_i^2; a prior N(m, v) shared by all
W weights is set in closed form at every step:

    m = mean_i(mu_i)        v = mean_i(s_i^2 + (mu_i - m)^2)

The description length of the data, in nats, is error plus complexity:

    L   = E_w[nats of the data under w] + L_C
    L_C = sum_i [log(v / s_i^2) / 2 + ((mu_i - m)^2 + s_i^2 - v) / (2 v)]

which is sum_i log(v / s_i^2) / 2 under the closed-form prior, since the second
term then sums to zero. With one draw w of the weights and g_b the gradient of
sequence b's nats at w, the gradients of L over one pass are

    dL/dmu_i         = sum_b g_bi + (mu_i - m) / v
    dL/dlog(s_i^2)   = s_i^2 / 2 sum_b g_bi^2 + (s_i^2 / v - 1) / 2

where g_b^2 stands for the diagonal of the curvature (2011, section 4): squares
are of single sequences, not of their sum.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors, trees

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
  """
  leaves, structure = jax.tree.flatten(like)
  draws = [
    jax.random.normal(jax.random.fold_in(key, index), leaf.shape, leaf.dtype)
    for index, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(structure, draws)


def check_deviation(deviation: float) -> None:
  """Raises UserError for a deviation that is negative, infinite or NaN."""
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


class Posterior(NamedTuple):
  """A diagonal Gaussian over a tree of weights."""

  mean: Tree
  log_variance: Tree  # log(s_i^2), like `mean`


class Prior(NamedTuple):
  """N(mean, variance), the same for every weight."""

  mean: jax.Array
  variance: jax.Array


def create(params: Tree, deviation: float) -> Posterior:
  """The posterior around trained weights, equally wide everywhere.

  Args:
    params: becomes the mean.
    deviation: s_i of every weight; the paper starts from 0.075.

  Raises:
    UserError: the deviation is not above 0.

  >>> create({"w": jnp.ones(2)}, 0.5).log_variance["w"]
  Array([-1.3862944, -1.3862944], dtype=float32)
  """
  check_deviation(deviation)
  if not deviation:
    raise errors.UserError(
      "adaptive weight noise begins with a standard deviation of 0, where no "
      "width can be learned; give one above 0, such as 0.075"
    )
  start = 2.0 * jnp.log(deviation)
  return Posterior(
    params, jax.tree.map(lambda leaf: jnp.full_like(leaf, start), params)
  )


def deviations(posterior: Posterior) -> Tree:
  """s_i of every weight."""
  return jax.tree.map(lambda leaf: jnp.exp(0.5 * leaf), posterior.log_variance)


def sample(posterior: Posterior, key: jax.Array) -> Tree:
  """One draw of all weights.

  >>> posterior = create({"w": jnp.full(10_000, 3.0)}, 0.5)
  >>> draw = sample(posterior, jax.random.key(0))["w"]
  >>> round(float(jnp.mean(draw)), 1), round(float(jnp.std(draw)), 1)
  (3.0, 0.5)
  """
  return jax.tree.map(
    lambda mean, deviation, noise: mean + deviation * noise,
    posterior.mean,
    deviations(posterior),
    standard_normal(posterior.mean, key),
  )


def prior(posterior: Posterior) -> Prior:
  """The shared prior that makes L_C smallest."""
  count = trees.count_parameters(posterior.mean)
  mean = _sum(posterior.mean) / count
  spread = jax.tree.map(
    lambda mu, log_variance: jnp.exp(log_variance) + jnp.square(mu - mean),
    posterior.mean,
    posterior.log_variance,
  )
  return Prior(mean, _sum(spread) / count)


def complexity(posterior: Posterior) -> jax.Array:
  """L_C in nats: what it costs to send the weights.

  >>> float(complexity(create({"w": jnp.zeros(3)}, 0.1)))  # all prior
  0.0
  """
  given = prior(posterior)
  return _sum(
    jax.tree.map(
      lambda mu, log_variance: (
        0.5 * (jnp.log(given.variance) - log_variance)
        + (jnp.square(mu - given.mean) + jnp.exp(log_variance) - given.variance)
        / (2.0 * given.variance)
      ),
      posterior.mean,
      posterior.log_variance,
    )
  )


def complexity_gradient(posterior: Posterior) -> Posterior:
  """dL_C by means and by log variances.

  The prior counts as given: at its closed form L_C is stationary in m and v,
  so that this is also the gradient of L_C as a function of the posterior alone.
  """
  given = prior(posterior)
  return Posterior(
    jax.tree.map(lambda mu: (mu - given.mean) / given.variance, posterior.mean),
    jax.tree.map(
      lambda log_variance: 0.5 * (jnp.exp(log_variance) / given.variance - 1.0),
      posterior.log_variance,
    ),
  )


def gradient(
  posterior: Posterior,
  error_gradient: Tree,
  squares: Tree,
  *,
  share: jax.typing.ArrayLike,
) -> Posterior:
  """The gradient of a minibatch's part of the description length, in nats.

  Args:
    posterior: where.
    error_gradient: sum_b g_b at one draw of the weights.
    squares: sum_b g_b^2, or an estimate of it.
    share: the minibatch's part of one pass over the data; that part of the
      complexity is added to it.
  """
  cost = complexity_gradient(posterior)
  return Posterior(
    jax.tree.map(lambda g, c: g + share * c, error_gradient, cost.mean),
    jax.tree.map(
      lambda log_variance, square, c: (
        0.5 * jnp.exp(log_variance) * square + share * c
      ),
      posterior.log_variance,
      squares,
      cost.log_variance,
    ),
  )


def _sum(tree: Tree) -> jax.Array:
  return jnp.asarray(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree)))
