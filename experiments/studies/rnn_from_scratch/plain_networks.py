"""Recurrent language models in plain arrays, as the equations have them.

Rows are samples: X_t [n, d], H_t [n, h], O_t [n, q]. The code of `rnn`, `gru`
and `lstm` is shown on the page of the study.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.models import api as predictors

sigmoid, tanh = jax.nn.sigmoid, jnp.tanh

# Standard deviation of fresh weights.
SMALL = 0.01


def rnn(params: Any, state: Any, inputs: Any) -> tuple[jax.Array, Any]:
  """Outputs [T, n, q] and the last state, of inputs [T, n, d]."""
  w_xh, w_hh, b_h, w_hq, b_q = params
  outputs = []
  for x in inputs:
    state = tanh(x @ w_xh + state @ w_hh + b_h)
    outputs.append(state @ w_hq + b_q)
  return jnp.stack(outputs), state


def gru(
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


def lstm(params: Any, state: Any, inputs: Any) -> tuple[jax.Array, Any]:
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
  """A one-layer language model's weights, as the functions above take them.

  Args:
    params: of `models.language_model.LanguageModel` without peepholes.
  """
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


def init_rnn(
  random: np.random.Generator,
  inputs: int,
  features: int,
  outputs: int,
  deviation: float = SMALL,
) -> tuple[Any, ...]:
  """Weights of `rnn`: normal with that deviation, biases 0."""
  shapes = ((inputs, features), (features, features), (features, outputs))
  w_xh, w_hh, w_hq = (
    (deviation * random.normal(size=shape)).astype(np.float32)
    for shape in shapes
  )
  zeros = (np.zeros((1, width), np.float32) for width in (features, outputs))
  return w_xh, w_hh, next(zeros), w_hq, next(zeros)


def as_predictor(
  symbols: int, features: int, init: Callable[[jax.Array], Any]
) -> predictors.Predictor:
  """`rnn` over one-hot vectors, for everything that takes a predictor.

  Its state can be cleared at the first step only, which is where shuffled
  windows need it.

  Args:
    symbols: V.
    features: h.
    init: key -> weights.
  """

  def apply(
    params: Any, state: jax.Array, inputs: jax.Array, reset: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    state = jnp.where(reset[0][:, None], 0.0, state)
    outputs, state = rnn(params, state, jax.nn.one_hot(inputs, symbols))
    return state, outputs

  return predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: jnp.zeros((batch, features)),
    init=init,
    vocabulary_size=symbols,
  )


def joined(
  random: np.random.Generator, n: int, d: int, h: int
) -> tuple[float, float]:
  """How far [X, H] [W_x; W_h] is from X W_x + H W_h.

  Args:
    random: of the entries.
    n: rows of X.
    d: its columns.
    h: columns of H.

  Returns:
    The largest difference of the products, and of the derivatives of the sum of
    their squares, in float64.
  """
  x, w_x = random.normal(size=(n, d)), random.normal(size=(d, h))
  state, w_h = random.normal(size=(n, h)), random.normal(size=(h, h))
  side, stacked = np.hstack([x, state]), np.vstack([w_x, w_h])
  one, two = side @ stacked, x @ w_x + state @ w_h
  # d(sum P^2) / dW = 2 (what W was multiplied with)' P
  slope = 2 * side.T @ one
  apart = np.vstack([2 * x.T @ two, 2 * state.T @ two])
  return float(np.abs(one - two).max()), float(np.abs(slope - apart).max())


def far(a: Any, b: Any) -> float:
  """The largest difference between two trees of one shape."""
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return max(
    float(np.max(np.abs(np.asarray(one) - np.asarray(two))))
    for one, two in pairs
  )
