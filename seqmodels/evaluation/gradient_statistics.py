"""Root mean squares of training gradients, for the dynamic rule `rms`."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.evaluation import chunks
from seqmodels.losses import sequence
from seqmodels.models import predictor as predictor_lib

Tree = Any


class State(NamedTuple):
  """Everything that passes from one segment to the next: a plain pytree.

  Saved and handed back to `steps`, it continues a collection exactly.

  Attributes:
    carry: the model's recurrent state.
    squares: sums of squared gradients, a float32 tree like the weights.
    segments: int32, those that scored something.
  """

  carry: Tree
  squares: Tree
  segments: jax.Array


def measure(
  predictor: predictor_lib.Predictor,
  params: Tree,
  segments: Any,
  *,
  streams: int,
) -> Tree:
  """MS: root mean square of each weight's gradient over training segments.

      MS_i = sqrt( mean over segments of g_i^2 )

  with g the gradient of the mean nats over the scored symbols of one segment
  of all streams, at fixed weights, the carry crossing segments. Krause et al.
  (2017) use 100 streams and the whole training set: a part of it misses rare
  symbols, whose MS then comes out far too small. MS shrinks as streams and
  steps grow, so learning rates belong to the batch and length it was taken
  with. Segments with nothing scored do not count.

  Args:
    predictor: the model.
    params: the trained weights.
    segments: training segments, as `chunks.each` takes them.
    streams: their number of streams.

  Returns:
    A float32 tree like `params`.

  Raises:
    errors.UserError: no segment scores anything, or shapes are wrong.

  Example: for equal logits the gradient is the softmax, 1/4, less the share
  of each symbol among the targets, here always 1 for symbol 0.

  >>> counter = predictor_lib.Predictor(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.broadcast_to(params, (*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros(4), vocabulary_size=4)
  >>> ids = jnp.zeros((20, 5, 1), int)
  >>> text = (ids, ids, ids == 0, ids > 0)
  >>> measure(counter, jnp.zeros(4), text, streams=1).tolist()
  [0.75, 0.25, 0.25, 0.25]
  """
  first = initial_state(predictor, params, streams=streams)
  state = first
  for after in steps(predictor, params, first, segments, streams=streams):
    state = after
  return root_mean_square(state)


@functools.partial(jax.jit, static_argnames=("predictor", "streams"))
def initial_state(
  predictor: predictor_lib.Predictor, params: Tree, *, streams: int
) -> State:
  """The state before the first segment: nothing collected."""
  squares = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape, jnp.float32), params
  )
  return State(predictor.initial_carry(streams), squares, jnp.int32(0))


def steps(
  predictor: predictor_lib.Predictor,
  params: Tree,
  state: State,
  segments: Any,
  *,
  streams: int,
) -> Iterator[State]:
  """The state after each chunk of segments, one dispatch a chunk.

  For those who keep the state between chunks: save what is yielded before
  asking for the next, which overwrites it. Beside the weights there are the
  sums of squares and one segment's gradient in memory.
  """
  for chunk in chunks.each(segments, streams=streams):
    state = _add_squares(predictor, params, state, chunk)
    # A caller that shows progress or saves wants the work done, not queued.
    jax.block_until_ready(state.segments)
    yield state


def root_mean_square(state: State) -> Tree:
  """MS of what was collected; see `measure`.

  Raises:
    errors.UserError: nothing was scored.
  """
  if not int(jax.device_get(state.segments)):
    raise errors.UserError(
      "gradient statistics were asked for over segments that score nothing; "
      "give at least one training segment"
    )
  return _root_mean(state.squares, state.segments)


@jax.jit
def _root_mean(squares: Tree, count: jax.Array) -> Tree:
  return jax.tree.map(lambda leaf: jnp.sqrt(leaf / count), squares)


@functools.partial(
  jax.jit, static_argnames=("predictor",), donate_argnames=("state",)
)
def _add_squares(
  predictor: predictor_lib.Predictor,
  params: Tree,
  state: State,
  chunk: chunks.Chunk,
) -> State:

  def mean_nats(
    params: Tree, carry: Tree, piece: chunks.Chunk
  ) -> tuple[jax.Array, tuple[Tree, jax.Array]]:
    carry, logits = predictor.apply(params, carry, piece.inputs, piece.reset)
    total, count, _ = sequence.nats(logits, piece.targets, piece.mask)
    return total / jnp.maximum(count, 1), (carry, count)

  def segment(state: State, piece: chunks.Chunk) -> tuple[State, None]:
    carry, squares, live = state
    gradients, (carry, count) = jax.grad(mean_nats, has_aux=True)(
      params, carry, piece
    )
    squares = jax.tree.map(
      lambda s, g: s + jnp.square(g.astype(jnp.float32)), squares, gradients
    )
    return State(carry, squares, live + (count > 0)), None

  state, _ = jax.lax.scan(segment, state, chunk)
  return state
