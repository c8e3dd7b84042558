"""Size, colours, axis labels and writing of all figures.

matplotlib is imported when the first figure is drawn, and used without pyplot:
no display, no global state, usable from any thread.
"""

import contextlib
import io
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seqmodels.io import files

Path = str | os.PathLike

WIDTH = 7.2  # inches
_TITLE = 70  # characters of 11 points in it

# Okabe and Ito's colours, safe for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#6F6F6F"

# Axis labels of metrics.
LABELS = {
  "bits_per_character": "bits per character",
  "bits_per_byte": "bits per byte",
  "bits_per_symbol": "bits per symbol",
  "nats_per_symbol": "nats per symbol",
  "error_rate": "error rate",
  "speed_ratio": "speed, as a ratio to the peer",
  "tokens_per_second": "tokens per second",
}


@contextlib.contextmanager
def axes(path: Path, title: str, *, height: float = 4.2) -> Iterator[Any]:
  """One pair of axes; their figure is written when the block ends."""
  with figure(path, height=height) as drawing:
    pair = drawing.subplots()
    clean(pair)
    pair.set_title(title, fontsize=11)
    yield pair


@contextlib.contextmanager
def panels(
  path: Path, title: str, *, height: float, rows: int = 1, columns: int = 1,
  **options: Any,
) -> Iterator[list[Any]]:  # fmt: skip
  """As `axes`, several of them; `options` are those of matplotlib's subplots.

  The axes are listed row by row.
  """
  with figure(path, height=height) as drawing:
    heading(drawing, title)
    grid = list(drawing.subplots(rows, columns, squeeze=False, **options).flat)
    for pair in grid:
      clean(pair)
    yield grid


@contextlib.contextmanager
def figure(path: Path, *, height: float, dpi: int = 120) -> Iterator[Any]:
  """An empty matplotlib figure that is written, whole, when the block ends.

  Missing folders of `path` are made. It is WIDTH inches wide and `height` high;
  thin strokes need more dots per inch.

  Raises:
    UserError, RunError: the file cannot be written.
  """
  if "matplotlib" not in sys.modules:
    # A notebook's backend is inherited by the commands that it starts.
    os.environ["MPLBACKEND"] = "agg"
  from matplotlib import figure as figures  # 0.4 s: only runs that draw pay it.

  drawing = figures.Figure(
    figsize=(WIDTH, height), dpi=dpi, layout="constrained"
  )
  yield drawing
  image = io.BytesIO()
  # No date and no version: equal data give equal files.
  drawing.savefig(image, format="png", metadata={"Software": None})
  files.make_folder_of(path)
  files.write_bytes(path, image.getvalue())


def heading(drawing: Any, title: str) -> None:
  """A title over a whole figure, broken into lines that fit.

  Nothing in it is taken for a formula: it may quote any text.
  """
  lines = textwrap.wrap(title, _TITLE)
  drawing.suptitle("\n".join(lines), fontsize=11, parse_math=False)


def heading_height(title: str) -> float:
  """The inches that a heading takes.

  >>> heading_height(""), heading_height("word " * 30)
  (0.0, 0.6)
  """
  return round(0.2 * len(textwrap.wrap(title, _TITLE)), 6)


def clean(pair: Any) -> None:
  """Two spines and a pale grid behind the data."""
  pair.spines[["top", "right"]].set_visible(False)
  pair.grid(visible=True, color="#E5E5E5", lw=0.8)
  pair.set_axisbelow(True)


def thinned(
  xs: Sequence[float], ys: Sequence[float], points: int
) -> list[np.ndarray]:
  """A line as the means of `points` consecutive parts of it.

  >>> [mean.tolist() for mean in thinned([0, 1, 2, 3], [5, 7, 9, 9], 2)]
  [[0.5, 2.5], [6.0, 9.0]]
  """
  count = min(points, len(xs))
  return [
    np.array([np.mean(chunk) for chunk in np.array_split(values, count)])
    for values in (np.asarray(xs, float), np.asarray(ys, float))
  ]


def noisy_line(
  pair: Any,
  xs: Sequence[float],
  ys: Sequence[float],
  name: str,
  colour: str,
) -> None:
  """A line of many points: itself, pale, under its mean over 100 parts."""
  if len(xs) < 100:
    pair.plot(xs, ys, color=colour, label=name)
    return
  pair.plot(xs, ys, color=colour, alpha=0.25, lw=0.8)
  pair.plot(*thinned(xs, ys, 100), color=colour, label=f"{name}, running mean")


def crop(pair: Any, lines: Iterable[Any], margin: float) -> None:
  """Limits y to the range of `lines`, and a margin as a share of it.

  The lines are given without their starts, whose steep fall would flatten all
  that follows.
  """
  values = np.concatenate([np.asarray(line, float) for line in lines])
  room = margin * np.ptp(values) + 1e-3
  pair.set_ylim(values.min() - room, values.max() + room)


def whole_numbers(pair: Any) -> None:
  """An x axis of counts: no fractions, thousands apart."""
  pair.xaxis.get_major_locator().set_params(integer=True)
  pair.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def references(pair: Any, values: Mapping[str, float]) -> None:
  """Horizontal lines to compare with, named in the legend."""
  styles = ("--", ":", "-.")
  for position, (name, value) in enumerate(values.items()):
    pair.axhline(
      value,
      color=GREY,
      lw=1.2,
      ls=styles[position % len(styles)],
      label=f"{name}: {value:.4g}",
    )


def legend_beside(pair: Any, title: str) -> None:
  """A legend to the right of the axes, where it hides nothing."""
  pair.legend(
    frameon=False,
    title=title,
    fontsize=8,
    title_fontsize=8,
    loc="upper left",
    bbox_to_anchor=(1.0, 1.0),
  )


def label(name: str) -> str:
  """The axis label of a metric.

  >>> label("bits_per_character"), label("perplexity")
  ('bits per character', 'perplexity')
  """
  return LABELS.get(name, name.replace("_", " "))


def by_root(most: float) -> Any:
  """Colours from 0 to `most` by the square root, so that faint values show."""
  from matplotlib import colors

  return colors.PowerNorm(0.5, vmin=0, vmax=most)
