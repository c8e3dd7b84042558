"""Whole handwritten lines as minibatches of similar length."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from seqmodels import errors
from seqmodels.data import like_length, padding, pen_segments, streams
from seqmodels.data.alphabet import Alphabet
from seqmodels.data.pen_lines import PenLines
from seqmodels.data.pen_segments import PenSegment


@dataclasses.dataclass(frozen=True, eq=False)
class PenBatches:
  """B whole lines a step, drawn anew every epoch from lines of like length.

  `like_length.LikeLength` says which lines a step takes, and what length they
  are padded to. Lines left over after the last full batch wait for another
  epoch.

  The interface is that of `sentences.Sentences`; segments are pure in (seed,
  step) too.

  >>> arrays = [np.ones((length, 3)) for length in (1, 2, 3, 3)]
  >>> lines = PenLines.of(arrays, "abcd", "abcd")
  >>> batches = PenBatches(lines, batch=2, multiple=1)
  >>> segments = batches.segments(0, batches.segments_per_epoch)
  >>> segments.mask.shape, int(segments.mask.sum()), segments.text.shape
  ((2, 3, 2), 9, (2, 0, 2))

  Attributes:
    lines: standardised.
    batch: B, lines a step over all hosts.
    alphabet: of the transcripts; None leaves the text out.
    dispatch: K, steps that are padded alike.
    multiple: padded lengths are multiples of it.
    shapes: the most padded lengths there may be.
    seed: of the orders.
    host: (index, count) of the host whose lines this gives.
  """

  lines: PenLines
  _: dataclasses.KW_ONLY
  batch: int
  alphabet: Alphabet | None = None
  dispatch: int = 1
  multiple: int = 8
  shapes: int = 24
  seed: int = 0
  host: tuple[int, int] = (0, 1)

  def __post_init__(self) -> None:
    _ = self.batches
    streams.host_range(self.batch, *self.host)
    require_lines(self.lines, self.batch)
    # A line that cannot be encoded is refused now, not epochs later.
    _ = self.texts

  @functools.cached_property
  def batches(self) -> like_length.LikeLength:
    """Which lines a step takes, those of all hosts."""
    return like_length.LikeLength(
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

  @property
  def targets_per_epoch(self) -> int:
    """Points of all lines; an epoch scores all but a batch's leftovers."""
    return len(self.lines.points)

  @functools.cached_property
  def texts(self) -> np.ndarray:
    """The ids of each line's transcript, -1 beyond it; int32 [L, U]."""
    return pen_segments.encoded(self.lines, self.alphabet)

  def segment(self, step: int) -> PenSegment:
    """The minibatch of one step; arrays [T, B of this host, ...].

    Args:
      step: 0, 1, ... counted over all epochs.
    """
    return PenSegment(*(array[0] for array in self.segments(step, 1)))

  def segments(self, start: int, count: int) -> PenSegment:
    """Minibatches `start` to `start + count`, padded alike; [count, T, ...]."""
    chosen = self.batches.chosen(start, count)
    # All hosts pad alike: the longest is looked for among all rows.
    steps = self.batches.steps(chosen)
    rows = np.array(streams.host_range(self.batch, *self.host))
    return pen_segments.assembled(
      self.lines, self.texts, chosen[:, rows], steps
    )

  def host_rows(self, index: int, count: int) -> "PenBatches":
    """The same lines, only those of host `index` of `count`.

    Raises:
      UserError: the rows cannot be shared out evenly.
    """
    return dataclasses.replace(self, host=(index, count))


def require_lines(lines: PenLines, batch: int) -> None:
  """Refuses a batch of more lines than there are.

  Raises:
    UserError: as said.
  """
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
  like_length.check_sizes(batch=batch, multiple=multiple, shapes=shapes)
  texts = pen_segments.encoded(lines, alphabet)
  order = np.argsort(lines.lengths, kind="stable")
  padded = padding.lengths(lines.lengths, multiple=multiple, shapes=shapes)

  def batches() -> Iterator[tuple[np.ndarray, PenSegment]]:
    for start in range(0, len(order), batch):
      chosen = order[start : start + batch]
      rows = np.full(batch, pen_segments.EMPTY)
      rows[: len(chosen)] = chosen
      longest = lines.lengths[chosen[-1]]
      steps = int(padded[np.searchsorted(padded, longest)])
      yield chosen, pen_segments.assembled(lines, texts, rows, steps)

  return batches()
