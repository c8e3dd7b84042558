"""Readings to offsets, against the same written out reading by reading."""

import itertools
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import strokes as strokes_lib


def steady(xs, *, start=0.0, period=strokes_lib.PERIOD):
  """A stroke along x, read regularly."""
  return np.array([[x, 0, start + i * period] for i, x in enumerate(xs)], float)


def written_out(strokes, longest_step):
  """The offsets, one reading after another."""
  places, steps = [], []
  for stroke in strokes:
    lengths = [math.dist(a[:2], b[:2]) for a, b in itertools.pairwise(stroke)]
    for i, reading in enumerate(stroke):
      if places:
        parts = 1
        if i:
          seconds = reading[2] - stroke[i - 1][2]
          near = lengths[max(0, i - 2) : i - 1] + lengths[i : i + 1]
          if (
            0 < seconds <= strokes_lib.LONGEST_GAP
            and near
            and lengths[i - 1] > 0
          ):
            periods = round(seconds / strokes_lib.PERIOD)
            mean = sum(near) / len(near)
            by_length = round(lengths[i - 1] / mean) if mean else periods
            parts = max(1, min(periods, by_length))
        x = (reading[0] - places[-1][0]) / parts
        y = (reading[1] - places[-1][1]) / parts
        for part in range(parts):
          last = part == parts - 1 and i == len(stroke) - 1
          steps.append([x, y, float(last), i > 0])
      places.append(reading[:2])
  actual = []
  for x, y, last, within in steps:
    if within and math.hypot(x, y) > longest_step:
      if last and actual:
        actual[-1][2] = 1.0
    else:
      actual.append([x, y, last])
  return np.array(actual, np.float32).reshape(-1, 3)


READING = st.tuples(
  st.sampled_from([0, 1, 2, 5, 30, 31, 90]),
  st.sampled_from([0, 3, 40]),
  st.sampled_from([-1, 0, 0.01, 0.02, 0.045, 0.06, 0.29, 0.4, 8]),
)


@hypothesis.given(
  st.lists(st.lists(READING, min_size=1, max_size=5), min_size=1, max_size=4),
  st.sampled_from([25.0, 60.0, 1e9]),
)
def test_offsets_are_those_written_out(strokes, longest_step):
  # Times are sums of the gaps drawn.
  clock = np.cumsum([r[2] for stroke in strokes for r in stroke])
  at = iter(clock.tolist())
  strokes = [
    np.array([[x, y, next(at)] for x, y, _ in stroke], float)
    for stroke in strokes
  ]
  expected = written_out(strokes, longest_step)
  if sum(map(len, strokes)) < 2 or not len(expected):
    with pytest.raises(errors.UserError):
      strokes_lib.offsets(strokes, longest_step=longest_step)
    return
  actual = strokes_lib.offsets(strokes, longest_step=longest_step)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)
  assert actual.dtype == np.float32
  assert actual[-1, 2] == 1


def test_plain_ink_goes_where_the_pen_went():
  strokes = [steady([0, 10, 21, 30]), steady([50, 58], start=1.0)]
  actual = strokes_lib.offsets(strokes)
  np.testing.assert_array_equal(
    actual,
    [[10, 0, 0], [11, 0, 0], [9, 0, 1], [20, 0, 0], [8, 0, 1]],
  )


def test_two_missing_readings_are_put_on_the_line_between():
  stroke = steady([0, 10, 20, 30, 40, 50, 60])
  np.testing.assert_allclose(
    strokes_lib.offsets([np.delete(stroke, [2, 3], axis=0)]),
    strokes_lib.offsets([stroke]),
  )


def test_a_clock_that_stumbles_adds_no_readings():
  stroke = steady([0, 10, 20, 30])
  stroke[2:, 2] += 0.05
  assert len(strokes_lib.offsets([stroke])) == 3


def test_a_quick_pen_adds_no_readings():
  assert len(strokes_lib.offsets([steady([0, 5, 60, 65])])) == 3


def test_what_a_pen_did_in_a_long_pause_is_not_made_up():
  stroke = steady([0, 10, 200, 210])
  stroke[2:, 2] += strokes_lib.LONGEST_GAP
  assert len(strokes_lib.offsets([stroke])) == 3


def test_a_reflection_there_and_back_leaves_the_rest_in_place():
  clean = steady([0, 10, 20, 30])
  astray = np.insert(clean, 2, [10, 900, clean[1, 2]], axis=0)
  astray[3, 1] = 0
  actual = strokes_lib.offsets([astray])
  # Both long steps are gone, and with them the step between their ends.
  np.testing.assert_array_equal(actual[:, :2], [[10, 0], [10, 0]])
  assert actual[-1, 2] == 1


def test_moves_of_the_lifted_pen_are_kept_at_any_length():
  actual = strokes_lib.offsets(
    [steady([0, 10]), steady([3000, 3010], start=2.0)]
  )
  assert actual[:, 0].tolist() == [10, 2990, 10]


def test_the_lift_of_a_step_that_is_removed_is_not_lost():
  actual = strokes_lib.offsets(
    [steady([0, 10, 900]), steady([910, 920], start=1.0)]
  )
  assert actual.tolist() == [[10, 0, 1], [10, 0, 0], [10, 0, 1]]


@pytest.mark.parametrize(
  ("strokes", "message"),
  [
    ([], "the line has 0 points"),
    ([steady([1])], "the line has 1 points"),
    ([steady([1, 2]), np.zeros((0, 3))], "stroke 2 of 2 has 0 points"),
    ([steady([1, math.nan])], "point 2 of 2 is x=nan"),
    ([steady([1, -math.inf, 2])], "point 2 of 3 is x=-inf"),
    ([steady([1, 2], start=math.inf)], "time=inf"),
    ([steady([0, 2e5])], "x=200000.0 .* within 100,000 of 0"),
    ([steady([0, 1e300, 0])], "x=1e\\+300"),
    ([steady([0, 900])], "all 1 steps of the line are longer than 250"),
  ],
)
def test_ink_that_is_none_is_refused(strokes, message):
  with pytest.raises(errors.UserError, match=message):
    strokes_lib.offsets(strokes)


@pytest.mark.parametrize("step", [0, -1.0, math.nan])
def test_a_threshold_that_removes_all_is_refused(step):
  with pytest.raises(errors.UserError, match="the longest step is"):
    strokes_lib.offsets([steady([0, 1])], longest_step=step)
