"""Many handwritten lines in one array, and the scaling of their offsets."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodels import errors


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

    >>> PenLines.of([np.ones((2, 3))], ["a"], [""]).edges.tolist()
    [0, 2]

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
    """Numbers that come from a file.

    Args:
      mean: of x and y.
      deviation: of x and y.

    Raises:
      ValueError: they are not two of each, or none that points can be scaled
        by in float32.
    """
    found = cls(np.array(mean, np.float64), np.array(deviation, np.float64))
    if found.mean.shape != (2,) or found.deviation.shape != (2,):
      raise ValueError("means and deviations must be two of each")
    large = 1e30
    if not (np.all(np.abs(found.mean) < large)) or not np.all(
      (found.deviation > 1 / large) & (found.deviation < large)
    ):
      raise ValueError("means must be finite, deviations above 0 as well")
    return found

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
    found = cls(offsets.mean(axis=0), offsets.std(axis=0))
    if not np.all(found.deviation > 0):
      raise errors.UserError(
        f"the offsets have deviations {found.deviation.tolist()}; both must be "
        "above 0: give lines that move in x and y"
      )
    return found

  def standardise(self, points: np.ndarray) -> np.ndarray:
    """Points in raw units to standardised ones, float32 [..., 3].

    >>> scaling = Scaling(np.array([1.0, 0.0]), np.array([2.0, 4.0]))
    >>> scaling.standardise(np.array([5.0, 2.0, 1.0]))
    array([2. , 0.5, 1. ], dtype=float32)

    Args:
      points: [..., 3]; the third column stays.
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
