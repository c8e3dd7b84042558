"""Statistics of handwriting: shapes whose numbers are known, and sets."""

import math

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.evaluation import handwriting


def zigzag(slant, teeth=10, *, drop=100.0, steps=4):
  """Downstrokes that lean by `slant` degrees, each of several steps.

  The ways up lead to the right, so that nothing but the downstrokes leans.
  """
  down = [-drop * math.tan(math.radians(slant)) / steps, drop / steps, 0]
  up = [200 / steps, -drop / steps, 0]
  return np.array(([down] * steps + [up] * steps) * teeth, float)


@pytest.mark.parametrize("slant", [-40.0, -12.5, 0.0, 7.0, 30.0, 44.0])
def test_a_zigzag_has_the_slant_it_was_drawn_with(slant):
  assert handwriting.of_line(zigzag(slant)).slant == pytest.approx(slant)


def test_the_slant_is_that_of_downstrokes_near_the_vertical():
  """Neither upstrokes, nor flat ones, nor the way of a lifted pen lean."""
  flat = [[300, 100, 0], [0, -1, 0]] * 30
  lifted = [[0, 0, 1], [-90, 100, 0], [0, -1, 0]] * 30
  ink = np.concatenate([zigzag(20.0), flat, lifted])
  assert handwriting.of_line(ink).slant == pytest.approx(20.0)


def test_long_downstrokes_outweigh_short_ones():
  ink = np.concatenate([zigzag(30.0, 10), zigzag(-30.0, 10, drop=1.0)])
  assert handwriting.of_line(ink).slant == pytest.approx(30.0)


def test_a_lift_parts_two_downstrokes():
  whole = np.array([[0, 50, 0], [30, 50, 0], [0, -9, 0]])
  parted = whole.copy()
  parted[0, 2] = 1
  slants = [handwriting.of_line(ink).slant for ink in (whole, parted)]
  assert slants == pytest.approx([-math.degrees(math.atan2(30, 100)), 0.0])


@pytest.mark.parametrize("ink", [[[5, 0, 1]], [[5, -5, 0], [9, 1, 1]]])
def test_a_line_without_downstrokes_has_no_slant(ink):
  assert math.isnan(handwriting.of_line(ink).slant)


def test_a_zigzag_turns_twice_a_tooth():
  actual = handwriting.of_line(zigzag(0.0, 10, steps=5))
  assert actual.points == 100
  assert actual.turns == 19
  assert actual.strokes == 1
  assert actual.points_per_stroke == 100
  assert (actual.width, actual.height) == (pytest.approx(2000), 100)
  per_tooth = 100 + math.hypot(200, 100)
  assert actual.path_length == pytest.approx(10 * per_tooth)
  assert actual.step_length == pytest.approx(per_tooth / 10)


def test_turns_pass_over_level_steps_and_none_is_across_a_lift():
  ink = [[0, 5, 0], [5, 0, 0], [0, 5, 0], [5, 0, 0], [0, -5, 1], [0, 9, 0],
         [0, 5, 1], [0, -9, 0]]  # fmt: skip
  actual = handwriting.of_line(ink)
  assert actual.turns == pytest.approx(100 / 8)
  assert actual.strokes == 3


def test_a_square_of_four_strokes():
  """Each side drawn, each way to the next one as well, lifted."""
  ink = [[10, 0, 1], [0, 1, 0], [0, 9, 1], [-1, 0, 0], [-9, 0, 1]]
  actual = handwriting.of_line(ink, text="ab c")
  assert actual.strokes == 3
  assert actual.path_length == 10 + 9 + 9
  assert actual.step_length == pytest.approx(28 / 3)
  assert (actual.width, actual.height) == (10, 10)
  assert actual.points_per_stroke == pytest.approx(5 / 3)
  assert actual.points_per_character == 5 / 4
  assert actual.width_per_character == 10 / 4


def test_without_a_text_nothing_is_said_of_characters():
  for text in (None, ""):
    actual = handwriting.of_line(zigzag(0.0), text)
    assert math.isnan(actual.points_per_character)
    assert math.isnan(actual.width_per_character)


def test_scale_changes_lengths_and_nothing_else():
  rng = np.random.default_rng(0)
  ink = np.column_stack([rng.normal(size=(200, 2)), rng.random(200) < 0.1])
  once, thrice = (
    handwriting.of_line(ink * [scale, scale, 1], "some text")._asdict()
    for scale in (1.0, 3.0)
  )
  lengths = {
    "path_length", "step_length", "width", "height", "width_per_character"
  }  # fmt: skip
  for name, value in once.items():
    factor = 3.0 if name in lengths else 1.0
    assert thrice[name] == pytest.approx(factor * value), name


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_named(bad):
  ink = zigzag(0.0)
  ink[5, 1] = bad
  with pytest.raises(errors.UserError, match="point 5 of a line of ink is"):
    handwriting.of_line(ink)


def test_ink_of_no_point_is_refused():
  with pytest.raises(errors.UserError, match="has 0 points"):
    handwriting.of_line(np.zeros((0, 3)))
  with pytest.raises(ValueError, match=r"not \[T, 3\]"):
    handwriting.of_line(np.zeros((3, 4)))


def test_a_description_is_over_the_lines_that_have_the_quantity():
  inks = [zigzag(10.0), zigzag(20.0, 20), [[5, 0, 1]]]
  actual = handwriting.describe(inks, ["abcde", "abcdefghij", ""])
  assert tuple(actual) == handwriting.Statistics._fields
  slant = actual["slant"]
  assert slant == pytest.approx((15.0, 5.0, 2))
  assert actual["strokes"] == (1, 0, 3)
  assert actual["points_per_character"] == (16, 0, 2)
  assert actual["points"].mean == pytest.approx((80 + 160 + 1) / 3)


def test_a_text_is_wanted_for_every_line_or_none():
  with pytest.raises(ValueError):
    handwriting.describe([zigzag(0.0)] * 2, ["a"])
  with pytest.raises(errors.UserError, match="of 0 lines"):
    handwriting.describe([])


def test_a_comparison_counts_in_deviations_of_the_first_set():
  real = handwriting.describe([zigzag(10.0), zigzag(20.0)])
  made = handwriting.describe([zigzag(40.0)])
  actual = handwriting.compare(real, made)
  assert actual["slant"].shift == pytest.approx(5.0)
  assert actual["slant"].first == real["slant"]
  assert actual["slant"].second == made["slant"]
  assert math.isnan(actual["strokes"].shift)  # All lines have one.
  assert "points_per_character" not in actual
