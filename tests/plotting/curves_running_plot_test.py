"""Scores along a split: means so far, and what they differ by."""

import math

import numpy as np
import pytest

from seqmodels.plotting import curves as curves_lib


def test_along_a_split_the_running_mean_ends_at_the_score(
  tmp_path, drawn, png_size, lines
):
  rng = np.random.default_rng(0)
  counts = np.full(90, 7)
  counts[-1] = 3
  static = rng.uniform(0.5, 1.5, 90) * counts
  # The same symbols, cut into other segments.
  dynamic = np.array([static[i : i + 3].sum() * 0.9 for i in range(0, 90, 3)])
  coarse = np.array([counts[i : i + 3].sum() for i in range(0, 90, 3)])
  curves_lib.along_split(
    {"static": (static, counts), "dynamic": (dynamic, coarse)},
    tmp_path / "a.png",
  )
  png_size(tmp_path / "a.png")
  ((upper, lower),) = drawn
  score = static.sum() / counts.sum() / math.log(2)
  finals = [data[-1] for label, data in lines(upper).items() if label[0] != "_"]
  np.testing.assert_allclose(
    finals, [[counts.sum(), score], [counts.sum(), 0.9 * score]]
  )
  gains = [data[-1, 1] for data in lines(lower).values() if len(data) > 2]
  np.testing.assert_allclose(gains, [-0.1 * score])


def test_along_a_split_one_curve_has_one_panel(tmp_path, drawn):
  curves_lib.along_split({"static": ([1.0, 2.0], [1, 1])}, tmp_path / "a.png")
  assert len(drawn[0]) == 1


@pytest.mark.parametrize("curves", [{}, {"static": ([], [])}])
def test_along_a_split_nothing_scored_is_an_error(tmp_path, curves):
  with pytest.raises(ValueError):
    curves_lib.along_split(curves, tmp_path / "a.png")


def test_the_running_mean_is_that_of_every_symbol_so_far():
  rng = np.random.default_rng(1)
  bits = rng.uniform(0.0, 3.0, 24)
  places, means = curves_lib.running_means(
    {"a": (bits * math.log(2), np.ones(24, int))}, 8
  )
  expected = [bits[: int(place)].mean() for place in places]
  assert places.tolist() == [3, 6, 9, 12, 15, 18, 21, 24]
  np.testing.assert_allclose(means["a"], expected)


def test_a_gain_is_static_less_dynamic_of_each_run(tmp_path, drawn, lines):
  counts = [10] * 20
  static = np.linspace(8.0, 9.0, 20)
  runs = {
    name: {"static": (static, counts), "dynamic": (static - gain, counts)}
    for name, gain in (("a", 0.5), ("b", -0.25))
  }
  curves_lib.dynamic_gain(
    runs, tmp_path / "g.png", unit="bits per character", points=10
  )
  ((upper, lower),) = drawn
  gains = lines(lower)
  a = 0.05 / math.log(2)
  np.testing.assert_allclose(gains[f"a: {a:.4f}"][:, 1], [a] * 10)
  np.testing.assert_allclose(gains[f"b: {-a / 2:.4f}"][:, 1], [-a / 2] * 10)
  assert lower.get_xlabel() == "characters scored"
  assert lower.get_ylabel() == "gain, bits per character"
  assert len(upper.get_lines()) == 4


def test_a_gain_of_no_run_is_an_error(tmp_path):
  with pytest.raises(ValueError):
    curves_lib.dynamic_gain({}, tmp_path / "g.png", unit="bits", points=3)
