"""Plain figures for studies: curves, panels of them, bars, and heat maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqmodels.io import canvas

Curve = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]


def curves(
  path: canvas.Path,
  title: str,
  drawn: Mapping[str, Curve],
  *,
  x: str,
  y: str,
  log_x: bool = False,
  log_y: bool = False,
  marks: bool = False,
  references: Mapping[str, float] | None = None,
) -> None:
  """Curves in one pair of axes, by the names of the legend.

  Args:
    path: the PNG to write.
    title: above the axes.
    drawn: (places, values) by name; a name that begins with "~" is drawn thin
      and grey, as data behind a model.
    x: label of the places.
    y: label of the values.
    log_x: logarithmic places.
    log_y: logarithmic values.
    marks: a mark at every point.
    references: horizontal lines by name.
  """
  with canvas.axes(path, title) as pair:
    _draw(pair, drawn, log_x=log_x, log_y=log_y, marks=marks)
    canvas.references(pair, references or {})
    pair.set_xlabel(x)
    pair.set_ylabel(y)
    pair.legend(frameon=False, fontsize=9)


def panels(
  path: canvas.Path,
  drawn: Mapping[str, Mapping[str, Curve]],
  *,
  x: str,
  y: str,
  log_x: bool = False,
  log_y: bool = False,
  marks: bool = False,
) -> None:
  """Several pairs of axes side by side with one scale, a title each."""
  with canvas.figure(path, height=3.6) as drawing:
    pairs = drawing.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for pair, (name, inside) in zip(pairs, drawn.items(), strict=True):
      canvas.clean(pair)
      pair.set_title(name, fontsize=10)
      pair.set_xlabel(x)
      _draw(pair, inside, log_x=log_x, log_y=log_y, marks=marks)
    pairs[0].set_ylabel(y)
    pairs[-1].legend(frameon=False, fontsize=8)


def bars(
  path: canvas.Path, title: str, values: Mapping[str, float], *, x: str
) -> None:
  """Horizontal bars with their values, the first on top."""
  names = list(values)
  with canvas.axes(path, title, height=1.2 + 0.32 * len(names)) as pair:
    places = np.arange(len(names))[::-1]
    lengths = [values[name] for name in names]
    pair.barh(places, lengths, color=canvas.COLOURS[0], height=0.7)
    pair.set_yticks(places, names, fontsize=9)
    for place, length in zip(places, lengths, strict=True):
      pair.annotate(f" {length:.4g}", (length, place), va="center", fontsize=8)
    pair.margins(x=0.12)
    pair.set_xlabel(x)


def heat(
  path: canvas.Path,
  title: str,
  values: np.ndarray,
  *,
  x: str,
  y: str,
  colour: str,
) -> None:
  """A matrix as an image, its first row on top."""
  with canvas.axes(path, title) as pair:
    image = pair.imshow(values, aspect="auto", cmap="magma")
    pair.grid(visible=False)
    pair.set_xlabel(x)
    pair.set_ylabel(y)
    pair.figure.colorbar(image, ax=pair, label=colour)


def _draw(
  pair: Any,
  drawn: Mapping[str, Curve],
  *,
  log_x: bool,
  log_y: bool,
  marks: bool,
) -> None:
  colours = iter(canvas.COLOURS * (1 + len(drawn)))
  for name, (places, values) in drawn.items():
    if name.startswith("~"):
      pair.plot(places, values, color=canvas.GREY, lw=0.7, label=name[1:])
      continue
    style = "o-" if marks else "-"
    pair.plot(
      places, values, style, ms=3.5, lw=1.6, color=next(colours), label=name
    )
  if log_x:
    pair.set_xscale("log")
  if log_y:
    pair.set_yscale("log")
