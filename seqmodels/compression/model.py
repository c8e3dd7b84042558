"""Experts, mixer and refinement as one model that codes and learns.

`begin` and `step` are the only compiled functions, and coder and decoder call
the same: whole sequences at once would be faster to code, but their last bits
differ from those of single steps, and the decoder would go wrong.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.compression import (
  adaptive_map,
  byte_tree,
  expert,
  mixer,
  quantization,
)

Tree = Any


class Account(NamedTuple):
  """What bytes cost, in nats, and by whom, since it was last emptied.

  Attributes:
    mixed: float32 [], by the whole.
    alone: float32 [I], had each input coded alone.
    share: float32 [I + 1], sum of |weight x log-odds|, the bias last.
  """

  mixed: jax.Array
  alone: jax.Array
  share: jax.Array


class Shared(NamedTuple):
  """All that lasts from block to block.

  Attributes:
    experts: each expert's own.
    weights: the mixer's.
    refined: of `adaptive_map`, a situation for every byte before and node.
    account: costs so far.
  """

  experts: tuple[Tree, ...]
  weights: mixer.Weights
  refined: jax.Array
  account: Account


class State(NamedTuple):
  """Where the model stands within a block.

  Attributes:
    shared: what lasts.
    streams: each expert's own.
    newest: int32 [B], the last byte of each stream.
    pending: what was predicted, until the bytes come.
  """

  shared: Shared
  streams: tuple[Tree, ...]
  newest: jax.Array
  pending: Tree


class Model(NamedTuple):
  """The functions of a model.

  Attributes:
    inputs: names of the experts' inputs.
    init: `() -> Shared`.
    begin: `(shared, offsets) -> (state, frequencies)`, at the head of a block;
      offsets, int32 [B], are where its streams begin; shared is given up.
    step: `(state, symbols) -> (state, frequencies)`: learn the bytes that came,
      int32 [B], and predict the next; frequencies are int32 [B, 256]; state is
      given up.
  """

  inputs: tuple[str, ...]
  init: Callable[[], Shared]
  begin: Callable[[Shared, jax.Array], tuple[State, jax.Array]]
  step: Callable[[State, jax.Array], tuple[State, jax.Array]]


def create(experts: Sequence[expert.Expert], *, rate: float = 0.004) -> Model:
  """A model of several experts.

  Args:
    experts: at least one.
    rate: of the mixer.
  """
  names = tuple(name for one in experts for name in one.inputs)
  situations = tuple(count for one in experts for count in one.situations)

  @jax.jit
  def init() -> Shared:
    return Shared(
      tuple(one.init() for one in experts),
      mixer.create(len(names), situations),
      adaptive_map.create(byte_tree.SYMBOLS * byte_tree.NODES),
      Account(jnp.float32(0), jnp.zeros(len(names)), jnp.zeros(len(names) + 1)),
    )

  def predict(
    shared: Shared, streams: tuple[Tree, ...], newest: jax.Array
  ) -> tuple[State, jax.Array]:
    said = [
      one.predict(known, own)
      for one, known, own in zip(experts, shared.experts, streams, strict=True)
    ]
    mixed = mixer.mix(
      shared.weights,
      jnp.concatenate([evidence.log_odds for evidence in said], axis=-1),
      where := tuple(s for evidence in said for s in evidence.situations),
    )
    node = jnp.arange(byte_tree.NODES)[None]
    place = newest[:, None] * byte_tree.NODES + node
    refined = adaptive_map.read(shared.refined, place, mixed.log_odds)
    final = 0.5 * (mixed.log_odds + adaptive_map.log_odds(refined.p))
    pending = (
      tuple(evidence.memo for evidence in said),
      mixed,
      where,
      place,
      refined,
      final,
    )
    frequencies = quantization.frequencies(byte_tree.distribution(final))
    return State(shared, streams, newest, pending), frequencies

  # Given up, as a step's state is: the tables are too large to copy a block.
  @functools.partial(jax.jit, donate_argnums=0)
  def begin(shared: Shared, offsets: jax.Array) -> tuple[State, jax.Array]:
    streams = tuple(
      one.begin(known, offsets)
      for one, known in zip(experts, shared.experts, strict=True)
    )
    return predict(shared, streams, jnp.zeros(len(offsets), jnp.int32))

  @functools.partial(jax.jit, donate_argnums=0)
  def step(state: State, symbols: jax.Array) -> tuple[State, jax.Array]:
    shared, streams, _, pending = state
    memos, mixed, where, place, reading, final = pending
    learnt = [
      one.learn(known, own, memo, symbols)
      for one, known, own, memo in zip(
        experts, shared.experts, streams, memos, strict=True
      )
    ]
    bits = byte_tree.bits(symbols)

    def passed(values: jax.Array) -> jax.Array:
      return byte_tree.on_path(values, symbols)

    shared = Shared(
      tuple(known for known, _ in learnt),
      mixer.learn(shared.weights, mixed, where, symbols, rate=rate),
      adaptive_map.learn(
        shared.refined,
        passed(place),
        adaptive_map.Reading(*map(passed, reading)),
        bits,
        0.02,
      ),
      _charge(shared.account, shared.weights, mixed.inputs, final, symbols),
    )
    return predict(shared, tuple(own for _, own in learnt), symbols)

  return Model(names, init, begin, step)


def _charge(
  account: Account,
  weights: mixer.Weights,
  inputs: jax.Array,
  final: jax.Array,
  symbols: jax.Array,
) -> Account:
  """The account after some bytes."""
  bits = byte_tree.bits(symbols)
  passed = byte_tree.on_path(inputs, symbols)
  cost = byte_tree.nats(byte_tree.on_path(final, symbols), bits)
  alone = byte_tree.nats(passed[..., :-1], bits[..., None])
  weight = weights.node[jnp.asarray(byte_tree.PATHS)[symbols]]
  return Account(
    account.mixed + jnp.sum(cost),
    account.alone + jnp.sum(alone, axis=(0, 1)),
    account.share + jnp.sum(jnp.abs(weight * passed), axis=(0, 1)),
  )
