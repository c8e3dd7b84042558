"""The layer-normalised LSTM over a whole sequence, fused.

Values and gradients are those of `unroll.unroll(layer_norm_lstm.step, ...)`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import (
  fused,
  layer_norm_lstm,
  lstm,
  products,
  projection,
)
from seqmodels.cells import gradient_clip as clipping
from seqmodels.cells import unroll as unrolling
from seqmodels.cells import zoneout as zoning

Carry = layer_norm_lstm.LayerNormLSTMCarry


class Extra(NamedTuple):
  """The weights beside the two kernels, as in `LayerNormLSTMParams`."""

  scale: jax.Array
  bias: jax.Array
  cell_scale: jax.Array
  cell_bias: jax.Array
  peephole: jax.Array | None


def layer_norm_lstm_sequence(
  params: layer_norm_lstm.LayerNormLSTMParams,
  carry: Carry,
  xs: projection.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: Carry | None = None,
  zoneout: zoning.Kept | None = None,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """Runs the layer over time; arguments and results as `lstm_sequence`.

  >>> params = layer_norm_lstm.init_params(jax.random.key(0), 3, 4)
  >>> carry = layer_norm_lstm.initial_carry((2,), 4)
  >>> layer_norm_lstm_sequence(params, carry, jnp.ones((5, 2, 3)))[1].shape
  (5, 2, 4)
  """
  xs = unrolling.blank_padding(xs, lengths)
  return fused.run(
    gates(gradient_clip, cell_clip),
    projection.project(params.kernel, xs, dtype=dtype),
    None,
    params.recurrent_kernel,
    Extra(*params[2:]),
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
  """The arithmetic for `fused.run`, one object a pair (it is hashed)."""
  return fused.Gates(
    forward=functools.partial(_forward, cell_clip),
    backward=functools.partial(_backward, gradient_clip),
    extra_gradient=_extra_gradient,
  )


def _by_gate(net: jax.Array) -> jax.Array:
  return net.reshape(*net.shape[:-1], 4, net.shape[-1] // 4)


def _forward(
  cell_clip: float | None,
  extra: Extra,
  net_x: jax.Array,
  net_h: jax.Array,
  carry: Carry,
) -> tuple[Carry, tuple[jax.Array, ...]]:
  n, factor = layer_norm_lstm.norm(_by_gate(net_x + net_h))
  n = n.reshape(net_x.shape)
  net = n * extra.scale[None] + extra.bias[None]
  net_i, net_f, net_g, net_o = jnp.split(net, 4, axis=-1)
  peephole = extra.peephole
  if peephole is not None:
    net_i = net_i + peephole[0:1] * carry.c
    net_f = net_f + peephole[1:2] * carry.c
  i, f, g = fused.sigmoid(net_i), fused.sigmoid(net_f), jnp.tanh(net_g)
  c = lstm.clip_cell(f * carry.c + i * g, cell_clip)
  if peephole is not None:
    net_o = net_o + peephole[2:3] * c
  o = fused.sigmoid(net_o)
  seen, cell_factor = layer_norm_lstm.norm(c)
  squashed = jnp.tanh(seen * extra.cell_scale[None] + extra.cell_bias[None])
  saved = (i, f, g, o, n, factor, seen, cell_factor, squashed)
  return Carry(c=c, h=o * squashed), saved


def _through_norm(d_n: jax.Array, n: jax.Array, factor: jax.Array) -> jax.Array:
  """The derivative of what was normalised, from that of the result."""
  mean = jnp.mean(d_n, axis=-1, keepdims=True)
  along = jnp.mean(d_n * n, axis=-1, keepdims=True)
  return factor * (d_n - mean - n * along)


def _backward(
  gradient_clip: float | None,
  extra: Extra,
  saved: tuple[jax.Array, ...],
  before: Carry,
  after: Carry,
  d_after: Carry,
) -> tuple[jax.Array, jax.Array, Carry, tuple[jax.Array, jax.Array]]:
  del after
  i, f, g, o, n, factor, seen, cell_factor, squashed = saved
  peephole = extra.peephole
  clip = functools.partial(clipping.clip, limit=gradient_clip)
  d_o = clip(d_after.h * squashed * o * (1 - o))
  d_seen = d_after.h * o * (1 - squashed * squashed)
  d_c = d_after.c + _through_norm(
    d_seen * extra.cell_scale[None], seen, cell_factor
  )
  if peephole is not None:
    d_c = d_c + d_o * peephole[2:3]
  d_i = clip(d_c * g * i * (1 - i))
  d_f = clip(d_c * before.c * f * (1 - f))
  d_g = clip(d_c * i * (1 - g * g))
  d_c = d_c * f
  if peephole is not None:
    d_c = d_c + d_i * peephole[0:1] + d_f * peephole[1:2]
  d_gates = jnp.concatenate([d_i, d_f, d_g, d_o], axis=-1)
  d_n = _by_gate(d_gates * extra.scale[None])
  d_net = _through_norm(d_n, _by_gate(n), factor).reshape(d_gates.shape)
  return d_net, d_net, Carry(c=d_c, h=jnp.zeros_like(d_c)), (d_gates, d_seen)


def _extra_gradient(
  extra: Extra,
  saved: tuple[jax.Array, ...],
  d_net: jax.Array,
  kept: tuple[jax.Array, jax.Array],
  before: Carry,
  after: Carry,
) -> Extra:
  del d_net
  d_gates, d_seen = kept
  n, seen = saved[4], saved[6]
  d_i, d_f, _, d_o = jnp.split(d_gates, 4, axis=-1)
  rows = (d_i * before.c, d_f * before.c, d_o * after.c)

  def total(terms: jax.Array, like: jax.Array) -> jax.Array:
    return jnp.sum(terms, axis=(0, 1)).astype(like.dtype)

  return extra._replace(
    scale=total(d_gates * n, extra.scale),
    bias=total(d_gates, extra.bias),
    cell_scale=total(d_seen * seen, extra.cell_scale),
    cell_bias=total(d_seen, extra.cell_bias),
    peephole=None
    if extra.peephole is None
    else jnp.stack([total(row, extra.peephole) for row in rows]),
  )
