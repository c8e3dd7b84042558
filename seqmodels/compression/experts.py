"""Experts that predict the next byte: context counters and matches.

The context expert hashes each of its contexts (the last n bytes; the letters of
the word so far; ...) to 32 bits. A context owns up to 17 rows of a table: one
for the high four bits of the byte and one for the low four after each of the
sixteen values of the high ones. A row is 16 words: a check against other
contexts that hash to its place, and 15 counters in heap order, the children of
i being 2i and 2i + 1. A counter is 32 bits: the probability of a 1 in 21 of
them, above 10 that count the bits it has seen. Each bit seen moves the
probability towards it by

    (bit - p) / (n + 1.6)

which is an average as long as n grows, and forgets once n stays at its limit.
All is whole numbers but this step. Each context gives two inputs: the counter's
own log-odds, and what counters in the same state, by number of bits seen and by
log-odds, turned out to be worth.

The match expert remembers where each sequence of a few bytes was last seen, in
whatever stream. From there on it predicts the byte that followed, the more
firmly the longer the match has held.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.compression import byte_tree, mixer

State = Any
# Offsets in a file are given modulo this, which 32 bits hold.
OFFSETS = 1 << 30


class Evidence(NamedTuple):
  """An expert's prediction of the next byte of each stream.

  Attributes:
    log_odds: float32 [B, 255, I], one column an input of the mixer; see
      `byte_tree`. 0 says nothing.
    situations: int32 [B] each: the mixer learns separate weights for every
      value of each.
    memo: whatever `learn` wants to see again.
  """

  log_odds: jax.Array
  situations: tuple[jax.Array, ...]
  memo: State


class Expert(NamedTuple):
  """A model of bytes that learns while it is used, as pure functions.

  It has two states: `shared` is learnt from all streams and lasts; `streams` is
  the position of each stream and begins with every block.

  Attributes:
    inputs: a name for each of the I columns of its evidence.
    situations: how many values each situation has.
    init: `() -> shared`.
    begin: `(shared, offsets) -> streams`; offsets, int32 [B], say where in the
      file each stream begins, modulo `OFFSETS`.
    predict: `(shared, streams) -> Evidence`.
    learn: `(shared, streams, memo, symbols) -> (shared, streams)`, where
      symbols, int32 [B], are the bytes that came and memo is the evidence's.
  """

  inputs: tuple[str, ...]
  situations: tuple[int, ...]
  init: Callable[[], State]
  begin: Callable[[State, jax.Array], State]
  predict: Callable[[State, State], Evidence]
  learn: Callable[[State, State, State, jax.Array], tuple[State, State]]


ROW = 16
_COUNT_BITS = 10
_P_BITS = 21
_ONE = 1 << _P_BITS
_FRESH = (_ONE >> 1) << _COUNT_BITS
_CHECK = 1 << 30


class CounterRows(NamedTuple):
  """Rows of K contexts in each of B streams."""

  places: jax.Array  # int32 [B, K, 17], rows of the table
  checks: jax.Array  # int32 [B, K, 17]
  rows: jax.Array  # int32 [B, K, 17, 16]; fresh where another context was


def empty_table(bits: int) -> jax.Array:
  """A table of 2^bits rows of 64 bytes that has seen nothing."""
  return jnp.full((1 << bits, ROW), _FRESH, jnp.int32)


def mix_hash(a: jax.Array, b: jax.Array | int) -> jax.Array:
  """A hash of two, uint32."""
  h = (a ^ jnp.asarray(b, jnp.uint32)) * jnp.uint32(0x9E3779B1)
  h = (h ^ (h >> 15)) * jnp.uint32(0x85EBCA77)
  return h ^ (h >> 13)


def look_up(table: jax.Array, contexts: jax.Array) -> CounterRows:
  """The rows of contexts, uint32 [B, K]."""
  rows, _ = table.shape
  nibble = jnp.arange(17, dtype=jnp.uint32)[None, None]
  hashed = mix_hash(contexts[..., None], nibble)
  places = (hashed % jnp.uint32(rows)).astype(jnp.int32)
  # Bits that the place does not show, and one that no fresh row has.
  checks = (mix_hash(hashed, 1) >> 2).astype(jnp.int32) | _CHECK
  entries = table[places]
  known = entries[..., :1] == checks[..., None]
  return CounterRows(places, checks, jnp.where(known, entries, _FRESH))


def read_counters(entries: CounterRows) -> tuple[jax.Array, jax.Array]:
  """Probability of a 1 and number of bits seen, each [B, K, 255].

  >>> table = empty_table(4)
  >>> p, n = read_counters(look_up(table, jnp.zeros((2, 3), jnp.uint32)))
  >>> p.shape, float(p[0, 0, 0]), int(n[0, 0, 0])
  ((2, 3, 255), 0.5, 0)
  """
  high, low = entries.rows[:, :, 0], entries.rows[:, :, 1:]
  levels = [high[..., 1:]]
  for level in range(4):
    nodes = low[..., 1 << level : 2 << level]
    levels.append(nodes.reshape(*nodes.shape[:2], -1))
  counters = jnp.concatenate(levels, axis=-1)
  p = (counters >> _COUNT_BITS).astype(jnp.float32) / _ONE
  return p, counters & ((1 << _COUNT_BITS) - 1)


def learn_counters(
  table: jax.Array, entries: CounterRows, symbols: jax.Array, limit: int
) -> jax.Array:
  """Counts the bytes that came, int32 [B], where their rows were found."""
  batch, contexts, _, _ = entries.rows.shape
  nibbles = jnp.stack([symbols >> 4, symbols & 15], axis=1)
  passed = jnp.stack([jnp.zeros_like(symbols), 1 + (symbols >> 4)], axis=1)
  stream = jnp.arange(batch)[:, None, None]
  context = jnp.arange(contexts)[None, :, None]
  at = (stream, context, passed[:, None, :])
  rows, places, checks = (
    entries.rows[at],
    entries.places[at],
    entries.checks[at],
  )
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


RECENT = 8
_COUNT_CLASSES = 36  # of counts up to 1023


class ContextStreams(NamedTuple):
  """The state of each stream."""

  recent: jax.Array  # uint32 [B, 8], the last bytes, the newest first
  word: jax.Array  # uint32 [B], a hash of the letters of the word so far
  before: jax.Array  # uint32 [B], a hash of the word before it


class ContextMemory(NamedTuple):
  """The knowledge of all streams."""

  table: jax.Array  # of `empty_table`
  worth: jax.Array  # of `mixer.create_map`, a situation a context and count


def _last(count: int, recent: jax.Array) -> jax.Array:
  """A hash of the last bytes, uint32 [B], of [B, at least `count`]."""
  h = jnp.zeros(len(recent), jnp.uint32)
  for position in range(count):
    h = mix_hash(h, recent[:, position] + 1)
  return h


CONTEXTS: Mapping[str, Callable[[ContextStreams], jax.Array]] = {
  **{
    str(n): lambda s, n=n: _last(n, s.recent)  # type: ignore[misc]
    for n in range(RECENT + 1)
  },
  # The word so far, and the byte before the next one.
  "word": lambda s: mix_hash(s.word, s.recent[:, 0]),
  "words": lambda s: mix_hash(mix_hash(s.before, s.word), 7),
  # What stood one byte earlier, whatever came between.
  "skip": lambda s: mix_hash(s.recent[:, 1], s.recent[:, 2] + 256),
}


def context_expert(
  names: Sequence[str], *, bits: int, limit: int = 255
) -> Expert:
  """The context expert.

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

  def init() -> ContextMemory:
    return ContextMemory(
      empty_table(bits),
      mixer.create_map(len(names) * _COUNT_CLASSES),
    )

  def predict(shared: ContextMemory, streams: ContextStreams) -> Evidence:
    hashes = [
      mix_hash(CONTEXTS[name](streams), number)
      for number, name in enumerate(names)
    ]
    entries = look_up(shared.table, jnp.stack(hashes, axis=1))
    p, n = read_counters(entries)
    plain = mixer.logit(p)
    context = jnp.arange(len(names))[None, :, None]
    situation = context * _COUNT_CLASSES + _count_class(n)
    reading = mixer.read_map(shared.worth, situation, plain)
    seen = n > 0
    log_odds = jnp.concatenate([plain, mixer.logit(reading.p)], axis=1)
    log_odds = jnp.where(jnp.tile(seen, (1, 2, 1)), log_odds, 0.0)
    highest = jnp.sum(seen[:, orders, 0], axis=1)
    return Evidence(
      jnp.moveaxis(log_odds, 1, 2),
      (streams.recent[:, 0].astype(jnp.int32), highest),
      (entries, situation, reading, seen),
    )

  def learn(
    shared: ContextMemory,
    streams: ContextStreams,
    memo: Any,
    symbols: jax.Array,
  ) -> tuple[ContextMemory, ContextStreams]:
    entries, situation, reading, seen = memo
    table = learn_counters(shared.table, entries, symbols, limit)

    def passed(values: jax.Array) -> jax.Array:
      return byte_tree.on_path(jnp.moveaxis(values, 1, 2), symbols)

    worth = mixer.learn_map(
      shared.worth,
      passed(situation),
      mixer.Reading(*map(passed, reading)),
      byte_tree.bits(symbols)[..., None],
      0.02 * passed(seen),
    )
    return ContextMemory(table, worth), advance(streams, symbols)

  return Expert(
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


def begin(batch: int) -> ContextStreams:
  """Streams before their first byte."""
  none = jnp.zeros(batch, jnp.uint32)
  return ContextStreams(jnp.zeros((batch, RECENT), jnp.uint32), none, none)


def advance(streams: ContextStreams, symbols: jax.Array) -> ContextStreams:
  """After one more byte in each stream."""
  newest = symbols.astype(jnp.uint32)
  lower = newest | 32
  letter = ((lower >= ord("a")) & (lower <= ord("z"))) | (newest > 127)
  ended = ~letter & (streams.word > 0)
  return ContextStreams(
    jnp.concatenate([newest[:, None], streams.recent[:, :-1]], axis=1),
    jnp.where(letter, mix_hash(streams.word, lower), 0),
    jnp.where(ended, streams.word, streams.before),
  )


def _count_class(n: jax.Array) -> jax.Array:
  """0 to 7 as they are, above that four classes an octave."""
  octave = 31 - jax.lax.clz(jnp.maximum(n, 8))
  quarter = (n >> (octave - 2)) & 3
  return jnp.where(n < 8, n, 4 * octave - 4 + quarter)


LENGTHS = 32
_CLASSES = 8
_NOWHERE = -1


class MatchMemory(NamedTuple):
  """The bytes and the sequences seen so far."""

  history: jax.Array  # uint8 [N], the file, modulo N
  seen: jax.Array  # int32 [2^bits], where each sequence last ended
  kept: jax.Array  # float32 [32], how often matches of each length went on


class MatchStreams(NamedTuple):
  """The state of each stream."""

  recent: jax.Array  # uint32 [B, least], the last bytes
  place: jax.Array  # int32 [B], where the next byte goes in the history
  follows: jax.Array  # int32 [B], the place of the byte predicted, or -1
  length: jax.Array  # int32 [B], bytes predicted rightly in a row, and 1


def match_expert(*, least: int, bits: int, size: int) -> Expert:
  """The match expert.

  Args:
    least: bytes that must agree before anything is predicted.
    bits: 2^bits sequences are remembered.
    size: bytes of the file that are kept, a power of two.
  """

  def init() -> MatchMemory:
    return MatchMemory(
      jnp.zeros(size, jnp.uint8),
      jnp.full(1 << bits, _NOWHERE, jnp.int32),
      jnp.linspace(0.5, 0.98, LENGTHS),
    )

  def begin(shared: MatchMemory, offsets: jax.Array) -> MatchStreams:
    del shared
    batch = len(offsets)
    return MatchStreams(
      jnp.zeros((batch, least), jnp.uint32),
      offsets % size,
      jnp.full(batch, _NOWHERE, jnp.int32),
      jnp.zeros(batch, jnp.int32),
    )

  def predict(shared: MatchMemory, streams: MatchStreams) -> Evidence:
    known = streams.follows >= 0
    said = shared.history[jnp.maximum(streams.follows, 0)].astype(jnp.int32)
    length = jnp.minimum(streams.length, LENGTHS - 1)
    odds = mixer.logit(shared.kept[length])
    odds = jnp.where(known, odds, 0.0)
    signs = jnp.asarray(byte_tree.SIGNS)[said]
    longer = jnp.minimum(1 + length // 4, _CLASSES - 1)
    return Evidence(
      (odds[:, None] * signs)[..., None],
      (jnp.where(known, longer, 0),),
      (known, said, length),
    )

  def learn(
    shared: MatchMemory, streams: MatchStreams, memo: Any, symbols: jax.Array
  ) -> tuple[MatchMemory, MatchStreams]:
    known, said, length = memo
    right = known & (said == symbols)
    error = jnp.where(known, right - shared.kept[length], 0.0)
    kept = jnp.clip(shared.kept.at[length].add(0.01 * error), 0.3, 0.9998)
    history = shared.history.at[streams.place].set(symbols.astype(jnp.uint8))
    newest = symbols.astype(jnp.uint32)[:, None]
    recent = jnp.concatenate([newest, streams.recent[:, :-1]], axis=1)
    key = (_last(least, recent) >> (32 - bits)).astype(jnp.int32)
    place = (streams.place + 1) % size
    entries = shared.seen[key]
    follows = jnp.where(right, (streams.follows + 1) % size, entries)
    # At the current place of a stream there is nothing to be read yet.
    unwritten = jnp.any(follows[:, None] == place[None], axis=1)
    follows = jnp.where(unwritten, _NOWHERE, follows)
    slot = once(key, len(shared.seen))
    # Never so, but XLA must now read before it writes, and copies no table.
    slot = jnp.where(entries < _NOWHERE, len(shared.seen), slot)
    seen = shared.seen.at[slot].set(place, mode="drop")
    length = jnp.where(right, jnp.minimum(streams.length + 1, LENGTHS), 1)
    return MatchMemory(history, seen, kept), MatchStreams(
      recent, place, follows, length
    )

  return Expert(
    inputs=("match",),
    situations=(_CLASSES,),
    init=init,
    begin=begin,
    predict=predict,
    learn=learn,
  )
