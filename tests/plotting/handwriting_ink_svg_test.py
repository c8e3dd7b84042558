"""Ink as SVG: read back with an XML parser, and compared with the layout."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.plotting import handwriting

SVG = "{http://www.w3.org/2000/svg}"


def writing(seed, points=60):
  rng = np.random.default_rng(seed)
  ink = rng.normal((8.0, 0.0), 40.0, (points, 2))
  return np.column_stack([ink, rng.random(points) < 0.2])


def positions(path):
  """A path's absolute points, by what SVG says of M and l."""
  start, _, moves = path.get("d").removeprefix("M").partition("l")
  numbers = [float(number) for number in f"{start} {moves}".split()]
  return np.cumsum(np.reshape(numbers, (-1, 2)), axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_each_stroke_is_one_path_in_order_at_its_place(seed):
  inks = [writing(seed), writing(seed + 10, 9)]
  root = ElementTree.fromstring(handwriting.svg_page(inks))
  lines = root.findall(f"{SVG}g/{SVG}g")
  placed = handwriting.layout_page(inks)
  assert len(lines) == len(placed.lines) == 2
  for line, strokes in zip(lines, placed.lines, strict=True):
    for path, stroke in zip(line, strokes, strict=True):
      assert path.tag == f"{SVG}path"
      # A dot is its point twice; rounding does not add up along a stroke.
      drawn = positions(path)[: len(stroke)]
      np.testing.assert_allclose(drawn, stroke, rtol=0, atol=0.0501)


def test_the_view_box_holds_all_the_ink_and_the_pen():
  root = ElementTree.fromstring(handwriting.svg_page([writing(1)]))
  left, top, width, height = map(float, root.get("viewBox").split())
  pen = float(root.find(f"{SVG}g").get("stroke-width"))
  places = np.concatenate([positions(path) for path in root.iter(f"{SVG}path")])
  assert (places.min(axis=0) - pen / 2 > (left, top)).all()
  assert (places.max(axis=0) + pen / 2 < (width, height)).all()
  assert max(int(root.get("width")), int(root.get("height"))) == 1200


def test_numbers_have_one_decimal_at_most_and_nothing_else():
  drawing = handwriting.svg_page([writing(2) * [1e3, 1e-3, 1]])
  for path in ElementTree.fromstring(drawing).iter(f"{SVG}path"):
    assert re.fullmatch(r"M[-\d. ]+l[-\d. ]+", path.get("d"))
    assert not re.search(r"\.\d\d|-0( |$)", path.get("d"))


def test_a_stroke_of_one_point_is_a_dot():
  drawing = handwriting.svg_page([[[10, 0, 1], [5, 5, 1], [0, 0, 0]]])
  *_, dot, still = ElementTree.fromstring(drawing).iter(f"{SVG}path")
  assert dot.get("d").endswith("l0 0")
  assert still.get("d") == dot.get("d")
  assert 'stroke-linecap="round"' in drawing


@pytest.mark.parametrize("title", ["a < b & c > d", "]]>", "ÄÖ ␣ 漢", "\"'"])
def test_the_title_reads_as_it_was_given(title):
  root = ElementTree.fromstring(handwriting.svg_page([writing(0)], title=title))
  assert root[0].tag == f"{SVG}title"
  assert root[0].text == title


def test_characters_that_xml_has_not_are_replaced():
  root = ElementTree.fromstring(
    handwriting.svg_page([writing(0)], title="a\x00\x1b\ud800")
  )
  assert root[0].text == "a\ufffd\ufffd\ufffd"


def test_the_paper_is_white_and_an_empty_title_left_out():
  root = ElementTree.fromstring(handwriting.svg_page([writing(0)]))
  assert root.find(f"{SVG}rect").get("fill") == "white"
  assert root.find(f"{SVG}title") is None


def test_a_blank_line_is_room_alone():
  root = ElementTree.fromstring(
    handwriting.svg_page([writing(0), None, writing(1)])
  )
  assert len(root.findall(f"{SVG}g/{SVG}g")) == 2


def test_a_file_is_the_page_and_equal_ink_gives_equal_bytes(tmp_path):
  inks = [writing(0), writing(1)]
  for name in ("a.svg", "b.svg"):
    handwriting.write_svg(tmp_path / "samples" / name, inks, title="é")
  first = (tmp_path / "samples" / "a.svg").read_bytes()
  assert first == (tmp_path / "samples" / "b.svg").read_bytes()
  assert first.decode() == handwriting.svg_page(inks, title="é")
  assert len(list((tmp_path / "samples").iterdir())) == 2


@pytest.mark.parametrize(
  "inks", [[], [np.zeros((0, 3))], [[[np.nan, 0, 1]]], [[[0, np.inf, 1]]]]
)
def test_what_cannot_be_drawn_leaves_no_file(tmp_path, inks):
  with pytest.raises(errors.UserError):
    handwriting.write_svg(tmp_path / "a.svg", inks)
  assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.UserError, match="cannot write"):
    handwriting.write_svg(tmp_path / "file" / "a.svg", [writing(0)])
