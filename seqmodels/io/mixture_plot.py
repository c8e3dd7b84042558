"""Which components of a mixture predict, step by step."""

import numpy as np

from seqmodels import errors
from seqmodels.io import canvas, ink_plot


def component_weights(
  path: canvas.Path, title: str, *, weights: np.ndarray, ink: np.ndarray
) -> None:
  """The weight of every component at every step, and above it the ink.

  Components that predict within strokes give way, where a stroke ends, to
  others that say where the next may begin (Graves 2013, figure 10). Their order
  is that of the network.

  Args:
    path: the PNG to write.
    title: above the figure; may be empty.
    weights: `[T, M]`, in each row summing to 1.
    ink: `[T, 3]` in raw units, what was being predicted.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: a weight that is not finite, and what `ink_layout.strokes`
      and `canvas.figure` raise.
  """
  shares = np.asarray(weights, np.float64)
  if shares.ndim != 2 or len(shares) != len(ink):
    raise ValueError(
      f"weights of the shape {shares.shape} are none of {len(ink)} points"
    )
  if not np.isfinite(shares).all():
    raise errors.UserError(
      "mixture weights to draw are not finite; draw those of a network from "
      "before it diverged"
    )
  strip = ink_plot.strip_height(ink, 6.0)
  rows = max(2.0, 0.14 * shares.shape[1])
  with canvas.figure(
    path,
    height=strip + rows + 0.8 + canvas.heading_height(title),
    dpi=ink_plot.DOTS_PER_INCH,
  ) as figure:
    canvas.heading(figure, title)
    above, axes = figure.subplots(2, sharex=True, height_ratios=[strip, rows])
    ink_plot.along_time(above, ink)
    image = axes.imshow(
      shares.T,
      extent=(0, len(shares), shares.shape[1] + 0.5, 0.5),
      aspect="auto",
      cmap="magma",
      vmin=0,
      vmax=1,
      interpolation="nearest",
    )
    axes.set_xlabel("step")
    axes.set_ylabel("component")
    axes.yaxis.get_major_locator().set_params(integer=True)
    canvas.whole_numbers(axes)
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)
