"""Dynamic evaluation: predict a segment, then learn from it, and go on."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.evaluation import chunks, dynamic_rules
from seqmodels.evaluation import totals as totals_lib
from seqmodels.losses import sequence
from seqmodels.models import predictor as predictor_lib

Tree = Any
Sums = tuple[jax.Array, jax.Array, jax.Array]


class State(NamedTuple):
  """Everything that passes from one segment to the next: a plain pytree.

  Saved and handed back to `advance`, it continues an evaluation exactly.

  Attributes:
    params: the weights as learnt so far.
    memory: the rule's state.
    carry: the model's recurrent state.
  """

  params: Tree
  memory: Tree
  carry: Tree


def initial_state(
  predictor: predictor_lib.Predictor,
  params: Tree,
  rule: dynamic_rules.Rule,
  *,
  streams: int = 1,
) -> State:
  """The state before the first segment, on copies of the given weights."""
  memory, carry = _beginnings(predictor, rule, params, streams)
  # A copy, because `advance` overwrites what it is given.
  params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)
  return State(params, memory, carry)


@functools.partial(jax.jit, static_argnames=("predictor", "streams"))
def _beginnings(
  predictor: predictor_lib.Predictor,
  rule: dynamic_rules.Rule,
  params: Tree,
  streams: int,
) -> tuple[Tree, Tree]:
  # Compiled, because building constants eagerly is a transfer to the device.
  return rule.init(params), predictor.initial_carry(streams)


def evaluate(
  predictor: predictor_lib.Predictor,
  params: Tree,
  segments: Any,
  rule: dynamic_rules.Rule,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> totals_lib.Totals:
  """Totals of a split that the model learns from while it is scored.

  Each segment is scored with the weights that the segments before it left,
  and only then learnt from. The gradient of a segment is cut at its start;
  the carry crosses. `params` are left as they are.

  Args:
    predictor: the model.
    params: the trained weights; only read.
    segments: a chunk of segments `[K, T, B]`, or an iterable of chunks; see
      `chunks.each`. T is the unit of learning, so the score depends on it.
    rule: how to learn, of `dynamic_rules.make`; its settings are traced.
    streams: the B of the segments. With several, one set of weights learns
      from all streams at once.
    callback: called after each chunk with the segments done and those there
      are (None where `segments` is an iterator); may raise to stop.

  Raises:
    errors.UserError: the segments are not of the announced shape.

  Example: a predictor of no context learns that the text is all zeros.

  >>> counter = predictor_lib.Predictor(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.broadcast_to(params, (*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros(4), vocabulary_size=4)
  >>> ids = jnp.zeros((20, 5, 1), int)
  >>> rule = dynamic_rules.make("sgd", None, {"learning_rate": 1.0})
  >>> text = (ids, ids, ids == 0, ids > 0)
  >>> found = evaluate(counter, jnp.zeros(4), text, rule)
  >>> found.count, found.bits_per_symbol < 0.2
  (100, True)
  """
  scores, _ = score(
    predictor, params, segments, rule, streams=streams, callback=callback
  )
  return scores.totals()


def score(
  predictor: predictor_lib.Predictor,
  params: Tree,
  segments: Any,
  rule: dynamic_rules.Rule,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> tuple[totals_lib.Scores, State]:
  """Like `evaluate`: scores segment by segment, and the state at the end."""
  start = time.perf_counter()
  first = initial_state(predictor, params, rule, streams=streams)
  state = first
  found: list[totals_lib.Scores] = []
  done, total = 0, chunks.count(segments)
  for last, part in steps(predictor, first, segments, rule, streams=streams):
    state = last
    found.append(part)
    done += len(part.nats)
    if callback is not None:
      callback(done, total)
  seconds = time.perf_counter() - start
  return totals_lib.Scores.concatenate(found, seconds=seconds), state


def steps(
  predictor: predictor_lib.Predictor,
  state: State,
  segments: Any,
  rule: dynamic_rules.Rule,
  *,
  streams: int = 1,
) -> Iterator[tuple[State, totals_lib.Scores]]:
  """One dispatch a chunk: the state after it, and its scores.

  For those who keep the state between chunks: save what is yielded before
  asking for the next, which overwrites it. A saved state and the segments
  that follow continue where it stands.
  """
  for chunk in chunks.each(segments, streams=streams):
    start = time.perf_counter()
    state, sums = advance(predictor, rule, state, chunk)
    nats, counts, errors = jax.device_get(sums)
    seconds = time.perf_counter() - start
    yield state, totals_lib.Scores(nats, counts, errors, seconds)


@functools.partial(
  jax.jit, static_argnames=("predictor",), donate_argnames=("state",)
)
def advance(
  predictor: predictor_lib.Predictor,
  rule: dynamic_rules.Rule,
  state: State,
  chunk: chunks.Chunk,
) -> tuple[State, Sums]:
  """One compiled scan over the K segments of a chunk, weights in its carry.

  Args:
    predictor: the model; static.
    rule: how to learn; its type is static, its settings are traced.
    state: given up to the call.
    chunk: `[K, T, B]`.

  Returns:
    The state after the chunk, and nats, counts and errors, each `[K]`.
  """

  def loss(
    params: Tree, carry: Tree, piece: chunks.Chunk
  ) -> tuple[jax.Array, tuple[Tree, Sums]]:
    carry, logits = predictor.apply(params, carry, piece.inputs, piece.reset)
    sums = sequence.nats(logits, piece.targets, piece.mask)
    total, count, _ = sums
    if rule.reduction == "mean":
      total = total / jnp.maximum(count, 1)
    return total, (carry, sums)

  def segment(state: State, piece: chunks.Chunk) -> tuple[State, Sums]:
    # The carry enters as a constant, so no gradient reaches past this segment.
    gradients, (carry, sums) = jax.grad(loss, has_aux=True)(
      state.params, state.carry, piece
    )
    params, memory = rule.update(gradients, state.memory, state.params)
    return State(params, memory, carry), sums

  return jax.lax.scan(segment, state, chunk)
