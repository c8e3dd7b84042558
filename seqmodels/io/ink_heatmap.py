"""Where the pen was expected: predictive densities summed along real ink."""

import math
from typing import Any

import numpy as np

from seqmodels import errors
from seqmodels.io import canvas, ink_density, ink_layout, ink_plot

# Across the figure; a third of its pixels, and more than the eye asks for.
_CELLS = 700
# Shown below the highest density, in powers of ten. Predictions at the ends of
# strokes spread over an area so much larger than those within.
_DECADES = 4.0


def heatmap(
  path: canvas.Path,
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

  Above, what each step's mixture said of the next point, summed over the steps
  (Graves 2013, figure 10): small blobs along the strokes, and wide ones where a
  stroke ends and the next may begin anywhere. The colours are logarithmic. A
  long line is broken into bands. Below, the probabilities of an end of stroke.

  Args:
    path: the PNG to write.
    title: above the figure; may be empty.
    positions: `[T, 2]` of the pen before each step, raw units, y downwards.
    weights: `[T, M]` of each step's mixture; they sum to 1.
    means: `[T, M, 2]` of the offsets x, y, in raw units.
    deviations: `[T, M, 2]` of the offsets, above 0, in raw units.
    correlations: `[T, M]` of x with y, between -1 and 1.
    lifts: `[T]`, the probability that the pen lifts after the next point.
    ink: `[T, 3]`, what was written: the offsets, and whether the pen lifted.
    window: the first step shown and the one after the last; all if None. A
      word's steps show more than a line's.
    draw_ink: whether thin ink lies over the densities.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: a number that is not finite, or an empty window; and what
      `canvas.figure` raises.
  """
  first, end = window or (0, len(ink))
  if not 0 <= first < end <= len(ink):
    raise errors.UserError(
      f"the steps {first} to {end} of a heatmap are not within the 0 to "
      f"{len(ink)} of its ink; choose a window that is"
    )
  rows, starts = np.asarray(ink, np.float64), np.asarray(positions, np.float64)
  ink_layout.strokes(rows)  # It refuses what cannot be drawn.
  said = np.asarray(lifts, np.float64)
  steps = len(rows)
  if (starts.shape, said.shape, len(weights)) != ((steps, 2), (steps,), steps):
    raise ValueError(
      f"positions {starts.shape}, lifts {said.shape} and {len(weights)} "
      f"mixtures for {steps} steps"
    )
  if not (np.isfinite(starts).all() and np.isfinite(said).all()):
    raise errors.UserError(
      "positions or probabilities of an end of stroke are not finite; draw "
      "those of a network from before it diverged"
    )
  shown = slice(first, end)
  places = np.concatenate([starts[shown], starts[shown] + rows[shown, :2]])
  corner, (wide, tall) = _frame(places)
  bands = min(max(1, round(wide / tall / 3.5)), 4)
  cell = wide / bands / _CELLS
  grid = ink_density.summed(
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
  with canvas.figure(
    path,
    height=(each + 0.1) * bands + 2.0 + canvas.heading_height(title),
    dpi=ink_plot.DOTS_PER_INCH,
  ) as figure:
    canvas.heading(figure, title)
    *panels, below = figure.subplots(
      bands + 1, height_ratios=[each] * bands + [1.1]
    )
    strokes = _strokes(starts, rows, first, end) if draw_ink else []
    for axes in panels:
      ink_plot.draw(axes, strokes, width=0.5, colour="white")
    _densities(figure, panels, grid, corner, cell)
    _lifts(below, said[shown], rows[shown, 2], first)


def _frame(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The corner and the sides of what is shown: the ink and room around it."""
  low, high = places.min(axis=0), places.max(axis=0)
  wide, tall = high - low
  sides = high - low + 0.8 * max(tall, 0.1 * wide, 1.0)
  # A single letter would else make a figure higher than a page.
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
  parts = np.split(places, np.flatnonzero(lifted) + 1)
  return parts[1:] if lifted[0] else parts


def _densities(
  figure: Any,
  panels: list[Any],
  grid: np.ndarray,
  corner: np.ndarray,
  cell: float,
) -> None:
  """A grid over several bands, and what its colours mean."""
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
    axes.set_facecolor("black")  # What no density reaches has no logarithm.
    axes.set_xlim(left + band * step, left + (band + 1) * step)
    axes.set_ylim(bottom, top)
    axes.set_xticks([])
    axes.set_yticks([])
  bar = figure.colorbar(image, ax=panels, pad=0.01, aspect=30)
  bar.set_label("summed density", fontsize=8)
  bar.ax.tick_params(labelsize=7)


def _lifts(axes: Any, said: np.ndarray, real: np.ndarray, first: int) -> None:
  """Stems of the probability of an end of stroke, and marks at the real."""
  steps = first + np.arange(len(said))
  axes.vlines(
    steps, 0, said, color=canvas.COLOURS[0], lw=1.0, label="predicted"
  )
  happened = steps[real > 0.5]
  axes.plot(
    happened,
    np.full(len(happened), 1.1),
    ls="none", marker="v", ms=3.5, color=canvas.COLOURS[1], clip_on=False,
    label="the pen lifted",
  )  # fmt: skip
  canvas.clean(axes)
  axes.set_xlim(first - 0.5, first + len(said) - 0.5)
  axes.set_ylim(0, 1.05)
  axes.set_yticks([0, 0.5, 1])
  axes.set_xlabel("step")
  axes.set_ylabel("P(end of stroke)", fontsize=8)
  axes.tick_params(labelsize=8)
  canvas.whole_numbers(axes)
  axes.legend(
    frameon=False, fontsize=8, ncols=2,
    loc="lower right", bbox_to_anchor=(1.0, 1.08), borderaxespad=0.0,
  )  # fmt: skip
