"""Handwriting in numbers: what real and generated ink can be compared by."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from seqmodels import errors

# [T, 3] in raw units: x offset, y offset (y grows downwards), 1 where the pen
# lifts after the point. The pen starts at the origin, and down.
Ink = np.ndarray | Sequence[Sequence[float]]


class Statistics(NamedTuple):
  """What one line of ink measures. Lengths are in the ink's own unit.

  A drawn step is one that the pen makes while it is down: every step but those
  that follow a lift. A quantity of which a line has none is nan.

  Attributes:
    points: T, the origin not counted.
    strokes: stretches between lifts; one that ends the line unlifted counts.
    points_per_stroke: the two divided.
    path_length: of all drawn steps together.
    step_length: mean over the drawn steps.
    width: extent in x of all points and the origin.
    height: extent in y.
    turns: times that y changes its direction within a stroke, for each 100
      points; steps level in y change nothing.
    slant: degrees that downstrokes lean to the right of the vertical, the top
      farther right than the bottom. A downstroke is a run of drawn steps that
      all go down; counted are, of those within 45 degrees of the vertical, the
      ones no lower than their median; the slant is the direction of the sum of
      the ways from their tops to their bottoms, so long ones weigh more.
    points_per_character: points over the characters of the text, spaces
      included.
    width_per_character: the width over the same.
  """

  points: float
  strokes: float
  points_per_stroke: float
  path_length: float
  step_length: float
  width: float
  height: float
  turns: float
  slant: float
  points_per_character: float
  width_per_character: float


class Summary(NamedTuple):
  """One statistic over several lines.

  Attributes:
    mean: over the lines that have it; nan if none has.
    deviation: the standard deviation of the lines around it.
    lines: how many have it.
  """

  mean: float
  deviation: float
  lines: int


class Comparison(NamedTuple):
  """One statistic of two sets of lines.

  Attributes:
    first: of the one set, such as the real lines.
    second: of the other, such as generated ones.
    shift: the second mean less the first, in deviations of the first set: how
      unusual a line the second's average would be there. nan if the first set
      does not vary.
  """

  first: Summary
  second: Summary
  shift: float


def of_line(ink: Ink, text: str | None = None) -> Statistics:
  """Measures one line.

  Args:
    ink: `[T, 3]`.
    text: what is written there; without it, or if it is empty, quantities a
      character are nan.

  Raises:
    ValueError: not of the shape `[T, 3]`.
    errors.UserError: no point, or a number that is not finite.

  >>> found = of_line([[3, 4, 0], [3, -4, 1], [9, 0, 1]], text="vi")
  >>> found.strokes, found.path_length, found.step_length, found.width
  (2.0, 10.0, 5.0, 15.0)
  >>> round(found.slant, 2), found.width_per_character
  (-36.87, 7.5)
  """
  rows = np.asarray(ink, np.float64)
  if not rows.size:
    raise errors.UserError(
      "a line of ink to measure has 0 points; give at least 1, or leave the "
      "line out"
    )
  if rows.ndim != 2 or rows.shape[1] != 3:
    raise ValueError(f"ink has the shape {rows.shape}, not [T, 3]")
  if not np.isfinite(rows).all():
    step = int((~np.isfinite(rows)).any(axis=1).argmax())
    raise errors.UserError(
      f"point {step} of a line of ink is {rows[step].tolist()}; only finite "
      "numbers can be measured, so check what made them"
    )
  lifts = rows[:, 2] > 0.5
  drawn = np.concatenate([[True], ~lifts[:-1]])
  points, strokes = len(rows), int(lifts[:-1].sum()) + 1
  lengths = np.hypot(*rows[drawn, :2].T)
  places = np.concatenate([np.zeros((1, 2)), np.cumsum(rows[:, :2], axis=0)])
  width, height = np.ptp(places, axis=0).tolist()
  characters = len(text) if text else math.nan
  return Statistics(
    points=float(points),
    strokes=float(strokes),
    points_per_stroke=points / strokes,
    path_length=float(lengths.sum()),
    step_length=float(lengths.mean()),
    width=width,
    height=height,
    turns=100.0 * _turns(rows[:, 1], drawn) / points,
    slant=_slant(rows[:, :2], drawn),
    points_per_character=points / characters,
    width_per_character=width / characters,
  )


def describe(
  inks: Sequence[Ink], texts: Sequence[str] | None = None
) -> dict[str, Summary]:
  """Means and deviations over lines, by the names of `Statistics`.

  Every line counts alike, however long.

  Args:
    inks: `[T, 3]` each.
    texts: what is written, line by line, if known.

  Raises:
    ValueError: as many texts as lines there are not; and as `of_line`.
    errors.UserError: no line, and as `of_line`.

  >>> found = describe([[[3, 4, 1]], [[6, 8, 0], [0, 0, 1]]])
  >>> found["path_length"]
  Summary(mean=7.5, deviation=2.5, lines=2)
  >>> found["points_per_character"].lines
  0
  """
  if not len(inks):
    raise errors.UserError(
      "statistics were asked for of 0 lines of ink; give at least 1"
    )
  written = [None] * len(inks) if texts is None else texts
  measured = [
    of_line(ink, text) for ink, text in zip(inks, written, strict=True)
  ]
  return {
    name: _summary(values)
    for name, values in zip(
      Statistics._fields, np.array(measured).T, strict=True
    )
  }


def compare(
  first: Mapping[str, Summary], second: Mapping[str, Summary]
) -> dict[str, Comparison]:
  """Sets two descriptions side by side, leaving out what one of them lacks.

  >>> real = describe([[[3, 4, 1]], [[6, 8, 1]]])
  >>> compare(real, describe([[[9, 12, 1]]]))["path_length"].shift
  3.0

  Args:
    first: what `describe` says of one set, such as the real lines.
    second: of the other.
  """
  return {
    name: Comparison(
      summary,
      second[name],
      (second[name].mean - summary.mean) / summary.deviation
      if summary.deviation
      else math.nan,
    )
    for name, summary in first.items()
    if name in second and summary.lines and second[name].lines
  }


def _summary(values: np.ndarray) -> Summary:
  known = values[np.isfinite(values)]
  if not len(known):
    return Summary(math.nan, math.nan, 0)
  return Summary(float(known.mean()), float(known.std()), len(known))


def _turns(down: np.ndarray, drawn: np.ndarray) -> int:
  """Changes of direction in y, none across a lift."""
  stroke = np.cumsum(~drawn)
  moving = drawn & (down != 0)
  direction, stroke = np.sign(down[moving]), stroke[moving]
  same_stroke = stroke[1:] == stroke[:-1]
  return int(np.sum(same_stroke & (direction[1:] != direction[:-1])))


def _slant(steps: np.ndarray, drawn: np.ndarray) -> float:
  """Degrees to the right of the vertical, as `Statistics` defines it."""
  going = drawn & (steps[:, 1] > 0)
  # A run begins where its step goes down and the one before did not, or lay in
  # another stroke: `drawn` is false at the first step after a lift, so that
  # such a step is in no run and parts two.
  begins = going & ~np.concatenate([[False], going[:-1]])
  run = np.cumsum(begins) - 1
  count = int(begins.sum())
  across = np.bincount(run[going], steps[going, 0], minlength=count)
  down = np.bincount(run[going], steps[going, 1], minlength=count)
  steep = np.abs(across) <= down
  across, down = across[steep], down[steep]
  if not len(down):
    return math.nan
  high = down >= np.median(down)
  return math.degrees(math.atan2(-across[high].sum(), down[high].sum()))
