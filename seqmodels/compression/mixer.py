"""Gated mixing of experts, and adaptive probability maps.

A map holds, for each of some situations, a probability at 33 log-odds; between
them it is linear. It corrects a log-odds by what such ones were worth in the
past: the two neighbours of what it reads move towards the outcome. Compressors
call it an adaptive probability map or secondary symbol estimation.

The mixer weighs the log-odds x of the experts at a node of the byte's tree:

    z_s = w_s[situation s] . x        one mixture a situation
    z   = v[node] . (z_1 .. z_S)      and a mixture of these

Every mixture is a logistic regression of its own, trained online on its own
error,

    w <- w + rate (bit - sigmoid(w . x)) x,

at the eight nodes that the byte passed, in all streams. Mattern (2012) shows
that this is geometric mixing with a bound on what it loses to the best weights;
Mahoney (2005) mixed so first. The node itself is always a situation.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.compression import byte_tree

KNOTS = 33
_EDGE = 8.0
_FLOOR = 1 / 4096


class Reading(NamedTuple):
  """A reading of a map."""

  knot: jax.Array  # int32, the one below
  share: jax.Array  # float32 in [0, 1], of the one above
  p: jax.Array  # float32


def create_map(situations: int) -> jax.Array:
  """A map that returns what it is given: float32 [situations, 33]."""
  knots = jax.nn.sigmoid(jnp.linspace(-_EDGE, _EDGE, KNOTS))
  return jnp.tile(knots, (situations, 1))


def read_map(
  table: jax.Array, situation: jax.Array, odds: jax.Array
) -> Reading:
  """The probabilities for log-odds in situations, of one shape.

  >>> reading = read_map(create_map(1), jnp.array(0), jnp.array(1.0))
  >>> reading.p.round(3)
  Array(0.731, dtype=float32)
  """
  place = (jnp.clip(odds, -_EDGE, _EDGE) + _EDGE) * ((KNOTS - 1) / (2 * _EDGE))
  knot = jnp.clip(place.astype(jnp.int32), 0, KNOTS - 2)
  share = place - knot
  below, above = table[situation, knot], table[situation, knot + 1]
  return Reading(knot, share, below * (1 - share) + above * share)


def logit(p: jax.Array) -> jax.Array:
  """Log-odds of probabilities, kept away from 0 and 1."""
  p = jnp.clip(p, _FLOOR, 1 - _FLOOR)
  return jnp.clip(jnp.log(p) - jnp.log1p(-p), -byte_tree.BOUND, byte_tree.BOUND)


def learn_map(
  table: jax.Array,
  situation: jax.Array,
  reading: Reading,
  outcome: jax.Array,
  rate: float | jax.Array,
) -> jax.Array:
  """Moves what was read towards the outcomes; a rate of 0 leaves it.

  Many readings of one knot may carry it past 0 or 1; `logit` bounds it.
  """
  error = rate * (outcome - reading.p)
  table = table.at[situation, reading.knot].add(error * (1 - reading.share))
  return table.at[situation, reading.knot + 1].add(error * reading.share)


_BIAS = 0.3


class Weights(NamedTuple):
  """The mixer's memory."""

  node: jax.Array  # float32 [255, I + 1]
  situations: tuple[jax.Array, ...]  # float32 [values, I + 1] each
  last: jax.Array  # float32 [255, 1 + S]
  seen: jax.Array  # int32, bytes learnt from


class Mixed(NamedTuple):
  """A prediction and how it came about."""

  log_odds: jax.Array  # float32 [B, 255]
  inputs: jax.Array  # float32 [B, 255, I + 1], the bias last
  parts: jax.Array  # float32 [B, 255, 1 + S], the mixtures of the first kind


def create(inputs: int, situations: Sequence[int]) -> Weights:
  """Weights that average, somewhat boldly."""
  weight = 2.5 / inputs

  def rows(count: int) -> jax.Array:
    return jnp.full((count, inputs + 1), weight).at[:, -1].set(0.0)

  parts = 1 + len(situations)
  return Weights(
    rows(byte_tree.NODES),
    tuple(map(rows, situations)),
    jnp.full((byte_tree.NODES, parts), 1.0 / parts),
    jnp.int32(0),
  )


def mix(
  weights: Weights, log_odds: jax.Array, situations: Sequence[jax.Array]
) -> Mixed:
  """The mixture of log-odds [B, 255, I], in situations int32 [B] each."""
  bias = jnp.full((*log_odds.shape[:2], 1), _BIAS)
  inputs = jnp.concatenate([log_odds, bias], axis=-1)
  parts = [jnp.sum(inputs * weights.node[None], axis=-1)]
  for table, situation in zip(weights.situations, situations, strict=True):
    parts.append(jnp.sum(inputs * table[situation][:, None], axis=-1))
  bound = byte_tree.BOUND
  stacked = jnp.clip(jnp.stack(parts, axis=-1), -bound, bound)
  mixed = jnp.sum(stacked * weights.last[None], axis=-1)
  return Mixed(jnp.clip(mixed, -bound, bound), inputs, stacked)


def learn(
  weights: Weights,
  mixed: Mixed,
  situations: Sequence[jax.Array],
  symbols: jax.Array,
  *,
  rate: float,
) -> Weights:
  """One step of every mixture that spoke.

  Args:
    weights: the memory.
    mixed: the result of `mix`.
    situations: those given to `mix`.
    symbols: int32 [B], the bytes that came.
    rate: step size once much has been seen; larger at the beginning.
  """
  nodes = jnp.asarray(byte_tree.PATHS)[symbols]
  outcomes = byte_tree.bits(symbols)
  inputs = byte_tree.on_path(mixed.inputs, symbols)
  parts = byte_tree.on_path(mixed.parts, symbols)
  early = 1.0 / (1.0 + weights.seen.astype(jnp.float32) / 3000.0)
  step = rate * (1.0 + 5.0 * early)
  errors = step * (outcomes[..., None] - jax.nn.sigmoid(parts))
  node = weights.node.at[nodes].add(errors[..., :1] * inputs)
  tables = []
  for number, (table, situation) in enumerate(
    zip(weights.situations, situations, strict=True), start=1
  ):
    change = jnp.sum(inputs * errors[..., number, None], axis=1)
    tables.append(table.at[situation].add(change))
  whole = byte_tree.on_path(mixed.log_odds, symbols)
  error = 0.5 * step * (outcomes - jax.nn.sigmoid(whole))
  last = weights.last.at[nodes].add(error[..., None] * parts)
  seen = jnp.minimum(weights.seen + len(symbols), 1 << 30)
  return Weights(node, tuple(tables), last, seen)
