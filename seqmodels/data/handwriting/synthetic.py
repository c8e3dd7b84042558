"""A small handwriting made up from a seed, to try everything in minutes.

Letters are fixed strokes on a grid, put side by side to a few short words and
written with a slant, a size, a pace and an unsteadiness that differ from line
to line. The pen slows down where it turns, as pens do.
"""

import functools
from typing import NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.data import batching
from seqmodels.data.handwriting.strokes import PenLines

# Corners that the pen goes through, two digits each: x from the left, and y
# downwards with 0 the top of an l, 3 that of an x, 6 the line they stand on and
# 9 the foot of a g. It goes through them smoothly, but where one is written
# twice it turns on the spot. Between "|" it is lifted.
_STROKES = {
  "a": "43 23 04 05 16 26 44 43 43 45 56",
  "b": "00 00 03 06 06 04 23 34 35 26 06",
  "c": "34 23 13 04 05 16 26 35",
  "d": "43 23 04 05 16 26 44 40 40 45 56",
  "e": "05 24 34 23 13 04 05 16 26 35",
  "f": "31 20 11 13 16 | 03 23",
  "g": "43 23 04 05 16 26 44 43 43 46 48 39 19 08",
  "h": "00 00 03 06 06 04 23 34 36 46",
  "i": "03 03 05 16 26 | 00 01",
  "j": "23 23 26 28 19 08 | 20 21",
  "k": "00 00 03 06 | 33 14 04 04 25 46",
  "l": "00 00 03 05 16 26",
  "m": "03 03 06 06 04 13 24 26 26 24 33 44 46 56",
  "n": "03 03 06 06 04 23 34 36 46",
  "o": "23 13 04 05 16 26 35 34 23 13",
  "p": "03 03 06 09 09 05 04 23 34 35 26 06",
  "q": "43 23 04 05 16 26 44 43 43 46 49 58",
  "r": "03 03 06 06 04 13 23 33",
  "s": "33 13 04 14 25 35 26 06",
  "t": "11 11 14 15 26 36 | 03 33",
  "u": "03 03 05 16 26 44 43 43 45 56",
  "v": "03 03 26 26 43",
  "w": "03 03 16 16 24 24 36 36 53",
  "x": "03 03 36 46 | 43 06",
  "y": "03 03 05 16 26 44 43 43 46 48 39 19 08",
  "z": "03 03 43 43 06 06 46",
}

_TEXT = """
a an and back box by cat dog end fox fun good green hat how in ink is it jam jet
joy keep kind lazy light line man my new next of old on one pen quick quiet red
run sea see sky so sun tea the then this to vast very water we wind word write
yes you zero zoo
"""
WORDS = tuple(_TEXT.split())

# One unit of the grid in those of the files of IAM-OnDB, whose median step is
# 18 there, and about 25 here.
_UNIT = 20.0
_PACE = 1.4  # grid units a point where it goes straight on
# A turn by one radian takes as long as this many units straight on.
_TURN = 0.5
_GAP, _SPACE = 1.6, 3.0  # grid units between letters, and of a space


class _Stroke(NamedTuple):
  """One stroke of a letter as it is written at an even pace."""

  time: np.ndarray  # [M], rising, in grid units
  place: np.ndarray  # [M, 2], grid units, y from the line downwards


def synthetic(*, lines: int, seed: int = 0) -> PenLines:
  """Lines of one to three words of `WORDS`, 10 to 15 points a letter.

  Line i depends on (seed, i) alone: more lines begin with the same ones.

  >>> first = synthetic(lines=2, seed=1)
  >>> first.names, first.texts
  (('synthetic-000000', 'synthetic-000001'), ('...', '...'))
  >>> bool((synthetic(lines=3, seed=1).line(0) == first.line(0)).all())
  True

  Args:
    lines: how many.
    seed: any integer.

  Raises:
    UserError: less than one line.
  """
  if lines < 1:
    raise errors.UserError(
      f"synthetic lines are {lines}; there must be at least 1"
    )
  arrays, texts = [], []
  for index in range(lines):
    random = batching.generator(seed, index)
    words = random.choice(WORDS, size=random.integers(1, 4))
    texts.append(" ".join(map(str, words)))
    arrays.append(written(texts[-1], random))
  names = [f"synthetic-{index:06d}" for index in range(lines)]
  return PenLines.of(arrays, names, texts)


def written(text: str, random: np.random.Generator) -> np.ndarray:
  """A text in one of the pen's many hands, float32 [T, 3].

  Args:
    text: letters a to z and spaces, at least one letter.
    random: what the hand is drawn from.
  """
  slant, size = random.normal(-0.15, 0.15), np.exp(random.normal(0, 0.12))
  pace = _PACE * np.exp(random.normal(0, 0.1))
  hand = _UNIT * size * np.array([[0.75, 0.0], [slant, 1.0]])
  left, strokes = 0.0, []
  for character in text:
    if character == " ":
      left += _SPACE
      continue
    bend = np.eye(2) + random.normal(0, 0.05, (2, 2))
    rise = random.normal(0, 0.15)
    for stroke in _letter(character):
      # One interval at least: two points, of which one at most is the line's
      # origin.
      count = max(1, round(float(stroke.time[-1]) / pace))
      ticks = np.linspace(0, stroke.time[-1], count + 1)
      place = np.stack(
        [np.interp(ticks, stroke.time, axis) for axis in stroke.place.T], axis=1
      )
      strokes.append((place @ bend + [left, rise]) @ hand)
    left += _width(character) + _GAP * np.exp(random.normal(0, 0.15))
  places = np.concatenate(strokes)
  places += random.normal(0, 0.02 * _UNIT, places.shape)
  lifted = np.zeros(len(places))
  lifted[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
  return np.column_stack([np.diff(places, axis=0), lifted[1:]]).astype(
    np.float32
  )


@functools.cache
def _letter(letter: str) -> tuple[_Stroke, ...]:
  return tuple(map(_smooth, map(_corners, _STROKES[letter].split("|"))))


@functools.cache
def _width(letter: str) -> float:
  return max(stroke.place[:, 0].max() for stroke in _letter(letter))


def _corners(stroke: str) -> np.ndarray:
  """The numbers of a stroke, float64 [corners, 2], y = 0 on the line."""
  pairs = stroke.split()
  return np.array([(int(p[0]), int(p[1]) - 6) for p in pairs], np.float64)


def _smooth(corners: np.ndarray) -> _Stroke:
  """The curve through the corners, with the time spent on it."""
  spots = np.flatnonzero(~np.diff(corners, axis=0).any(axis=1)) + 1
  place = np.concatenate([_curve(part) for part in np.split(corners, spots)])
  moves = np.diff(place, axis=0)
  length = np.hypot(*moves.T)
  # Where one part ends the next begins.
  moving = length > 1e-9
  place, length = place[np.append(moving, True)], length[moving]
  heading = np.unwrap(np.arctan2(*moves[moving].T))
  turns = np.abs(np.diff(heading, prepend=heading[0]))
  return _Stroke(np.append(0, np.cumsum(length + _TURN * turns)), place)


def _curve(corners: np.ndarray, pieces: int = 12) -> np.ndarray:
  """A Catmull-Rom curve through corners, float64 [places, 2]."""
  ends = np.concatenate([corners[:1], corners, corners[-1:]])
  before, here, there, after = ends[:-3], ends[1:-2], ends[2:-1], ends[3:]
  u = (np.arange(pieces) / pieces)[:, None, None]
  curve = here + 0.5 * u * (
    there
    - before
    + u * (2 * before - 5 * here + 4 * there - after)
    + u**2 * (3 * (here - there) + after - before)
  )
  return np.concatenate([curve.transpose(1, 0, 2).reshape(-1, 2), corners[-1:]])
