"""Learned corrections of probabilities: what a log-odds was worth in the past.

A map holds, for each of some situations, a probability at 33 log-odds; between
them it is linear. What it reads moves the two neighbours towards the outcome.
Compressors call it an adaptive probability map or secondary symbol estimation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.compression import byte_tree

KNOTS = 33
_EDGE = 8.0
_FLOOR = 1 / 4096


class Reading(NamedTuple):
  """Where a map was read: knot below, share of the one above, and what it said.

  Attributes:
    knot: int32.
    share: float32 in [0, 1].
    p: float32.
  """

  knot: jax.Array
  share: jax.Array
  p: jax.Array


def create(situations: int) -> jax.Array:
  """A map that returns what it is given: float32 [situations, 33]."""
  knots = jax.nn.sigmoid(jnp.linspace(-_EDGE, _EDGE, KNOTS))
  return jnp.tile(knots, (situations, 1))


def read(table: jax.Array, situation: jax.Array, odds: jax.Array) -> Reading:
  """The probabilities for log-odds in situations, of one shape.

  >>> reading = read(create(1), jnp.array(0), jnp.array(1.0))
  >>> reading.p.round(3)
  Array(0.731, dtype=float32)
  """
  place = (jnp.clip(odds, -_EDGE, _EDGE) + _EDGE) * ((KNOTS - 1) / (2 * _EDGE))
  knot = jnp.clip(place.astype(jnp.int32), 0, KNOTS - 2)
  share = place - knot
  below, above = table[situation, knot], table[situation, knot + 1]
  return Reading(knot, share, below * (1 - share) + above * share)


def log_odds(p: jax.Array) -> jax.Array:
  """Log-odds of probabilities, kept away from 0 and 1."""
  p = jnp.clip(p, _FLOOR, 1 - _FLOOR)
  return jnp.clip(jnp.log(p) - jnp.log1p(-p), -byte_tree.BOUND, byte_tree.BOUND)


def learn(
  table: jax.Array,
  situation: jax.Array,
  reading: Reading,
  outcome: jax.Array,
  rate: float | jax.Array,
) -> jax.Array:
  """Moves what was read towards the outcomes; a rate of 0 leaves it.

  Many readings of one knot may carry it past 0 or 1; `log_odds` bounds it.
  """
  error = rate * (outcome - reading.p)
  table = table.at[situation, reading.knot].add(error * (1 - reading.share))
  return table.at[situation, reading.knot + 1].add(error * reading.share)
