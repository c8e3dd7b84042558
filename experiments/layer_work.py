"""One LSTM layer as work to time: forward, and forward with all gradients.

Every library gets the same weights, inputs and cotangent, and gives the outputs
and the gradients of weights and inputs, so that they can be compared before
they are timed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import lstm, lstm_sequence, products, segmented


class Task(NamedTuple):
  """What a layer is given; D = H."""

  params: lstm.LSTMParams
  xs: jax.Array  # [T, B, H]
  cotangent: jax.Array  # [T, B, H], the derivative that reaches the outputs


class Answer(NamedTuple):
  """What a layer makes of it, in our layout and float32."""

  outputs: np.ndarray  # [T, B, H]
  d_params: Any  # like the weights of the task
  d_xs: np.ndarray  # [T, B, H]


class Layer(NamedTuple):
  """A library's layer over a task. Its functions return when all is done."""

  forward: Callable[[], Any]
  backward: Callable[[], Any]  # the forward pass included
  answer: Callable[[], Answer]
  temporary: Callable[[], int | None]  # bytes XLA sets aside in `backward`


def task(
  steps: int, batch: int, features: int, *, seed: int, peepholes: bool = False
) -> Task:
  """Random weights, inputs and cotangent; equal seeds give equal ones."""
  keys = jax.random.split(jax.random.key(seed), 3)
  shape = (steps, batch, features)
  return Task(
    lstm.init_params(keys[0], features, features, peepholes=peepholes),
    jax.random.normal(keys[1], shape),
    jax.random.normal(keys[2], shape),
  )


def ours(given: Task, *, dtype: products.Dtype = None, chunk: int = 0) -> Layer:
  """The fused LSTM of this library.

  Args:
    given: the task; with peepholes if its weights have some.
    dtype: of the products' operands; None keeps float32.
    chunk: recompute policy, see `segmented`; 0 keeps all.
  """
  sequence: segmented.Sequence = functools.partial(
    lstm_sequence.lstm_sequence, dtype=dtype
  )
  if chunk:
    sequence = segmented.checkpointed(sequence, chunk)

  def layer(params: lstm.LSTMParams, xs: jax.Array) -> jax.Array:
    features = params.recurrent_kernel.shape[0]
    return sequence(params, lstm.initial_carry(xs.shape[1:2], features), xs)[1]

  return compiled(layer, given.params, given.xs, given.cotangent, lambda x: x)


def compiled(
  layer: Callable[[Any, jax.Array], jax.Array],
  params: Any,
  xs: jax.Array,
  cotangent: jax.Array,
  to_ours: Callable[[Any], Any],
  *,
  batch_first: bool = False,
) -> Layer:
  """A layer in JAX, compiled when it is first run.

  Args:
    layer: (params, xs) -> outputs.
    params: in the layer's own layout.
    xs: its input.
    cotangent: shaped like its outputs.
    to_ours: its weights, or their gradients, in our layout.
    batch_first: inputs and outputs are [B, T, ...].
  """

  def both(
    params: Any, xs: jax.Array, cotangent: jax.Array
  ) -> tuple[jax.Array, tuple[Any, jax.Array]]:
    outputs, pull = jax.vjp(layer, params, xs)
    return outputs, pull(cotangent.astype(outputs.dtype))

  @functools.cache
  def forward_program() -> Any:
    return jax.jit(layer).lower(params, xs).compile()

  @functools.cache
  def backward_program() -> Any:
    return jax.jit(both).lower(params, xs, cotangent).compile()

  def backward() -> Any:
    return jax.block_until_ready(backward_program()(params, xs, cotangent))

  def answer() -> Answer:
    outputs, (d_params, d_xs) = backward()
    outputs, d_xs = (np.asarray(a, np.float32) for a in (outputs, d_xs))
    if batch_first:
      outputs, d_xs = outputs.swapaxes(0, 1), d_xs.swapaxes(0, 1)
    d_params = jax.tree.map(
      lambda leaf: np.asarray(leaf, np.float32), to_ours(d_params)
    )
    return Answer(outputs, d_params, d_xs)

  return Layer(
    forward=lambda: jax.block_until_ready(forward_program()(params, xs)),
    backward=backward,
    answer=answer,
    temporary=lambda: temporary_bytes(backward_program()),
  )


def temporary_bytes(program: Any) -> int | None:
  """Bytes that a compiled program sets aside beside arguments and results."""
  analysis = program.memory_analysis()
  return None if analysis is None else int(analysis.temp_size_in_bytes)


def operands(precision: str) -> products.Dtype:
  """The dtype that our functions take for "float32" or "bfloat16"."""
  return None if precision == "float32" else jnp.dtype(precision)


def operations_of(rows: int, inner: int, columns: int) -> int:
  """Additions and multiplications of one matrix product.

  >>> operations_of(2, 3, 4)
  48
  """
  return 2 * rows * inner * columns


def operations(
  steps: int, batch: int, features: int, *, layers: int = 1, backward: bool
) -> int:
  """Those of all products of LSTM layers with D = H.

  A gradient takes two more products of the same size for each of the forward
  pass: one for the weights, one for what entered.

  >>> operations(1, 1, 1, backward=False), operations(1, 1, 1, backward=True)
  (16, 48)
  """
  forward = operations_of(steps * batch, 2 * features, 4 * features)
  return layers * forward * (3 if backward else 1)
