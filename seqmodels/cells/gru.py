"""The gated recurrent unit, in the form that cuDNN, PyTorch and Flax use.

    r = sigma(W_r x + U_r h + b_r)                reset
    z = sigma(W_z x + U_z h + b_z)                update
    n = tanh(W_n x + b_n + r * (U_n h + c_n))     candidate
    h' = (1 - z) * n + z * h

The reset gate acts after the recurrent product (Cho et al., 2014, multiply
before it), which leaves one product a step and gives the candidate a second
bias, c_n. Gates stand in the order r, z, n everywhere; z near 1 keeps the old
state.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import gradient_clip as clipping
from seqmodels.cells import initializers, products, projection


class GRUParams(NamedTuple):
  """Weights of one layer; `recurrent_bias` is c_n."""

  kernel: jax.Array  # [D, 3H]
  recurrent_kernel: jax.Array  # [H, 3H]
  bias: jax.Array  # [3H]
  recurrent_bias: jax.Array  # [H]


class GRUCarry(NamedTuple):
  """The output [B, H], which is all the state there is."""

  h: jax.Array


def init_params(
  key: jax.Array,
  in_features: int,
  features: int,
  *,
  kernel_init: initializers.Initializer | None = None,
  recurrent_kernel_init: initializers.Initializer | None = None,
  bias_init: initializers.Initializer | None = None,
  recurrent_bias_init: initializers.Initializer | None = None,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> GRUParams:
  """Fresh weights.

  Args:
    key: consumed.
    in_features: D, all inputs of the layer together.
    features: H.
    kernel_init: [D, 3H]; uniform +-1/sqrt(H) by default, as is the recurrent
      kernel.
    recurrent_kernel_init: [H, 3H].
    bias_init: [3H]; zeros by default.
    recurrent_bias_init: [H]; zeros by default.
    param_dtype: dtype of the weights.

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> sum(leaf.size for leaf in params)
  100
  """
  fallback = initializers.recurrent_uniform(features)
  zeros = jax.nn.initializers.zeros
  keys = jax.random.split(key, 4)
  return GRUParams(
    kernel=(kernel_init or fallback)(
      keys[0], (in_features, 3 * features), param_dtype
    ),
    recurrent_kernel=(recurrent_kernel_init or fallback)(
      keys[1], (features, 3 * features), param_dtype
    ),
    bias=(bias_init or zeros)(keys[2], (3 * features,), param_dtype),
    recurrent_bias=(recurrent_bias_init or zeros)(
      keys[3], (features,), param_dtype
    ),
  )


def initial_carry(
  batch_shape: tuple[int, ...],
  features: int,
  dtype: jax.typing.DTypeLike = jnp.float32,
) -> GRUCarry:
  """Zeros, [*batch_shape, features].

  >>> initial_carry((2,), 3).h.shape
  (2, 3)
  """
  return GRUCarry(h=jnp.zeros((*batch_shape, features), dtype))


def step(
  params: GRUParams,
  carry: GRUCarry,
  x: projection.Inputs,
  *,
  gradient_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[GRUCarry, jax.Array]:
  """One time step.

  Args:
    params: the layer's weights.
    carry: (h,), [B, H].
    x: [B, D], or ids [B], or several such inputs (see `projection.project`).
    gradient_clip: bound on each derivative with respect to a net input, which
      is the argument of a sigma or of the tanh above: the candidate's is
      clipped before r divides it between its two summands.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The new carry, and h [B, H].

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> step(params, initial_carry((2,), 4), jnp.ones((2, 3)))[1].shape
  (2, 4)
  """
  net_x = projection.project(params.kernel, x, bias=params.bias, dtype=dtype)
  net_h = products.matmul(carry.h, params.recurrent_kernel, dtype)
  x_r, x_z, x_n = jnp.split(net_x, 3, axis=-1)
  h_r, h_z, h_n = jnp.split(net_h, 3, axis=-1)
  r = jax.nn.sigmoid(clipping.clip_gradient(x_r + h_r, gradient_clip))
  z = jax.nn.sigmoid(clipping.clip_gradient(x_z + h_z, gradient_clip))
  c_n = projection.along_last(params.recurrent_bias, h_n.ndim)
  net_n = x_n + r * (h_n + c_n)
  n = jnp.tanh(clipping.clip_gradient(net_n, gradient_clip))
  h = (1 - z) * n + z * carry.h
  return GRUCarry(h=h), h
