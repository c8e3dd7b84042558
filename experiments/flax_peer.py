"""Flax's own LSTM, `flax.linen.RNN(OptimizedLSTMCell)`, as a peer.

In bfloat16 its weights and inputs are cast once, before the loop; left to the
cell alone they would be cast at every step. Its carry stays float32, as ours.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments import layer_work
from seqmodels.cells import flax_weights, lstm, products, segmented
from seqmodels.models import predictor as predictors

NAME = "flax.linen.RNN(OptimizedLSTMCell)"


def layer(
  given: layer_work.Task, *, dtype: products.Dtype = None, chunk: int = 0
) -> layer_work.Layer:
  """The layer over a task, time-major.

  Args:
    given: the task, without peepholes.
    dtype: of the computation; None keeps float32.
    chunk: keep only the carry at every so many steps, by the same wrapper as
      ours: `jax.checkpoint` around each chunk's `nn.RNN`.
  """
  batch, features = given.xs.shape[1:]

  def sequence(params: Any, carry: Any, xs: jax.Array, **_: Any) -> Any:
    return rnn(features, dtype).apply(
      {"params": {"cell": params}}, xs, initial_carry=carry, return_carry=True
    )

  whole = segmented.checkpointed(sequence, chunk) if chunk else sequence

  def run(params: Any, xs: jax.Array) -> jax.Array:
    params, xs = cast((params, xs), dtype)
    return whole(params, zeros(batch, features), xs)[1]

  params = flax_weights.lstm_to_flax(given.params)
  return layer_work.compiled(
    run, params, given.xs, given.cotangent, flax_weights.lstm_from_flax
  )


def predictor(
  like: predictors.Predictor, features: int, *, dtype: products.Dtype = None
) -> predictors.Predictor:
  """A language model of Flax's parts, its fresh weights those of ours.

  Args:
    like: ours: one LSTM layer without peepholes, a linear head, and perhaps an
      embedding.
    features: H.
    dtype: of the computation.

  Returns:
    A predictor for texts without resets or null vectors: it heeds neither.
  """
  symbols = like.vocabulary_size
  head = nn.Dense(symbols, dtype=dtype)

  def init(key: jax.Array) -> Any:
    cell, dense, table = split(like.init(key))
    made = {"cell": flax_weights.lstm_to_flax(cell), "head": dense}
    return made if table is None else {**made, "table": table}

  def apply(
    params: Any, carry: Any, inputs: jax.Array, reset: jax.Array
  ) -> tuple[Any, jax.Array]:
    del reset
    params = cast(params, dtype)
    if "table" in params:
      xs = params["table"][inputs]
    else:
      xs = jax.nn.one_hot(inputs, symbols, dtype=dtype or jnp.float32)
    carry, hs = rnn(features, dtype).apply(
      {"params": {"cell": params["cell"]}},
      xs,
      initial_carry=carry,
      return_carry=True,
    )
    logits = head.apply({"params": params["head"]}, hs)
    return carry, jnp.asarray(logits, jnp.float32)

  return predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: zeros(batch, features),
    init=init,
    vocabulary_size=symbols,
  )


def split(params: Any) -> tuple[Any, Any, Any]:
  """Weights of layer, head and embedding (None), of our language model's."""
  found = dict(params["stack"]["layer_0"])
  found.setdefault("peephole", None)
  table = params.get("embedding", {}).get("table")
  return lstm.LSTMParams(**found), params["head"], table


def rnn(features: int, dtype: products.Dtype) -> nn.RNN:
  """The layer, time-major."""
  return nn.RNN(nn.OptimizedLSTMCell(features, dtype=dtype), time_major=True)


def zeros(batch: int, features: int) -> tuple[jax.Array, jax.Array]:
  """Its carry before the first step."""
  return jnp.zeros((batch, features)), jnp.zeros((batch, features))


def cast(tree: Any, dtype: products.Dtype) -> Any:
  """Weights or inputs in `dtype`; None leaves them alone."""
  if dtype is None:
    return tree
  return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
