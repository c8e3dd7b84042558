"""Lines in one array: cut and joined as lists would be; scaling undone."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting.strokes import PenLines, Scaling


def made(lengths, seed=0):
  random = np.random.default_rng(seed)
  arrays = [random.normal(3, 5, (n, 3)).astype(np.float32) for n in lengths]
  names = [f"line-{i}" for i in range(len(lengths))]
  return PenLines.of(arrays, names, ["text"] * len(lengths)), arrays


def same(actual, arrays):
  assert len(actual) == len(arrays)
  for index, array in enumerate(arrays):
    np.testing.assert_array_equal(actual.line(index), array)
  assert actual.lengths.tolist() == [len(array) for array in arrays]


LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@hypothesis.given(LENGTHS, st.data())
def test_lines_are_chosen_cut_and_joined_as_lists_are(lengths, data):
  lines, arrays = made(lengths)
  same(lines, arrays)
  chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8))
  same(lines.select(chosen), [arrays[i] for i in chosen])
  start, stop = data.draw(st.tuples(st.integers(0, 7), st.integers(0, 7)))
  part = lines.span(start, stop)
  same(part, arrays[start:stop])
  assert part.names == lines.names[start:stop]
  same(PenLines.joined([lines, part]), arrays + arrays[start:stop])


def test_a_span_is_no_copy():
  lines, _ = made([3, 4, 2])
  assert np.shares_memory(lines.span(1, 3).points, lines.points)


@pytest.mark.parametrize(
  ("points", "edges", "names", "message"),
  [
    (np.zeros((2, 3)), [0, 2], ("a",), "float32"),
    (np.zeros((2, 2), np.float32), [0, 2], ("a",), r"\[N, 3\]"),
    (np.zeros((2, 3), np.float32), [0, 1], ("a",), "from 0 to 2"),
    (np.zeros((2, 3), np.float32), [], (), "from 0 to 2"),
    (np.zeros((2, 3), np.float32), [0, 2, 2], ("a", "b"), "at least one"),
    (np.zeros((2, 3), np.float32), [0, 2], ("a", "b"), "2 names"),
  ],
)
def test_arrays_that_do_not_fit_are_refused(points, edges, names, message):
  with pytest.raises((TypeError, ValueError), match=message):
    PenLines(points, np.array(edges, np.int64), names, ("",) * len(names))


def test_a_line_is_found_by_its_name_or_one_like_it_is_named():
  lines, _ = made([1, 1])
  assert lines.index("line-1") == 1
  with pytest.raises(errors.UserError, match=r"'line-2' among .* mean line-"):
    lines.index("line-2")
  with pytest.raises(IndexError):
    lines.line(-1)


def test_standardised_points_have_mean_0_and_deviation_1_and_go_back():
  lines, _ = made([200, 300])
  scaling = Scaling.fit(lines)
  actual = scaling.apply(lines)
  np.testing.assert_allclose(actual.points[:, :2].mean(axis=0), 0, atol=1e-6)
  np.testing.assert_allclose(actual.points[:, :2].std(axis=0), 1, atol=1e-6)
  np.testing.assert_array_equal(actual.points[:, 2], lines.points[:, 2])
  assert actual.points.dtype == np.float32
  back = scaling.restore(actual.points[None])
  np.testing.assert_allclose(back[0], lines.points, rtol=1e-5, atol=1e-5)


def test_scaling_is_over_points_in_double_precision():
  # A sum of float32 would stop growing at 2^24.
  points = np.zeros((1000, 3), np.float32)
  points[:, :2] = 2.0**24
  points[::2, 0] += 2
  points[::2, 1] += 4
  lines = PenLines.of([points], ["a"], [""])
  scaling = Scaling.fit(lines)
  np.testing.assert_array_equal(scaling.mean, [2.0**24 + 1, 2.0**24 + 2])
  np.testing.assert_array_equal(scaling.deviation, [1, 2])


@pytest.mark.parametrize(
  ("mean", "deviation"),
  [
    ([0.0], [1.0, 1.0]),
    ([0.0, 0.0], [1.0, 1.0, 1.0]),
    ([0.0, float("nan")], [1.0, 1.0]),
    ([0.0, 0.0], [1.0, 0.0]),
    ([0.0, 0.0], [1.0, -1.0]),
    ([0.0, 0.0], [1.0, float("inf")]),
    ([1e99, 0.0], [1.0, 1.0]),
  ],
)
def test_numbers_that_scale_nothing_are_refused(mean, deviation):
  with pytest.raises(ValueError, match="means"):
    Scaling.of(mean, deviation)


def test_ink_that_does_not_vary_has_no_scaling():
  lines = PenLines.of([np.ones((3, 3))], ["a"], [""])
  with pytest.raises(errors.UserError, match="both must be above 0"):
    Scaling.fit(lines)
  with pytest.raises(errors.UserError, match="there are 0 lines"):
    Scaling.fit(lines.span(0, 0))
