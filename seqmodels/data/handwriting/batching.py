"""Minibatches of handwritten lines: whole lines, or a segment at a time."""

import bisect
import dataclasses
import functools
import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.data import batching
from seqmodels.data.handwriting.alphabet import Alphabet
from seqmodels.data.handwriting.strokes import PenLines

NO_TEXT = -1
# In place of a line number: a row without points, to fill a batch.
EMPTY = -1


class PenSegment(NamedTuple):
  """Lines or segments of them, time-major.

  Attributes:
    inputs: float32 [..., T, B, 3], the point before; the null vector at the
      first step of a line.
    targets: float32 [..., T, B, 3], the point to predict; 0 where not scored.
    mask: bool [..., T, B], True where there is a point.
    text: int32 [..., U, B], ids of the transcript, -1 beyond it; U is 0 without
      an alphabet.
    reset: bool [..., T, B], True at the first step of a line, before which the
      state is cleared.
  """

  inputs: np.ndarray
  targets: np.ndarray
  mask: np.ndarray
  text: np.ndarray
  reset: np.ndarray


def encoded(lines: PenLines, alphabet: Alphabet | None) -> np.ndarray:
  """The ids of each line's transcript, -1 beyond it; int32 [L, U].

  >>> from seqmodels.data.handwriting import alphabet
  >>> lines = PenLines.of([np.ones((1, 3))] * 2, ("x", "y"), ("a", "to"))
  >>> encoded(lines, alphabet.GRAVES).tolist()
  [[0, -1], [19, 14]]

  Raises:
    UserError: a line has no transcript, or one with a character without an id.
  """
  if alphabet is None or not len(lines):
    return np.zeros((len(lines), 0), np.int32)
  ids = np.full((len(lines), max(map(len, lines.texts))), NO_TEXT, np.int32)
  for row, name, text in zip(ids, lines.names, lines.texts, strict=True):
    if not text:
      raise errors.UserError(
        f"line {name} has no transcript; leave out lines without one (they are "
        "counted where the data is loaded with transcribed=True)"
      )
    try:
      row[: len(text)] = alphabet.encode(text)
    except errors.UserError as error:
      raise errors.UserError(f"line {name}: {error}") from error
  return ids


def assembled(
  lines: PenLines,
  texts: np.ndarray,
  rows: np.ndarray,
  steps: int,
  *,
  first: np.ndarray | int = 0,
) -> PenSegment:
  """The arrays of some lines, a column each.

  >>> lines = PenLines.of([np.ones((2, 3)), np.ones((1, 3))], "ab", ("", ""))
  >>> found = assembled(lines, encoded(lines, None), np.array([1, 0, EMPTY]), 2)
  >>> found.mask.tolist()
  [[True, True, False], [False, True, False]]
  >>> found.inputs[:, 1].tolist()
  [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]

  Args:
    lines: standardised.
    texts: int32 [L, U], see `encoded`.
    rows: int [..., B], numbers of lines; `EMPTY` gives a column of nothing.
    steps: T.
    first: int [..., B], the place in its line of the first of the T steps.
  """
  present = rows != EMPTY
  length = np.where(present, lines.lengths[rows], 0)[..., None, :]
  begin = np.broadcast_to(first, rows.shape)[..., None, :]
  step = np.arange(steps)[:, None] + begin
  mask = step < length
  edge = lines.edges[rows][..., None, :]
  targets = lines.points[np.where(mask, edge + step, 0)]
  targets = np.where(mask[..., None], targets, np.float32(0))
  # The last point of a line is nobody's input.
  known = mask & (step > 0)
  inputs = lines.points[np.where(known, edge + step - 1, 0)]
  inputs = np.where(known[..., None], inputs, np.float32(0))
  text = np.where(present[..., None], texts[rows], np.int32(NO_TEXT))
  return PenSegment(
    inputs,
    targets,
    mask,
    # As everything here: rows last but for what a position holds.
    np.swapaxes(text, -1, -2),
    step == 0,
  )


@dataclasses.dataclass(frozen=True, eq=False)
class PenBatches(batching.Stream[PenSegment]):
  """B whole lines a step, drawn again every epoch from lines of like length.

  `batching.LikeLength` says which lines a step takes, and what length they
  are padded to. Lines left over after the last full batch wait for another
  epoch.

  >>> arrays = [np.ones((length, 3)) for length in (1, 2, 3, 3)]
  >>> lines = PenLines.of(arrays, "abcd", "abcd")
  >>> batches = PenBatches(lines, batch=2, multiple=1)
  >>> segments = batches.segments(0, batches.segments_per_epoch)
  >>> segments.mask.shape, int(segments.mask.sum()), segments.text.shape
  ((2, 3, 2), 9, (2, 0, 2))

  Attributes:
    lines: standardised.
    batch: B, lines a step.
    alphabet: of the transcripts; None leaves the text out.
    dispatch: K, steps that are padded alike.
    multiple: padded lengths are multiples of it.
    shapes: the most padded lengths there may be.
    seed: of the orders.
  """

  lines: PenLines
  _: dataclasses.KW_ONLY
  batch: int
  alphabet: Alphabet | None = None
  dispatch: int = 1
  multiple: int = 8
  shapes: int = 24
  seed: int = 0

  def __post_init__(self) -> None:
    _ = self.batches
    require_lines(self.lines, self.batch)
    # A line that cannot be encoded is refused now, not epochs later.
    _ = self.texts

  @functools.cached_property
  def batches(self) -> batching.LikeLength:
    """The lines that a step takes."""
    return batching.LikeLength(
      self.lines.lengths,
      batch=self.batch,
      dispatch=self.dispatch,
      multiple=self.multiple,
      shapes=self.shapes,
      seed=self.seed,
    )

  @property
  def segments_per_epoch(self) -> int:
    """Full batches of lines."""
    return self.batches.batches_per_epoch

  @functools.cached_property
  def texts(self) -> np.ndarray:
    """The ids of each line's transcript, -1 beyond it; int32 [L, U]."""
    return encoded(self.lines, self.alphabet)

  def segments(self, start: int, count: int) -> PenSegment:
    """Minibatches `start` to `start + count`, padded alike; [count, T, ...]."""
    chosen = self.batches.chosen(start, count)
    steps = self.batches.steps(chosen)
    return assembled(self.lines, self.texts, chosen, steps)


def require_lines(lines: PenLines, batch: int) -> None:
  """Raises UserError for a batch of more lines than there are."""
  if len(lines) < batch:
    raise errors.UserError(
      f"there are {len(lines):,} lines and a batch takes {batch:,}; use more "
      "lines or a smaller batch"
    )


def evaluation(
  lines: PenLines,
  alphabet: Alphabet | None,
  batch: int,
  multiple: int = 8,
  *,
  shapes: int = 24,
) -> Iterator[tuple[np.ndarray, PenSegment]]:
  """Every line once, the shortest first.

  >>> lines = PenLines.of([np.ones((n, 3)) for n in (4, 1, 2)], "abc", "abc")
  >>> for indices, segment in evaluation(lines, None, 2, 1):
  ...   print(indices, segment.mask.sum(axis=0))
  [1 2] [1 2]
  [0] [4 0]

  Args:
    lines: standardised.
    alphabet: of the transcripts; None leaves the text out.
    batch: B, lines at a time; the last are filled up with rows without points
      or text.
    multiple: padded lengths are multiples of it.
    shapes: the most padded lengths there may be.

  Returns:
    An iterator of (numbers of the lines, int64 [at most B]; their arrays
    [T, B, ...], a row each and then the empty ones).

  Raises:
    UserError: a size below 1, or a transcript that cannot be encoded.
  """
  batching.check_sizes(batch=batch, multiple=multiple, shapes=shapes)
  texts = encoded(lines, alphabet)
  order = np.argsort(lines.lengths, kind="stable")
  padded = batching.lengths(lines.lengths, multiple=multiple, shapes=shapes)

  def batches() -> Iterator[tuple[np.ndarray, PenSegment]]:
    for start in range(0, len(order), batch):
      chosen = order[start : start + batch]
      rows = np.full(batch, EMPTY)
      rows[: len(chosen)] = chosen
      longest = lines.lengths[chosen[-1]]
      steps = int(padded[np.searchsorted(padded, longest)])
      yield chosen, assembled(lines, texts, rows, steps)

  return batches()


@dataclasses.dataclass(frozen=True, eq=False)
class PenChunks(batching.Stream[PenSegment]):
  """B lines side by side, T points a step, each row going on by itself.

  The state crosses from one segment to the next and is cleared where a line
  begins; the gradient stops at each segment's left edge. There are several
  updates a line, and one shape to compile.

  The lines of an epoch come in a new random order, and a row that has finished
  its line takes the next one: the lines of a step are of any length and stand
  at different places. (Score and length of a line go together, so steps of like
  lines would differ from each other for no good.) No row ever waits, also where
  an epoch ends, which is within a step.

  >>> arrays = [np.ones((length, 3)) for length in (3, 4)]
  >>> lines = PenLines.of(arrays, "ab", "ab")
  >>> chunks = PenChunks(lines, batch=2, length=2)
  >>> found = chunks.segments(0, 2)
  >>> found.mask.shape, int(found.mask.sum()), found.reset[:, 0, 0].tolist()
  ((2, 2, 2), 7, [True, False])

  Attributes:
    lines: standardised.
    batch: B, lines a step.
    length: T, points a step.
    alphabet: of the transcripts; None leaves the text out.
    seed: of the orders.
  """

  lines: PenLines
  _: dataclasses.KW_ONLY
  batch: int
  length: int
  alphabet: Alphabet | None = None
  seed: int = 0

  def __post_init__(self) -> None:
    if self.length < 1:
      raise errors.UserError(
        f"a segment has {self.length} points; it must have at least 1"
      )
    require_lines(self.lines, self.batch)
    # A line that cannot be encoded is refused now, not epochs later.
    _ = self._texts

  @property
  def segments_per_epoch(self) -> int:
    """Steps in which all lines are read once, the last of them in part."""
    return -(-int(self._segments.sum()) // self.batch)

  def segments(self, start: int, count: int) -> PenSegment:
    """Minibatches `start` to `start + count`; [count, T, ...]."""
    places = [self.places(step) for step in batching.steps(start, count)]
    numbers, first = map(np.stack, zip(*places, strict=True))
    return assembled(self.lines, self._texts, numbers, self.length, first=first)

  def places(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The line of every row at a step, and its first point there; [B] each."""
    rows = self._rows(step)
    numbers, first = np.zeros((2, self.batch), np.int64)
    for row, (starts, lines) in enumerate(rows):
      place = bisect.bisect_right(starts, step) - 1
      numbers[row] = lines[place]
      first[row] = self.length * (step - starts[place])
    return numbers, first

  @functools.cached_property
  def _texts(self) -> np.ndarray:
    return encoded(self.lines, self.alphabet)

  @functools.cached_property
  def _segments(self) -> np.ndarray:
    """Steps that each line takes, int64 [L]."""
    return -(-self.lines.lengths // self.length)

  def _rows(self, step: int) -> list[tuple[list[int], list[int]]]:
    """Of every row the first steps of its lines and their numbers, past `step`.

    Dealt out from the beginning, so that a step's lines are the same whoever
    asks; an epoch is a moment's work.
    """
    dealt = self._dealt
    while dealt.free[0][0] <= step:
      random = batching.generator(self.seed, dealt.epochs)
      for number in random.permutation(len(self.lines)).tolist():
        # The row that is free first, the lowest of several.
        begin, row = dealt.free[0]
        dealt.rows[row][0].append(begin)
        dealt.rows[row][1].append(number)
        end = begin + int(self._segments[number])
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
