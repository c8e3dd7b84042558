"""The soft window over a text (Graves, 2013, section 5.1).

From the output h of the layer below, K Gaussians say which part of the text is
being written:

    (alpha^, beta^, kappa^) = W h + b                             (48)
    alpha = exp(alpha^),  beta = exp(beta^)                       (49, 50)
    kappa = kappa_before + exp(kappa^)                            (51)
    phi(u) = sum_k alpha_k exp(-beta_k (kappa_k - u)^2)           (46)
    w = sum_u phi(u) c_u                                          (47)

with u counted from 1 and c_u the one-hot character. The offsets only grow, so
that the window only moves forward; it is not normalised.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import initializers, products, projection

# A letter takes about 25 points, and the window's position, in letters, moves
# by exp(kappa^) a point: started at one letter a point, it would have left the
# text before anything could be learned from it.
POINTS_PER_LETTER = 25.0


class WindowParams(NamedTuple):
  """What turns h into the window: kernel [H, 3K] and bias [3K]."""

  kernel: jax.Array
  bias: jax.Array


class Window(NamedTuple):
  """Where the window stands, each [..., K]."""

  alpha: jax.Array  # importance
  beta: jax.Array  # inverse width
  kappa: jax.Array  # position, in characters


def init_params(
  key: jax.Array,
  features: int,
  components: int,
  *,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> WindowParams:
  """Fresh weights: K Gaussians of weight 1/K that move 1/25 letter a point.

  Args:
    key: consumed.
    features: H.
    components: K.
    param_dtype: dtype of the weights.

  >>> params = init_params(jax.random.key(0), 400, 10)
  >>> sum(leaf.size for leaf in params)
  12030
  """
  kernel = initializers.recurrent_uniform(features)(
    key, (features, 3 * components), param_dtype
  )
  level = jnp.array(
    [-math.log(components), 0.0, -math.log(POINTS_PER_LETTER)], param_dtype
  )
  return WindowParams(kernel, jnp.repeat(level, components))


def letters(text: jax.Array, symbols: int) -> jax.Array:
  """Text as one-hot rows, [B, U, V]; an id below 0 is no letter: zeros.

  Args:
    text: int [U, B].
    symbols: V.
  """
  return jax.nn.one_hot(text.T, symbols, dtype=jnp.float32)


def gates(
  params: WindowParams, h: jax.Array, dtype: products.Dtype = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Importance, inverse width and step of each Gaussian, [..., K] each.

  Args:
    params: of the window.
    h: [..., H].
    dtype: dtype of the product's operands.
  """
  net = projection.project(params.kernel, h, bias=params.bias, dtype=dtype)
  alpha, beta, forward = jnp.split(jnp.exp(net), 3, axis=-1)
  return alpha, beta, forward


def move(params: WindowParams, kappa: jax.Array, h: jax.Array) -> Window:
  """Equations (48) to (51): the window after h [B, H], from kappa [B, K]."""
  alpha, beta, forward = gates(params, h)
  return Window(alpha, beta, kappa + forward)


def weights(window: Window, positions: jax.Array) -> jax.Array:
  """phi(u) of equation (46), [B, U].

  Args:
    window: [B, K] each.
    positions: u, [U], counted from 1.

  >>> one = Window(*(jnp.ones((1, 1)) for _ in range(3)))
  >>> weights(one, jnp.array([0.0, 1.0])).round(2)
  Array([[0.37, 1.  ]], dtype=float32)
  """
  return jnp.sum(window.alpha[..., None] * bumps(window, positions), axis=-2)


def log_weights(window: Window, positions: jax.Array) -> jax.Array:
  """log phi(u), [B, U], finite where phi itself is too small for a float."""
  away = window.kappa[..., None] - positions[None, None, :]
  return jax.nn.logsumexp(
    jnp.log(window.alpha)[..., None] - window.beta[..., None] * away * away,
    axis=-2,
  )


def bumps(window: Window, positions: jax.Array) -> jax.Array:
  """exp(-beta_k (kappa_k - u)^2), [B, K, U]; arguments as `weights`."""
  away = window.kappa[..., None] - positions[None, None, :]
  return jnp.exp(-window.beta[..., None] * away * away)


def positions(count: int) -> jax.Array:
  """1, 2, ... `count`, as floats."""
  return jnp.arange(1, count + 1, dtype=jnp.float32)


def read(phi: jax.Array, characters: jax.Array) -> jax.Array:
  """w of equation (47): [B, V] from phi [B, U] and one-hot [B, U, V]."""
  return jnp.einsum("bu,buv->bv", phi, characters)
