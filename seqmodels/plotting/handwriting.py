"""Handwriting as SVG and PNG, with densities, heatmaps and alignments.

Arrays of T steps come from one line of handwriting, in raw units, y growing
downwards. Functions that take a `path` write one file there, whole or not at
all, and make its folder; a `title` stands above and may be empty.
"""

import contextlib
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from xml.sax import saxutils

import numpy as np

from seqmodels import errors
from seqmodels.io import files
from seqmodels.plotting import style

# [T, 3]: x offset, y offset, and 1 where the pen lifts after the point. The pen
# starts at the origin, and down.
Ink = np.ndarray | Sequence[Sequence[float]]

# Beyond it the float32 coordinates of viewers are coarser than the pen.
LARGEST = 1e7


class PageLayout(NamedTuple):
  """Positions of lines on a page, from (0, 0) to (width, height).

  Attributes:
    lines: of each line its strokes, float64 `[points, 2]`; a blank line has
      none.
    tops: the highest point of each line.
    left: the left edge of all lines.
    width: of the page, margins included.
    height: likewise.
    pen: the width of a stroke.
  """

  lines: tuple[tuple[np.ndarray, ...], ...]
  tops: tuple[float, ...]
  left: float
  width: float
  height: float
  pen: float


def split_strokes(ink: Ink) -> list[np.ndarray]:
  """Positions of the pen while it is down, a stroke each, in order.

  The first stroke begins at the origin, every other one at the point after a
  lift.

  Returns:
    Float64 `[points, 2]` each, one point at least; together T + 1 points.

  Raises:
    ValueError: not of the shape `[T, 3]`.
    errors.UserError: no point, or a position that is no finite number or
      farther than `LARGEST` from the origin.

  >>> strokes = split_strokes([[2, 0, 1], [3, 4, 0], [0, 1, 1]])
  >>> [stroke.tolist() for stroke in strokes]
  [[[0.0, 0.0], [2.0, 0.0]], [[5.0, 4.0], [5.0, 5.0]]]
  """
  rows = np.asarray(ink, np.float64)
  if not rows.size:
    raise errors.UserError(
      "a line of ink has 0 points; give at least 1, or leave the line out"
    )
  if rows.ndim != 2 or rows.shape[1] != 3:
    raise ValueError(f"ink has the shape {rows.shape}, not [T, 3]")
  with np.errstate(over="ignore", invalid="ignore"):
    places = np.cumsum(rows[:, :2], axis=0)
  # Negated, since no comparison with NaN holds.
  far = ~(np.abs(places) <= LARGEST).all(axis=1) | ~np.isfinite(rows[:, 2])
  if far.any():
    step = int(far.argmax())
    x, y = places[step]
    raise errors.UserError(
      f"point {step} of a line of ink is at ({x:g}, {y:g}) with the lift "
      f"{rows[step, 2]:g}; they must be finite and within {LARGEST:g} of the "
      "origin, so check the numbers that made it"
    )
  places = np.concatenate([np.zeros((1, 2)), places])
  # Row t is point t + 1; a lift after the last point begins nothing.
  return np.split(places, np.flatnonzero(rows[:-1, 2] > 0.5) + 2)


def layout_page(
  inks: Sequence[Ink | None], *, caption: float = 0.0
) -> PageLayout:
  """Places lines below each other, left-aligned.

  The median heights of the points of consecutive lines lie one and a half line
  heights apart, so that a missing ascender moves nothing; a line that would run
  into the previous one is moved down further. The line height is the median
  over the lines of their extents in y, corrected for writing uphill.

  Args:
    inks: the lines from the top down; None is a blank line.
    caption: room for a caption above each line, as a share of the page's width.

  Raises:
    As `split_strokes`, and errors.UserError if there is no line of ink.

  >>> placed = layout_page([[[600, 0, 0], [0, 30, 1]]] * 2)
  >>> placed.tops, placed.left, placed.width, placed.height, f"{placed.pen:.1f}"
  ((9.0, 54.0), 9.0, 618.0, 93.0, '0.9')
  """
  rows = [[] if ink is None else split_strokes(ink) for ink in inks]
  points = [np.concatenate(strokes) for strokes in rows if strokes]
  if not points:
    raise errors.UserError(
      f"a page of {len(rows)} lines has no ink; give at least one line of it"
    )
  height = float(np.median([_line_height(line) for line in points]))
  margin = 0.3 * height
  width = max(float(np.ptp(line[:, 0])) for line in points) + 2 * margin
  room = caption * width
  lines: list[tuple[np.ndarray, ...]] = []
  tops: list[float] = []
  body, bottom = -math.inf, max(margin - room, 0.0)
  for strokes in rows:
    line = np.concatenate(strokes or [np.zeros((1, 2))])
    corner = line.min(axis=0)
    middle = float(np.median(line[:, 1]) - corner[1])
    top = max(bottom + room, body + 1.5 * height + room - middle)
    shift = np.array([margin, top]) - corner
    lines.append(tuple(stroke + shift for stroke in strokes))
    tops.append(top)
    body = top + middle
    bottom = top + float(np.ptp(line[:, 1])) + 0.1 * height
  return PageLayout(
    tuple(lines),
    tuple(tops),
    left=margin,
    width=width,
    height=bottom - 0.1 * height + margin,
    pen=0.03 * height,
  )


def strokes_along_time(ink: Ink) -> list[np.ndarray]:
  """Strokes over an axis of time, bent as little as possible.

  The slow part of x, its mean over a tenth of the line, is replaced by time;
  the rest of x, the shape of letters, is added to it. Both coordinates are
  scaled so that the line is as wide as it has points.

  Returns:
    As `split_strokes`: x is about the number of the step, 0 to T; y is 0 at the
    top of the line.

  Raises:
    As `split_strokes`.

  >>> [stroke] = strokes_along_time([[9, 0, 0], [9, 6, 1]])
  >>> stroke.round().tolist()
  [[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]]
  """
  strokes = split_strokes(ink)
  places = np.concatenate(strokes)
  steps = len(places) - 1
  # A line higher than wide would leave the paper.
  scale = steps / (float(np.ptp(places, axis=0).max()) or 1.0)
  x = scale * places[:, 0]
  half = steps // 20
  # A mean over [t - half, t + half]; at the ends x goes on as a straight line.
  before = 2 * x[0] - x[half:0:-1]
  after = 2 * x[-1] - x[-2 : -half - 2 : -1]
  sums = np.cumsum(np.concatenate([[0.0], before, x, after]))
  slow = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
  times = np.arange(steps + 1.0)
  bent = np.stack(
    [times + x - slow, scale * (places[:, 1] - places[:, 1].min())], axis=1
  )
  return np.split(bent, np.cumsum([len(stroke) for stroke in strokes])[:-1])


def _line_height(points: np.ndarray) -> float:
  """The height of the writing; for a dash, the usual one of that width."""
  x, y = (points - points.mean(axis=0)).T
  wide, high = float(np.ptp(x)), float(np.ptp(y))
  if wide > 3 * high:  # A line, not a letter: without its rise.
    high = float(np.ptp(y - x * (x @ y) / (x @ x)))
  return max(high, wide / 20) or 1.0


# Characters that XML 1.0 does not allow, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg_page(inks: Sequence[Ink | None], *, title: str = "") -> str:
  """Lines below each other, as `layout_page` places them, as an SVG document.

  It opens 1200 pixels wide, or high if it is higher than wide. Equal ink gives
  equal text.

  Args:
    inks: as of `layout_page`.
    title: the written text; viewers show it.

  Raises:
    As `layout_page`.

  >>> print(svg_page([[[200, 0, 1], [20, 0, 1]]], title="- & ."), end="")
  <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 226.6 6.6" ...
  <title>- &amp; .</title>
  <rect width="100%" height="100%" fill="white"/>
  <g fill="none" stroke="black" stroke-width="0.33" ...
  <g>
  <path d="M3.3 3.3l200 0"/>
  <path d="M223.3 3.3l0 0"/>
  </g>
  </g>
  </svg>
  """
  placed = layout_page(inks)
  width, height = _tenths([placed.width, placed.height])
  pixels = 1200 / max(placed.width, placed.height)
  written = saxutils.escape(_NOT_XML.sub("\ufffd", title))
  return "\n".join(
    [
      '<svg xmlns="http://www.w3.org/2000/svg" '
      f'viewBox="0 0 {_svg_number(width)} {_svg_number(height)}" '
      f'width="{max(1, round(pixels * placed.width))}" '
      f'height="{max(1, round(pixels * placed.height))}">',
      *([f"<title>{written}</title>"] if title else []),
      '<rect width="100%" height="100%" fill="white"/>',
      f'<g fill="none" stroke="black" stroke-width="{placed.pen:.3g}" '
      'stroke-linecap="round" stroke-linejoin="round">',
      *(
        "\n".join(["<g>", *(_svg_path(stroke) for stroke in strokes), "</g>"])
        for strokes in placed.lines
        if strokes
      ),
      "</g>",
      "</svg>\n",
    ]
  )


def write_svg(
  path: style.Path, inks: Sequence[Ink | None], *, title: str = ""
) -> None:
  """Writes a `svg_page`.

  Raises:
    As `svg_page`; errors.UserError, errors.RunError if it cannot be written.
  """
  drawing = svg_page(inks, title=title)
  files.make_folder_of(path)
  files.write_text(path, drawing)


def _svg_path(stroke: np.ndarray) -> str:
  """A stroke as a path element; of one point, as a dot.

  Rounded before differences are taken: errors do not add up along a stroke.
  """
  places = _tenths(stroke)
  (x, y), *_ = places
  steps = np.diff(places, axis=0)
  steps = steps[steps.any(axis=1)]
  moves = " ".join(
    f"{_svg_number(right)} {_svg_number(down)}" for right, down in steps
  )
  # Round caps make a dot of a line that goes nowhere.
  return f'<path d="M{_svg_number(x)} {_svg_number(y)}l{moves or "0 0"}"/>'


def _tenths(values: np.ndarray | Sequence[float]) -> np.ndarray:
  return np.rint(10 * np.asarray(values, np.float64)).astype(np.int64)


def _svg_number(tenths: int) -> str:
  """A number of tenths in decimals: 12, -0.5, 0."""
  return f"{tenths / 10:.1f}".removesuffix(".0")


DOTS_PER_INCH = 240
# The height of a label of 8 points, as a share of the figure's width.
_CAPTION = 0.028


def plot_lines(
  path: style.Path,
  title: str,
  rows: Sequence[tuple[str, Ink | None]],
) -> None:
  """Lines below each other, all in one scale, as a PNG with labels above them.

  Without labels it is laid out as `svg_page`.

  Args:
    rows: from the top down: a label, and the line or None for a blank one.

  Raises:
    As `write_svg`.
  """
  labelled = any(label for label, _ in rows)
  placed = layout_page(
    [ink for _, ink in rows], caption=_CAPTION if labelled else 0.0
  )
  # A page too high for this width is shown whole, if too small to read.
  height = min(style.WIDTH * placed.height / placed.width, 40.0)
  height += 0.5 * style.heading_height(title)
  with _titled(path, title, height + 0.1) as drawing:
    axes = drawing.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(0, placed.width)
    axes.set_ylim(placed.height, 0)
    points = 72 * style.WIDTH * placed.pen / placed.width
    for strokes in placed.lines:
      draw_strokes(axes, strokes, width=max(points, 0.4))
    for (label, _), top in zip(rows, placed.tops, strict=True):
      axes.annotate(
        # A longer one would have the layout shrink the ink for it.
        textwrap.shorten(label, 100, placeholder=" ..."),
        (placed.left, top),
        xytext=(0, 4),
        textcoords="offset points",
        color=style.GREY,
        fontsize=8,
        va="baseline",
        parse_math=False,
      )


@contextlib.contextmanager
def _titled(path: style.Path, title: str, height: float) -> Iterator[Any]:
  """A `style.figure` of fine resolution under its heading."""
  height += style.heading_height(title)
  with style.figure(path, height=height, dpi=DOTS_PER_INCH) as drawing:
    style.heading(drawing, title)
    yield drawing


def draw_strokes(
  axes: Any,
  strokes: Iterable[np.ndarray],
  *,
  width: float,
  colour: str = "black",
  clip: bool = True,
) -> None:
  """Strokes as lines with round ends; a stroke of one point is a dot.

  Args:
    axes: of matplotlib, y growing downwards.
    strokes: positions `[points, 2]` in the units of the axes.
    width: of the pen, in points of 1/72 inch.
    colour: of the pen.
    clip: cut off what lies outside the axes.
  """
  for stroke in strokes:
    # A line from a point to itself has no caps here, hence the marker.
    dot = len(np.unique(stroke, axis=0)) == 1
    axes.plot(
      *(stroke[:1] if dot else stroke).T,
      color=colour,
      lw=width,
      solid_capstyle="round",
      solid_joinstyle="round",
      marker="o" if dot else "",
      ms=width,
      mew=0,
      clip_on=clip,
    )


@contextlib.contextmanager
def _colours_over_time(
  path: style.Path,
  title: str,
  values: np.ndarray,
  ink: Ink | None,
  *,
  height: float,
  first: int,
  label: str,
  **colours: Any,
) -> Iterator[Any]:
  """Values `[T, N]` as a row of colours each, under the ink if there is any.

  Args:
    path: the PNG to write.
    title: above.
    values: by step and row.
    ink: drawn above, along the same time.
    height: inches of the rows.
    first: the number of the uppermost row.
    label: of the colours.
    colours: norm or limits, as of matplotlib's imshow.
  """
  steps, count = values.shape
  strip, strokes = 0.0, []
  if ink is not None:
    strokes = strokes_along_time(ink)
    # Inches at which letters have their own shape.
    tall = np.ptp(np.concatenate(strokes)[:, 1])
    strip = float(np.clip(6.0 * tall / (len(ink) + 1), 0.3, 2.0))
  with _titled(path, title, strip + height + 0.8) as figure:
    if ink is None:
      axes = figure.subplots()
    else:
      above, axes = figure.subplots(
        2, sharex=True, height_ratios=[strip, height]
      )
      # A first letter begins left of its time, a last one ends right of it.
      draw_strokes(above, strokes, width=0.7, clip=False)
      above.set_axis_off()
      above.margins(y=0.08)
      above.invert_yaxis()
    image = axes.imshow(
      values.T,
      extent=(0, steps, first + count - 0.5, first - 0.5),
      aspect="auto",
      cmap="magma",
      interpolation="nearest",
      **colours,
    )
    axes.set_xlabel("step")
    style.whole_numbers(axes)
    _colour_bar(figure, image, axes, label)
    yield axes


def _colour_bar(figure: Any, image: Any, axes: Any, label: str) -> None:
  bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=30)
  bar.set_label(label, fontsize=8)
  bar.ax.tick_params(labelsize=7)


def _require_finite(sentence: str, *arrays: np.ndarray) -> None:
  """Raises an errors.UserError that begins with `sentence`."""
  if not all(np.isfinite(array).all() for array in arrays):
    raise errors.UserError(f"{sentence} of a network from before it diverged")


def summed(
  positions: np.ndarray,
  weights: np.ndarray,
  means: np.ndarray,
  deviations: np.ndarray,
  correlations: np.ndarray,
  *,
  corner: tuple[float, float],
  shape: tuple[int, int],
  cell: float,
) -> np.ndarray:
  """Densities of the next point, summed over the steps, on a grid of cells.

  Each component is blurred by half a cell, so that none falls between the
  centres of cells, and is evaluated only within five standard deviations, where
  it is not negligible. Memory is that of the grid.

  Args:
    positions: `[T, 2]` of the pen before each step.
    weights: `[T, M]`; components below 1e-4 are left out.
    means: `[T, M, 2]`, relative to the positions.
    deviations: `[T, M, 2]`.
    correlations: `[T, M]`.
    corner: least x and least y of the grid.
    shape: its rows, along y, and its columns, along x.
    cell: the side of a cell.

  Returns:
    Float32 `shape`: points per area; its sum, times the area of a cell, is T
    where the grid holds everything.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: a number that is not finite.

  >>> grid = summed(np.zeros((1, 2)), np.ones((1, 1)), np.zeros((1, 1, 2)),
  ...               np.ones((1, 1, 2)), np.zeros((1, 1)),
  ...               corner=(-6.0, -6.0), shape=(24, 24), cell=0.5)
  >>> round(float(grid.sum()) * 0.25, 4)
  1.0
  """
  arrays = [
    np.asarray(array, np.float64)
    for array in (positions, weights, means, deviations, correlations)
  ]
  places, shares, centres, spreads, ties = arrays
  pairs = (*shares.shape, 2)
  expected = [(*shares.shape[:1], 2), shares.shape, pairs, pairs, shares.shape]
  if shares.ndim != 2 or [array.shape for array in arrays] != expected:
    shapes = ", ".join(str(array.shape) for array in arrays)
    raise ValueError(f"{shapes} are not the shapes of positions and a mixture")
  _require_finite(
    "a mixture to draw has numbers that are not finite; draw that", *arrays
  )
  step, component = np.nonzero(shares >= 1e-4)
  # In units of cells, from the middle of the first.
  x, y = (places[step] + centres[step, component] - corner).T / cell - 0.5
  blurred = (spreads[step, component] / cell) ** 2 + 0.25
  both = ties[step, component] * spreads[step, component].prod(-1) / cell**2
  variance_x, variance_y = blurred.T
  left = variance_x * variance_y - both**2
  height = shares[step, component] / (2 * np.pi * np.sqrt(left) * cell**2)
  # Minus half the inverse of the covariance.
  xx, yy = -0.5 * variance_y / left, -0.5 * variance_x / left
  xy = both / left
  reach = 5.0 * np.sqrt(blurred)
  grid = np.zeros(shape, np.float32)
  for k in range(len(step)):
    columns = _cells(x[k], reach[k, 0], shape[1])
    rows = _cells(y[k], reach[k, 1], shape[0])
    across = columns - np.float32(x[k])
    down = (rows - np.float32(y[k]))[:, None]
    exponent = down * (np.float32(xy[k]) * across)
    exponent += np.float32(xx[k]) * across**2
    exponent += np.float32(yy[k]) * down**2
    if exponent.size:
      grid[
        int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1
      ] += np.float32(height[k]) * np.exp(exponent)
  return grid


def _cells(centre: float, reach: float, count: int) -> np.ndarray:
  """The cells of one axis within `reach` of a centre, as float32 numbers."""
  first = min(max(math.ceil(centre - reach), 0), count)
  end = max(min(math.floor(centre + reach) + 1, count), first)
  return np.arange(first, end, dtype=np.float32)


# Across the figure; a third of its pixels.
_CELLS = 700
# Shown below the highest density, in powers of ten. Predictions at the ends of
# strokes spread over an area so much larger than those within.
_DECADES = 4.0


def heatmap(
  path: style.Path,
  title: str,
  *,
  positions: np.ndarray,
  weights: np.ndarray,
  means: np.ndarray,
  deviations: np.ndarray,
  correlations: np.ndarray,
  lifts: np.ndarray,
  ink: np.ndarray,
  window: tuple[int, int] | None = None,
  draw_ink: bool = True,
) -> None:
  """The densities of the pen's next place, and of lifting it, at every step.

  Above, the mixture densities of the next point, summed over the steps (Graves
  2013, figure 10): small blobs along the strokes, and wide ones where a stroke
  ends and the next may begin anywhere. The colours are logarithmic. A long line
  is broken into bands. Below, the probabilities of an end of stroke.

  Args:
    path: the PNG to write.
    title: above the figure.
    positions: as of `summed`, and so the next four.
    weights: they sum to 1.
    means: of the offsets x, y.
    deviations: of the offsets, above 0.
    correlations: of x with y, between -1 and 1.
    lifts: `[T]`, the probability that the pen lifts after the next point.
    ink: the handwriting itself.
    window: the first step shown and the one after the last; all if None. The
      steps of a word show more than those of a line.
    draw_ink: draw thin strokes over the densities.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: a number that is not finite, or an empty window; and what
      `style.figure` raises.
  """
  first, end = window or (0, len(ink))
  if not 0 <= first < end <= len(ink):
    raise errors.UserError(
      f"the steps {first} to {end} of a heatmap are not within the 0 to "
      f"{len(ink)} of its ink; choose a window that is"
    )
  rows, starts = np.asarray(ink, np.float64), np.asarray(positions, np.float64)
  split_strokes(rows)  # Raises on what cannot be drawn.
  predicted = np.asarray(lifts, np.float64)
  steps = len(rows)
  shapes = starts.shape, predicted.shape, len(weights)
  if shapes != ((steps, 2), (steps,), steps):
    raise ValueError(
      f"positions {starts.shape}, lifts {predicted.shape} and {len(weights)} "
      f"mixtures for {steps} steps"
    )
  _require_finite(
    "positions or probabilities of an end of stroke are not finite; draw those",
    starts,
    predicted,
  )
  shown = slice(first, end)
  places = np.concatenate([starts[shown], starts[shown] + rows[shown, :2]])
  corner, (wide, tall) = _frame(places)
  bands = min(max(1, round(wide / tall / 3.5)), 4)
  cell = wide / bands / _CELLS
  grid = summed(
    starts[shown],
    weights[shown],
    means[shown],
    deviations[shown],
    correlations[shown],
    corner=(corner[0], corner[1]),
    shape=(math.ceil(tall / cell), bands * _CELLS),
    cell=cell,
  )
  # Inches, beside labels and colours.
  each = 6.05 * len(grid) / _CELLS
  with _titled(path, title, (each + 0.1) * bands + 2.0) as figure:
    *panels, below = figure.subplots(
      bands + 1, height_ratios=[each] * bands + [1.1]
    )
    strokes = _strokes(starts, rows, first, end) if draw_ink else []
    for axes in panels:
      draw_strokes(axes, strokes, width=0.5, colour="white")
    _densities(figure, panels, grid, corner, cell)
    _lifts(below, predicted[shown], rows[shown, 2], first)


def _frame(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The corner and the sides of the handwriting with room around it."""
  low, high = places.min(axis=0), places.max(axis=0)
  wide, tall = high - low
  sides = high - low + 0.8 * max(tall, 0.1 * wide, 1.0)
  # A single letter would otherwise make a figure higher than a page.
  sides[0] = max(sides[0], 1.5 * sides[1])
  return (low + high - sides) / 2, sides


def _strokes(
  starts: np.ndarray, ink: np.ndarray, first: int, end: int
) -> list[np.ndarray]:
  """Of the steps `first` to `end`, the positions while the pen was down."""
  places = np.concatenate(
    [starts[first : first + 1], (starts + ink[:, :2])[first:end]]
  )
  lifted = np.concatenate([[False], ink[:-1, 2] > 0.5])[first:end]
  strokes = np.split(places, np.flatnonzero(lifted) + 1)
  return strokes[1:] if lifted[0] else strokes


def _densities(
  figure: Any,
  panels: list[Any],
  grid: np.ndarray,
  corner: np.ndarray,
  cell: float,
) -> None:
  """A grid over several bands, and the scale of its colours."""
  peak = float(grid.max()) or 1.0  # All may have been expected elsewhere.
  left, top = corner
  bottom, step = top + len(grid) * cell, _CELLS * cell
  for band, axes in enumerate(panels):
    image = axes.imshow(
      grid[:, band * _CELLS : (band + 1) * _CELLS],
      extent=(left + band * step, left + (band + 1) * step, bottom, top),
      cmap="magma",
      norm="log",
      vmin=peak * 10**-_DECADES,
      vmax=peak,
      interpolation="bilinear",
    )
    axes.set_facecolor("black")  # A density of 0 has no logarithm.
    axes.set_xlim(left + band * step, left + (band + 1) * step)
    axes.set_ylim(bottom, top)
    axes.set_xticks([])
    axes.set_yticks([])
  _colour_bar(figure, image, panels, "summed density")


def _lifts(
  axes: Any, predicted: np.ndarray, real: np.ndarray, first: int
) -> None:
  """Stems of the probability of an end of stroke, and marks at the real."""
  steps = first + np.arange(len(predicted))
  axes.vlines(
    steps, 0, predicted, color=style.COLOURS[0], lw=1.0, label="predicted"
  )
  lifted = steps[real > 0.5]
  axes.plot(
    lifted, np.full(len(lifted), 1.1),
    ls="none", marker="v", ms=3.5, color=style.COLOURS[1], clip_on=False,
    label="the pen lifted",
  )  # fmt: skip
  style.clean(axes)
  axes.set_xlim(first - 0.5, first + len(predicted) - 0.5)
  axes.set_ylim(0, 1.05)
  axes.set_yticks([0, 0.5, 1])
  axes.set_xlabel("step")
  axes.set_ylabel("P(end of stroke)", fontsize=8)
  axes.tick_params(labelsize=8)
  style.whole_numbers(axes)
  axes.legend(
    frameon=False, fontsize=8, ncols=2,
    loc="lower right", bbox_to_anchor=(1.0, 1.08), borderaxespad=0.0,
  )  # fmt: skip


# Shown for characters that have no ink.
_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def alignment(
  path: style.Path,
  title: str,
  *,
  window: np.ndarray,
  text: str,
  ink: np.ndarray | None = None,
) -> None:
  """The window's weight on every character at every step (Graves' figure 13).

  A network that has learnt to write shows one bright line from the first
  character to the last.

  Args:
    path: the PNG to write.
    title: above the figure.
    window: phi `[T, U]`, or `[T, U + 1]` with the position after the text.
    text: its U characters.
    ink: drawn above, along the same time.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: no text, or a weight that is not finite, and what
      `split_strokes` and `style.figure` raise.
  """
  phi = np.asarray(window, np.float64)
  if not text:
    raise errors.UserError(
      "an alignment was asked for with a text of 0 characters; give at least 1"
    )
  beyond = phi.ndim == 2 and phi.shape[1] == len(text) + 1
  if phi.ndim != 2 or not (beyond or phi.shape[1] == len(text)) or not len(phi):
    raise ValueError(
      f"a window of the shape {phi.shape} is none of {len(text)} characters"
    )
  if ink is not None and len(ink) != len(phi):
    raise ValueError(f"{len(phi)} steps of a window for {len(ink)} of ink")
  _require_finite(
    "a window to draw has weights that are not finite; draw that", phi
  )
  names = [_VISIBLE.get(symbol, symbol) for symbol in text]
  names += ["end"] if beyond else []
  with _colours_over_time(
    path,
    title,
    phi,
    ink,
    # Characters of 7 points, below each other without touching.
    height=float(np.clip(0.115 * len(names), 1.5, 20.0)),
    first=0,
    label="window weight",
    # By the root: when the window moves on, it is many times as bright.
    norm=style.by_root(float(phi.max()) or 1.0),
  ) as axes:
    axes.set_yticks(range(len(names)), names, fontsize=7, parse_math=False)
    for name, label in zip(names, axes.get_yticklabels(), strict=True):
      if name == "␣":  # It hangs below the line: to the middle of its row.
        label.set_verticalalignment("baseline")
    axes.tick_params(axis="y", length=0)


def component_weights(
  path: style.Path, title: str, *, weights: np.ndarray, ink: np.ndarray
) -> None:
  """The weight of every component at every step, and above it the ink.

  Where a stroke ends, the components that predict within strokes give way to
  others that predict the start of the next one (Graves 2013, figure 10). Their
  order is that of the network.

  Args:
    path: the PNG to write.
    title: above the figure.
    weights: `[T, M]`, in each row summing to 1.
    ink: the handwriting that was predicted.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: a weight that is not finite, and what `split_strokes`
      and `style.figure` raise.
  """
  shares = np.asarray(weights, np.float64)
  if shares.ndim != 2 or len(shares) != len(ink):
    raise ValueError(
      f"weights of the shape {shares.shape} are none of {len(ink)} points"
    )
  _require_finite("mixture weights to draw are not finite; draw those", shares)
  height = max(2.0, 0.14 * shares.shape[1])
  with _colours_over_time(
    path, title, shares, ink, height=height, first=1, label="weight",
    vmin=0, vmax=1,
  ) as axes:  # fmt: skip
    axes.set_ylabel("component")
    axes.yaxis.get_major_locator().set_params(integer=True)
