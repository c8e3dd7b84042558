"""Flax's newer LSTM, `flax.nnx.RNN(OptimizedLSTMCell)`, as a peer.

Used functionally: the module is split once into graph, weights and the rest,
and merged again inside the compiled function. In bfloat16 weights and inputs
are cast before the loop, as in `flax_peer`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments import flax_peer, layer_work
from seqmodels.cells import lstm, products

NAME = "flax.nnx.RNN(OptimizedLSTMCell)"


def layer(
  given: layer_work.Task, *, dtype: products.Dtype = None
) -> layer_work.Layer:
  """The layer over a task, time-major.

  Args:
    given: the task, without peepholes.
    dtype: of the computation; None keeps float32.
  """
  batch, features = given.xs.shape[1:]
  cell = nnx.OptimizedLSTMCell(
    features, features, dtype=dtype, rngs=nnx.Rngs(0)
  )
  graph, _, *rest = nnx.split(nnx.RNN(cell, time_major=True), nnx.Param, ...)

  def run(params: Any, xs: jax.Array) -> jax.Array:
    params, xs = flax_peer.cast((params, xs), dtype)
    carry = flax_peer.zeros(batch, features)
    return nnx.merge(graph, nnx.State(params), *rest)(xs, initial_carry=carry)

  return layer_work.compiled(
    run, _weights(given.params), given.xs, given.cotangent, _ours
  )


def _weights(params: lstm.LSTMParams) -> dict[str, Any]:
  """Its weights from ours: one matrix for all gates, in the same order."""
  lstm.refuse_peepholes(params, NAME)
  return {
    "cell": {
      "dense_i": {"kernel": jnp.array(params.kernel)},
      "dense_h": {
        "kernel": jnp.array(params.recurrent_kernel),
        "bias": jnp.array(params.bias),
      },
    }
  }


def _ours(params: Any) -> lstm.LSTMParams:
  cell = params["cell"]
  return lstm.LSTMParams(
    kernel=cell["dense_i"]["kernel"],
    recurrent_kernel=cell["dense_h"]["kernel"],
    bias=cell["dense_h"]["bias"],
    peephole=None,
  )
