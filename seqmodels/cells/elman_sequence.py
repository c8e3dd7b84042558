"""The Elman network over a whole sequence, fused: fast form of `elman.step`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels.cells import elman, fused, products, projection
from seqmodels.cells import gradient_clip as clipping
from seqmodels.cells import unroll as unrolling


def elman_sequence(
  params: elman.ElmanParams,
  carry: elman.ElmanCarry,
  xs: projection.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: elman.ElmanCarry | None = None,
  activation: elman.Activation = "tanh",
  gradient_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[elman.ElmanCarry, jax.Array]:
  """Runs an Elman network over time.

  Args:
    params: the layer's weights.
    carry: (h,) before the first step, [B, H].
    xs: [T, B, D], or ids [T, B], or several such (see `projection.project`).
    reset: [T, B]; where true the carry is cleared before the step.
    lengths: [B]; steps past a row's length leave its carry and yield zeros.
    reverse: from the last step to the first.
    reset_carry: what a reset puts in; zeros by default.
    activation: "tanh" or "relu".
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The last carry, and h [T, B, H].

  Raises:
    UserError: an activation other than these two.

  >>> params = elman.init_params(jax.random.key(0), 3, 4)
  >>> carry = elman.initial_carry((2,), 4)
  >>> elman_sequence(params, carry, jnp.ones((5, 2, 3)))[1].shape
  (5, 2, 4)
  """
  xs = unrolling.blank_padding(xs, lengths)
  net_x = projection.project(params.kernel, xs, dtype=dtype)
  return fused.run(
    gates(activation, gradient_clip),
    net_x,
    params.bias,
    params.recurrent_kernel,
    None,
    carry,
    reset=reset,
    lengths=lengths,
    reverse=reverse,
    reset_carry=reset_carry,
    dtype=dtype,
  )


@functools.cache
def gates(
  activation: elman.Activation, gradient_clip: float | None
) -> fused.Gates:
  """The arithmetic for `fused.run`, one object a setting (it is hashed)."""
  elman.check_activation(activation)
  return fused.Gates(
    forward=functools.partial(_forward, activation),
    backward=functools.partial(_backward, activation, gradient_clip),
    extra_gradient=lambda *_: None,
  )


def _forward(
  activation: elman.Activation,
  extra: None,
  net_x: jax.Array,
  net_h: jax.Array,
  carry: elman.ElmanCarry,
) -> tuple[elman.ElmanCarry, None]:
  del extra, carry
  return elman.ElmanCarry(h=elman.ACTIVATIONS[activation](net_x + net_h)), None


def _backward(
  activation: elman.Activation,
  gradient_clip: float | None,
  extra: None,
  saved: None,
  before: Any,
  after: elman.ElmanCarry,
  d_after: elman.ElmanCarry,
) -> tuple[jax.Array, jax.Array, elman.ElmanCarry, None]:
  del extra, saved, before
  # Both slopes can be told from the output, so nothing else is kept.
  if activation == "tanh":
    d_net = d_after.h * (1 - after.h * after.h)
  else:
    d_net = jnp.where(after.h > 0, d_after.h, 0)
  d_net = clipping.clip(d_net, gradient_clip)
  return d_net, d_net, elman.ElmanCarry(h=jnp.zeros_like(d_net)), None
