"""The window's alignment: its image, its characters, the ink above."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.plotting import handwriting

TEXT = "a b\n$c$"


def window(steps=50, places=len(TEXT)):
  along = np.linspace(0, places - 1, steps)[:, None]
  return np.exp(-((along - np.arange(places)) ** 2))


def ink(steps=50):
  rng = np.random.default_rng(1)
  rows = rng.normal((30.0, 0.0), 30.0, (steps, 2))
  return np.column_stack([rows, rng.random(steps) < 0.2])


def names(axes):
  return [label.get_text() for label in axes.get_yticklabels()]


def test_a_row_a_character_and_the_ink_above_the_same_steps(
  tmp_path, drawn, png_size
):
  phi, written = window(), ink()
  handwriting.alignment(
    tmp_path / "a.png", "Alignment", window=phi, text=TEXT, ink=written
  )
  png_size(tmp_path / "a.png")
  ((above, axes, colours),) = drawn
  (image,) = axes.get_images()
  np.testing.assert_array_equal(image.get_array(), phi.T)
  # The first character is on top, each label in the middle of its row.
  assert tuple(image.get_extent()) == (0, 50, 6.5, -0.5)
  assert axes.get_yticks().tolist() == list(range(7))
  assert names(axes) == ["a", "␣", "b", "⏎", "$", "c", "$"]
  assert image.get_clim() == (0, phi.max())
  assert above.get_xlim() == axes.get_xlim() == (0, 50)
  assert len(above.get_lines()) == 1 + written[:-1, 2].sum()
  assert axes.get_xlabel() == "step"
  assert colours.get_ylabel() == "window weight"


def test_the_place_after_the_text_is_named(tmp_path, drawn):
  handwriting.alignment(
    tmp_path / "a.png", "", window=window(places=8), text=TEXT
  )
  ((axes, _),) = drawn
  assert names(axes)[-2:] == ["$", "end"]


def test_labels_do_not_touch(tmp_path, drawn):
  text = "The quick brown fox jumps over the lazy dog, again and again." * 2
  handwriting.alignment(
    tmp_path / "a.png", "", window=window(50, len(text)), text=text, ink=ink()
  )
  axes = drawn[0][1]
  rows = [label.get_window_extent() for label in axes.get_yticklabels()]
  apart = rows[0].y0 - rows[2].y0  # 1 is a letter, too, and so no space.
  assert apart / 2 > 7 / 72 * axes.figure.dpi


def test_a_window_that_looks_nowhere_is_drawn(tmp_path):
  handwriting.alignment(
    tmp_path / "a.png", "", window=np.zeros((1, 1)), text="x", ink=ink(1)
  )
  assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
  ("phi", "written"),
  [
    (window(places=6), None),
    (window(places=9), None),
    (np.zeros((0, 7)), None),
    (np.zeros(7), None),
    (window(), ink(49)),
  ],
)
def test_shapes_have_to_agree(tmp_path, phi, written):
  with pytest.raises(ValueError):
    handwriting.alignment(
      tmp_path / "a.png", "", window=phi, text=TEXT, ink=written
    )
  assert list(tmp_path.iterdir()) == []


def test_no_text_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match="0 characters; give at least 1"):
    handwriting.alignment(
      tmp_path / "a.png", "", window=window(places=1), text=""
    )


def test_weights_that_are_not_finite_are_refused(tmp_path):
  phi = window()
  phi[3, 3] = np.inf
  with pytest.raises(errors.UserError, match="weights that are not finite"):
    handwriting.alignment(tmp_path / "a.png", "", window=phi, text=TEXT)
  assert list(tmp_path.iterdir()) == []
