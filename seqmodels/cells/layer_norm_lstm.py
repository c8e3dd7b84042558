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
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import fused, lstm, ops

EPSILON = 1e-5

Carry = lstm.LSTMCarry
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
  param_dtype: jax.typing.DTypeLike = jnp.float32,
  **initializers: Any,
) -> LayerNormLSTMParams:
  """Fresh weights: scales 1, biases 0 but for 1 on the forget gate.

  Args as of `lstm.init_params`.

  >>> params = init_params(jax.random.key(0), 3, 5)
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  210
  """
  plain = lstm.init_params(
    key,
    in_features,
    features,
    peepholes=peepholes,
    param_dtype=param_dtype,
    **initializers,
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
  carry: Carry,
  x: ops.Inputs,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """One time step; arguments as of `lstm.step`."""
  net = ops.project(params.kernel, x, dtype=dtype)
  net = net + ops.matmul(carry.h, params.recurrent_kernel, dtype)
  gates = norm(_by_gate(net))[0].reshape(net.shape)
  gates = gates * ops.along_last(params.scale, net.ndim)
  gates = gates + ops.along_last(params.bias, net.ndim)
  c, o = lstm.update_cell(
    params.peephole,
    gates,
    carry.c,
    gradient_clip=gradient_clip,
    cell_clip=cell_clip,
  )
  seen = norm(c)[0] * ops.along_last(params.cell_scale, c.ndim)
  h = o * jnp.tanh(seen + ops.along_last(params.cell_bias, c.ndim))
  return Carry(c=c, h=h), h


class Extra(NamedTuple):
  """The weights besides the two kernels, as in `LayerNormLSTMParams`."""

  scale: jax.Array
  bias: jax.Array
  cell_scale: jax.Array
  cell_bias: jax.Array
  peephole: jax.Array | None


@functools.cache
def gates(
  gradient_clip: float | None = None, cell_clip: float | None = None
) -> fused.Gates:
  """The cell's arithmetic, one object a pair (it is hashed)."""
  return fused.Gates(
    forward=functools.partial(_forward, cell_clip),
    backward=functools.partial(_backward, gradient_clip),
    extra_gradient=_extra_gradient,
  )


sequence = fused.make_sequence(
  gates, lambda params: Extra(*params[2:]), add_bias=False
)


def _by_gate(net: jax.Array) -> jax.Array:
  return net.reshape(*net.shape[:-1], 4, net.shape[-1] // 4)


def _forward(
  cell_clip: float | None, loop: fused.Loop, x: jax.Array, carry: Carry
) -> tuple[Carry, tuple[jax.Array, ...]]:
  extra = loop.extra
  n, factor = norm(_by_gate(loop.net(x, carry.h)))
  n = n.reshape(x.shape)
  net = n * extra.scale[None] + extra.bias[None]
  plain, gates = lstm.forward(cell_clip, fused.Loop(extra.peephole), net, carry)
  seen, cell_factor = norm(plain.c)
  squashed = jnp.tanh(seen * extra.cell_scale[None] + extra.cell_bias[None])
  saved = (*gates, n, factor, seen, cell_factor, squashed)
  return plain._replace(h=gates[3] * squashed), saved


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
  *opened, n, factor, seen, cell_factor, squashed = saved
  o = opened[3]
  d_o = ops.clip(d_after.h * squashed * o * (1 - o), gradient_clip)
  d_seen = d_after.h * o * (1 - squashed * squashed)
  d_c = d_after.c + _through_norm(
    d_seen * extra.cell_scale[None], seen, cell_factor
  )
  d_gates, d_c = lstm.close_gates(
    extra.peephole, tuple(opened), before.c, d_c, d_o, gradient_clip
  )
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

  def total(terms: jax.Array, like: jax.Array) -> jax.Array:
    return jnp.sum(terms, axis=(0, 1)).astype(like.dtype)

  return extra._replace(
    scale=total(d_gates * n, extra.scale),
    bias=total(d_gates, extra.bias),
    cell_scale=total(d_seen * seen, extra.cell_scale),
    cell_bias=total(d_seen, extra.cell_bias),
    peephole=lstm.peephole_gradient(extra.peephole, d_gates, before, after),
  )
