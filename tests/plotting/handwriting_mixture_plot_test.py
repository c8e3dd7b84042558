"""Mixture weights step by step: what is drawn, and what is refused."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.plotting import handwriting


def predictions(steps=40, components=6):
  rng = np.random.default_rng(0)
  ink = rng.normal((30.0, 0.0), 30.0, (steps, 2))
  ink = np.column_stack([ink, rng.random(steps) < 0.2])
  return {"weights": rng.dirichlet(np.ones(components), steps), "ink": ink}


def test_a_row_a_component_and_the_ink_above_the_same_steps(
  tmp_path, drawn, png_size
):
  said = predictions()
  handwriting.component_weights(tmp_path / "a.png", "Weights", **said)
  png_size(tmp_path / "a.png")
  ((above, axes, colours),) = drawn
  (image,) = axes.get_images()
  np.testing.assert_array_equal(image.get_array(), said["weights"].T)
  # Component 1 is centred at 1, on top.
  assert tuple(image.get_extent()) == (0, 40, 6.5, 0.5)
  assert image.get_clim() == (0, 1)
  assert above.get_xlim() == axes.get_xlim() == (0, 40)
  assert len(above.get_lines()) == 1 + said["ink"][:-1, 2].sum()
  bottom, top = above.get_ylim()
  assert bottom > top
  assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "component")
  assert colours.get_ylabel() == "weight"
  assert above.figure.get_suptitle() == "Weights"


@pytest.mark.parametrize(
  "weights", [np.ones((39, 6)), np.ones(40), np.ones((40, 6, 1))]
)
def test_weights_of_another_shape_are_an_error(tmp_path, weights):
  with pytest.raises(ValueError, match="none of 40 points"):
    handwriting.component_weights(
      tmp_path / "a.png", "", **predictions() | {"weights": weights}
    )


def test_weights_that_are_not_finite_are_refused(tmp_path):
  said = predictions()
  said["weights"][3, 2] = np.nan
  with pytest.raises(errors.UserError, match="weights to draw are not finite"):
    handwriting.component_weights(tmp_path / "a.png", "", **said)
  assert list(tmp_path.iterdir()) == []


def test_one_step_of_one_component_is_drawn(tmp_path, drawn):
  handwriting.component_weights(tmp_path / "a.png", "", **predictions(1, 1))
  assert (tmp_path / "a.png").exists()
