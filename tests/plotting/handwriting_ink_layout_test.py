"""Strokes of ink and their places on a page."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.plotting import handwriting


def writing(seed, points=120, *, rise=0.0):
  """Ups and downs that move on to the right, lifted now and then."""
  rng = np.random.default_rng(seed)
  ink = rng.normal((30.0, 0.0), (20.0, 30.0), (points, 2))
  ink[:, 1] += 100 * np.sin(np.arange(points)) - rise * ink[:, 0]
  return np.column_stack([ink, rng.random(points) < 0.1])


def points(strokes):
  return np.concatenate(strokes)


@pytest.mark.parametrize("seed", range(5))
def test_strokes_together_are_the_pen_s_way_from_the_origin(seed):
  ink = writing(seed)
  ink[-1, 2] = seed % 2
  strokes = handwriting.split_strokes(ink)
  np.testing.assert_allclose(points(strokes)[1:], np.cumsum(ink[:, :2], axis=0))
  assert points(strokes)[0].tolist() == [0, 0]
  assert len(strokes) == 1 + ink[:-1, 2].sum()
  # Each but the last ends where the pen lifts.
  ends = np.cumsum([len(stroke) for stroke in strokes]) - 1
  assert ends[:-1].tolist() == (np.flatnonzero(ink[:-1, 2]) + 1).tolist()


def test_the_origin_belongs_to_the_first_stroke():
  first, dot = handwriting.split_strokes([[5, 7, 1], [2, 1, 1]])
  assert first.tolist() == [[0, 0], [5, 7]]
  assert dot.tolist() == [[7, 8]]


@pytest.mark.parametrize("empty", [[], np.zeros((0, 3))])
def test_ink_of_no_point_is_refused(empty):
  with pytest.raises(errors.UserError, match="has 0 points; give at least 1"):
    handwriting.split_strokes(empty)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, 2e7])
@pytest.mark.parametrize("column", [0, 1])
def test_points_that_cannot_be_drawn_are_named(bad, column):
  ink = writing(0)
  ink[7, column] = bad
  with pytest.raises(errors.UserError, match="point 7 of a line of ink is at"):
    handwriting.split_strokes(ink)


def test_a_lift_that_is_no_number_is_named():
  ink = writing(0)
  ink[3, 2] = np.nan
  with pytest.raises(errors.UserError, match=r"point 3 .* the lift nan"):
    handwriting.split_strokes(ink)


def test_what_is_no_ink_at_all_is_a_mistake_of_the_caller():
  with pytest.raises(ValueError, match=r"\(4, 2\), not \[T, 3\]"):
    handwriting.split_strokes(np.ones((4, 2)))


def test_lines_lie_on_the_page_below_each_other_in_their_own_shape():
  inks = [writing(seed, 50 + 20 * seed) for seed in range(6)]
  page = handwriting.layout_page(inks)
  bottom = 0.0
  for ink, strokes, top in zip(inks, page.lines, page.tops, strict=True):
    places = points(strokes)
    low, high = places.min(axis=0), places.max(axis=0)
    assert low[0] == pytest.approx(page.left)
    assert low[1] == pytest.approx(top)
    assert top > bottom
    bottom = high[1]
    assert high[0] < page.width
    np.testing.assert_allclose(
      np.diff(places, axis=0), ink[:, :2], rtol=0, atol=1e-9
    )
  assert bottom + page.pen < page.height
  assert page.left > page.pen > 0


def test_a_missing_ascender_moves_no_line():
  """Bodies are equally far apart, whatever sticks out of them."""
  plain = np.array([[40, 50, 0], [40, -50, 0]] * 20, float)
  tall = np.concatenate([plain, [[0, -40, 0], [0, 40, 1]]])
  page = handwriting.layout_page([plain, tall, plain, plain])
  bodies = [np.median(points(strokes)[:, 1]) for strokes in page.lines]
  assert np.ptp(np.diff(bodies)) <= 1e-9
  assert page.tops[1] < bodies[1] - 39


def test_a_line_too_high_for_its_place_pushes_the_next_ones_down():
  plain = np.array([[40, 50, 0], [40, -50, 0]] * 20, float)
  wild = np.concatenate([plain, [[0, 3000, 1]]])
  page = handwriting.layout_page([plain, wild, plain, plain, plain])
  for above, below in zip(page.lines, page.lines[1:], strict=False):
    assert points(above)[:, 1].max() < points(below)[:, 1].min()


def test_a_blank_line_takes_room_and_has_no_strokes():
  ink = writing(1)
  close, apart = (
    handwriting.layout_page([ink, ink]),
    handwriting.layout_page([ink, None, ink]),
  )
  assert apart.lines[1] == ()
  gap = close.tops[1] - close.tops[0]
  assert apart.tops[2] - apart.tops[0] == pytest.approx(2 * gap, rel=0.2)


@pytest.mark.parametrize("inks", [[], [None, None]])
def test_a_page_without_ink_is_refused(inks):
  with pytest.raises(errors.UserError, match=f"page of {len(inks)} lines"):
    handwriting.layout_page(inks)


def test_a_caption_has_room_above_every_line():
  inks = [writing(seed) for seed in range(4)]
  page = handwriting.layout_page(inks, caption=0.05)
  bottoms = [0.0, *(points(line)[:, 1].max() for line in page.lines)]
  for bottom, top in zip(bottoms, page.tops, strict=False):
    assert top - bottom >= 0.05 * page.width - 1e-9


def test_writing_uphill_does_not_thicken_the_pen():
  level, uphill = (
    handwriting.layout_page([writing(2, 400, rise=rise)]).pen
    for rise in (0, 0.1)
  )
  assert uphill == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize(
  "ink", [[[0, 0, 1]], [[0, 0, 0], [0, 0, 1]], [[200, 0, 1]], [[0, 200, 1]]]
)
def test_dots_and_dashes_have_a_page_around_them(ink):
  page = handwriting.layout_page([ink])
  assert min(page.width, page.height, page.pen) > 0


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 400])
def test_ink_along_time_keeps_its_strokes_and_follows_the_steps(count):
  ink = writing(3, count)
  bent = handwriting.strokes_along_time(ink)
  assert [len(part) for part in bent] == [
    len(part) for part in handwriting.split_strokes(ink)
  ]
  places = points(bent)
  assert np.abs(places[:, 0] - np.arange(count + 1)).max() < 0.1 * count + 1
  assert places[:, 1].min() == 0


def test_ink_of_even_speed_is_only_scaled_along_time():
  rng = np.random.default_rng(0)
  ink = np.column_stack(
    [np.full(200, 8.0), rng.normal(size=200), np.zeros(200)]
  )
  places = points(handwriting.strokes_along_time(ink))
  np.testing.assert_allclose(places[:, 0], np.arange(201), atol=1e-9)
  height = np.concatenate([[0], np.cumsum(ink[:, 1])])
  np.testing.assert_allclose(
    places[:, 1], (height - height.min()) / 8, atol=1e-9
  )
