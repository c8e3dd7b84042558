"""The context expert: bit counters after the last few bytes, and after words.

For each context (the last n bytes; the letters of the word so far; ...) it
gives two inputs: the counter's own log-odds, and what counters in the same
state, by number of bits seen and by log-odds, turned out to be worth.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.compression import adaptive_map, byte_tree, counters, expert

RECENT = 8
_COUNT_CLASSES = 36  # of counts up to 1023


class Streams(NamedTuple):
  """Where each stream stands.

  Attributes:
    recent: uint32 [B, 8], the last bytes, the newest first.
    word: uint32 [B], a hash of the letters of the word so far.
    before: uint32 [B], a hash of the word before it.
  """

  recent: jax.Array
  word: jax.Array
  before: jax.Array


class Shared(NamedTuple):
  """What all streams have learnt.

  Attributes:
    table: of `counters`.
    worth: of `adaptive_map`, a situation for every context and count.
  """

  table: jax.Array
  worth: jax.Array


def _last(count: int, streams: Streams) -> jax.Array:
  h = jnp.zeros_like(streams.word)
  for position in range(count):
    h = counters.mix(h, streams.recent[:, position] + 1)
  return h


CONTEXTS: Mapping[str, Callable[[Streams], jax.Array]] = {
  **{str(n): functools.partial(_last, n) for n in range(RECENT + 1)},
  # The word so far, and the byte before the next one.
  "word": lambda s: counters.mix(s.word, s.recent[:, 0]),
  "words": lambda s: counters.mix(counters.mix(s.before, s.word), 7),
  # What stood one byte earlier, whatever came between.
  "skip": lambda s: counters.mix(s.recent[:, 1], s.recent[:, 2] + 256),
}


def create(
  names: Sequence[str], *, bits: int, limit: int = 255
) -> expert.Expert:
  """The expert.

  Args:
    names: keys of `CONTEXTS`.
    bits: the table has 2^bits rows of 64 bytes.
    limit: bits after which a counter forgets, at most 1023.

  Raises:
    UserError: no such context.
  """
  for name in names:
    if name not in CONTEXTS:
      raise errors.UserError(
        f"there is no context {name!r}{errors.closest(name, CONTEXTS)}"
      )
  orders = [i for i, name in enumerate(names) if name.isdigit()]

  def init() -> Shared:
    return Shared(
      counters.create(bits),
      adaptive_map.create(len(names) * _COUNT_CLASSES),
    )

  def predict(shared: Shared, streams: Streams) -> expert.Evidence:
    hashes = [
      counters.mix(CONTEXTS[name](streams), number)
      for number, name in enumerate(names)
    ]
    found = counters.look_up(shared.table, jnp.stack(hashes, axis=1))
    p, n = counters.read(found)
    plain = adaptive_map.log_odds(p)
    context = jnp.arange(len(names))[None, :, None]
    situation = context * _COUNT_CLASSES + _count_class(n)
    reading = adaptive_map.read(shared.worth, situation, plain)
    seen = n > 0
    log_odds = jnp.concatenate(
      [plain, adaptive_map.log_odds(reading.p)], axis=1
    )
    log_odds = jnp.where(jnp.tile(seen, (1, 2, 1)), log_odds, 0.0)
    highest = jnp.sum(seen[:, orders, 0], axis=1)
    return expert.Evidence(
      jnp.moveaxis(log_odds, 1, 2),
      (streams.recent[:, 0].astype(jnp.int32), highest),
      (found, situation, reading, seen),
    )

  def learn(
    shared: Shared, streams: Streams, memo: Any, symbols: jax.Array
  ) -> tuple[Shared, Streams]:
    found, situation, reading, seen = memo
    table = counters.learn(shared.table, found, symbols, limit)

    def passed(values: jax.Array) -> jax.Array:
      return byte_tree.on_path(jnp.moveaxis(values, 1, 2), symbols)

    worth = adaptive_map.learn(
      shared.worth,
      passed(situation),
      adaptive_map.Reading(*map(passed, reading)),
      byte_tree.bits(symbols)[..., None],
      0.02 * passed(seen),
    )
    return Shared(table, worth), advance(streams, symbols)

  return expert.Expert(
    inputs=(
      *(f"context {name}" for name in names),
      *(f"context {name}, by count" for name in names),
    ),
    situations=(byte_tree.SYMBOLS, len(orders) + 1),
    init=init,
    begin=lambda shared, offsets: begin(len(offsets)),
    predict=predict,
    learn=learn,
  )


def begin(batch: int) -> Streams:
  """Streams before their first byte."""
  none = jnp.zeros(batch, jnp.uint32)
  return Streams(jnp.zeros((batch, RECENT), jnp.uint32), none, none)


def advance(streams: Streams, symbols: jax.Array) -> Streams:
  """After one more byte in each stream."""
  newest = symbols.astype(jnp.uint32)
  lower = newest | 32
  letter = ((lower >= ord("a")) & (lower <= ord("z"))) | (newest > 127)
  ended = ~letter & (streams.word > 0)
  return Streams(
    jnp.concatenate([newest[:, None], streams.recent[:, :-1]], axis=1),
    jnp.where(letter, counters.mix(streams.word, lower), 0),
    jnp.where(ended, streams.word, streams.before),
  )


def _count_class(n: jax.Array) -> jax.Array:
  """0 to 7 as they are, above that four classes an octave."""
  octave = 31 - jax.lax.clz(jnp.maximum(n, 8))
  quarter = (n >> (octave - 2)) & 3
  return jnp.where(n < 8, n, 4 * octave - 4 + quarter)
