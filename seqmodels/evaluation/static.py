"""Static evaluation: scores of fixed weights, and cells that are constant."""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors, units
from seqmodels.losses import Metrics
from seqmodels.models.networks import SequenceModel

Tree = Any

# Symbols of a stream, at least, for its score to be compared with others.
FEWEST_OF_STREAM = 100


class Scores(NamedTuple):
  """Metrics segment by segment, in reading order: a curve to plot.

  Attributes:
    metrics: arrays `[S]` on the host, their times left out.
    seconds: wall time of all of it.
    by_stream: float64 `[2, B]`, nats and counts of each stream over all
      segments, where that is known.

  >>> nats, counts = np.float32([1.5, 2.5]), np.int32([2, 3])
  >>> Scores(Metrics(nats, counts, np.int32([0, 1]))).totals()
  Metrics(nats=4.0, count=5, errors=1, sums={}, seconds=0.0)
  """

  metrics: Metrics
  seconds: float = 0.0
  by_stream: np.ndarray | None = None

  def totals(self) -> Metrics:
    """Their sums, taken in float64."""
    return self.metrics.total()._replace(seconds=self.seconds)

  def lost_streams(self) -> dict[int, float]:
    """Streams more than 1 bit a symbol above the others' median, with bits.

    All are of one text, so a stream that is so much worse than most shows a
    state that the network never found its way out of. (One that is as much
    better is an easy part of the text.) Streams of fewer than
    `FEWEST_OF_STREAM` symbols differ by chance and are left out.

    >>> by_stream = np.array([[140.0, 2000.0, 150.0], [100, 100, 100]])
    >>> scores = Scores(Metrics(), by_stream=by_stream)
    >>> {n: round(bits, 1) for n, bits in scores.lost_streams().items()}
    {1: 28.9}
    """
    if self.by_stream is None:
      return {}
    nats, counts = self.by_stream
    long = np.flatnonzero(counts >= FEWEST_OF_STREAM)
    if not long.size:
      return {}
    bits = nats[long] / counts[long] / units.LOG2
    if bits.size < 2:
      return {}
    others = [np.nanmedian(np.delete(bits, n)) for n in range(bits.size)]
    # Not >, so that NaN is lost, too.
    lost = ~(bits - np.array(others) <= 1.0)
    return dict(zip(long[lost].tolist(), bits[lost].tolist(), strict=True))

  @classmethod
  def concatenate(
    cls, parts: Sequence["Scores"], *, seconds: float | None = None
  ) -> "Scores":
    """Scores of consecutive stretches as one.

    Args:
      parts: the stretches, in order; none at all gives empty scores.
      seconds: wall time of the whole, else the sum over the parts.
    """
    if seconds is None:
      seconds = sum(part.seconds for part in parts)
    known = [part.by_stream for part in parts if part.by_stream is not None]
    # concatenate refuses no arrays at all.
    nothing = Metrics(*np.zeros((3, 0)))
    metrics = [part.metrics for part in parts] or [nothing]
    return cls(
      jax.tree.map(
        lambda *leaves: np.concatenate(list(map(np.atleast_1d, leaves))),
        *metrics,
      ),
      seconds,
      np.sum(known, axis=0) if known else None,
    )


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
    steps = np.shape(chunk.inputs)[2]
    if steps != streams:
      raise errors.UserError(
        f"segments hold {steps} streams where {streams} were announced; cut "
        f"the split into {streams}, or say streams={steps}"
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
  """The number of segments, if it is known beforehand.

  What can tell without being gone through has an attribute `segments`.

  >>> ids = np.zeros((9, 4, 1), np.int32)
  >>> chunk = Chunk(ids, ids, ids > 0, ids > 0)
  >>> count(chunk), count([chunk] * 2), count(iter([chunk]))
  (9, 18, None)
  """
  known = getattr(segments, "segments", None)
  if known is not None:
    return int(known)
  if not isinstance(segments, Sequence):
    return None
  return sum(np.shape(part[0])[0] for part in iterate(segments))


def evaluate(
  predictor: SequenceModel,
  params: Tree,
  segments: Any,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> Metrics:
  """Totals of a whole split: every scored symbol once, nothing dropped.

  The carry runs through all segments, so with one stream the result does not
  depend (beyond float32 rounding) on how the split was cut into segments, nor
  on how many of them a chunk holds. Several streams are faster and each starts
  without its context, so the caller announces them and reports them.

  Args:
    predictor: the model.
    params: its parameters; only read.
    segments: a chunk of segments `[K, T, B]`, or an iterable of chunks; see
      `each`.
    streams: the B of the segments.
    callback: called after each chunk with the segments done and those there
      are (None where `segments` is an iterator); may raise to stop.

  Raises:
    errors.UserError: the segments are not of the announced shape.

  Example: a uniform predictor needs log2(4) bits a symbol.

  >>> import jax.numpy as jnp
  >>> uniform = SequenceModel(
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
  predictor: SequenceModel,
  params: Tree,
  segments: Any,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> Scores:
  """Like `evaluate`, by segments and by streams: what is behind the totals."""
  start = time.perf_counter()
  # Compiled, because building constants eagerly is a transfer to the device.
  carry = jax.jit(predictor.initial_carry, static_argnums=0)(streams)
  scores: list[Scores] = []
  done, total = 0, count(segments)
  for chunk in each(segments, streams=streams):
    carry, metrics, by_stream = _scan(predictor, params, carry, chunk)
    streamwise = np.array(jax.device_get(by_stream), np.float64)
    scores.append(Scores(jax.device_get(metrics), by_stream=streamwise))
    done += chunk.segments
    if callback is not None:
      callback(done, total)
  return Scores.concatenate(scores, seconds=time.perf_counter() - start)


@functools.partial(jax.jit, static_argnames=("predictor",))
def _scan(
  predictor: SequenceModel,
  params: Tree,
  carry: Tree,
  chunk: Chunk,
) -> tuple[Tree, Metrics, tuple[jax.Array, ...]]:
  """One dispatch.

  Returns:
    The carry; metrics `[K]`; loss and counts `[B]`.
  """

  def segment(carry: Tree, piece: Chunk) -> tuple[Tree, Any]:
    loss, (carry, metrics) = predictor.score(params, carry, piece)
    return carry, (metrics, (loss, jnp.sum(piece.mask, axis=0)))

  carry, (metrics, by_stream) = jax.lax.scan(segment, carry, chunk)
  return carry, metrics, tuple(jnp.sum(part, axis=0) for part in by_stream)


# Of cells: positions from the null state, and streams at most.
WATCHED_POSITIONS, WATCHED_STREAMS = 1_000, 8
# Fewer positions show too little of a text.
FEWEST_WATCHED = 100
# Standard deviation of an output, from -1 to 1, that counts as none.
LEAST_DEVIATION = 1e-3


def constant_cells(
  predictor: SequenceModel, params: Any, segment: Any
) -> dict[str, float]:
  """Share of cells with a constant output, and the largest cell state.

  An LSTM cell whose input and forget gates stay open adds up to 1 a step to its
  state until its carry is cleared. Its output is soon a constant, and the
  network has one cell less. Peepholes, which open the gates the wider the
  further the cell has gone, make such counters; a bound on the state
  (`cell_clip` of `cells.cell.get`) keeps them from it.

  A cell is constant in a stream if its output h has a standard deviation below
  `LEAST_DEVIATION` over the later half of the positions. The share is that of
  all cells of all layers in all streams.

  Args:
    predictor: a model whose carry is made of tuples with a field `h` [B, H]
      and, for LSTMs, `c`.
    params: its parameters.
    segment: `(inputs, targets, mask, reset)`, each `[T, B]`, read from the null
      state; see `WATCHED_POSITIONS` and `WATCHED_STREAMS` for usual T and B.
      Steps from where the first stream ends are left out.

  Returns:
    `constant_cells` in percent, and `largest_cell`, max |c| over all positions,
    if there is a `c`. Empty if the carry has no `h`, or of fewer than
    `FEWEST_WATCHED` positions.

  Example: an identity, whose output follows its input.

  >>> from seqmodels.cells import elman
  >>> follower = SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     elman.ElmanCarry(h=inputs[-1][:, None] * params), None),
  ...   initial_carry=lambda batch: elman.ElmanCarry(h=jnp.zeros((batch, 2))),
  ...   init=None, vocabulary_size=2)
  >>> ids = np.arange(200)[:, None] % 2
  >>> weights = jnp.array([[1.0, 0.0]])
  >>> constant_cells(follower, weights, (ids, ids, ids >= 0, ids < 0))
  {'constant_cells': 50.0}
  """
  inputs, _, mask, reset = segment
  steps = int(np.sum(np.all(mask, axis=1)))
  if steps < FEWEST_WATCHED:
    return {}
  constant, largest = jax.device_get(
    _watch(predictor, params, *jax.device_put((inputs[:steps], reset[:steps])))
  )
  shares = {}
  if constant:
    share = np.mean(np.concatenate(constant, axis=-1))
    shares["constant_cells"] = 100.0 * float(share)
  if largest:
    shares["largest_cell"] = float(np.max(largest))
  return shares


@functools.partial(jax.jit, static_argnames=("predictor",))
def _watch(
  predictor: SequenceModel,
  params: Any,
  inputs: jax.Array,
  reset: jax.Array,
) -> tuple[list[jax.Array], list[jax.Array]]:
  """Of each layer: which cells are constant `[B, H]`; max |c| by step `[T]`."""
  steps, streams = inputs.shape

  def step(carry: Any, now: Any) -> tuple[Any, Any]:
    ids, cleared = now
    # One position at a time, as only the carry shows the cells.
    carry, _ = predictor.apply(params, carry, ids[None], cleared[None])
    layers = _layers(carry)
    outputs = [layer.h for layer in layers]
    states = [layer.c for layer in layers if hasattr(layer, "c")]
    return carry, (outputs, [jnp.max(jnp.abs(c)) for c in states])

  _, (outputs, largest) = jax.lax.scan(
    step, predictor.initial_carry(streams), (inputs, reset)
  )
  late = [h[steps // 2 :] for h in outputs]
  return [jnp.std(h, axis=0) < LEAST_DEVIATION for h in late], largest


def _layers(carry: Any) -> list[Any]:
  """The parts of a carry that have outputs."""

  def is_layer(part: Any) -> bool:
    return hasattr(part, "h")

  return list(filter(is_layer, jax.tree.leaves(carry, is_leaf=is_layer)))
