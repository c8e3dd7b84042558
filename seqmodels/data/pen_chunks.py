"""Handwritten lines in minibatches, a stretch at a time."""

import bisect
import dataclasses
import functools

import numpy as np

from seqmodels import errors
from seqmodels.data import pen_batches, pen_segments, streams
from seqmodels.data.alphabet import Alphabet
from seqmodels.data.pen_lines import PenLines
from seqmodels.data.pen_segments import PenSegment


@dataclasses.dataclass(frozen=True, eq=False)
class PenChunks:
  """B lines side by side, T points a step, until all of them are written.

  The state crosses from one stretch to the next and is cleared where lines
  begin; the gradient stops at each stretch's left edge. There are several
  updates a line, and one shape to compile. The lines of a minibatch are of like
  length, as `PenBatches` draws them.

  The interface is that of `PenBatches`, and segments are pure in (seed, step).
  How many steps an epoch has differs a little from one to the next.

  >>> arrays = [np.ones((length, 3)) for length in (3, 4)]
  >>> lines = PenLines.of(arrays, "ab", "ab")
  >>> chunks = PenChunks(lines, batch=2, length=2)
  >>> found = chunks.segments(0, 2)
  >>> found.mask.shape, int(found.mask.sum()), found.reset[:, 0, 0].tolist()
  ((2, 2, 2), 7, [True, False])

  Attributes:
    lines: standardised.
    batch: B, lines a step over all hosts.
    length: T, points a step.
    alphabet: of the transcripts; None leaves the text out.
    seed: of the orders.
    host: (index, count) of the host whose lines this gives.
  """

  lines: PenLines
  _: dataclasses.KW_ONLY
  batch: int
  length: int
  alphabet: Alphabet | None = None
  seed: int = 0
  host: tuple[int, int] = (0, 1)

  def __post_init__(self) -> None:
    if self.length < 1:
      raise errors.UserError(
        f"a stretch has {self.length} points; it must have at least 1"
      )
    _ = self._batches

  @property
  def segments_per_epoch(self) -> int:
    """Steps of the first epoch; others have about as many."""
    return self._starts(1)[1]

  @property
  def targets_per_epoch(self) -> int:
    """Points of all lines; an epoch scores all but a batch's leftovers."""
    return len(self.lines.points)

  def segment(self, step: int) -> PenSegment:
    """The minibatch of one step; arrays [T, B of this host, ...].

    Args:
      step: 0, 1, ... counted over all epochs.
    """
    return PenSegment(*(array[0] for array in self.segments(step, 1)))

  def segments(self, start: int, count: int) -> PenSegment:
    """Minibatches `start` to `start + count`; [count, T, ...]."""
    if start < 0 or count < 1:
      raise errors.UserError(
        f"segments({start}, {count}): start must be at least 0 and count at "
        "least 1"
      )
    places = [self._place(step) for step in range(start, start + count)]
    rows = np.array(streams.host_range(self.batch, *self.host))
    chosen = np.stack([lines for lines, _ in places])[:, rows]
    return pen_segments.assembled(
      self.lines,
      self._batches.texts,
      chosen,
      self.length,
      first=self.length * np.array([chunk for _, chunk in places]),
    )

  def host_rows(self, index: int, count: int) -> "PenChunks":
    """The same lines, only those of host `index` of `count`.

    Raises:
      UserError: the rows cannot be shared out evenly.
    """
    return dataclasses.replace(self, host=(index, count))

  @functools.cached_property
  def _batches(self) -> pen_batches.PenBatches:
    """Which lines go together: pools of the same number of stretches."""
    return pen_batches.PenBatches(
      self.lines,
      batch=self.batch,
      alphabet=self.alphabet,
      multiple=self.length,
      shapes=1 + int(self.lines.lengths.max()) // self.length,
      seed=self.seed,
      host=self.host,
    )

  def _place(self, step: int) -> tuple[np.ndarray, int]:
    """The lines [B] of a step, all hosts', and which of their stretches."""
    epoch = 0
    while self._starts(epoch + 1)[epoch + 1] <= step:
      epoch += 1
    edges = self._edges(epoch)
    within = step - self._starts(epoch + 1)[epoch]
    number = bisect.bisect_right(edges, within) - 1
    per_epoch = self._batches.segments_per_epoch
    chosen = self._batches.indices(epoch * per_epoch + number)
    return chosen, within - edges[number]

  def _starts(self, epochs: int) -> list[int]:
    """The first step of each epoch up to number `epochs`, at least."""
    starts = self._known_starts
    while len(starts) <= epochs:
      starts.append(starts[-1] + self._edges(len(starts) - 1)[-1])
    return starts

  @functools.cached_property
  def _known_starts(self) -> list[int]:
    return [0]

  def _edges(self, epoch: int) -> list[int]:
    """The first step of each minibatch of an epoch, and the step after all."""
    if epoch not in self._known_edges:
      per_epoch = self._batches.segments_per_epoch
      steps = [
        -(
          -int(self.lines.lengths[self._batches.indices(step)].max())
          // self.length
        )
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch)
      ]
      self._known_edges[epoch] = [0, *np.cumsum(steps).tolist()]
    return self._known_edges[epoch]

  @functools.cached_property
  def _known_edges(self) -> dict[int, list[int]]:
    return {}
