"""The gated recurrent unit, in the form that cuDNN, PyTorch and Flax use.

    r = sigma(W_r x + U_r h + b_r)                reset
    z = sigma(W_z x + U_z h + b_z)                update
    n = tanh(W_n x + b_n + r * (U_n h + c_n))     candidate
    h' = (1 - z) * n + z * h

The reset gate acts after the recurrent product (Cho et al., 2014, multiply
before it), which leaves one product a step and gives the candidate a second
bias, c_n. Gates stand in the order r, z, n everywhere; z near 1 keeps the old
state.

The GRU over a whole sequence, fused: the fast form of `gru.step`.

Values and gradients are those of `scan.unroll(gru.step, ...)`; `fused` says
how the work is arranged. The candidate's net input is x_n + r * m with
m = U_n h + c_n, so its derivative d_n (clipped, if asked) reaches the input
side as it is, the recurrent product as r * d_n and the reset gate as m * d_n.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import fused, ops
from seqmodels.cells import scan as unrolling


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
  kernel_init: ops.Initializer | None = None,
  recurrent_kernel_init: ops.Initializer | None = None,
  bias_init: ops.Initializer | None = None,
  recurrent_bias_init: ops.Initializer | None = None,
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
  fallback = ops.recurrent_uniform(features)
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
  x: ops.Inputs,
  *,
  gradient_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[GRUCarry, jax.Array]:
  """One time step.

  Args:
    params: the layer's weights.
    carry: (h,), [B, H].
    x: [B, D], or ids [B], or several such inputs (see `ops.project`).
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


def sequence(
  params: GRUParams,
  carry: GRUCarry,
  xs: ops.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: GRUCarry | None = None,
  gradient_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[GRUCarry, jax.Array]:
  """Runs a GRU over time.

  Args:
    params: the layer's weights.
    carry: (h,) before the first step, [B, H].
    xs: [T, B, D], or ids [T, B], or several such (see `ops.project`).
    reset: [T, B]; where true the carry is cleared before the step.
    lengths: [B]; steps past a row's length leave its carry and yield zeros.
    reverse: from the last step to the first.
    reset_carry: what a reset puts in; zeros by default.
    gradient_clip: bound on each derivative with respect to a net input, as in
      `gru.step`.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The last carry, and h [T, B, H].

  >>> params = gru.init_params(jax.random.key(0), 3, 4)
  >>> carry = gru.initial_carry((2,), 4)
  >>> gru_sequence(params, carry, jnp.ones((5, 2, 3)))[1].shape
  (5, 2, 4)
  """
  xs = unrolling.blank_padding(xs, lengths)
  net_x = ops.project(params.kernel, xs, dtype=dtype)
  return fused.run(
    gates(gradient_clip),
    net_x,
    params.bias,
    params.recurrent_kernel,
    params.recurrent_bias,
    carry,
    reset=reset,
    lengths=lengths,
    reverse=reverse,
    reset_carry=reset_carry,
    dtype=dtype,
  )


@functools.cache
def gates(gradient_clip: float | None) -> fused.Gates:
  """The GRU's arithmetic for `fused.run`, one object a clip (it is hashed)."""
  return fused.Gates(
    forward=_forward,
    backward=functools.partial(_backward, gradient_clip),
    extra_gradient=_recurrent_bias_gradient,
  )


def _forward(
  recurrent_bias: jax.Array,
  net_x: jax.Array,
  net_h: jax.Array,
  carry: GRUCarry,
) -> tuple[GRUCarry, tuple[jax.Array, ...]]:
  x_r, x_z, x_n = jnp.split(net_x, 3, axis=-1)
  h_r, h_z, h_n = jnp.split(net_h, 3, axis=-1)
  r, z = fused.sigmoid(x_r + h_r), fused.sigmoid(x_z + h_z)
  m = h_n + recurrent_bias[None]
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
