"""Where in the text the window looks while the pen writes."""

import numpy as np

from seqmodels import errors
from seqmodels.io import canvas, ink_plot

# Shown for characters that have no ink.
_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def alignment(
  path: canvas.Path,
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
    title: above the figure; may be empty.
    window: phi `[T, U]`, or `[T, U + 1]` where it was also taken at the place
      after the text.
    text: its U characters.
    ink: `[T, 3]` in raw units, drawn above, along the same time, if given.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: no text, or a weight that is not finite, and what
      `ink_layout.strokes` and `canvas.figure` raise.
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
  if not np.isfinite(phi).all():
    raise errors.UserError(
      "a window to draw has weights that are not finite; draw that of a "
      "network from before it diverged"
    )
  names = [_VISIBLE.get(symbol, symbol) for symbol in text]
  names += ["end"] if beyond else []
  strip = 0.0 if ink is None else ink_plot.strip_height(ink, 6.0)
  # Characters of 7 points, below each other without touching.
  rows = float(np.clip(0.115 * len(names), 1.5, 20.0))
  with canvas.figure(
    path,
    height=strip + rows + 0.8 + canvas.heading_height(title),
    dpi=ink_plot.DOTS_PER_INCH,
  ) as figure:
    canvas.heading(figure, title)
    if ink is None:
      axes = figure.subplots()
    else:
      above, axes = figure.subplots(2, sharex=True, height_ratios=[strip, rows])
      ink_plot.along_time(above, ink)
    image = axes.imshow(
      phi.T,
      extent=(0, len(phi), len(names) - 0.5, -0.5),
      aspect="auto",
      cmap="magma",
      # By the root: when the window moves on, it is many times as bright.
      norm=canvas.by_root(float(phi.max()) or 1.0),
      interpolation="nearest",
    )
    axes.set_yticks(range(len(names)), names, fontsize=7, parse_math=False)
    for name, label in zip(names, axes.get_yticklabels(), strict=True):
      if name == "␣":  # It hangs below the line: to the middle of its row.
        label.set_verticalalignment("baseline")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("step")
    canvas.whole_numbers(axes)
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label("window weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)
