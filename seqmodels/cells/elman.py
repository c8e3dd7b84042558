"""The simple recurrent network (Elman, 1990), one gate wide.

    h' = phi(W x + U h + b)

with phi either tanh or the rectifier max(0, .).
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import fused, ops

Activation = Literal["tanh", "relu"]

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


class ElmanParams(NamedTuple):
  """Weights of one layer."""

  kernel: jax.Array  # [D, H]
  recurrent_kernel: jax.Array  # [H, H]
  bias: jax.Array  # [H]


class ElmanCarry(NamedTuple):
  """The output [B, H], which is all the state there is."""

  h: jax.Array


def init_params(
  key: jax.Array, in_features: int, features: int, **initializers: Any
) -> ElmanParams:
  """Fresh weights; arguments as of `ops.gate_weights`.

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> sum(leaf.size for leaf in params)
  32
  """
  keys = jax.random.split(key, 3)
  return ElmanParams(
    *ops.gate_weights(keys, in_features, features, 1, **initializers)
  )


initial_carry = functools.partial(ops.zero_carry, ElmanCarry)


def step(
  params: ElmanParams,
  carry: ElmanCarry,
  x: ops.Inputs,
  *,
  activation: Activation = "tanh",
  gradient_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[ElmanCarry, jax.Array]:
  """One time step.

  Args as of `lstm.step`, and `activation`.

  Raises:
    UserError: an activation other than "tanh" and "relu".
  """
  check_activation(activation)
  net = ops.project(params.kernel, x, bias=params.bias, dtype=dtype)
  net = net + ops.matmul(carry.h, params.recurrent_kernel, dtype)
  h = ACTIVATIONS[activation](ops.clip_gradient(net, gradient_clip))
  return ElmanCarry(h=h), h


def check_activation(activation: str) -> None:
  """Raises UserError, with the closest name, unless it is a known activation.

  >>> check_activation("relu")
  """
  if activation not in ACTIVATIONS:
    raise errors.UserError(
      f"no activation {activation!r}{errors.closest(activation, ACTIVATIONS)}"
    )


@functools.cache
def gates(
  activation: Activation = "tanh", gradient_clip: float | None = None
) -> fused.Gates:
  """The network's arithmetic, one object a setting (it is hashed)."""
  check_activation(activation)
  return fused.Gates(
    forward=functools.partial(_forward, activation),
    backward=functools.partial(_backward, activation, gradient_clip),
    extra_gradient=lambda *_: None,
  )


sequence = fused.make_sequence(gates)


def _forward(
  activation: Activation, loop: fused.Loop, x: jax.Array, carry: ElmanCarry
) -> tuple[ElmanCarry, None]:
  return ElmanCarry(h=ACTIVATIONS[activation](loop.net(x, carry.h))), None


def _backward(
  activation: Activation,
  gradient_clip: float | None,
  extra: None,
  saved: None,
  before: Any,
  after: ElmanCarry,
  d_after: ElmanCarry,
) -> tuple[jax.Array, jax.Array, ElmanCarry, None]:
  del extra, saved, before
  # Both slopes follow from the output, so nothing else is kept.
  if activation == "tanh":
    d_net = d_after.h * (1 - after.h * after.h)
  else:
    d_net = jnp.where(after.h > 0, d_after.h, 0)
  d_net = ops.clip(d_net, gradient_clip)
  return d_net, d_net, ElmanCarry(h=jnp.zeros_like(d_net)), None
