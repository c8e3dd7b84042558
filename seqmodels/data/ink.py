"""Readings of a pen to the offsets that a network sees.

A line is strokes, a stroke is readings of where the pen was and when. Two
things are mended (Graves 2013, section 4.1, which gives no numbers): readings
that are missing within a stroke are interpolated, and steps longer than a
threshold are removed. Nothing is done to slant, size or skew.
"""

from collections.abc import Sequence

import numpy as np

from seqmodels import errors

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
  """How many readings are missing on each way between two readings.

  Time alone does not tell: clocks stumble, and some sessions were read at half
  the rate. Nor does distance: pens hurry. So it is as many as both ask for: the
  periods that went by, and the steps like its neighbours that would cover it.

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
  found = np.minimum(periods, by_length) - 1
  return np.maximum(found, 0).astype(np.int64)


def _checked(strokes: Sequence[np.ndarray]) -> np.ndarray:
  """All readings of a line, float64 [N, 3]."""
  for index, stroke in enumerate(strokes):
    if not len(stroke):
      raise errors.UserError(
        f"stroke {index + 1} of {len(strokes)} has 0 points; every stroke "
        "must have at least 1"
      )
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
