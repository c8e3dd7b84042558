"""The made-up pen: repeatable, readable in its numbers, of the right size."""

import string

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import alphabet, synthetic


def test_lines_repeat_with_the_seed_and_differ_with_it():
  one, again = (synthetic.synthetic(lines=4, seed=-3) for _ in range(2))
  np.testing.assert_array_equal(one.points, again.points)
  assert one.texts == again.texts
  other = synthetic.synthetic(lines=4, seed=4)
  assert one.texts != other.texts
  more = synthetic.synthetic(lines=6, seed=-3)
  np.testing.assert_array_equal(more.span(0, 4).points, one.points)


def test_every_letter_is_written_and_needs_10_to_15_points():
  lines = synthetic.synthetic(lines=200)
  letters = "".join(lines.texts).replace(" ", "")
  assert set(letters) == set(string.ascii_lowercase)
  assert 10 < len(lines.points) / len(letters) < 15
  assert all(len(alphabet.GRAVES.encode(text)) for text in lines.texts)


def test_strokes_end_as_often_as_the_letters_have_strokes():
  lines = synthetic.synthetic(lines=30)
  for index, text in enumerate(lines.texts):
    points = lines.line(index)
    strokes = sum(
      synthetic._STROKES[letter].count("|") + 1
      for letter in text.replace(" ", "")
    )
    assert points[:, 2].sum() == strokes
    assert points[-1, 2] == 1
    assert set(np.unique(points[:, 2])) <= {0, 1}


def test_it_goes_to_the_right_and_letters_have_their_heights():
  random = np.random.default_rng(0)

  def heights(letter):
    y = np.cumsum(synthetic.written(letter * 20, random)[:, 1])
    return np.ptp(y)

  assert heights("x") < heights("l") < heights("f") * 1.5
  assert heights("x") * 1.5 < heights("p")
  x = np.cumsum(synthetic.written("minimum", random)[:, 0])
  assert x[-1] > 400


def test_the_pen_slows_down_where_it_turns():
  straight = synthetic._smooth(np.array([[0.0, 0], [1, 0], [2, 0]]))
  bent = synthetic._smooth(np.array([[0.0, 0], [1, 0], [1, 0], [1, 1]]))
  np.testing.assert_allclose(straight.time[-1], 2)
  np.testing.assert_allclose(
    bent.time[-1], 2 + synthetic._TURN * np.pi / 2, atol=0.05
  )


def test_no_line_is_no_set():
  with pytest.raises(errors.UserError, match="lines are 0"):
    synthetic.synthetic(lines=0)
