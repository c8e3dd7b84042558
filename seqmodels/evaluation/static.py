"""Static evaluation: one pass over a split with fixed weights."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.evaluation import chunks
from seqmodels.evaluation import totals as totals_lib
from seqmodels.losses import sequence
from seqmodels.models import predictor as predictor_lib

Tree = Any


def evaluate(
  predictor: predictor_lib.Predictor,
  params: Tree,
  segments: Any,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> totals_lib.Totals:
  """Totals of a whole split: every scored symbol once, nothing dropped.

  The carry runs through all segments, so with one stream the result does not
  depend (beyond float32 rounding) on how the split was cut into segments, nor
  on how many of them a chunk holds. Several streams are faster and each starts
  without its context, so the caller announces them and reports them.

  Args:
    predictor: the model.
    params: its parameters; only read.
    segments: a chunk of segments `[K, T, B]`, or an iterable of chunks; see
      `chunks.each`.
    streams: the B of the segments.
    callback: called after each chunk with the segments done and those there
      are (None where `segments` is an iterator); may raise to stop.

  Raises:
    errors.UserError: the segments are not of the announced shape.

  Example: a uniform predictor needs log2(4) bits a symbol.

  >>> import jax.numpy as jnp
  >>> uniform = predictor_lib.Predictor(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.zeros((*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (), init=lambda key: (), vocabulary_size=4)
  >>> ids = jnp.zeros((3, 5, 1), int)
  >>> found = evaluate(uniform, (), (ids, ids, ids == 0, ids > 0))
  >>> found.count, round(found.bits_per_symbol, 6)
  (15, 2.0)
  """
  return score(
    predictor, params, segments, streams=streams, callback=callback
  ).totals()


def score(
  predictor: predictor_lib.Predictor,
  params: Tree,
  segments: Any,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> totals_lib.Scores:
  """Like `evaluate`, by segments and by streams: what is behind the totals."""
  start = time.perf_counter()
  # Compiled, because building constants eagerly is a transfer to the device.
  carry = jax.jit(predictor.initial_carry, static_argnums=0)(streams)
  found: list[totals_lib.Scores] = []
  done, total = 0, chunks.count(segments)
  for chunk in chunks.each(segments, streams=streams):
    carry, sums, by_stream = _scan(predictor, params, carry, chunk)
    nats, counts, errors = jax.device_get(sums)
    streamwise = np.array(jax.device_get(by_stream), np.float64)
    found.append(totals_lib.Scores(nats, counts, errors, by_stream=streamwise))
    done += chunk.segments
    if callback is not None:
      callback(done, total)
  return totals_lib.Scores.concatenate(
    found, seconds=time.perf_counter() - start
  )


@functools.partial(jax.jit, static_argnames=("predictor",))
def _scan(
  predictor: predictor_lib.Predictor,
  params: Tree,
  carry: Tree,
  chunk: chunks.Chunk,
) -> tuple[Tree, tuple[jax.Array, ...], tuple[jax.Array, ...]]:
  """One dispatch.

  Returns:
    The carry; nats, counts and errors `[K]`; nats and counts `[B]`.
  """

  def segment(carry: Tree, piece: chunks.Chunk) -> tuple[Tree, Any]:
    carry, logits = predictor.apply(params, carry, piece.inputs, piece.reset)
    losses, _ = sequence.by_position(logits, piece.targets, piece.mask)
    sums = sequence.nats(logits, piece.targets, piece.mask)
    return carry, (sums, (jnp.sum(losses, axis=0), jnp.sum(piece.mask, axis=0)))

  carry, (sums, by_stream) = jax.lax.scan(segment, carry, chunk)
  return carry, sums, tuple(jnp.sum(part, axis=0) for part in by_stream)
