"""Root mean squares of training gradients, for the dynamic rule `rms`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.evaluation import chunks
from seqmodels.losses import sequence
from seqmodels.models import predictor as predictor_lib

Tree = Any
Squares = tuple[Tree, Tree, jax.Array]  # carry, sums of squares, how many


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
  use 100 streams. MS shrinks as streams and steps grow, so learning rates
  belong to the batch and length it was taken with. Segments with nothing
  scored do not count.

  Args:
    predictor: the model.
    params: the trained weights.
    segments: training segments, as `chunks.each` takes them.
    streams: their number of streams.

  Returns:
    A float32 tree like `params`.

  Raises:
    errors.UserError: no segment scores anything, or shapes are wrong.
  """
  state = _no_squares(predictor, params, streams)
  for chunk in chunks.each(segments, streams=streams):
    state = _add_squares(predictor, params, state, chunk)
  if not int(jax.device_get(state[2])):
    raise errors.UserError(
      "gradient statistics were asked for over segments that score nothing; "
      "give at least one training segment"
    )
  return _root_mean(state)


@functools.partial(jax.jit, static_argnames=("predictor", "streams"))
def _no_squares(
  predictor: predictor_lib.Predictor, params: Tree, streams: int
) -> Squares:
  squares = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape, jnp.float32), params
  )
  return predictor.initial_carry(streams), squares, jnp.int32(0)


@jax.jit
def _root_mean(state: Squares) -> Tree:
  _, squares, live = state
  return jax.tree.map(lambda leaf: jnp.sqrt(leaf / live), squares)


@functools.partial(
  jax.jit, static_argnames=("predictor",), donate_argnames=("state",)
)
def _add_squares(
  predictor: predictor_lib.Predictor,
  params: Tree,
  state: Squares,
  chunk: chunks.Chunk,
) -> Squares:

  def mean_nats(
    params: Tree, carry: Tree, piece: chunks.Chunk
  ) -> tuple[jax.Array, tuple[Tree, jax.Array]]:
    carry, logits = predictor.apply(params, carry, piece.inputs, piece.reset)
    total, count, _ = sequence.nats(logits, piece.targets, piece.mask)
    return total / jnp.maximum(count, 1), (carry, count)

  def segment(state: Squares, piece: chunks.Chunk) -> tuple[Squares, None]:
    carry, squares, live = state
    gradients, (carry, count) = jax.grad(mean_nats, has_aux=True)(
      params, carry, piece
    )
    squares = jax.tree.map(
      lambda s, g: s + jnp.square(g.astype(jnp.float32)), squares, gradients
    )
    return (carry, squares, live + (count > 0)), None

  state, _ = jax.lax.scan(segment, state, chunk)
  return state
