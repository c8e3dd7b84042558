"""Segments as evaluations take them: chunks of K, one dispatch each."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqmodels import errors


class Chunk(NamedTuple):
  """K consecutive segments of T steps over B streams, each leaf `[K, T, B]`.

  The fields of a data stream's segment with one axis in front. Any tuple with
  these fields will do where one is asked for; this type knows no data module.

  Attributes:
    inputs: int32 ids, a negative one being the null vector.
    targets: int32 ids that follow them.
    mask: bool, the targets that are scored.
    reset: bool, carry cleared before the step.
  """

  inputs: Any
  targets: Any
  mask: Any
  reset: Any

  @property
  def segments(self) -> int:
    """K."""
    return self.inputs.shape[0]


def each(segments: Any, *, streams: int) -> Iterator[Chunk]:
  """Chunks of a chunk, or of an iterable of chunks, on the device.

  Args:
    segments: one tuple `(inputs, targets, mask, reset)` of arrays
      `[K, T, B]`, or an iterable of such tuples in reading order. The length
      of the chunks is free; a last shorter one costs a second compilation.
    streams: the B that every chunk must have. A score over several streams
      loses context at each stream's start, so its caller says how many.

  Yields:
    Chunks whose arrays lie on the default device.

  Raises:
    errors.UserError: a chunk is not `[K, T, B]` or has another B.

  >>> ids, flags = np.zeros((2, 5, 1), np.int32), np.ones((2, 5, 1), bool)
  >>> [chunk.segments for chunk in each((ids, ids, flags, flags), streams=1)]
  [2]
  """
  for part in iterate(segments):
    chunk = Chunk(*part)
    shapes = {np.shape(leaf) for leaf in chunk}
    if len(shapes) != 1 or len(np.shape(chunk.inputs)) != 3:
      raise errors.UserError(
        f"segments have shapes {sorted(shapes)}; an evaluation needs four "
        "arrays of one shape [segments, steps, streams]"
      )
    found = np.shape(chunk.inputs)[2]
    if found != streams:
      raise errors.UserError(
        f"segments hold {found} streams where {streams} were announced; cut "
        f"the split into {streams}, or say streams={found}"
      )
    yield jax.device_put(chunk)


def iterate(segments: Any) -> Iterator[Any]:
  """A lone chunk as an iterable of one; an iterable of chunks as it is."""
  lone = isinstance(segments, tuple) and hasattr(segments[0], "shape")
  return iter((segments,) if lone else segments)


def first(segments: Any, symbols: int | None) -> list[Chunk]:
  """The chunks that hold the first scored symbols, the rest masked out.

  Args:
    segments: as in `each`.
    symbols: how many scored symbols to keep, counted in reading order (over
      segments, then steps, then streams); None keeps all.

  Returns:
    Chunks on the host that score exactly `symbols` symbols, or all there are
    if that is fewer, and end with the segment of the last one.

  >>> ids, flags = np.zeros((9, 4, 1), np.int32), np.ones((9, 4, 1), bool)
  >>> [cut] = first((ids, ids, flags, flags), 10)
  >>> cut.segments, int(cut.mask.sum())
  (3, 10)
  """
  kept: list[Chunk] = []
  left = sys.maxsize if symbols is None else symbols
  for part in iterate(segments) if left > 0 else ():
    chunk = Chunk(*(np.asarray(leaf) for leaf in part))
    order = np.cumsum(chunk.mask).reshape(chunk.mask.shape)
    mask = chunk.mask & (order <= left)
    left -= int(mask.sum())
    kept.append(chunk._replace(mask=mask))
    if left <= 0:
      stop = int(np.flatnonzero(mask.any(axis=(1, 2)))[-1]) + 1
      kept[-1] = Chunk(*(leaf[:stop] for leaf in kept[-1]))
      break  # reads no further chunk than it needs
  return kept


def count(segments: Any) -> int | None:
  """How many segments there are, where that is known beforehand.

  What can tell without being gone through has an attribute `segments`.

  >>> ids = np.zeros((9, 4, 1), np.int32)
  >>> chunk = Chunk(ids, ids, ids > 0, ids > 0)
  >>> count(chunk), count([chunk] * 2), count(iter([chunk]))
  (9, 18, None)
  """
  told = getattr(segments, "segments", None)
  if told is not None:
    return int(told)
  if not isinstance(segments, Sequence):
    return None
  return sum(np.shape(part[0])[0] for part in iterate(segments))
