"""Lines of ink as PNG: the layout of the page, labels, dots."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.plotting import handwriting


def writing(seed, points=80):
  rng = np.random.default_rng(seed)
  ink = rng.normal((20.0, 0.0), 40.0, (points, 2))
  ink[:, 1] -= np.diff(np.cumsum(ink[:, 1]), prepend=0) * 0.5
  return np.column_stack([ink, rng.random(points) < 0.2])


def test_every_stroke_is_drawn_where_the_layout_puts_it(
  tmp_path, drawn, png_size
):
  inks = [writing(0), writing(1)]
  handwriting.plot_lines(
    tmp_path / "figures" / "a.png", "", [("", ink) for ink in inks]
  )
  width, _ = png_size(tmp_path / "figures" / "a.png")
  assert width == 1728
  ((axes,),) = drawn
  strokes = [
    part for line in handwriting.layout_page(inks).lines for part in line
  ]
  for line, stroke in zip(axes.get_lines(), strokes, strict=True):
    np.testing.assert_allclose(line.get_xydata(), stroke)
  assert axes.get_aspect() == 1
  bottom, top = axes.get_ylim()
  assert bottom > top == 0  # y grows downwards


def test_labels_stand_above_their_lines(tmp_path, drawn):
  rows = [("real", writing(0)), ("blank", None), ("bias 1", writing(1))]
  handwriting.plot_lines(tmp_path / "a.png", "Real and generated", rows)
  ((axes,),) = drawn
  assert axes.figure.get_suptitle() == "Real and generated"
  assert [text.get_text() for text in axes.texts] == ["real", "blank", "bias 1"]
  heights = [text.xy[1] for text in axes.texts]
  assert heights == sorted(heights)
  assert len({text.xy[0] for text in axes.texts}) == 1
  first = [
    line for line in axes.get_lines() if line.get_ydata().max() < heights[1]
  ]
  assert min(line.get_ydata().min() for line in first) == pytest.approx(
    heights[0]
  )


def test_signs_of_formulas_stay_signs(tmp_path, drawn, png_size):
  label = r"$a_{ costs $5 \frac"
  handwriting.plot_lines(tmp_path / "a.png", label, [(label, writing(0))])
  png_size(tmp_path / "a.png")
  ((axes,),) = drawn
  assert [axes.figure.get_suptitle(), axes.texts[0].get_text()] == [
    label,
    label,
  ]


def test_a_long_title_is_broken_and_has_its_room(tmp_path, drawn):
  for title in ("", "word " * 40):
    handwriting.plot_lines(tmp_path / "a.png", title, [("", writing(0))])
  (plain,), (titled,) = drawn
  shown = titled.figure.get_suptitle()
  assert shown.split() == ["word"] * 40
  assert max(map(len, shown.split("\n"))) <= 70
  assert titled.figure.get_figheight() > plain.figure.get_figheight() + 0.5


def test_a_long_label_is_cut(tmp_path, drawn):
  handwriting.plot_lines(tmp_path / "a.png", "", [("word " * 60, writing(0))])
  ((axes,),) = drawn
  shown = axes.texts[0].get_text()
  assert len(shown) <= 100
  assert shown.endswith(" ...")


def test_a_stroke_of_one_point_is_a_dot(tmp_path, drawn):
  ink = [[300, 50, 1], [10, -20, 1], [5, 5, 0], [5, 5, 1]]
  handwriting.plot_lines(tmp_path / "a.png", "", [("", ink)])
  ((axes,),) = drawn
  assert [line.get_marker() for line in axes.get_lines()] == ["", "o", ""]


def test_very_high_ink_is_drawn_within_bounds(tmp_path, drawn):
  handwriting.plot_lines(tmp_path / "a.png", "", [("", [[1, 5000, 1]])])
  ((axes,),) = drawn
  assert axes.figure.get_figheight() < 41


def test_the_same_ink_gives_the_same_bytes(tmp_path):
  for name in ("a.png", "b.png"):
    handwriting.plot_lines(tmp_path / name, "title", [("label", writing(0))])
  first = (tmp_path / "a.png").read_bytes()
  assert first == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("rows", [[], [("a", [])], [("a", [[0, np.nan, 0]])]])
def test_what_cannot_be_drawn_leaves_no_file(tmp_path, rows):
  with pytest.raises(errors.UserError):
    handwriting.plot_lines(tmp_path / "a.png", "", rows)
  assert list(tmp_path.iterdir()) == []
