"""The gated recurrent unit, in the form that cuDNN, PyTorch and Flax use.

    r = sigma(W_r x + U_r h + b_r)                reset
    z = sigma(W_z x + U_z h + b_z)                update
    n = tanh(W_n x + b_n + r * (U_n h + c_n))     candidate
    h' = (1 - z) * n + z * h

The reset gate acts after the recurrent product (Cho et al., 2014, multiply
before it), which leaves one product a step and gives the candidate a second
bias, c_n. Gates are in the order r, z, n everywhere; z near 1 keeps the old
state.

The candidate's net input is x_n + r * m with m = U_n h + c_n. Its derivative
d_n, clipped if asked, reaches the input side as it is, the recurrent product as
r * d_n and the reset gate as m * d_n.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import fused, ops


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
  recurrent_bias_init: ops.Initializer = jax.nn.initializers.zeros,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
  **initializers: Any,
) -> GRUParams:
  """Fresh weights.

  Args as of `ops.gate_weights`, and `recurrent_bias_init` [H].

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> sum(leaf.size for leaf in params)
  100
  """
  keys = jax.random.split(key, 4)
  weights = ops.gate_weights(
    keys, in_features, features, 3, param_dtype=param_dtype, **initializers
  )
  recurrent_bias = recurrent_bias_init(keys[3], (features,), param_dtype)
  return GRUParams(*weights, recurrent_bias)


initial_carry = functools.partial(ops.zero_carry, GRUCarry)


def step(
  params: GRUParams,
  carry: GRUCarry,
  x: ops.Inputs,
  *,
  gradient_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[GRUCarry, jax.Array]:
  """One time step.

  Args as of `lstm.step`. A net input is the argument of a sigma or of the tanh
  above: the candidate's derivative is clipped before r divides it between its
  two summands.
  """
  net_x = ops.project(params.kernel, x, bias=params.bias, dtype=dtype)
  net_h = ops.matmul(carry.h, params.recurrent_kernel, dtype)
  x_r, x_z, x_n = jnp.split(net_x, 3, axis=-1)
  h_r, h_z, h_n = jnp.split(net_h, 3, axis=-1)
  r = jax.nn.sigmoid(ops.clip_gradient(x_r + h_r, gradient_clip))
  z = jax.nn.sigmoid(ops.clip_gradient(x_z + h_z, gradient_clip))
  c_n = ops.along_last(params.recurrent_bias, h_n.ndim)
  net_n = x_n + r * (h_n + c_n)
  n = jnp.tanh(ops.clip_gradient(net_n, gradient_clip))
  h = (1 - z) * n + z * carry.h
  return GRUCarry(h=h), h


@functools.cache
def gates(gradient_clip: float | None = None) -> fused.Gates:
  """The GRU's arithmetic, one object a clip (it is hashed)."""
  return fused.Gates(
    forward=_forward,
    backward=functools.partial(_backward, gradient_clip),
    extra_gradient=_recurrent_bias_gradient,
  )


sequence = fused.make_sequence(gates, lambda params: params.recurrent_bias)


def _forward(
  loop: fused.Loop, x: jax.Array, carry: GRUCarry
) -> tuple[GRUCarry, tuple[jax.Array, ...]]:
  x_r, x_z, x_n = jnp.split(loop.inputs(x), 3, axis=-1)
  h_r, h_z, h_n = jnp.split(loop.product(carry.h), 3, axis=-1)
  r, z = fused.sigmoid(x_r + h_r), fused.sigmoid(x_z + h_z)
  m = h_n + loop.extra[None]
  n = jnp.tanh(x_n + r * m)
  return GRUCarry(h=n + z * (carry.h - n)), (r, z, n, m)


def _backward(
  gradient_clip: float | None,
  recurrent_bias: jax.Array,
  saved: tuple[jax.Array, ...],
  before: GRUCarry,
  after: GRUCarry,
  d_after: GRUCarry,
) -> tuple[jax.Array, jax.Array, GRUCarry, None]:
  del recurrent_bias, after
  r, z, n, m = saved
  clip = functools.partial(ops.clip, limit=gradient_clip)
  d_z = clip(d_after.h * (before.h - n) * z * (1 - z))
  d_n = clip(d_after.h * (1 - z) * (1 - n * n))
  d_r = clip(d_n * m * r * (1 - r))
  d_net_x = jnp.concatenate([d_r, d_z, d_n], axis=-1)
  d_net_h = jnp.concatenate([d_r, d_z, d_n * r], axis=-1)
  return d_net_x, d_net_h, GRUCarry(h=d_after.h * z), None


def _recurrent_bias_gradient(
  recurrent_bias: jax.Array,
  saved: Any,
  d_net_h: jax.Array,
  kept: None,
  before: GRUCarry,
  after: GRUCarry,
) -> jax.Array:
  del saved, kept, before, after
  d_m = d_net_h[..., -recurrent_bias.shape[0] :]
  return jnp.sum(d_m, axis=(0, 1)).astype(recurrent_bias.dtype)
