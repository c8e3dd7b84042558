"""The network expert: a recurrent net that learns from every segment it coded.

Dynamic evaluation (Graves 2013, section 3) over the streams of a block: after
each segment of a few steps one gradient step, truncated where the segment
begins, then on with the new weights. Between segments it may learn once more
from windows of the past, which coder and decoder both have.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqmodels import errors, losses
from seqmodels.compression import byte_tree, experts
from seqmodels.models import networks

# Share of the probability that bytes without a symbol divide among them.
_REST = 1e-4


def over_bytes(
  predictor: networks.SequenceModel, symbols: Sequence[Any]
) -> networks.SequenceModel:
  """The same network and weights, its inputs and outputs being bytes.

  Args:
    predictor: a network over V symbols.
    symbols: the byte that each symbol stands for.

  Raises:
    UserError: the symbols are not different bytes, one for each output.

  Bytes that the network does not know are null vectors to it, and share one
  ten-thousandth of the probability.
  """
  are_bytes = all(isinstance(one, int) and 0 <= one < 256 for one in symbols)
  different = len(set(symbols)) == predictor.vocabulary_size == len(symbols)
  if not (are_bytes and different):
    raise errors.UserError(
      "the symbols of this network are not bytes; compression needs a network "
      "that was trained on bytes (data.tokenizer of its run)"
    )
  known = np.asarray(symbols)
  ids = np.full(256, -1, np.int32)
  ids[known] = np.arange(len(known))
  unknown = np.flatnonzero(ids < 0)

  def apply(
    params: networks.Tree,
    carry: networks.Tree,
    inputs: jax.Array,
    reset: jax.Array,
  ) -> tuple[networks.Tree, jax.Array]:
    given = jnp.where(inputs < 0, -1, jnp.asarray(ids)[inputs])
    carry, logits = predictor.apply(params, carry, given, reset)
    rest = np.log(_REST / max(1, len(unknown)))
    log_p = jnp.full((*logits.shape[:-1], 256), rest, jnp.float32)
    share = np.log1p(-_REST) if len(unknown) else 0.0
    return carry, log_p.at[..., known].set(
      jax.nn.log_softmax(logits, axis=-1) + share
    )

  return predictor._replace(apply=apply, vocabulary_size=256)


Tree = Any
# Symbols at the head of a replayed window that only warm up the carry.
_WARM_UP = 8


class Replay(NamedTuple):
  """Learning again from the past."""

  every: int = 0  # segments between two updates of it; 0 does without
  windows: int = 16  # sequences in such an update
  length: int = 64  # symbols of each
  history: int = 1 << 22  # bytes of the past they come from, a power of two


class Shared(NamedTuple):
  """The network's knowledge."""

  params: Tree
  memory: Tree  # the optimiser's state
  updates: jax.Array  # int32, segments learnt from
  history: jax.Array  # uint8 [N], the file, modulo N; [0] without replay


class Streams(NamedTuple):
  """The state of each stream."""

  carry: Tree  # before the byte `inputs[position]`
  start: Tree  # the carry where the segment began
  inputs: jax.Array  # int32 [S + 1, B], its bytes, each before its successor
  position: jax.Array  # int32, how many of them have been succeeded
  place: jax.Array  # int32 [B], where the next byte goes in the history
  origin: jax.Array  # int32, where the block begins: all before it is known


def create(
  predictor: networks.SequenceModel,
  optimizer: optax.GradientTransformation | None,
  *,
  segment: int,
  seed: int = 0,
  params: Tree | None = None,
  replay: Replay = Replay(),
) -> experts.Expert:
  """The expert.

  Args:
    predictor: a network over the 256 bytes.
    optimizer: how it learns; None leaves the weights as they are.
    segment: steps between updates.
    seed: of the initial weights and of the windows replayed.
    params: weights to begin with; drawn by the seed if None.
    replay: learning again from the past.
  """
  key = jax.random.key(seed)
  size = replay.history if replay.every else 0

  def init() -> Shared:
    weights = predictor.init(key) if params is None else params
    memory = () if optimizer is None else optimizer.init(weights)
    return Shared(weights, memory, jnp.int32(0), jnp.zeros(size, jnp.uint8))

  def begin(shared: Shared, offsets: jax.Array) -> Streams:
    del shared
    batch = len(offsets)
    carry = predictor.initial_carry(batch)
    inputs = jnp.full((segment + 1, batch), -1, jnp.int32)
    place = offsets % max(size, 1)
    return Streams(carry, carry, inputs, jnp.int32(0), place, offsets[0])

  def predict(shared: Shared, streams: Streams) -> experts.Evidence:
    newest = streams.inputs[streams.position][None]
    carry, logits = predictor.apply(
      shared.params, streams.carry, newest, newest < -1
    )
    return experts.Evidence(byte_tree.log_odds(logits[0])[..., None], (), carry)

  def learn(
    shared: Shared, streams: Streams, carry: Tree, symbols: jax.Array
  ) -> tuple[Shared, Streams]:
    position = streams.position + 1
    inputs = streams.inputs.at[position].set(symbols)
    place = streams.place
    if replay.every:
      history = shared.history.at[place].set(symbols.astype(jnp.uint8))
      shared = shared._replace(history=history)
      place = (place + 1) % size
    streams = Streams(
      carry, streams.start, inputs, position, place, streams.origin
    )
    ended = position == segment
    if optimizer is not None:
      shared = jax.lax.cond(
        ended, lambda: update(shared, streams), lambda: shared
      )
    return shared, _next_segment(streams, ended)

  def update(shared: Shared, streams: Streams) -> Shared:
    mask = jnp.ones((segment, streams.inputs.shape[1]), bool)
    shared = step(shared, streams.start, streams.inputs, mask)
    shared = shared._replace(updates=shared.updates + 1)
    if not replay.every:
      return shared
    known = jnp.minimum(streams.origin, size)
    due = (shared.updates % replay.every == 0) & (known > replay.length)
    return jax.lax.cond(
      due, lambda: again(shared, streams.origin), lambda: shared
    )

  def again(shared: Shared, origin: jax.Array) -> Shared:
    known = jnp.minimum(origin, size)
    begins = jax.random.randint(
      jax.random.fold_in(key, shared.updates),
      (replay.windows,),
      0,
      known - replay.length,
    )
    places = begins[None] + jnp.arange(replay.length + 1)[:, None]
    # The oldest byte is where the block will write next.
    places = jnp.where(origin > size, places + origin, places) % size
    inputs = shared.history[places].astype(jnp.int32)
    mask = jnp.arange(replay.length)[:, None] >= _WARM_UP
    mask = jnp.broadcast_to(mask, inputs[1:].shape)
    carry = predictor.initial_carry(replay.windows)
    return step(shared, carry, inputs, mask)

  def step(
    shared: Shared, carry: Tree, inputs: jax.Array, mask: jax.Array
  ) -> Shared:
    assert optimizer is not None

    def loss(params: Tree) -> jax.Array:
      _, logits = predictor.apply(params, carry, inputs[:-1], inputs[:-1] < -1)
      total, count, _ = losses.nats(logits, inputs[1:], mask)
      return total / count

    gradient = jax.grad(loss)(shared.params)
    change, memory = optimizer.update(gradient, shared.memory, shared.params)
    params = optax.apply_updates(shared.params, change)
    return shared._replace(params=params, memory=memory)

  return experts.Expert(
    inputs=("network",),
    situations=(),
    init=init,
    begin=begin,
    predict=predict,
    learn=learn,
  )


def _next_segment(streams: Streams, ended: jax.Array) -> Streams:
  """The carry at a segment's end; the next begins with its last byte."""
  moved = streams.inputs.at[0].set(streams.inputs[streams.position])
  start = jax.tree.map(
    lambda new, old: jnp.where(ended, new, old), streams.carry, streams.start
  )
  return streams._replace(
    start=start,
    inputs=jnp.where(ended, moved, streams.inputs),
    position=jnp.where(ended, 0, streams.position),
  )
