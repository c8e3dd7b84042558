"""Bit counters of hashed contexts: how often a bit was 1 where we stand now.

A context, hashed to 32 bits, owns up to 17 rows of a table: one for the high
four bits of the byte and one for the low four after each of the sixteen values
of the high ones. A row is 16 words: a check against other contexts that hash to
its place, and 15 counters in heap order, the children of i being 2i and 2i + 1.
A counter is 32 bits: the probability of a 1 in 21 of them, above 10 that count
the bits it has seen. Each bit seen moves the probability towards it by

    (bit - p) / (n + 1.6)

which is an average as long as n grows, and forgets once n stays at its limit.
All is whole numbers but this step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

ROW = 16
_COUNT_BITS = 10
_P_BITS = 21
_ONE = 1 << _P_BITS
_FRESH = (_ONE >> 1) << _COUNT_BITS
_CHECK = 1 << 30


class Found(NamedTuple):
  """Rows of K contexts in each of B streams.

  Attributes:
    places: int32 [B, K, 17], rows of the table.
    checks: int32 [B, K, 17].
    rows: int32 [B, K, 17, 16]; fresh where the table held another context.
  """

  places: jax.Array
  checks: jax.Array
  rows: jax.Array


def create(bits: int) -> jax.Array:
  """A table of 2^bits rows of 64 bytes that has seen nothing."""
  return jnp.full((1 << bits, ROW), _FRESH, jnp.int32)


def mix(a: jax.Array, b: jax.Array | int) -> jax.Array:
  """A hash of two, uint32."""
  h = (a ^ jnp.asarray(b, jnp.uint32)) * jnp.uint32(0x9E3779B1)
  h = (h ^ (h >> 15)) * jnp.uint32(0x85EBCA77)
  return h ^ (h >> 13)


def look_up(table: jax.Array, contexts: jax.Array) -> Found:
  """The rows of contexts, uint32 [B, K]."""
  rows, _ = table.shape
  nibble = jnp.arange(17, dtype=jnp.uint32)[None, None]
  hashed = mix(contexts[..., None], nibble)
  places = (hashed % jnp.uint32(rows)).astype(jnp.int32)
  # Bits that the place does not show, and one that no fresh row has.
  checks = (mix(hashed, 1) >> 2).astype(jnp.int32) | _CHECK
  found = table[places]
  known = found[..., :1] == checks[..., None]
  return Found(places, checks, jnp.where(known, found, _FRESH))


def read(found: Found) -> tuple[jax.Array, jax.Array]:
  """Probability of a 1 and number of bits seen, each [B, K, 255].

  >>> table = create(4)
  >>> p, n = read(look_up(table, jnp.zeros((2, 3), jnp.uint32)))
  >>> p.shape, float(p[0, 0, 0]), int(n[0, 0, 0])
  ((2, 3, 255), 0.5, 0)
  """
  high, low = found.rows[:, :, 0], found.rows[:, :, 1:]
  levels = [high[..., 1:]]
  for level in range(4):
    nodes = low[..., 1 << level : 2 << level]
    levels.append(nodes.reshape(*nodes.shape[:2], -1))
  counters = jnp.concatenate(levels, axis=-1)
  p = (counters >> _COUNT_BITS).astype(jnp.float32) / _ONE
  return p, counters & ((1 << _COUNT_BITS) - 1)


def learn(
  table: jax.Array, found: Found, symbols: jax.Array, limit: int
) -> jax.Array:
  """Counts the bytes that came, int32 [B], where their rows were found."""
  batch, contexts, _, _ = found.rows.shape
  nibbles = jnp.stack([symbols >> 4, symbols & 15], axis=1)
  passed = jnp.stack([jnp.zeros_like(symbols), 1 + (symbols >> 4)], axis=1)
  stream = jnp.arange(batch)[:, None, None]
  context = jnp.arange(contexts)[None, :, None]
  at = (stream, context, passed[:, None, :])
  rows, places, checks = found.rows[at], found.places[at], found.checks[at]
  # Heap positions that four bits pass, and the bit at each: [B, 2, 16].
  heap = jnp.arange(ROW)[None, None]
  depth = jnp.asarray([0, 0, 1, 1, 2, 2, 2, 2] + [3] * 8)[None, None]
  taken = (16 + nibbles[..., None]) >> (4 - depth) == heap
  bit = (nibbles[..., None] >> (3 - depth)) & 1
  p, n = rows >> _COUNT_BITS, rows & ((1 << _COUNT_BITS) - 1)
  goal = (bit * (_ONE - 1))[:, None]
  step = (goal - p).astype(jnp.float32) / (n.astype(jnp.float32) + 1.6)
  moved = p + step.astype(jnp.int32)
  counted = (moved << _COUNT_BITS) | jnp.minimum(n + 1, limit)
  rows = jnp.where((taken & (heap > 0))[:, None], counted, rows)
  rows = rows.at[..., 0].set(checks)
  places = once(places.reshape(-1), len(table))
  return table.at[places].set(rows.reshape(-1, ROW), mode="drop")


def once(places: jax.Array, nowhere: int) -> jax.Array:
  """Of equal places the last stays, the others become `nowhere`.

  Who wins among several writes to one row is otherwise the device's choice.

  >>> once(jnp.array([3, 5, 3]), 9).tolist()
  [9, 5, 3]
  """
  order = jnp.arange(len(places))
  later = order[:, None] < order[None, :]
  repeated = jnp.any(later & (places[:, None] == places[None, :]), axis=1)
  return jnp.where(repeated, nowhere, places)
