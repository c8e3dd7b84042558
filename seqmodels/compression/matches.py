"""The match expert: what followed the last time these bytes stood here.

A table remembers where each sequence of a few bytes was last seen, in whatever
stream. From there on the byte that followed is predicted again, and believed
the more the longer the match has held.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.compression import adaptive_map, byte_tree, counters, expert

LENGTHS = 32
_CLASSES = 8
_NOWHERE = -1


class Shared(NamedTuple):
  """What has been seen.

  Attributes:
    history: uint8 [N], the file, modulo N.
    seen: int32 [2^bits], the place after each sequence's last occurrence.
    kept: float32 [32], how often matches of each length went on.
  """

  history: jax.Array
  seen: jax.Array
  kept: jax.Array


class Streams(NamedTuple):
  """Where each stream stands.

  Attributes:
    recent: uint32 [B, least], the last bytes.
    place: int32 [B], where the next byte goes in the history.
    follows: int32 [B], the place of the byte that is predicted, or -1.
    length: int32 [B], bytes predicted rightly in a row, and 1.
  """

  recent: jax.Array
  place: jax.Array
  follows: jax.Array
  length: jax.Array


def create(*, least: int, bits: int, size: int) -> expert.Expert:
  """The expert.

  Args:
    least: bytes that must agree before anything is predicted.
    bits: 2^bits sequences are remembered.
    size: bytes of the file that are kept, a power of two.
  """

  def init() -> Shared:
    return Shared(
      jnp.zeros(size, jnp.uint8),
      jnp.full(1 << bits, _NOWHERE, jnp.int32),
      jnp.linspace(0.5, 0.98, LENGTHS),
    )

  def begin(shared: Shared, offsets: jax.Array) -> Streams:
    del shared
    batch = len(offsets)
    return Streams(
      jnp.zeros((batch, least), jnp.uint32),
      offsets % size,
      jnp.full(batch, _NOWHERE, jnp.int32),
      jnp.zeros(batch, jnp.int32),
    )

  def predict(shared: Shared, streams: Streams) -> expert.Evidence:
    known = streams.follows >= 0
    said = shared.history[jnp.maximum(streams.follows, 0)].astype(jnp.int32)
    length = jnp.minimum(streams.length, LENGTHS - 1)
    odds = adaptive_map.log_odds(shared.kept[length])
    odds = jnp.where(known, odds, 0.0)
    signs = jnp.asarray(byte_tree.SIGNS)[said]
    longer = jnp.minimum(1 + length // 4, _CLASSES - 1)
    return expert.Evidence(
      (odds[:, None] * signs)[..., None],
      (jnp.where(known, longer, 0),),
      (known, said, length),
    )

  def learn(
    shared: Shared, streams: Streams, memo: Any, symbols: jax.Array
  ) -> tuple[Shared, Streams]:
    known, said, length = memo
    right = known & (said == symbols)
    error = jnp.where(known, right - shared.kept[length], 0.0)
    kept = jnp.clip(shared.kept.at[length].add(0.01 * error), 0.3, 0.9998)
    history = shared.history.at[streams.place].set(symbols.astype(jnp.uint8))
    newest = symbols.astype(jnp.uint32)[:, None]
    recent = jnp.concatenate([newest, streams.recent[:, :-1]], axis=1)
    hashed = jnp.zeros(len(symbols), jnp.uint32)
    for position in range(least):
      hashed = counters.mix(hashed, recent[:, position] + 1)
    key = (hashed >> (32 - bits)).astype(jnp.int32)
    place = (streams.place + 1) % size
    found = shared.seen[key]
    follows = jnp.where(right, (streams.follows + 1) % size, found)
    # At the place where a stream stands now there is nothing to be read yet.
    unwritten = jnp.any(follows[:, None] == place[None], axis=1)
    follows = jnp.where(unwritten, _NOWHERE, follows)
    once = counters.once(key, len(shared.seen))
    # Never so, but XLA must now read before it writes, and copies no table.
    once = jnp.where(found < _NOWHERE, len(shared.seen), once)
    seen = shared.seen.at[once].set(place, mode="drop")
    length = jnp.where(right, jnp.minimum(streams.length + 1, LENGTHS), 1)
    return Shared(history, seen, kept), Streams(recent, place, follows, length)

  return expert.Expert(
    inputs=("match",),
    situations=(_CLASSES,),
    init=init,
    begin=begin,
    predict=predict,
    learn=learn,
  )
