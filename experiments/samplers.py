"""Text drawn from a character network: ours, a Flax loop and a PyTorch loop.

Each reads the null vector, then draws a symbol and reads it, so many times. Of
PyTorch there are two loops, over the layer and over the cell, since neither is
always the faster one; in bfloat16 its modules are cast as a whole.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import flax_peer, torch_peer
from seqmodels.cells import flax_weights, products, torch_weights
from seqmodels.models import predictor as predictors
from seqmodels.sampling import text

FLAX = "flax.linen.OptimizedLSTMCell in lax.scan"
TORCH_CELLS = ("LSTM", "LSTMCell")

NULL = -1  # the id of the null vector


class Task(NamedTuple):
  """What is drawn."""

  length: int
  batch: int
  seed: int


class Sampler(NamedTuple):
  """A library's way to draw, and its step on symbols that are given.

  Attributes:
    run: draws ids [length, batch]; the first call compiles.
    logits: from ids [T, batch], read from an empty carry, to [T, batch, V], by
      the step that `run` takes.
  """

  run: Callable[[], np.ndarray]
  logits: Callable[[np.ndarray], np.ndarray]


def ours(network: predictors.Predictor, params: Any, given: Task) -> Sampler:
  """The library's own sampler, as experiments call it."""
  key = jax.random.key(given.seed)

  def run() -> np.ndarray:
    return text.sample(
      network, params, key, length=given.length, batch=given.batch
    )

  @jax.jit
  def logits(ids: jax.Array) -> jax.Array:
    carry = network.initial_carry(given.batch)
    # Step by step, as the sampler applies it.
    found = []
    for row in ids:
      carry, one = network.apply(
        params, carry, row[None], jnp.zeros((1, given.batch), bool)
      )
      found.append(one[0])
    return jnp.stack(found)

  return Sampler(run, lambda ids: np.asarray(logits(jnp.asarray(ids))))


def flax(params: Any, given: Task, *, dtype: products.Dtype = None) -> Sampler:
  """Flax's cell in a compiled scan.

  Args:
    params: ours: one LSTM layer without peepholes, and a linear head.
    given: what is drawn.
    dtype: of the computation; weights are cast once, before the loop.
  """
  layer, head, _ = flax_peer.split(params)
  features, symbols = head["kernel"].shape
  weights = {"cell": flax_weights.lstm_to_flax(layer), "head": head}
  cell = nn.OptimizedLSTMCell(features, dtype=dtype)
  dense = nn.Dense(symbols, dtype=dtype)
  key = jax.random.key(given.seed)

  def step(weights: Any, carry: Any, ids: jax.Array) -> tuple[Any, jax.Array]:
    xs = jax.nn.one_hot(ids, symbols, dtype=dtype or jnp.float32)
    carry, hs = cell.apply({"params": weights["cell"]}, carry, xs)
    logits: Any = dense.apply({"params": weights["head"]}, hs)
    return carry, logits.astype(jnp.float32)

  @jax.jit
  def draw(weights: Any, key: jax.Array) -> jax.Array:
    weights = flax_peer.cast(weights, dtype)
    carry = flax_peer.zeros(given.batch, features)
    state = step(weights, carry, jnp.full(given.batch, NULL))

    def advance(state: Any, place: jax.Array) -> tuple[Any, jax.Array]:
      carry, logits = state
      ids = jax.random.categorical(jax.random.fold_in(key, place), logits)
      return step(weights, carry, ids), ids

    return jax.lax.scan(advance, state, jnp.arange(given.length))[1]

  @jax.jit
  def logits(weights: Any, ids: jax.Array) -> jax.Array:
    read = functools.partial(step, flax_peer.cast(weights, dtype))
    return jax.lax.scan(read, flax_peer.zeros(given.batch, features), ids)[1]

  return Sampler(
    lambda: np.asarray(draw(weights, key)),
    lambda ids: np.asarray(logits(weights, jnp.asarray(ids))),
  )


def torch(params: Any, given: Task, *, cell: str, cast: bool) -> Sampler:
  """PyTorch's layer or cell in a Python loop, without gradients.

  Args:
    params: as of `flax`.
    given: what is drawn.
    cell: one of `TORCH_CELLS`.
    cast: modules in bfloat16, or in float32.
  """
  package, device = torch_peer.module(), torch_peer.device()
  dtype = package.bfloat16 if cast else package.float32
  weights, head, _ = flax_peer.split(params)
  features, symbols = head["kernel"].shape
  dense = package.nn.Linear(features, symbols)
  dense.load_state_dict(
    {
      "weight": torch_peer.tensor(head["kernel"].T),
      "bias": torch_peer.tensor(head["bias"]),
    }
  )
  dense = dense.to(device, dtype)
  # The null vector is the last row, where its id, -1, finds it.
  vectors = package.eye(symbols + 1, symbols, device=device, dtype=dtype)
  advance = _torch_step(weights, cell, dtype)

  def step(carry: Any, ids: Any) -> tuple[Any, Any]:
    carry, hs = advance(carry, vectors[ids])
    return carry, dense(hs).float()

  def run() -> np.ndarray:
    drawn = []
    with package.inference_mode():
      ids = package.full((given.batch,), NULL, device=device)
      carry, logits = step(None, ids)
      for _ in range(given.length):
        chances = package.softmax(logits, dim=-1)
        ids = package.multinomial(chances, 1)[:, 0]
        drawn.append(ids)
        carry, logits = step(carry, ids)
      return np.asarray(package.stack(drawn).cpu().numpy())

  def logits(ids: np.ndarray) -> np.ndarray:
    found, carry = [], None
    with package.inference_mode():
      for row in torch_peer.tensor(ids).long():
        carry, one = step(carry, row)
        found.append(one)
      return np.asarray(package.stack(found).cpu().numpy())

  return Sampler(run, logits)


def _torch_step(
  weights: Any, cell: str, dtype: Any
) -> Callable[[Any, Any], tuple[Any, Any]]:
  """(carry, xs [B, V]) -> (carry, hs [B, H])."""
  if cell == "LSTM":
    layer = torch_peer.lstm(weights).to(dtype)

    def by_layer(carry: Any, xs: Any) -> tuple[Any, Any]:
      hs, carry = layer(xs[None], carry)
      return carry, hs[0]

    return by_layer
  unit = torch_peer.module().nn.LSTMCell(
    weights.kernel.shape[0], weights.recurrent_kernel.shape[0]
  )
  state = torch_weights.lstm_to_torch(weights)
  unit.load_state_dict(
    {
      name.removesuffix("_l0"): torch_peer.tensor(value)
      for name, value in state.items()
    }
  )
  unit = unit.to(torch_peer.device(), dtype)

  def by_cell(carry: Any, xs: Any) -> tuple[Any, Any]:
    carry = unit(xs, carry)
    return carry, carry[0]

  return by_cell
