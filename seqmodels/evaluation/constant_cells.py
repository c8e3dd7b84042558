"""Cells that have stopped working: constant outputs, cell states run away.

An LSTM cell whose input and forget gates stay open adds up to 1 a step to its
state until its carry is cleared. Its output is soon a constant, and the network
has one cell less. Peepholes, which open the gates the wider the further the
cell has gone, make such counters; a bound on the state (`cell_clip` of
`cells.cell.get`) keeps them from it.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.models import networks

# Watched are so many positions from the null state, of up to so many streams.
POSITIONS, STREAMS = 1_000, 8
# Fewer positions than this show too little of a text.
FEWEST = 100
# Standard deviation of an output, from -1 to 1, that counts as none.
LEAST_DEVIATION = 1e-3


def measure(
  predictor: networks.SequenceModel, params: Any, segment: Any
) -> dict[str, float]:
  """Share of cells with a constant output, and the largest cell state.

  A cell is constant in a stream if its output h has a standard deviation below
  `LEAST_DEVIATION` over the later half of the positions. The share is that of
  all cells of all layers in all streams.

  Args:
    predictor: a model whose carry is made of tuples with a field `h` [B, H]
      and, for LSTMs, `c`.
    params: its parameters.
    segment: `(inputs, targets, mask, reset)`, each `[T, B]`, read from the null
      state; see `POSITIONS` and `STREAMS` for usual T and B. Steps from where
      the first stream ends are left out.

  Returns:
    `constant_cells` in percent, and `largest_cell`, max |c| over all positions,
    if there is a `c`. Empty if the carry has no `h`, or of fewer than `FEWEST`
    positions.

  Example: an identity, whose output follows its input.

  >>> from seqmodels.cells import elman
  >>> follower = networks.SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     elman.ElmanCarry(h=inputs[-1][:, None] * params), None),
  ...   initial_carry=lambda batch: elman.ElmanCarry(h=jnp.zeros((batch, 2))),
  ...   init=None, vocabulary_size=2)
  >>> ids = np.arange(200)[:, None] % 2
  >>> measure(follower, jnp.array([[1.0, 0.0]]), (ids, ids, ids >= 0, ids < 0))
  {'constant_cells': 50.0}
  """
  inputs, _, mask, reset = segment
  steps = int(np.sum(np.all(mask, axis=1)))
  if steps < FEWEST:
    return {}
  constant, largest = jax.device_get(
    _watch(predictor, params, *jax.device_put((inputs[:steps], reset[:steps])))
  )
  found = {}
  if constant:
    share = np.mean(np.concatenate(constant, axis=-1))
    found["constant_cells"] = 100.0 * float(share)
  if largest:
    found["largest_cell"] = float(np.max(largest))
  return found


@functools.partial(jax.jit, static_argnames=("predictor",))
def _watch(
  predictor: networks.SequenceModel,
  params: Any,
  inputs: jax.Array,
  reset: jax.Array,
) -> tuple[list[jax.Array], list[jax.Array]]:
  """Of each layer: which cells are constant `[B, H]`; max |c| by step `[T]`."""
  steps, streams = inputs.shape

  def step(carry: Any, now: Any) -> tuple[Any, Any]:
    ids, cleared = now
    # One position at a time, as only the carry shows the cells.
    carry, _ = predictor.apply(params, carry, ids[None], cleared[None])
    layers = _layers(carry)
    outputs = [layer.h for layer in layers]
    states = [layer.c for layer in layers if hasattr(layer, "c")]
    return carry, (outputs, [jnp.max(jnp.abs(c)) for c in states])

  _, (outputs, largest) = jax.lax.scan(
    step, predictor.initial_carry(streams), (inputs, reset)
  )
  late = [h[steps // 2 :] for h in outputs]
  return [jnp.std(h, axis=0) < LEAST_DEVIATION for h in late], largest


def _layers(carry: Any) -> list[Any]:
  """The parts of a carry that have outputs."""

  def is_layer(part: Any) -> bool:
    return hasattr(part, "h")

  return list(filter(is_layer, jax.tree.leaves(carry, is_leaf=is_layer)))
