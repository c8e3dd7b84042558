"""Handwritten lines as arrays of offsets: clean-up, scaling, alphabet.

A line is strokes, a stroke is readings of the pen's position and time. Two
things are repaired (Graves 2013, section 4.1, which gives no numbers): missing
readings within a stroke are interpolated, and steps longer than a threshold are
removed. Nothing is done to slant, size or skew.
"""

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.data.handwriting import alphabet as alphabets

# Seconds between two readings of IAM-OnDB: the median over its longer strokes,
# 9 in 10 of which have between 0.0144 and 0.0157. Times are written in
# hundredths, so that 0.01 and 0.02 take turns; one stroke in 100 was read every
# 0.022 seconds or less often.
PERIOD = 0.0148

# A longer time between two readings of a stroke tells nothing of what the pen
# did (it happens some 200 times in 7 million, up to 6,400 seconds).
LONGEST_GAP = 0.3

# Steps of a stroke above this are taken for recording errors, in units of the
# whiteboard (a line is some 5,500 wide, the median step is 18). After
# interpolation 99.99% are below 177. Those of 120 to 200 have neighbours of 50:
# a quick pen. From 250 on, 19 in 20 are more than four times their neighbours:
# lifts that were not noticed, and reflections. There are 185 in 12,179 lines.
LONGEST_STEP = 250.0

# The board spans 0 to 9,181 in the database.
LARGEST = 100_000.0


def offsets(
  strokes: Sequence[np.ndarray], *, longest_step: float = LONGEST_STEP
) -> np.ndarray:
  """The offsets of a line, from each pen position to the next.

  The first position is the origin and gives no offset; of a first stroke of one
  reading, the place is kept and the lift is not. A step that is removed takes
  the detour out of the line; what follows moves up to where it began. Moves of
  the lifted pen are kept at any length: a late dot is far away.

  >>> ink = [np.array([[0, 0, 0], [3, 4, 0.01]]), np.array([[9, 4, 0.5]])]
  >>> offsets(ink).tolist()
  [[3.0, 4.0, 1.0], [6.0, 0.0, 1.0]]

  Args:
    strokes: float64 [T, 3] each, T at least 1: x, y (downwards), seconds.
    longest_step: steps within a stroke above it are removed.

  Returns:
    float32 [N, 3]: x offset, y offset, 1 where the pen lifts after the point.
    The last has it.

  Raises:
    UserError: less than two readings, a stroke without any, numbers that are
      not finite or absurdly large, or only steps that are removed.
  """
  if not longest_step > 0:
    raise errors.UserError(
      f"the longest step is {longest_step}; it must be above 0"
    )
  readings = _checked(strokes)
  last = np.cumsum([len(stroke) for stroke in strokes]) - 1
  lifted = np.zeros(len(readings), bool)
  lifted[last] = True
  # Row t is the way from reading t to t + 1: a step, or a move if lifted[t].
  way = np.diff(readings, axis=0)
  parts = 1 + missing(way, lifted[:-1])
  shares = np.repeat(way[:, :2] / parts[:, None], parts, axis=0)
  # Whether the pen lifts after the point that a share leads to: the shares of
  # an interpolated step lead to made-up points, all but its last.
  ends = np.zeros(len(shares), bool)
  ends[np.cumsum(parts) - 1] = lifted[1:]
  moves = np.repeat(lifted[:-1], parts)
  kept = moves | (np.hypot(shares[:, 0], shares[:, 1]) <= longest_step)
  return _without(shares, ends, kept, longest_step)


def missing(way: np.ndarray, moves: np.ndarray) -> np.ndarray:
  """The number of readings missing between each two.

  Time alone does not show it: clocks stumble, and some sessions were read at
  half the rate. Nor does distance: pens hurry. So it is as many as both ask
  for: the periods that went by, and the steps like its neighbours that would
  cover it.

  >>> way = np.array([[10, 0, 0.015], [30, 0, 0.045], [10, 0, 0.015]])
  >>> missing(way, np.zeros(3, bool))
  array([0, 2, 0])

  Args:
    way: float64 [N, 3], differences of x, y and seconds.
    moves: bool [N], True where the pen was lifted: nothing is missing there.

  Returns:
    int64 [N].
  """
  length = np.hypot(way[:, 0], way[:, 1])
  # The neighbours' mean length, over those that are steps of the same stroke.
  steps = np.pad(~moves, 1)
  padded = np.pad(length, 1)
  count = steps[:-2].astype(int) + steps[2:]
  total = np.where(steps[:-2], padded[:-2], 0) + np.where(
    steps[2:], padded[2:], 0
  )
  gap = ~moves & (way[:, 2] > 0) & (way[:, 2] <= LONGEST_GAP)
  gap &= (length > 0) & (count > 0)
  periods = np.where(gap, np.rint(way[:, 2] / PERIOD), 1)
  # Neighbours that rest would ask for ever so many.
  near = np.maximum(total / np.maximum(count, 1), length / (periods + 1))
  by_length = np.rint(length / np.where(gap, near, np.inf))
  gaps = np.minimum(periods, by_length) - 1
  return np.maximum(gaps, 0).astype(np.int64)


def require_points(strokes: Sequence[np.ndarray]) -> None:
  """Raises UserError where a stroke has no points."""
  for index, stroke in enumerate(strokes):
    if not len(stroke):
      raise errors.UserError(
        f"stroke {index + 1} of {len(strokes)} has 0 points; every stroke "
        "must have at least 1"
      )


def _checked(strokes: Sequence[np.ndarray]) -> np.ndarray:
  """All readings of a line, float64 [N, 3]."""
  require_points(strokes)
  readings = np.concatenate([np.zeros((0, 3)), *strokes])
  if len(readings) < 2:
    raise errors.UserError(
      f"the line has {len(readings)} points; it must have at least 2"
    )
  good = np.isfinite(readings).all(axis=1)
  good &= (np.abs(readings[:, :2]) <= LARGEST).all(axis=1)
  if not good.all():
    first = int(np.argmin(good))
    x, y, time = readings[first].tolist()
    raise errors.UserError(
      f"point {first + 1} of {len(readings)} is x={x} y={y} time={time}; "
      f"coordinates must lie within {LARGEST:,.0f} of 0 and all three must be "
      "finite"
    )
  return readings


def _without(
  shares: np.ndarray, ends: np.ndarray, kept: np.ndarray, longest_step: float
) -> np.ndarray:
  """The offsets that are kept, float32 [N, 3]."""
  if not kept.any():
    raise errors.UserError(
      f"all {len(kept)} steps of the line are longer than {longest_step:g}; "
      "give ink in units of the whiteboard, or a larger threshold"
    )
  # Where the step to a stroke's last point goes, the point before is the last.
  before = np.maximum.accumulate(np.where(kept, np.arange(len(kept)), -1))
  ends = ends.copy()
  lost = before[ends & ~kept]
  ends[lost[lost >= 0]] = True
  return np.column_stack([shares, ends])[kept].astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class PenLines:
  """Handwritten lines, point after point, line after line.

  A point is the way from the pen position before it and whether the pen leaves
  the board after it. The first position of a line is the origin, no point.

  >>> points = np.array([[1, 2, 0], [3, 4, 1], [5, 6, 1]], np.float32)
  >>> lines = PenLines(points, np.array([0, 2, 3]), ("a", "b"), ("hi", ""))
  >>> len(lines), lines.lengths.tolist(), lines.line(1).tolist()
  (2, [2, 1], [[5.0, 6.0, 1.0]])
  >>> lines.select([1]).names
  ('b',)

  Attributes:
    points: float32 [N, 3]: x offset, y offset (downwards positive), end of
      stroke (0 or 1).
    edges: int64 [L + 1]: line i is points[edges[i]:edges[i + 1]], never empty.
    names: L of them, such as "a01-000u-01".
    texts: L transcripts, "" where there is none.
  """

  points: np.ndarray
  edges: np.ndarray
  names: tuple[str, ...]
  texts: tuple[str, ...]

  def __post_init__(self) -> None:
    # Edges are given by lists, too; an int32 would overflow nowhere but be
    # another dtype in the cache.
    object.__setattr__(self, "edges", np.asarray(self.edges, np.int64))
    points, edges = self.points, self.edges
    if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] != 3:
      raise TypeError(
        f"points must be float32 [N, 3]; got {points.dtype}{list(points.shape)}"
      )
    count = len(edges) - 1
    if count < 0 or edges[0] or edges[-1] != len(points):
      raise ValueError(f"edges must go from 0 to {len(points)}; got {edges}")
    if np.any(np.diff(edges) < 1):
      raise ValueError("edges must rise: a line has at least one point")
    if len(self.names) != count or len(self.texts) != count:
      raise ValueError(
        f"{count} lines have {len(self.names)} names and {len(self.texts)} "
        "texts"
      )

  @classmethod
  def of(
    cls,
    lines: Sequence[np.ndarray],
    names: Sequence[str],
    texts: Sequence[str],
  ) -> "PenLines":
    """Lines given one by one.

    Args:
      lines: arrays [T, 3], T at least 1 and different for each.
      names: one a line.
      texts: one a line.
    """
    edges = np.cumsum([0, *map(len, lines)])
    points = np.concatenate([np.zeros((0, 3), np.float32), *lines])
    points = points.astype(np.float32, copy=False)
    return cls(points, edges, tuple(names), tuple(texts))

  @classmethod
  def joined(cls, parts: Sequence["PenLines"]) -> "PenLines":
    """All lines of several, in order."""
    return cls(
      np.concatenate([part.points for part in parts]),
      np.cumsum([0, *np.concatenate([part.lengths for part in parts])]),
      tuple(name for part in parts for name in part.names),
      tuple(text for part in parts for text in part.texts),
    )

  def __len__(self) -> int:
    return len(self.names)

  @property
  def lengths(self) -> np.ndarray:
    """Points of each line, int64 [L]."""
    return np.diff(self.edges)

  def line(self, index: int) -> np.ndarray:
    """The points of one line, a view float32 [T, 3]."""
    if not 0 <= index < len(self):
      raise IndexError(f"line {index} of {len(self)}")
    return self.points[self.edges[index] : self.edges[index + 1]]

  def select(self, indices: Sequence[int] | np.ndarray) -> "PenLines":
    """The lines of those numbers, in that order."""
    chosen = [int(index) for index in indices]
    return PenLines.of(
      [self.line(index) for index in chosen],
      [self.names[index] for index in chosen],
      [self.texts[index] for index in chosen],
    )

  def spread(self, count: int) -> "PenLines":
    """So many lines, evenly spaced; all of them if there are no more.

    Neighbours are of one writer's form, unlike the rest.

    >>> PenLines.of([np.ones((1, 3))] * 5, "abcde", "abcde").spread(3).names
    ('a', 'c', 'e')
    """
    if count >= len(self):
      return self
    return self.select(np.linspace(0, len(self) - 1, count).round())

  def span(self, start: int, stop: int) -> "PenLines":
    """The lines `start` to `stop`; their points are views of these."""
    start, stop, _ = slice(start, stop).indices(len(self))
    edges = self.edges[start : max(start, stop) + 1]
    return PenLines(
      self.points[edges[0] : edges[-1]],
      edges - edges[0],
      self.names[start:stop],
      self.texts[start:stop],
    )

  def index(self, name: str) -> int:
    """The number of the line of that name.

    Raises:
      UserError: there is none.
    """
    try:
      return self.names.index(name)
    except ValueError:
      near = difflib.get_close_matches(name, self.names, n=3)
      hint = f"; did you mean {' or '.join(near)}?" if near else ""
      raise errors.UserError(
        f"there is no line {name!r} among these {len(self):,}{hint}"
      ) from None


class Scaling(NamedTuple):
  """Means and deviations of the offsets, to give them mean 0 and deviation 1.

  Losses are densities in standardised units: those of two scalings differ by
  the logarithms of the deviations, so the training split's is used throughout.

  Attributes:
    mean: float64 [2], raw units.
    deviation: float64 [2], raw units, positive.
  """

  mean: np.ndarray
  deviation: np.ndarray

  @classmethod
  def of(cls, mean: Sequence[float], deviation: Sequence[float]) -> "Scaling":
    """The scaling of numbers that come from a file, two of each.

    Raises:
      ValueError: they are not two, or points cannot be scaled by them in
        float32.
    """
    scaling = cls(np.array(mean, np.float64), np.array(deviation, np.float64))
    if scaling.mean.shape != (2,) or scaling.deviation.shape != (2,):
      raise ValueError("means and deviations must be two of each")
    large = 1e30
    if not (np.all(np.abs(scaling.mean) < large)) or not np.all(
      (scaling.deviation > 1 / large) & (scaling.deviation < large)
    ):
      raise ValueError("means must be finite, deviations above 0 as well")
    return scaling

  @classmethod
  def fit(cls, lines: PenLines) -> "Scaling":
    """The scaling of these lines' points.

    Raises:
      UserError: no lines, or offsets that do not vary.
    """
    if not len(lines):
      raise errors.UserError(
        "there are 0 lines to take the mean and the deviation of; give at "
        "least 1"
      )
    # float32 sums of millions of points lose digits that the loss shows.
    offsets = lines.points[:, :2].astype(np.float64)
    scaling = cls(offsets.mean(axis=0), offsets.std(axis=0))
    if not np.all(scaling.deviation > 0):
      raise errors.UserError(
        f"the offsets have deviations {scaling.deviation.tolist()}; both must "
        "be above 0: give lines that move in x and y"
      )
    return scaling

  def standardise(self, points: np.ndarray) -> np.ndarray:
    """Points in raw units to standardised ones, float32 [..., 3].

    >>> scaling = Scaling(np.array([1.0, 0.0]), np.array([2.0, 4.0]))
    >>> scaling.standardise(np.array([5.0, 2.0, 1.0]))
    array([2. , 0.5, 1. ], dtype=float32)
    """
    return self._replaced(
      points, (points[..., :2] - self.mean) / self.deviation
    )

  def restore(self, points: np.ndarray) -> np.ndarray:
    """Standardised points back to raw units, float32 [..., 3]."""
    return self._replaced(points, points[..., :2] * self.deviation + self.mean)

  def apply(self, lines: PenLines) -> PenLines:
    """The same lines with standardised points."""
    return dataclasses.replace(lines, points=self.standardise(lines.points))

  def _replaced(self, points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    result = np.array(points, np.float32)
    result[..., :2] = offsets
    return result


class Pen(NamedTuple):
  """Alphabet and scaling of a network, kept beside its weights."""

  alphabet: alphabets.Alphabet
  scaling: Scaling

  @property
  def record(self) -> dict[str, Any]:
    """As JSON holds it, floats to the last bit."""
    return {
      "symbols": list(self.alphabet.symbols),
      "other": self.alphabet.other,
      "collapsed": self.alphabet.collapsed,
      "mean": [float(value) for value in self.scaling.mean],
      "deviation": [float(value) for value in self.scaling.deviation],
    }

  @classmethod
  def of(cls, record: Mapping[str, Any]) -> "Pen":
    """The pen of a `record`, which may come from anywhere.

    Raises:
      KeyError, TypeError, ValueError, OverflowError: it is none.
    """
    symbols, collapsed = record["symbols"], record["collapsed"]
    if not isinstance(symbols, list) or not isinstance(collapsed, str):
      raise TypeError("symbols must be a list, collapsed a text")
    return cls(
      alphabets.Alphabet(tuple(symbols), record.get("other"), collapsed),
      Scaling.of(record["mean"], record["deviation"]),
    )

  @property
  def size(self) -> int:
    """Symbols of the alphabet."""
    return self.alphabet.size

  @property
  def hash(self) -> str:
    """SHA-256 of the record."""
    text = json.dumps(self.record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
