"""The heatmap of predictions: what the figure shows, and what it refuses."""

import itertools

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.plotting import handwriting

PNG = b"\x89PNG\r\n\x1a\n"


def predictions(steps=30, components=4, *, seed=0, wide=1.0):
  """Ink, and mixtures that could have been said of it."""
  rng = np.random.default_rng(seed)
  ink = rng.normal((30.0 * wide, 0.0), 30.0, (steps, 2))
  ink = np.column_stack([ink, rng.random(steps) < 0.2])
  shape = (steps, components)
  return {
    "positions": np.cumsum(ink[:, :2], axis=0) - ink[:, :2],
    "weights": rng.dirichlet(np.ones(components), steps),
    "means": ink[:, None, :2] + rng.normal(0, 5, (*shape, 2)),
    "deviations": np.exp(rng.normal(2, 0.5, (*shape, 2))),
    "correlations": np.tanh(rng.normal(size=shape)),
    "lifts": rng.random(steps),
    "ink": ink,
  }


@pytest.mark.parametrize(
  "name", ["positions", "weights", "means", "deviations"]
)
def test_numbers_that_are_not_finite_are_refused(tmp_path, name):
  said = predictions()
  said[name].flat[5] = np.nan
  with pytest.raises(errors.UserError, match="not finite"):
    handwriting.heatmap(tmp_path / "a.png", "", **said)
  assert list(tmp_path.iterdir()) == []


def test_probabilities_that_are_not_finite_are_refused(tmp_path):
  said = predictions()
  said["lifts"][3] = np.inf
  with pytest.raises(errors.UserError, match="end of stroke are not finite"):
    handwriting.heatmap(tmp_path / "a.png", "", **said)


@pytest.mark.parametrize(
  ("name", "wrong"),
  [
    ("positions", np.zeros((29, 2))),
    ("weights", np.ones((30, 5)) / 5),
    ("means", np.zeros((30, 4))),
    ("correlations", np.zeros((30, 4, 2))),
    ("lifts", np.zeros(29)),
  ],
)
def test_shapes_have_to_agree(tmp_path, name, wrong):
  with pytest.raises(ValueError):
    handwriting.heatmap(tmp_path / "a.png", "", **predictions() | {name: wrong})
  assert list(tmp_path.iterdir()) == []


def test_the_figure_has_the_densities_and_the_lifts_below(tmp_path, drawn):
  said = predictions()
  handwriting.heatmap(tmp_path / "a.png", "A $word$", **said)
  assert (tmp_path / "a.png").read_bytes()[:8] == PNG
  ((above, below, colours),) = drawn
  (image,) = above.get_images()
  assert above.get_aspect() == 1
  # The grid is that of the ink, and holds most of what was predicted.
  left, right, bottom, top = image.get_extent()
  cell = (right - left) / image.get_array().shape[1]
  assert bottom > top
  assert float(image.get_array().sum()) * cell**2 == pytest.approx(30, rel=0.1)
  assert image.norm.vmax / image.norm.vmin == pytest.approx(1e4)
  ends = said["positions"] + said["ink"][:, :2]
  assert left < ends[:, 0].min() < ends[:, 0].max() < right
  assert top < ends[:, 1].min() < ends[:, 1].max() < bottom
  (stems,) = below.collections
  heights = [segment[1, 1] for segment in stems.get_segments()]
  np.testing.assert_allclose(heights, said["lifts"])
  (marks,) = below.get_lines()
  assert (
    marks.get_xdata().tolist() == np.flatnonzero(said["ink"][:, 2]).tolist()
  )
  assert below.get_xlabel() == "step"
  assert colours.get_ylabel() == "summed density"


def test_the_ink_lies_over_the_densities_unless_it_is_not_wanted(
  tmp_path, drawn
):
  said = predictions()
  for expected in (True, False):
    handwriting.heatmap(tmp_path / "a.png", "", **said, draw_ink=expected)
  with_ink, without = (axes[0].get_lines() for axes in drawn)
  assert len(with_ink) == 1 + said["ink"][:-1, 2].sum()
  assert not list(without)


def test_a_window_shows_its_steps_only(tmp_path, drawn):
  said = predictions()
  lifts = np.flatnonzero(said["ink"][:, 2])
  first, end = lifts[0] + 1, lifts[2] + 1  # Two strokes, after a lift.
  handwriting.heatmap(tmp_path / "a.png", "", **said, window=(first, end))
  ((above, below, _),) = drawn
  ends = said["positions"] + said["ink"][:, :2]
  shown = [line.get_xydata() for line in above.get_lines()]
  np.testing.assert_allclose(np.concatenate(shown), ends[first:end])
  assert len(shown) == 2
  assert below.get_xlim() == (first - 0.5, end - 0.5)
  (stems,) = below.collections
  assert len(stems.get_segments()) == end - first


def test_a_long_line_is_broken_into_bands_of_one_scale(tmp_path, drawn):
  said = predictions(80, wide=4)
  handwriting.heatmap(tmp_path / "a.png", "", **said)
  ((*bands, _, _),) = drawn
  assert len(bands) > 1
  spans = [axes.get_xlim() for axes in bands]
  for (_, end), (start, _) in itertools.pairwise(spans):
    assert start == pytest.approx(end)
  images = [axes.get_images()[0] for axes in bands]
  assert len({image.norm.vmax for image in images}) == 1
  parts = np.concatenate([image.get_array() for image in images], axis=1)
  cell = (spans[-1][1] - spans[0][0]) / parts.shape[1]
  assert float(parts.sum()) * cell**2 == pytest.approx(80, rel=0.1)


def test_expectations_that_were_all_wrong_are_drawn_black(tmp_path, drawn):
  said = predictions()
  said["means"] += 1e7
  handwriting.heatmap(tmp_path / "a.png", "", **said)
  assert not drawn[0][0].get_images()[0].get_array().any()


@pytest.mark.parametrize("window", [(0, 0), (5, 4), (-1, 4), (0, 31), (30, 31)])
def test_a_window_without_steps_is_refused(tmp_path, window):
  with pytest.raises(errors.UserError, match="not within the 0 to 30"):
    handwriting.heatmap(tmp_path / "a.png", "", **predictions(), window=window)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_step_or_two_are_drawn(tmp_path, steps):
  handwriting.heatmap(tmp_path / "a.png", "", **predictions(steps))
  assert (tmp_path / "a.png").read_bytes()[:8] == PNG


def test_the_same_predictions_give_the_same_bytes(tmp_path):
  for name in ("a.png", "b.png"):
    handwriting.heatmap(tmp_path / name, "title", **predictions())
  first = (tmp_path / "a.png").read_bytes()
  assert first == (tmp_path / "b.png").read_bytes()
