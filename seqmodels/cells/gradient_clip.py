"""Derivative clipping inside backpropagation through time.

Graves (2013, section 2.1) clips the derivative of the loss with respect to the
net inputs of the LSTM layers, element by element and step by step, to a fixed
range. It is neither a clip of the summed weight gradient nor of its norm.
"""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _identity(x: jax.Array, limit: float) -> jax.Array:
  del limit
  return x


def _forward(x: jax.Array, limit: float) -> tuple[jax.Array, None]:
  del limit
  return x, None


def _backward(
  limit: float, residuals: None, cotangent: jax.Array
) -> tuple[jax.Array]:
  del residuals
  return (jnp.clip(cotangent, -limit, limit),)


_identity.defvjp(_forward, _backward)


def clip_gradient(x: jax.Array, limit: float | None) -> jax.Array:
  """The identity, whose derivative is clipped to [-limit, limit].

  Args:
    x: an array of any shape.
    limit: the bound on each element of the cotangent; `None` clips nothing.

  >>> jax.grad(lambda x: 5.0 * clip_gradient(x, 1.0))(2.0)
  Array(1., dtype=float32, weak_type=True)
  """
  return x if limit is None else _identity(x, limit)


def clip(cotangent: jax.Array, limit: float | None) -> jax.Array:
  """The same clip for derivatives that a kernel has in hand."""
  return cotangent if limit is None else jnp.clip(cotangent, -limit, limit)
