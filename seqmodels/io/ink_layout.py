"""Where ink lies on a page: strokes of a line, lines below each other."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodels import errors

# [T, 3] in raw units: x offset, y offset, y growing downwards, and 1 where the
# pen lifts after the point. The pen starts at the origin, and down.
Ink = np.ndarray | Sequence[Sequence[float]]

# Beyond it a viewer's float32 coordinates are coarser than the pen is wide.
LARGEST = 1e7


class Page(NamedTuple):
  """Lines of ink, placed: all within (0, 0) and (width, height), y downwards.

  Attributes:
    lines: of each line its strokes, float64 `[points, 2]`; a blank line has
      none.
    tops: where each line begins, its highest point.
    left: where every line begins.
    width: raw units, margins included.
    height: raw units, margins included.
    pen: a stroke's width, raw units.
  """

  lines: tuple[tuple[np.ndarray, ...], ...]
  tops: tuple[float, ...]
  left: float
  width: float
  height: float
  pen: float


def strokes(ink: Ink) -> list[np.ndarray]:
  """Positions of the pen while it is down, a stroke each, in order.

  The first stroke begins at the origin, every other one at the point after a
  lift: the way of the lifted pen is in no stroke.

  Args:
    ink: `[T, 3]`.

  Returns:
    Float64 `[points, 2]` each, one point at least; together T + 1 points.

  Raises:
    ValueError: not of the shape `[T, 3]`.
    errors.UserError: no point, or a position that is no finite number or
      farther than `LARGEST` from the origin.

  >>> [part.tolist() for part in strokes([[2, 0, 1], [3, 4, 0], [0, 1, 1]])]
  [[[0.0, 0.0], [2.0, 0.0]], [[5.0, 4.0], [5.0, 5.0]]]
  """
  rows = np.asarray(ink, np.float64)
  if not rows.size:
    raise errors.UserError(
      "a line of ink has 0 points; give at least 1, or leave the line out"
    )
  if rows.ndim != 2 or rows.shape[1] != 3:
    raise ValueError(f"ink has the shape {rows.shape}, not [T, 3]")
  with np.errstate(over="ignore", invalid="ignore"):
    places = np.cumsum(rows[:, :2], axis=0)
  # Negated, since no comparison with NaN holds.
  far = ~(np.abs(places) <= LARGEST).all(axis=1) | ~np.isfinite(rows[:, 2])
  if far.any():
    step = int(far.argmax())
    x, y = places[step]
    raise errors.UserError(
      f"point {step} of a line of ink is at ({x:g}, {y:g}) with the lift "
      f"{rows[step, 2]:g}; they must be finite and within {LARGEST:g} of the "
      "origin, so check the numbers that made it"
    )
  places = np.concatenate([np.zeros((1, 2)), places])
  # Row t is point t + 1; a lift after the last point begins nothing.
  return np.split(places, np.flatnonzero(rows[:-1, 2] > 0.5) + 2)


def page(inks: Sequence[Ink | None], *, caption: float = 0.0) -> Page:
  """Places lines of ink below each other, left-aligned.

  What is the same for every line is where its body lies, the median height of
  its points: one and a half line heights below the previous body, so that a
  missing ascender moves nothing. A line that would run into the previous one
  is moved down further. The line height is the median over the lines, of each
  its extent in y, less what comes of writing uphill.

  Args:
    inks: `[T, 3]` each, in raw units; None is a blank line.
    caption: room for writing above each line, as a part of the page's width.

  Raises:
    As `strokes`, and errors.UserError if there is no line of ink.

  >>> placed = page([[[600, 0, 0], [0, 30, 1]], [[600, 0, 0], [0, 30, 1]]])
  >>> placed.tops, placed.left, placed.width, placed.height, f"{placed.pen:.1f}"
  ((9.0, 54.0), 9.0, 618.0, 93.0, '0.9')
  """
  parts = [[] if ink is None else strokes(ink) for ink in inks]
  points = [np.concatenate(part) for part in parts if part]
  if not points:
    raise errors.UserError(
      f"a page of {len(parts)} lines has no ink; give at least one line of it"
    )
  height = float(np.median([_line_height(line) for line in points]))
  margin = 0.3 * height
  width = max(float(np.ptp(line[:, 0])) for line in points) + 2 * margin
  room = caption * width
  lines: list[tuple[np.ndarray, ...]] = []
  tops: list[float] = []
  body, bottom = -math.inf, max(margin - room, 0.0)
  for part in parts:
    line = np.concatenate(part or [np.zeros((1, 2))])
    corner = line.min(axis=0)
    middle = float(np.median(line[:, 1]) - corner[1])
    top = max(bottom + room, body + 1.5 * height + room - middle)
    shift = np.array([margin, top]) - corner
    lines.append(tuple(stroke + shift for stroke in part))
    tops.append(top)
    body = top + middle
    bottom = top + float(np.ptp(line[:, 1])) + 0.1 * height
  return Page(
    tuple(lines),
    tuple(tops),
    left=margin,
    width=width,
    height=bottom - 0.1 * height + margin,
    pen=0.03 * height,
  )


def along_time(ink: Ink) -> list[np.ndarray]:
  """Strokes over an axis of time, bent as little as that takes.

  The pen goes back and forth in x while time goes on. Here the slow part of x,
  its mean over a tenth of the line, is replaced by time; what is left of x,
  the shape of letters, stays beside it. Both coordinates are scaled by as much
  as makes the line as wide as it has points.

  Args:
    ink: `[T, 3]` in raw units.

  Returns:
    As `strokes`: x is about the number of the row, 0 to T, and y is 0 where the
    line is highest.

  Raises:
    As `strokes`.

  >>> [part.round().tolist() for part in along_time([[9, 0, 0], [9, 6, 1]])]
  [[[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]]]
  """
  parts = strokes(ink)
  places = np.concatenate(parts)
  steps = len(places) - 1
  # A line higher than wide would leave the paper.
  scale = steps / (float(np.ptp(places, axis=0).max()) or 1.0)
  x = scale * places[:, 0]
  half = steps // 20
  # A mean over [t - half, t + half]; at the ends x goes on as a straight line.
  before = 2 * x[0] - x[half:0:-1]
  after = 2 * x[-1] - x[-2 : -half - 2 : -1]
  sums = np.cumsum(np.concatenate([[0.0], before, x, after]))
  slow = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
  times = np.arange(steps + 1.0)
  bent = np.stack(
    [times + x - slow, scale * (places[:, 1] - places[:, 1].min())], axis=1
  )
  return np.split(bent, np.cumsum([len(part) for part in parts])[:-1])


def _line_height(points: np.ndarray) -> float:
  """How high the writing is; for a dash, what so wide a line usually has."""
  x, y = (points - points.mean(axis=0)).T
  wide, high = float(np.ptp(x)), float(np.ptp(y))
  if wide > 3 * high:  # A line, not a letter: its rise is no part of it.
    high = float(np.ptp(y - x * (x @ y) / (x @ x)))
  return max(high, wide / 20) or 1.0
