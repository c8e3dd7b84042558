"""The network of handwriting prediction of Flax's own parts, as a peer."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments import flax_peer
from seqmodels.cells import flax_weights, lstm, products
from seqmodels.models import pen_network


def network(
  like: pen_network.PenNetwork, features: int, *, dtype: products.Dtype = None
) -> pen_network.PenNetwork:
  """`flax.linen.RNN` layers with skips, its fresh weights those of ours.

  Args:
    like: ours, without peepholes and without limits on derivatives.
    features: H of each layer.
    dtype: of the computation.

  Returns:
    A network that heeds no resets, for lines that start from zeros.
  """
  head = nn.Dense(6 * like.components + 1, dtype=dtype)

  def init(key: jax.Array) -> Any:
    return from_ours(like.init(key))

  def apply(
    params: Any,
    carry: Any,
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[Any, jax.Array]:
    del text, reset
    params = flax_peer.cast(params, dtype)
    outputs: list[Any] = []
    after = []
    for cell, state in zip(params["cells"], carry, strict=True):
      feeds = jnp.concatenate([inputs, *outputs[-1:]], axis=-1)
      state, hs = flax_peer.rnn(features, dtype).apply(
        {"params": {"cell": cell}},
        feeds,
        initial_carry=state,
        return_carry=True,
      )
      after.append(state)
      outputs.append(hs)
    joined = jnp.concatenate(outputs, axis=-1)
    found = head.apply({"params": params["head"]}, joined)
    return tuple(after), jnp.asarray(found, jnp.float32)

  def initial_carry(batch: int) -> Any:
    layers = len(like.initial_carry(1))
    return tuple(flax_peer.zeros(batch, features) for _ in range(layers))

  return pen_network.PenNetwork(
    apply=apply,
    initial_carry=initial_carry,
    init=init,
    components=like.components,
  )


def from_ours(params: Any) -> Any:
  """Our weights in Flax's names."""
  stack = params["stack"]
  cells = []
  for index in range(len(stack)):
    found = dict(stack[f"layer_{index}"])
    found.setdefault("peephole", None)
    cells.append(flax_weights.lstm_to_flax(lstm.LSTMParams(**found)))
  return {"cells": cells, "head": params["head"]}
