"""The LSTM with layer normalisation (Ba et al., 2016; Ha et al., 2017).

    n_k = norm(W_k x + U_k h),   k = i, f, g, o, each gate by itself
    i = sigma(a_i * n_i + b_i + w_ci * c)
    f = sigma(a_f * n_f + b_f + w_cf * c)
    c' = f * c + i * tanh(a_g * n_g + b_g)
    o = sigma(a_o * n_o + b_o + w_co * c')
    h' = o * tanh(a_c * norm(c') + b_c)

norm(v) = (v - mean(v)) / sqrt(var(v) + 1e-5), over the H units of one gate.

The sum of both products is normalised, as in the LayerNorm LSTM of Ha et al.
(2017, "HyperNetworks"); Ba et al. normalise the two apart. Peepholes are ours,
enter after the normalisation, and are off unless asked for. A bound on
derivatives holds what enters a nonlinearity: net inputs as the gates see them.

The layer-normalised LSTM over a whole sequence, fused.

Values and gradients are those of `scan.unroll(layer_norm_lstm.step, ...)`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import fused, lstm, ops
from seqmodels.cells import scan as unrolling
from seqmodels.cells import zoneout as zoning

EPSILON = 1e-5

LayerNormLSTMCarry = lstm.LSTMCarry
initial_carry = lstm.initial_carry


class LayerNormLSTMParams(NamedTuple):
  """Weights of one layer; gates in the order i, f, g, o."""

  kernel: jax.Array  # [D, 4H]
  recurrent_kernel: jax.Array  # [H, 4H]
  scale: jax.Array  # [4H], a of the gates
  bias: jax.Array  # [4H], b of the gates
  cell_scale: jax.Array  # [H], a_c
  cell_bias: jax.Array  # [H], b_c
  peephole: jax.Array | None  # [3, H]


def init_params(
  key: jax.Array,
  in_features: int,
  features: int,
  *,
  peepholes: bool = False,
  kernel_init: ops.Initializer | None = None,
  recurrent_kernel_init: ops.Initializer | None = None,
  bias_init: ops.Initializer | None = None,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> LayerNormLSTMParams:
  """Fresh weights: scales 1, biases 0 but for 1 on the forget gate.

  Args:
    key: consumed.
    in_features: D.
    features: H.
    peepholes: whether the gates see the cell.
    kernel_init: [D, 4H]; uniform +-1/sqrt(H) by default, as are the recurrent
      kernel and the peepholes.
    recurrent_kernel_init: [H, 4H].
    bias_init: [4H].
    param_dtype: dtype of the weights.

  >>> params = init_params(jax.random.key(0), 3, 5)
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  210
  """
  plain = lstm.init_params(
    key,
    in_features,
    features,
    peepholes=peepholes,
    kernel_init=kernel_init,
    recurrent_kernel_init=recurrent_kernel_init,
    bias_init=bias_init,
    param_dtype=param_dtype,
  )
  return LayerNormLSTMParams(
    kernel=plain.kernel,
    recurrent_kernel=plain.recurrent_kernel,
    scale=jnp.ones(4 * features, param_dtype),
    bias=plain.bias,
    cell_scale=jnp.ones(features, param_dtype),
    cell_bias=jnp.zeros(features, param_dtype),
    peephole=plain.peephole,
  )


def norm(v: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Mean 0 and variance 1 over the last axis, and the factor that made it so.

  >>> norm(jnp.array([1.0, 3.0]))[0].round(2)
  Array([-1.,  1.], dtype=float32)
  """
  centred = v - jnp.mean(v, axis=-1, keepdims=True)
  variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
  factor = jax.lax.rsqrt(variance + EPSILON)
  return centred * factor, factor


def step(
  params: LayerNormLSTMParams,
  carry: LayerNormLSTMCarry,
  x: ops.Inputs,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[LayerNormLSTMCarry, jax.Array]:
  """One time step.

  Args:
    params: the layer's weights.
    carry: (c, h), each [B, H].
    x: [B, D], or ids [B], or several such inputs (see `ops.project`).
    gradient_clip: bound on each derivative with respect to a net input.
    cell_clip: bound on each |c'|, see `lstm.clip_cell`.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The new carry, and h [B, H].

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> step(params, initial_carry((2,), 4), jnp.ones((2, 3)))[1].shape
  (2, 4)
  """
  net = ops.project(params.kernel, x, dtype=dtype)
  net = net + ops.matmul(carry.h, params.recurrent_kernel, dtype)
  features = carry.c.shape[-1]
  gates = norm(net.reshape(*net.shape[:-1], 4, features))[0].reshape(net.shape)
  gates = gates * ops.along_last(params.scale, net.ndim)
  gates = gates + ops.along_last(params.bias, net.ndim)
  net_i, net_f, net_g, net_o = jnp.split(gates, 4, axis=-1)
  w_ci = w_cf = w_co = None
  if params.peephole is not None:
    w_ci, w_cf, w_co = (
      ops.along_last(row, carry.c.ndim) for row in params.peephole
    )
    net_i, net_f = net_i + w_ci * carry.c, net_f + w_cf * carry.c
  i = jax.nn.sigmoid(ops.clip_gradient(net_i, gradient_clip))
  f = jax.nn.sigmoid(ops.clip_gradient(net_f, gradient_clip))
  g = jnp.tanh(ops.clip_gradient(net_g, gradient_clip))
  c = lstm.clip_cell(f * carry.c + i * g, cell_clip)
  if w_co is not None:
    net_o = net_o + w_co * c
  o = jax.nn.sigmoid(ops.clip_gradient(net_o, gradient_clip))
  seen = norm(c)[0] * ops.along_last(params.cell_scale, c.ndim)
  h = o * jnp.tanh(seen + ops.along_last(params.cell_bias, c.ndim))
  return LayerNormLSTMCarry(c=c, h=h), h


Carry = LayerNormLSTMCarry


class Extra(NamedTuple):
  """The weights beside the two kernels, as in `LayerNormLSTMParams`."""

  scale: jax.Array
  bias: jax.Array
  cell_scale: jax.Array
  cell_bias: jax.Array
  peephole: jax.Array | None


def sequence(
  params: LayerNormLSTMParams,
  carry: Carry,
  xs: ops.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: Carry | None = None,
  zoneout: zoning.Kept | None = None,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
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
    ops.project(params.kernel, xs, dtype=dtype),
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
  n, factor = norm(_by_gate(net_x + net_h))
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
  seen, cell_factor = norm(c)
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
  clip = functools.partial(ops.clip, limit=gradient_clip)
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
