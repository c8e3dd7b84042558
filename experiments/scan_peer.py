"""The LSTM as textbooks and Keras' JAX backend write it: a plain `lax.scan`.

Both products in the loop, step by step, and derivatives left to autodiff. What
a user has who writes the recurrence down without further thought.
"""

import functools

import jax
import jax.numpy as jnp

from experiments import flax_peer, layer_work
from seqmodels.cells import lstm, products

NAME = "plain lax.scan"


def layer(
  given: layer_work.Task, *, dtype: products.Dtype = None
) -> layer_work.Layer:
  """The layer over a task, time-major.

  Args:
    given: the task, without peepholes.
    dtype: of weights and inputs, cast before the loop; None keeps float32.
  """
  lstm.refuse_peepholes(given.params, NAME)

  def run(params: lstm.LSTMParams, xs: jax.Array) -> jax.Array:
    params, xs = flax_peer.cast((params, xs), dtype)
    carry = flax_peer.zeros(*xs.shape[1:])
    return jax.lax.scan(functools.partial(_step, params), carry, xs)[1]

  return layer_work.compiled(
    run, given.params, given.xs, given.cotangent, lambda params: params
  )


def _step(
  params: lstm.LSTMParams, carry: tuple[jax.Array, jax.Array], x: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
  c, h = carry
  recurrent = h.astype(params.recurrent_kernel.dtype) @ params.recurrent_kernel
  net = x @ params.kernel + recurrent + params.bias[None]
  i, f, g, o = jnp.split(net, 4, axis=-1)
  c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
  h = jax.nn.sigmoid(o) * jnp.tanh(c)
  return (c.astype(jnp.float32), h.astype(jnp.float32)), h
