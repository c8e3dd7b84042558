"""Long short-term memory with optional peepholes (Graves, 2013, section 2.1).

    i = sigma(W_xi x + W_hi h + w_ci * c  + b_i)          (7)
    f = sigma(W_xf x + W_hf h + w_cf * c  + b_f)          (8)
    c' = f * c + i * tanh(W_xc x + W_hc h + b_c)          (9)
    o = sigma(W_xo x + W_ho h + w_co * c' + b_o)          (10)
    h' = o * tanh(c')                                     (11)

The input and forget gates look at the old cell, the output gate at the new one;
peephole weights are diagonal. Gates are in the order i, f, g, o everywhere,
`g` being the candidate inside the tanh of (9).

Values and gradients of `sequence`, which is fused, are those of
`scan.unroll(step, ...)`, peepholes and derivative clipping included.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import fused, ops


class LSTMParams(NamedTuple):
  """Weights of one layer; `peephole` rows are w_ci, w_cf, w_co."""

  kernel: jax.Array  # [D, 4H]
  recurrent_kernel: jax.Array  # [H, 4H]
  bias: jax.Array  # [4H]
  peephole: jax.Array | None  # [3, H]


class LSTMCarry(NamedTuple):
  """Cell state and output, each [B, H]."""

  c: jax.Array
  h: jax.Array


def init_params(
  key: jax.Array,
  in_features: int,
  features: int,
  *,
  peepholes: bool = True,
  bias_init: ops.Initializer | None = None,
  peephole_init: ops.Initializer | None = None,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
  **initializers: Any,
) -> LSTMParams:
  """Fresh weights.

  Args:
    key: consumed.
    in_features: D, all inputs of the layer together.
    features: H.
    peepholes: whether the gates see the cell.
    bias_init: [4H]; by default 1 on the forget gate and 0 elsewhere.
    peephole_init: [3, H]; uniform +-1/sqrt(H) by default.
    param_dtype: dtype of the weights.
    **initializers: of the kernels, see `ops.gate_weights`.

  >>> params = init_params(jax.random.key(0), 49, 1000)
  >>> sum(leaf.size for leaf in params)
  4203000
  """
  keys = jax.random.split(key, 4)
  weights = ops.gate_weights(
    keys,
    in_features,
    features,
    4,
    bias_init=bias_init or ops.forget_bias(1.0),
    param_dtype=param_dtype,
    **initializers,
  )
  peephole_init = peephole_init or ops.recurrent_uniform(features)
  peephole = peephole_init(keys[3], (3, features), param_dtype)
  return LSTMParams(*weights, peephole if peepholes else None)


initial_carry = functools.partial(ops.zero_carry, LSTMCarry)


def clip_cell(c: jax.Array, bound: float | None) -> jax.Array:
  """The cell state within [-bound, bound], with the derivative of the identity.

  Without a bound, a cell whose input and forget gates are open adds up to 1 a
  step for as long as its carry is kept. The derivative is straight-through: a
  cell at its bound still learns to leave it, where the true derivative, 0
  beyond the bound, would keep it there (TensorFlow's `cell_clip` has that one).

  Args:
    c: of any shape.
    bound: above 0; `None` clips nothing.

  >>> [float(x) for x in jax.value_and_grad(clip_cell)(jnp.float32(5.0), 3.0)]
  [3.0, 1.0]
  """
  return c if bound is None else _clipped(c, bound)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _clipped(c: jax.Array, bound: float) -> jax.Array:
  return jnp.clip(c, -bound, bound)


@_clipped.defjvp
def _straight_through(
  bound: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
  return _clipped(*primals, bound), tangents[0]


def step(
  params: LSTMParams,
  carry: LSTMCarry,
  x: ops.Inputs,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[LSTMCarry, jax.Array]:
  """One time step, equations (7) to (11).

  Args:
    params: the layer's weights.
    carry: (c, h), each [B, H].
    x: [B, D], or ids [B], or several such inputs (see `ops.project`).
    gradient_clip: bound on each derivative with respect to a net input.
    cell_clip: bound on each |c'|, see `clip_cell`.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The new carry, and h [B, H].

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> step(params, initial_carry((2,), 4), jnp.ones((2, 3)))[1].shape
  (2, 4)
  """
  net = ops.project(params.kernel, x, bias=params.bias, dtype=dtype)
  net = net + ops.matmul(carry.h, params.recurrent_kernel, dtype)
  c, o = update_cell(
    params.peephole,
    net,
    carry.c,
    gradient_clip=gradient_clip,
    cell_clip=cell_clip,
  )
  h = o * jnp.tanh(c)
  return LSTMCarry(c=c, h=h), h


def update_cell(
  peephole: jax.Array | None,
  net: jax.Array,
  c: jax.Array,
  *,
  gradient_clip: float | None,
  cell_clip: float | None,
) -> tuple[jax.Array, jax.Array]:
  """c' and o from the four net inputs [B, 4H] without their peepholes."""
  net_i, net_f, net_g, net_o = jnp.split(net, 4, axis=-1)
  if peephole is not None:
    w_ci, w_cf, w_co = (ops.along_last(row, c.ndim) for row in peephole)
    net_i = net_i + w_ci * c
    net_f = net_f + w_cf * c
  i = jax.nn.sigmoid(ops.clip_gradient(net_i, gradient_clip))
  f = jax.nn.sigmoid(ops.clip_gradient(net_f, gradient_clip))
  g = jnp.tanh(ops.clip_gradient(net_g, gradient_clip))
  c = clip_cell(f * c + i * g, cell_clip)
  if peephole is not None:
    net_o = net_o + w_co * c
  return c, jax.nn.sigmoid(ops.clip_gradient(net_o, gradient_clip))


def refuse_peepholes(params: LSTMParams, target: str) -> None:
  """Raises UserError where `target` would have to drop peepholes.

  >>> refuse_peepholes(
  ...   init_params(jax.random.key(0), 3, 4, peepholes=False), "Flax's LSTMCell"
  ... )
  """
  if params.peephole is not None:
    raise errors.UserError(
      f"this LSTM has peepholes and {target} has none; make it with "
      "peepholes=False"
    )


@functools.cache
def gates(
  gradient_clip: float | None = None, cell_clip: float | None = None
) -> fused.Gates:
  """The LSTM's arithmetic, one object a pair (it is hashed)."""
  return fused.Gates(
    forward=functools.partial(forward, cell_clip),
    backward=functools.partial(_backward, gradient_clip),
    extra_gradient=_extra_gradient,
  )


sequence = fused.make_sequence(gates, lambda params: params.peephole)


def forward(
  cell_clip: float | None,
  loop: fused.Loop,
  x: jax.Array,
  carry: LSTMCarry,
) -> tuple[LSTMCarry, tuple[jax.Array, ...]]:
  """`step` for a kernel; `loop.extra` is the peepholes, (i, f, g, o) saved."""
  peephole = loop.extra
  net_i, net_f, net_g, net_o = jnp.split(loop.net(x, carry.h), 4, axis=-1)
  if peephole is not None:
    net_i = net_i + peephole[0:1] * carry.c
    net_f = net_f + peephole[1:2] * carry.c
  i, f, g = fused.sigmoid(net_i), fused.sigmoid(net_f), jnp.tanh(net_g)
  c = clip_cell(f * carry.c + i * g, cell_clip)
  if peephole is not None:
    net_o = net_o + peephole[2:3] * c
  o = fused.sigmoid(net_o)
  return LSTMCarry(c=c, h=o * jnp.tanh(c)), (i, f, g, o)


def close_gates(
  peephole: jax.Array | None,
  gates: tuple[jax.Array, ...],
  c: jax.Array,
  d_c: jax.Array,
  d_o: jax.Array,
  gradient_clip: float | None,
) -> tuple[jax.Array, jax.Array]:
  """The way back through the gates of `forward`.

  Args:
    peephole: [3, H], if any.
    gates: (i, f, g, o).
    c: the cell state before the step.
    d_c: derivative of that after it, without the output peephole's share.
    d_o: derivative of the output gate's net input, clipped.
    gradient_clip: bound on the other three.

  Returns:
    The derivatives of all net inputs [B, 4H] and of `c`.
  """
  i, f, g, _ = gates
  clip = functools.partial(ops.clip, limit=gradient_clip)
  if peephole is not None:
    d_c = d_c + d_o * peephole[2:3]
  d_i = clip(d_c * g * i * (1 - i))
  d_f = clip(d_c * c * f * (1 - f))
  d_g = clip(d_c * i * (1 - g * g))
  d_c = d_c * f
  if peephole is not None:
    d_c = d_c + d_i * peephole[0:1] + d_f * peephole[1:2]
  return jnp.concatenate([d_i, d_f, d_g, d_o], axis=-1), d_c


def peephole_gradient(
  peephole: jax.Array | None,
  d_net: jax.Array,
  before: LSTMCarry,
  after: LSTMCarry,
) -> jax.Array | None:
  """[3, H] from the derivatives [T, B, 4H] of what the peepholes add to."""
  if peephole is None:
    return None
  d_i, d_f, _, d_o = jnp.split(d_net, 4, axis=-1)
  rows = (d_i * before.c, d_f * before.c, d_o * after.c)
  gradient = jnp.stack([jnp.sum(row, axis=(0, 1)) for row in rows])
  return gradient.astype(peephole.dtype)


def _backward(
  gradient_clip: float | None,
  peephole: jax.Array | None,
  saved: tuple[jax.Array, ...],
  before: LSTMCarry,
  after: LSTMCarry,
  d_after: LSTMCarry,
) -> tuple[jax.Array, jax.Array, LSTMCarry, None]:
  o = saved[3]
  # tanh(c) again: cheaper than the memory traffic of keeping it.
  squashed = jnp.tanh(after.c)
  d_o = ops.clip(d_after.h * squashed * o * (1 - o), gradient_clip)
  d_c = d_after.c + d_after.h * o * (1 - squashed * squashed)
  d_net, d_c = close_gates(peephole, saved, before.c, d_c, d_o, gradient_clip)
  return d_net, d_net, LSTMCarry(c=d_c, h=jnp.zeros_like(d_c)), None


def _extra_gradient(
  peephole: jax.Array | None,
  saved: Any,
  d_net: jax.Array,
  kept: None,
  before: LSTMCarry,
  after: LSTMCarry,
) -> jax.Array | None:
  del saved, kept
  return peephole_gradient(peephole, d_net, before, after)
