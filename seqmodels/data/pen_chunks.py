"""Handwritten lines in minibatches, a stretch at a time."""

import bisect
import dataclasses
import functools
import heapq

import numpy as np

from seqmodels import errors
from seqmodels.data import pen_batches, pen_segments, streams
from seqmodels.data.alphabet import Alphabet
from seqmodels.data.pen_lines import PenLines
from seqmodels.data.pen_segments import PenSegment


@dataclasses.dataclass(frozen=True, eq=False)
class PenChunks:
  """B lines side by side, T points a step, each row going on by itself.

  The state crosses from one stretch to the next and is cleared where a line
  begins; the gradient stops at each stretch's left edge. There are several
  updates a line, and one shape to compile.

  The lines of an epoch come in an order drawn anew, and a row that has finished
  its line takes the next one: the lines of a step are of any length and stand
  at different places. (Score and length of a line go together, so steps of like
  lines would differ from each other for no good.) No row ever waits, also where
  an epoch ends, which is within a step.

  The interface is that of `PenBatches`, and segments are pure in (seed, step).

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
    streams.host_range(self.batch, *self.host)
    pen_batches.require_lines(self.lines, self.batch)
    # A line that cannot be encoded is refused now, not epochs later.
    _ = self._texts

  @property
  def segments_per_epoch(self) -> int:
    """Steps in which all lines are read once, the last of them in part."""
    return -(-int(self._stretches.sum()) // self.batch)

  @property
  def targets_per_epoch(self) -> int:
    """Points of all lines."""
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
    places = [self.places(step) for step in range(start, start + count)]
    rows = np.array(streams.host_range(self.batch, *self.host))
    numbers, first = (
      np.stack(part)[:, rows] for part in zip(*places, strict=True)
    )
    return pen_segments.assembled(
      self.lines, self._texts, numbers, self.length, first=first
    )

  def places(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The line of every row at a step, and its first point there; [B] each."""
    rows = self._rows(step)
    numbers, first = np.zeros((2, self.batch), np.int64)
    for row, (starts, lines) in enumerate(rows):
      place = bisect.bisect_right(starts, step) - 1
      numbers[row] = lines[place]
      first[row] = self.length * (step - starts[place])
    return numbers, first

  def host_rows(self, index: int, count: int) -> "PenChunks":
    """The same lines, only those of host `index` of `count`.

    Raises:
      UserError: the rows cannot be shared out evenly.
    """
    return dataclasses.replace(self, host=(index, count))

  @functools.cached_property
  def _texts(self) -> np.ndarray:
    return pen_segments.encoded(self.lines, self.alphabet)

  @functools.cached_property
  def _stretches(self) -> np.ndarray:
    """Steps that each line takes, int64 [L]."""
    return -(-self.lines.lengths // self.length)

  def _rows(self, step: int) -> list[tuple[list[int], list[int]]]:
    """Of every row the first steps of its lines and their numbers, past `step`.

    Dealt out from the beginning, so that a step's lines are the same whoever
    asks; an epoch is a moment's work.
    """
    dealt = self._dealt
    while dealt.free[0][0] <= step:
      random = streams.generator(self.seed, dealt.epochs)
      for number in random.permutation(len(self.lines)).tolist():
        # The row that is free first, the lowest of several.
        begin, row = dealt.free[0]
        dealt.rows[row][0].append(begin)
        dealt.rows[row][1].append(number)
        end = begin + int(self._stretches[number])
        heapq.heapreplace(dealt.free, (end, row))
      dealt.epochs += 1
    return dealt.rows

  @functools.cached_property
  def _dealt(self) -> "_Dealt":
    return _Dealt(
      [(0, row) for row in range(self.batch)],
      [([], []) for _ in range(self.batch)],
    )


@dataclasses.dataclass
class _Dealt:
  """Lines given to rows so far."""

  free: list[tuple[int, int]]  # a heap of (first step without a line, row)
  rows: list[tuple[list[int], list[int]]]
  epochs: int = 0
