"""Recurrent language models in plain arrays, as the equations have them.

Rows are samples: X_t [n, d], H_t [n, h], O_t [n, q]. The page of the study
shows the code of `plain_rnn`, `plain_gru` and `plain_lstm`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels.models import networks

sigmoid, tanh = jax.nn.sigmoid, jnp.tanh


def plain_rnn(params: Any, state: Any, inputs: Any) -> tuple[jax.Array, Any]:
  """Outputs [T, n, q] and the last state, of inputs [T, n, d]."""
  w_xh, w_hh, b_h, w_hq, b_q = params
  outputs = []
  for x in inputs:
    state = tanh(x @ w_xh + state @ w_hh + b_h)
    outputs.append(state @ w_hq + b_q)
  return jnp.stack(outputs), state


def plain_gru(
  params: Any, state: Any, inputs: Any, reset_first: bool = False
) -> tuple[jax.Array, Any]:
  """With gates R and Z; `reset_first` multiplies before the product."""
  w_x, w_h, b, c_n, w_hq, b_q = params
  outputs = []
  for x in inputs:
    r = sigmoid(x @ w_x[0] + state @ w_h[0] + b[0])
    z = sigmoid(x @ w_x[1] + state @ w_h[1] + b[1])
    if reset_first:
      n = tanh(x @ w_x[2] + (r * state) @ w_h[2] + b[2])
    else:
      n = tanh(x @ w_x[2] + r * (state @ w_h[2] + c_n) + b[2])
    state = z * state + (1 - z) * n
    outputs.append(state @ w_hq + b_q)
  return jnp.stack(outputs), state


def plain_lstm(params: Any, state: Any, inputs: Any) -> tuple[jax.Array, Any]:
  """With gates I, F and O around a memory C; the state is (C, H)."""
  w_x, w_h, b, w_hq, b_q = params
  memory, hidden = state
  outputs = []
  for x in inputs:
    i, f, g, o = (x @ w_x[k] + hidden @ w_h[k] + b[k] for k in range(4))
    memory = sigmoid(f) * memory + sigmoid(i) * tanh(g)
    hidden = sigmoid(o) * tanh(memory)
    outputs.append(hidden @ w_hq + b_q)
  return jnp.stack(outputs), (memory, hidden)


def from_library(params: Mapping[str, Any]) -> tuple[Any, ...]:
  """A one-layer language model's weights, as the functions above take them."""
  layer, head = params["stack"]["layer_0"], params["head"]
  features = layer["recurrent_kernel"].shape[0]
  gates = layer["kernel"].shape[1] // features
  out = (head["kernel"], head["bias"][None])
  w_x, w_h, b = (
    jnp.split(weights, gates, axis=-1)
    for weights in (
      layer["kernel"],
      layer["recurrent_kernel"],
      layer["bias"][None],
    )
  )
  if gates == 1:
    return (w_x[0], w_h[0], b[0], *out)
  if "recurrent_bias" in layer:
    return (w_x, w_h, b, layer["recurrent_bias"][None], *out)
  return (w_x, w_h, b, *out)


def as_predictor(
  symbols: int, features: int, init: Callable[[jax.Array], Any]
) -> networks.SequenceModel:
  """`plain_rnn` over one-hot vectors, for everything that takes a predictor.

  Its state can be cleared at the first step only, which is where shuffled
  windows need it.
  """

  def apply(
    params: Any, state: jax.Array, inputs: jax.Array, reset: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    state = jnp.where(reset[0][:, None], 0.0, state)
    outputs, state = plain_rnn(params, state, jax.nn.one_hot(inputs, symbols))
    return state, outputs

  return networks.SequenceModel(
    apply=apply,
    initial_carry=lambda batch: jnp.zeros((batch, features)),
    init=init,
    vocabulary_size=symbols,
  )
