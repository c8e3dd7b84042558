"""Whole handwritten lines as minibatches of similar length."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from seqmodels import errors
from seqmodels.data import padding, pen_segments, streams
from seqmodels.data.alphabet import Alphabet
from seqmodels.data.pen_lines import PenLines
from seqmodels.data.pen_segments import PenSegment


@dataclasses.dataclass(frozen=True, eq=False)
class PenBatches:
  """B whole lines a step, drawn anew every epoch from lines of like length.

  Lines are padded to one of a few lengths, chosen so that little is added
  (`padding.lengths`). Those of one padded length are shuffled in every epoch
  and dealt out to the batches, whose order is shuffled as well. The batches of
  a dispatch are padded alike, so they are shuffled together: dispatches begin
  at the multiples of `dispatch`, as the training loop's do, whether or not an
  epoch ends within one. Lines left over after the last full batch wait for
  another epoch.

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
    _check_sizes(self.batch, self.multiple, self.shapes)
    if self.dispatch < 1:
      raise errors.UserError(
        f"dispatch is {self.dispatch}; it must be at least 1 step"
      )
    streams.host_range(self.batch, *self.host)
    require_lines(self.lines, self.batch)
    # A line that cannot be encoded is refused now, not epochs later.
    _ = self.texts

  @property
  def segments_per_epoch(self) -> int:
    """Full batches of lines."""
    return len(self.lines) // self.batch

  @property
  def targets_per_epoch(self) -> int:
    """Points of all lines; an epoch scores all but a batch's leftovers."""
    return len(self.lines.points)

  @functools.cached_property
  def texts(self) -> np.ndarray:
    """The ids of each line's transcript, -1 beyond it; int32 [L, U]."""
    return pen_segments.encoded(self.lines, self.alphabet)

  @functools.cached_property
  def padded(self) -> np.ndarray:
    """The padded lengths in use, rising, int64 [at most `shapes`]."""
    return padding.lengths(
      self.lines.lengths, multiple=self.multiple, shapes=self.shapes
    )

  def segment(self, step: int) -> PenSegment:
    """The minibatch of one step; arrays [T, B of this host, ...].

    Args:
      step: 0, 1, ... counted over all epochs.
    """
    return PenSegment(*(array[0] for array in self.segments(step, 1)))

  def segments(self, start: int, count: int) -> PenSegment:
    """Minibatches `start` to `start + count`, padded alike; [count, T, ...]."""
    if start < 0 or count < 1:
      raise errors.UserError(
        f"segments({start}, {count}): start must be at least 0 and count at "
        "least 1"
      )
    chosen = np.stack(
      [self.indices(step) for step in range(start, start + count)]
    )
    # All hosts pad alike: the longest is looked for among all rows.
    longest = int(self.lines.lengths[chosen].max())
    steps = int(self.padded[np.searchsorted(self.padded, longest)])
    rows = np.array(streams.host_range(self.batch, *self.host))
    return pen_segments.assembled(
      self.lines, self.texts, chosen[:, rows], steps
    )

  def indices(self, step: int) -> np.ndarray:
    """The numbers of a step's lines, those of all hosts; int64 [B]."""
    epoch, place = divmod(step, self.segments_per_epoch)
    return self._order(epoch)[place]

  def host_rows(self, index: int, count: int) -> "PenBatches":
    """The same lines, only those of host `index` of `count`.

    Raises:
      UserError: the rows cannot be shared out evenly.
    """
    return dataclasses.replace(self, host=(index, count))

  def _order(self, epoch: int) -> np.ndarray:
    """The lines of every batch of an epoch, int64 [batches, B]."""
    if epoch not in self._orders:
      # Kept for the epoch in use, and the one before it at the turn.
      for old in list(self._orders)[:-1]:
        del self._orders[old]
      self._orders[epoch] = self._drawn(epoch)
    return self._orders[epoch]

  @functools.cached_property
  def _orders(self) -> dict[int, np.ndarray]:
    return {}

  def _drawn(self, epoch: int) -> np.ndarray:
    random = streams.generator(self.seed, epoch)
    batches = self.segments_per_epoch
    chosen = random.permutation(len(self.lines))[: batches * self.batch]
    pool = np.searchsorted(self.padded, self.lines.lengths[chosen])
    # Stable: within a pool the order stays that of the permutation.
    chosen = chosen[np.argsort(pool, kind="stable")]
    # The dispatches that this epoch shares with the one before it and with the
    # next get its middling lengths, so that both halves pad alike.
    first = epoch * batches
    head = min(-first % self.dispatch, batches)
    whole, tail = divmod(batches - head, self.dispatch)
    sizes = [self.dispatch] * whole
    sizes[whole // 2 : whole // 2] = [head, tail]
    groups = np.split(chosen, self.batch * np.cumsum(sizes)[:-1])
    head_group, tail_group = (groups.pop(whole // 2) for _ in range(2))
    order = [
      head_group,
      *(groups[index] for index in random.permutation(whole)),
      tail_group,
    ]
    return np.concatenate(
      [random.permutation(group) for group in order]
    ).reshape(batches, self.batch)


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
  _check_sizes(batch, multiple, shapes)
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


def _check_sizes(batch: int, multiple: int, shapes: int) -> None:
  for name, size in (
    ("batch", batch),
    ("multiple", multiple),
    ("shapes", shapes),
  ):
    if size < 1:
      raise errors.UserError(f"{name} is {size}; it must be at least 1")
