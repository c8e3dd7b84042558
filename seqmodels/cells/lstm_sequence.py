"""The LSTM over a whole sequence, fused: the fast form of `lstm.step`.

Values and gradients are those of `unroll.unroll(lstm.step, ...)`, peepholes and
derivative clipping included; `fused` says how the work is arranged.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels.cells import fused, lstm, products, projection
from seqmodels.cells import gradient_clip as clipping
from seqmodels.cells import unroll as unrolling
from seqmodels.cells import zoneout as zoning


def lstm_sequence(
  params: lstm.LSTMParams,
  carry: lstm.LSTMCarry,
  xs: projection.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: lstm.LSTMCarry | None = None,
  zoneout: zoning.Kept | None = None,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[lstm.LSTMCarry, jax.Array]:
  """Runs an LSTM over time.

  Args:
    params: the layer's weights.
    carry: (c, h) before the first step, each [B, H].
    xs: [T, B, D], or ids [T, B], or several such (see `projection.project`).
    reset: [T, B]; where true the carry is cleared before the step.
    lengths: [B]; steps past a row's length leave its carry and yield zeros.
    reverse: from the last step to the first.
    reset_carry: what a reset puts in; zeros by default.
    zoneout: what each unit keeps of the step before; None for no zoneout.
    gradient_clip: bound on each derivative with respect to a net input.
    cell_clip: bound on each |c'|, see `lstm.clip_cell`.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The last carry, and h [T, B, H].

  >>> params = lstm.init_params(jax.random.key(0), 3, 4)
  >>> carry = lstm.initial_carry((2,), 4)
  >>> lstm_sequence(params, carry, jnp.ones((5, 2, 3)))[1].shape
  (5, 2, 4)
  """
  xs = unrolling.blank_padding(xs, lengths)
  net_x = projection.project(params.kernel, xs, dtype=dtype)
  return fused.run(
    gates(gradient_clip, cell_clip),
    net_x,
    params.bias,
    params.recurrent_kernel,
    params.peephole,
    carry,
    reset=reset,
    lengths=lengths,
    reverse=reverse,
    reset_carry=reset_carry,
    zoneout=zoneout,
    dtype=dtype,
  )


@functools.cache
def gates(gradient_clip: float | None, cell_clip: float | None) -> fused.Gates:
  """The LSTM's arithmetic for `fused.run`, one object a pair (it is hashed)."""
  return fused.Gates(
    forward=functools.partial(_forward, cell_clip),
    backward=functools.partial(_backward, gradient_clip),
    extra_gradient=_peephole_gradient,
  )


def _forward(
  cell_clip: float | None,
  peephole: jax.Array | None,
  net_x: jax.Array,
  net_h: jax.Array,
  carry: lstm.LSTMCarry,
) -> tuple[lstm.LSTMCarry, tuple[jax.Array, ...]]:
  net_i, net_f, net_g, net_o = jnp.split(net_x + net_h, 4, axis=-1)
  if peephole is not None:
    net_i = net_i + peephole[0:1] * carry.c
    net_f = net_f + peephole[1:2] * carry.c
  i, f, g = fused.sigmoid(net_i), fused.sigmoid(net_f), jnp.tanh(net_g)
  c = lstm.clip_cell(f * carry.c + i * g, cell_clip)
  if peephole is not None:
    net_o = net_o + peephole[2:3] * c
  o = fused.sigmoid(net_o)
  return lstm.LSTMCarry(c=c, h=o * jnp.tanh(c)), (i, f, g, o)


def _backward(
  gradient_clip: float | None,
  peephole: jax.Array | None,
  saved: tuple[jax.Array, ...],
  before: lstm.LSTMCarry,
  after: lstm.LSTMCarry,
  d_after: lstm.LSTMCarry,
) -> tuple[jax.Array, jax.Array, lstm.LSTMCarry, None]:
  i, f, g, o = saved
  clip = functools.partial(clipping.clip, limit=gradient_clip)
  # tanh(c) again: cheaper than the memory traffic of keeping it.
  squashed = jnp.tanh(after.c)
  d_o = clip(d_after.h * squashed * o * (1 - o))
  d_c = d_after.c + d_after.h * o * (1 - squashed * squashed)
  if peephole is not None:
    d_c = d_c + d_o * peephole[2:3]
  d_i = clip(d_c * g * i * (1 - i))
  d_f = clip(d_c * before.c * f * (1 - f))
  d_g = clip(d_c * i * (1 - g * g))
  d_c = d_c * f
  if peephole is not None:
    d_c = d_c + d_i * peephole[0:1] + d_f * peephole[1:2]
  d_net = jnp.concatenate([d_i, d_f, d_g, d_o], axis=-1)
  return d_net, d_net, lstm.LSTMCarry(c=d_c, h=jnp.zeros_like(d_c)), None


def _peephole_gradient(
  peephole: jax.Array | None,
  saved: Any,
  d_net: jax.Array,
  kept: None,
  before: lstm.LSTMCarry,
  after: lstm.LSTMCarry,
) -> jax.Array | None:
  del saved, kept
  if peephole is None:
    return None
  d_i, d_f, _, d_o = jnp.split(d_net, 4, axis=-1)
  rows = (d_i * before.c, d_f * before.c, d_o * after.c)
  gradient = jnp.stack([jnp.sum(row, axis=(0, 1)) for row in rows])
  return gradient.astype(peephole.dtype)
