"""The simple recurrent network (Elman, 1990), one gate wide.

    h' = phi(W x + U h + b)

with phi either tanh or the rectifier max(0, .).
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import gradient_clip as clipping
from seqmodels.cells import initializers, products, projection

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
  key: jax.Array,
  in_features: int,
  features: int,
  *,
  kernel_init: initializers.Initializer | None = None,
  recurrent_kernel_init: initializers.Initializer | None = None,
  bias_init: initializers.Initializer | None = None,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> ElmanParams:
  """Fresh weights.

  Args:
    key: consumed.
    in_features: D, all inputs of the layer together.
    features: H.
    kernel_init: [D, H]; uniform +-1/sqrt(H) by default, as is the recurrent
      kernel.
    recurrent_kernel_init: [H, H].
    bias_init: [H]; zeros by default.
    param_dtype: dtype of the weights.

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> sum(leaf.size for leaf in params)
  32
  """
  fallback = initializers.recurrent_uniform(features)
  keys = jax.random.split(key, 3)
  return ElmanParams(
    kernel=(kernel_init or fallback)(
      keys[0], (in_features, features), param_dtype
    ),
    recurrent_kernel=(recurrent_kernel_init or fallback)(
      keys[1], (features, features), param_dtype
    ),
    bias=(bias_init or jax.nn.initializers.zeros)(
      keys[2], (features,), param_dtype
    ),
  )


def initial_carry(
  batch_shape: tuple[int, ...],
  features: int,
  dtype: jax.typing.DTypeLike = jnp.float32,
) -> ElmanCarry:
  """Zeros, [*batch_shape, features].

  >>> initial_carry((2,), 3).h.shape
  (2, 3)
  """
  return ElmanCarry(h=jnp.zeros((*batch_shape, features), dtype))


def step(
  params: ElmanParams,
  carry: ElmanCarry,
  x: projection.Inputs,
  *,
  activation: Activation = "tanh",
  gradient_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[ElmanCarry, jax.Array]:
  """One time step.

  Args:
    params: the layer's weights.
    carry: (h,), [B, H].
    x: [B, D], or ids [B], or several such inputs (see `projection.project`).
    activation: "tanh" or "relu".
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The new carry, and h [B, H].

  Raises:
    UserError: an activation other than these two.

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> step(params, initial_carry((2,), 4), jnp.ones((2, 3)))[1].shape
  (2, 4)
  """
  check_activation(activation)
  net = projection.project(params.kernel, x, bias=params.bias, dtype=dtype)
  net = net + products.matmul(carry.h, params.recurrent_kernel, dtype)
  h = ACTIVATIONS[activation](clipping.clip_gradient(net, gradient_clip))
  return ElmanCarry(h=h), h


def check_activation(activation: str) -> None:
  """Raises UserError, with the closest name, unless it is a known activation.

  >>> check_activation("relu")
  """
  if activation not in ACTIVATIONS:
    raise errors.UserError(
      f"no activation {activation!r}{errors.closest(activation, ACTIVATIONS)}"
    )
