"""Peers written in JAX: Flax's LSTMs, a plain scan, cuDNN's LSTM.

In bfloat16 their weights and inputs are cast once, before the loop; left to
Flax's cells alone they would be cast at every step. Their carry stays float32,
as ours. None has peepholes.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import rnn as cudnn

from experiments.benchmark import case
from seqmodels.cells import convert, lstm, ops, scan
from seqmodels.models import networks

FLAX_SAMPLER = "flax.linen.OptimizedLSTMCell in lax.scan"


def cast(tree: Any, dtype: ops.Dtype) -> Any:
  """Weights or inputs in `dtype`; None leaves them alone."""
  if dtype is None:
    return tree
  return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def zeros(batch: int, features: int) -> tuple[jax.Array, jax.Array]:
  """The carry before the first step."""
  return jnp.zeros((batch, features)), jnp.zeros((batch, features))


def split(
  params: Any,
) -> tuple[tuple[lstm.LSTMParams, ...], dict[str, jax.Array], Any]:
  """Our weights without peepholes: layers, head and embedding (or None)."""
  stack = params["stack"]
  layers = tuple(
    lstm.LSTMParams(**{"peephole": None, **stack[f"layer_{index}"]})
    for index in range(len(stack))
  )
  return layers, params["head"], params.get("embedding", {}).get("table")


# Layers over a task.


def flax_layers(
  task: case.LayerTask, *, dtype: ops.Dtype = None, chunk: int = 0
) -> case.Layers:
  """`flax.linen.RNN(OptimizedLSTMCell)`, time-major, one on another.

  `chunk` keeps only the carry at every so many steps, by the same wrapper as
  ours: `jax.checkpoint` around each chunk's `nn.RNN`.
  """
  batch, features = task.xs.shape[1:]

  def sequence(params: Any, carry: Any, xs: jax.Array, **_: Any) -> Any:
    return _flax_rnn(params, carry, xs, dtype)

  layer = scan.checkpointed(sequence, chunk) if chunk else sequence

  def run(params: Any, xs: jax.Array) -> jax.Array:
    params, xs = cast((params, xs), dtype)
    for weights in params:
      _, xs = layer(weights, zeros(batch, features), xs)
    return xs

  return case.compiled(
    run,
    tuple(map(convert.lstm_to_flax, task.params)),
    task,
    lambda params: tuple(map(convert.lstm_from_flax, params)),
  )


def nnx_layer(task: case.LayerTask, *, dtype: ops.Dtype = None) -> case.Layers:
  """`flax.nnx.RNN(OptimizedLSTMCell)` over a task of one layer, time-major.

  Used functionally: the module is split once into graph, weights and the rest,
  and merged again inside the compiled function.
  """
  (params,) = task.params
  lstm.refuse_peepholes(params, case.PEERS["nnx"])
  batch, features = task.xs.shape[1:]
  cell = nnx.OptimizedLSTMCell(
    features, features, dtype=dtype, rngs=nnx.Rngs(0)
  )
  graph, _, *rest = nnx.split(nnx.RNN(cell, time_major=True), nnx.Param, ...)

  def run(weights: Any, xs: jax.Array) -> jax.Array:
    weights, xs = cast((weights, xs), dtype)
    module = nnx.merge(graph, nnx.State(weights), *rest)
    return module(xs, initial_carry=zeros(batch, features))

  # One matrix for all gates, in our order.
  kernels = {
    "dense_i": {"kernel": params.kernel},
    "dense_h": {"kernel": params.recurrent_kernel, "bias": params.bias},
  }
  weights = {"cell": jax.tree.map(jnp.array, kernels)}

  def to_ours(weights: Any) -> tuple[lstm.LSTMParams]:
    dense_i, dense_h = weights["cell"]["dense_i"], weights["cell"]["dense_h"]
    kernels = (dense_i["kernel"], dense_h["kernel"])
    return (lstm.LSTMParams(*kernels, dense_h["bias"], None),)

  return case.compiled(run, weights, task, to_ours)


def scan_layer(task: case.LayerTask, *, dtype: ops.Dtype = None) -> case.Layers:
  """The LSTM as textbooks and Keras' JAX backend write it, over one layer.

  Both products are in the loop, step by step, and derivatives are left to
  autodiff: the code of a user who writes the recurrence down as it is.
  """
  lstm.refuse_peepholes(task.params[0], case.PEERS["scan"])

  def run(params: tuple[lstm.LSTMParams], xs: jax.Array) -> jax.Array:
    (layer,), xs = cast((params, xs), dtype)
    step = functools.partial(_scan_step, layer)
    return jax.lax.scan(step, zeros(*xs.shape[1:]), xs)[1]

  return case.compiled(run, task.params, task)


def _scan_step(
  params: lstm.LSTMParams, carry: tuple[jax.Array, jax.Array], x: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
  c, h = carry
  recurrent = h.astype(params.recurrent_kernel.dtype) @ params.recurrent_kernel
  net = x @ params.kernel + recurrent + params.bias[None]
  i, f, g, o = jnp.split(net, 4, axis=-1)
  c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
  h = jax.nn.sigmoid(o) * jnp.tanh(c)
  return (c.astype(jnp.float32), h.astype(jnp.float32)), h


# cuDNN's LSTM, on an NVIDIA GPU. It takes float32 alone (its products may run
# in TF32, as XLA's may), the batch first, and all weights in one vector. Inputs
# and cotangent are laid out for it before the clock starts.


def cudnn_missing() -> str:
  """The reason why cuDNN cannot be measured here; empty if it can."""
  if jax.default_backend() != "gpu":
    return f"cuDNN needs a GPU, and JAX runs on {jax.default_backend()}"
  if "NVIDIA" not in jax.devices()[0].device_kind.upper():
    return f"cuDNN does not run on {jax.devices()[0].device_kind}"
  return ""


def cudnn_layer(task: case.LayerTask) -> case.Layers:
  """`jax.experimental.rnn` over a task of one layer without peepholes."""
  features = task.xs.shape[2]

  def to_ours(weights: jax.Array) -> tuple[lstm.LSTMParams]:
    # The gradients of the two biases are equal: the first is taken as ours.
    w_ih, w_hh, b_ih, _ = cudnn.unpack_lstm_weights(
      weights, features, features, 1, False
    )
    return (lstm.LSTMParams(w_ih[0].T, w_hh[0].T, b_ih[0], None),)

  return case.compiled(
    cudnn_outputs,
    cudnn_weights(task.params[0]),
    task,
    to_ours,
    batch_first=True,
  )


def cudnn_outputs(weights: jax.Array, xs: jax.Array) -> jax.Array:
  """cuDNN's LSTM over [B, T, H], from zeros."""
  batch, steps, features = xs.shape
  zeros = jnp.zeros((1, batch, features))
  outputs, _, _ = cudnn.lstm(
    xs,
    zeros,
    zeros,
    weights,
    jnp.full((batch,), steps, jnp.int32),
    input_size=features,
    hidden_size=features,
    num_layers=1,
    dropout=0.0,
    bidirectional=False,
  )
  return outputs


def cudnn_weights(params: lstm.LSTMParams) -> jax.Array:
  """All weights in cuDNN's order; its second bias is zero.

  Per layer W_ih [4H, D], W_hh [4H, H], b_ih, b_hh, gates in our order.

  >>> params = lstm.init_params(jax.random.key(0), 3, 3, peepholes=False)
  >>> size = cudnn.get_num_params_in_lstm(3, 3, 1, False)
  >>> cudnn_weights(params).size == size
  True
  """
  lstm.refuse_peepholes(params, case.PEERS["cudnn"])
  parts = (params.kernel.T, params.recurrent_kernel.T, params.bias)
  flat = [part.ravel() for part in parts]
  return jnp.concatenate([*flat, jnp.zeros_like(params.bias)])


# Models of Flax's parts. Their fresh weights are those of ours; they take
# neither resets nor null vectors, which the benchmark's data do not have.


def flax_language_model(
  ours: networks.SequenceModel, *, dtype: ops.Dtype = None
) -> networks.SequenceModel:
  """A language model of `flax.linen.RNN`, `nn.Dense` and a table.

  Ours has LSTM layers, a linear head, and perhaps an embedding.
  """
  symbols = ours.vocabulary_size

  def apply(
    params: Any, carry: Any, inputs: jax.Array, reset: jax.Array
  ) -> tuple[Any, jax.Array]:
    del reset
    params = cast(params, dtype)
    if params["table"] is None:
      xs = jax.nn.one_hot(inputs, symbols, dtype=dtype or jnp.float32)
    else:
      xs = params["table"][inputs]
    return _flax_stack(params, carry, xs, dtype)

  return ours._replace(apply=apply, **_flax_fresh(ours))


def flax_handwriting(
  ours: networks.SequenceModel, *, dtype: ops.Dtype = None
) -> networks.SequenceModel:
  """The network of handwriting prediction, of `flax.linen.RNN` with skips.

  Ours has no limits on derivatives.
  """

  def apply(
    params: Any,
    carry: Any,
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[Any, jax.Array]:
    del text, reset
    return _flax_stack(cast(params, dtype), carry, inputs, dtype)

  return ours._replace(apply=apply, **_flax_fresh(ours))


def _flax_fresh(ours: Any) -> dict[str, Any]:
  """Our weights under Flax's names; our carry as plain pairs (c, h)."""

  def init(key: jax.Array) -> dict[str, Any]:
    layers, head, table = split(ours.init(key))
    cells = tuple(map(convert.lstm_to_flax, layers))
    return {"cells": cells, "head": head, "table": table}

  return {
    "init": init,
    "initial_carry": lambda batch: tuple(map(tuple, ours.initial_carry(batch))),
  }


def _flax_rnn(
  params: Any, carry: Any, xs: jax.Array, dtype: ops.Dtype
) -> tuple[Any, jax.Array]:
  """(carry, outputs) of one layer, time-major."""
  cell = nn.OptimizedLSTMCell(carry[0].shape[-1], dtype=dtype)
  rnn: Any = nn.RNN(cell, time_major=True)
  return rnn.apply(
    {"params": {"cell": params}}, xs, initial_carry=carry, return_carry=True
  )


def _flax_stack(
  params: Any, carry: Any, xs: jax.Array, dtype: ops.Dtype
) -> tuple[Any, jax.Array]:
  """(carry, float32 outputs) of layers with skips and the head over all."""
  carries: list[Any] = []
  outputs: list[jax.Array] = []
  for cell, state in zip(params["cells"], carry, strict=True):
    inputs = jnp.concatenate([xs, *outputs[-1:]], axis=-1)
    state, hs = _flax_rnn(cell, state, inputs, dtype)
    carries.append(state)
    outputs.append(hs)
  dense = nn.Dense(params["head"]["bias"].shape[0], dtype=dtype)
  logits = dense.apply(
    {"params": params["head"]}, jnp.concatenate(outputs, axis=-1)
  )
  return tuple(carries), jnp.asarray(logits, jnp.float32)


def flax_sampler(
  params: Any, task: case.SamplingTask, *, dtype: ops.Dtype = None
) -> case.Sampler:
  """Flax's cell in a compiled scan; weights are cast once, before the loop.

  `params` are ours: one LSTM layer without peepholes, and a linear head.
  """
  (layer,), head, _ = split(params)
  features, symbols = head["kernel"].shape
  weights = {"cell": convert.lstm_to_flax(layer), "head": head}
  cell = nn.OptimizedLSTMCell(features, dtype=dtype)
  dense = nn.Dense(symbols, dtype=dtype)
  key = jax.random.key(task.seed)

  def step(weights: Any, carry: Any, ids: jax.Array) -> tuple[Any, jax.Array]:
    xs = jax.nn.one_hot(ids, symbols, dtype=dtype or jnp.float32)
    carry, hs = cell.apply({"params": weights["cell"]}, carry, xs)
    logits: Any = dense.apply({"params": weights["head"]}, hs)
    return carry, logits.astype(jnp.float32)

  @jax.jit
  def draw(weights: Any, key: jax.Array) -> jax.Array:
    weights = cast(weights, dtype)
    carry = zeros(task.batch, features)
    state = step(weights, carry, jnp.full(task.batch, case.NULL))

    def advance(state: Any, place: jax.Array) -> tuple[Any, jax.Array]:
      carry, logits = state
      ids = jax.random.categorical(jax.random.fold_in(key, place), logits)
      return step(weights, carry, ids), ids

    return jax.lax.scan(advance, state, jnp.arange(task.length))[1]

  @jax.jit
  def logits(weights: Any, ids: jax.Array) -> jax.Array:
    read = functools.partial(step, cast(weights, dtype))
    return jax.lax.scan(read, zeros(task.batch, features), ids)[1]

  return case.Sampler(
    lambda: np.asarray(draw(weights, key)),
    lambda ids: np.asarray(logits(weights, jnp.asarray(ids))),
  )
