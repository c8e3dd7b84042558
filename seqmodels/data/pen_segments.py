"""Handwritten lines side by side: what a network is given at once."""

from typing import NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.data.alphabet import Alphabet
from seqmodels.data.pen_lines import PenLines

NO_TEXT = -1
# In place of a line number: a row without points, to fill a batch.
EMPTY = -1


class PenSegment(NamedTuple):
  """Lines or stretches of them, time-major.

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

  >>> from seqmodels.data import alphabet
  >>> lines = PenLines.of([np.ones((1, 3))] * 2, ("x", "y"), ("a", "to"))
  >>> encoded(lines, alphabet.GRAVES).tolist()
  [[0, -1], [19, 14]]

  Raises:
    UserError: a line has no transcript, or one with a character without an id.
  """
  if alphabet is None or not len(lines):
    return np.zeros((len(lines), 0), np.int32)
  found = np.full((len(lines), max(map(len, lines.texts))), NO_TEXT, np.int32)
  for row, name, text in zip(found, lines.names, lines.texts, strict=True):
    if not text:
      raise errors.UserError(
        f"line {name} has no transcript; leave out lines without one (they are "
        "counted where the data is loaded with transcribed=True)"
      )
    try:
      row[: len(text)] = alphabet.encode(text)
    except errors.UserError as error:
      raise errors.UserError(f"line {name}: {error}") from error
  return found


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
