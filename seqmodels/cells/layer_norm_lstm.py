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

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import gradient_clip as clipping
from seqmodels.cells import initializers, lstm, products, projection

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
  kernel_init: initializers.Initializer | None = None,
  recurrent_kernel_init: initializers.Initializer | None = None,
  bias_init: initializers.Initializer | None = None,
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
  x: projection.Inputs,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[LayerNormLSTMCarry, jax.Array]:
  """One time step.

  Args:
    params: the layer's weights.
    carry: (c, h), each [B, H].
    x: [B, D], or ids [B], or several such inputs (see `projection.project`).
    gradient_clip: bound on each derivative with respect to a net input.
    cell_clip: bound on each |c'|, see `lstm.clip_cell`.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The new carry, and h [B, H].

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> step(params, initial_carry((2,), 4), jnp.ones((2, 3)))[1].shape
  (2, 4)
  """
  net = projection.project(params.kernel, x, dtype=dtype)
  net = net + products.matmul(carry.h, params.recurrent_kernel, dtype)
  features = carry.c.shape[-1]
  gates = norm(net.reshape(*net.shape[:-1], 4, features))[0].reshape(net.shape)
  gates = gates * projection.along_last(params.scale, net.ndim)
  gates = gates + projection.along_last(params.bias, net.ndim)
  net_i, net_f, net_g, net_o = jnp.split(gates, 4, axis=-1)
  w_ci = w_cf = w_co = None
  if params.peephole is not None:
    w_ci, w_cf, w_co = (
      projection.along_last(row, carry.c.ndim) for row in params.peephole
    )
    net_i, net_f = net_i + w_ci * carry.c, net_f + w_cf * carry.c
  i = jax.nn.sigmoid(clipping.clip_gradient(net_i, gradient_clip))
  f = jax.nn.sigmoid(clipping.clip_gradient(net_f, gradient_clip))
  g = jnp.tanh(clipping.clip_gradient(net_g, gradient_clip))
  c = lstm.clip_cell(f * carry.c + i * g, cell_clip)
  if w_co is not None:
    net_o = net_o + w_co * c
  o = jax.nn.sigmoid(clipping.clip_gradient(net_o, gradient_clip))
  seen = norm(c)[0] * projection.along_last(params.cell_scale, c.ndim)
  h = o * jnp.tanh(seen + projection.along_last(params.cell_bias, c.ndim))
  return LayerNormLSTMCarry(c=c, h=h), h
