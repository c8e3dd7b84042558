"""Ink as PNG: lines below each other, each under a small label."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seqmodels.io import canvas, ink_layout

DOTS_PER_INCH = 240
# Of the figure's width, for a label of 8 points and the space around it.
_CAPTION = 0.028


def lines(
  path: canvas.Path,
  title: str,
  rows: Sequence[tuple[str, ink_layout.Ink | None]],
) -> None:
  """Lines of ink below each other, all in one scale, labels above them.

  "Real" beside "generated", one sentence at several biases, or, with labels
  that are empty, a page, laid out as `ink_svg.page` does.

  Args:
    path: the PNG to write.
    title: above the figure; may be empty.
    rows: from the top down: a label, and ink `[T, 3]` in raw units or None for
      a blank line.

  Raises:
    As `ink_layout.page`, and errors.UserError, errors.RunError if the file
    cannot be written.
  """
  labelled = any(label for label, _ in rows)
  placed = ink_layout.page(
    [ink for _, ink in rows], caption=_CAPTION if labelled else 0.0
  )
  # Of a page too high to be read at this width, the whole is still shown.
  height = min(canvas.WIDTH * placed.height / placed.width, 40.0)
  with canvas.figure(
    path,
    height=height + 0.1 + 1.5 * canvas.heading_height(title),
    dpi=DOTS_PER_INCH,
  ) as drawing:
    axes = drawing.subplots()
    canvas.heading(drawing, title)
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(0, placed.width)
    axes.set_ylim(placed.height, 0)
    points = 72 * canvas.WIDTH * placed.pen / placed.width
    for strokes in placed.lines:
      draw(axes, strokes, width=max(points, 0.4))
    for (label, _), top in zip(rows, placed.tops, strict=True):
      axes.annotate(
        # A longer one would have the layout shrink the ink for it.
        textwrap.shorten(label, 100, placeholder=" ..."),
        (placed.left, top),
        xytext=(0, 4),
        textcoords="offset points",
        color=canvas.GREY,
        fontsize=8,
        va="baseline",
        parse_math=False,
      )


def draw(
  axes: Any,
  strokes: Iterable[np.ndarray],
  *,
  width: float,
  colour: str = "black",
  clip: bool = True,
) -> None:
  """Strokes as lines with round ends; a stroke of one point is a dot.

  Args:
    axes: of matplotlib; y has to grow downwards in them.
    strokes: positions `[points, 2]` in the units of the axes.
    width: of the pen, in points of 1/72 inch.
    colour: of the ink.
    clip: whether what lies outside the axes is cut off.
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


def along_time(axes: Any, ink: ink_layout.Ink) -> None:
  """Ink over an axis of steps, as `ink_layout.along_time` bends it.

  Args:
    axes: of matplotlib, above others that share their x; made for nothing
      else.
    ink: `[T, 3]` in raw units.
  """
  strokes = ink_layout.along_time(ink)
  # A first letter begins left of its time, a last one ends right of it.
  draw(axes, strokes, width=0.7, clip=False)
  axes.set_axis_off()
  axes.margins(y=0.08)
  axes.invert_yaxis()


def strip_height(ink: ink_layout.Ink, width: float) -> float:
  """Inches that ink `along_time` needs for letters of their own shape."""
  strokes = np.concatenate(ink_layout.along_time(ink))
  return float(np.clip(width * np.ptp(strokes[:, 1]) / len(strokes), 0.3, 2.0))
