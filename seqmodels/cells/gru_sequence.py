"""The GRU over a whole sequence, fused: the fast form of `gru.step`.

Values and gradients are those of `unroll.unroll(gru.step, ...)`; `fused` says
how the work is arranged. The candidate's net input is x_n + r * m with
m = U_n h + c_n, so its derivative d_n (clipped, if asked) reaches the input
side as it is, the recurrent product as r * d_n and the reset gate as m * d_n.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels.cells import fused, gru, products, projection
from seqmodels.cells import gradient_clip as clipping
from seqmodels.cells import unroll as unrolling


def gru_sequence(
  params: gru.GRUParams,
  carry: gru.GRUCarry,
  xs: projection.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: gru.GRUCarry | None = None,
  gradient_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[gru.GRUCarry, jax.Array]:
  """Runs a GRU over time.

  Args:
    params: the layer's weights.
    carry: (h,) before the first step, [B, H].
    xs: [T, B, D], or ids [T, B], or several such (see `projection.project`).
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
  net_x = projection.project(params.kernel, xs, dtype=dtype)
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
  carry: gru.GRUCarry,
) -> tuple[gru.GRUCarry, tuple[jax.Array, ...]]:
  x_r, x_z, x_n = jnp.split(net_x, 3, axis=-1)
  h_r, h_z, h_n = jnp.split(net_h, 3, axis=-1)
  r, z = fused.sigmoid(x_r + h_r), fused.sigmoid(x_z + h_z)
  m = h_n + recurrent_bias[None]
  n = jnp.tanh(x_n + r * m)
  return gru.GRUCarry(h=n + z * (carry.h - n)), (r, z, n, m)


def _backward(
  gradient_clip: float | None,
  recurrent_bias: jax.Array,
  saved: tuple[jax.Array, ...],
  before: gru.GRUCarry,
  after: gru.GRUCarry,
  d_after: gru.GRUCarry,
) -> tuple[jax.Array, jax.Array, gru.GRUCarry, None]:
  del recurrent_bias, after
  r, z, n, m = saved
  clip = functools.partial(clipping.clip, limit=gradient_clip)
  d_z = clip(d_after.h * (before.h - n) * z * (1 - z))
  d_n = clip(d_after.h * (1 - z) * (1 - n * n))
  d_r = clip(d_n * m * r * (1 - r))
  d_net_x = jnp.concatenate([d_r, d_z, d_n], axis=-1)
  d_net_h = jnp.concatenate([d_r, d_z, d_n * r], axis=-1)
  return d_net_x, d_net_h, gru.GRUCarry(h=d_after.h * z), None


def _recurrent_bias_gradient(
  recurrent_bias: jax.Array,
  saved: Any,
  d_net_h: jax.Array,
  kept: None,
  before: gru.GRUCarry,
  after: gru.GRUCarry,
) -> jax.Array:
  del saved, kept, before, after
  d_m = d_net_h[..., -recurrent_bias.shape[0] :]
  return jnp.sum(d_m, axis=(0, 1)).astype(recurrent_bias.dtype)
