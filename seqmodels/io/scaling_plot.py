"""How time and memory grow with a size, a column of panels each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from seqmodels.io import canvas

Curve = list[tuple[float, float]]  # (size, value)


class Column(NamedTuple):
  """What grows along one axis.

  Attributes:
    axis: what changes, in words.
    times: milliseconds by name.
    memory: megabytes by name.
  """

  axis: str
  times: Mapping[str, Curve]
  memory: Mapping[str, Curve]


def grid(columns: Sequence[Column], path: canvas.Path, *, title: str) -> None:
  """Times above memory, all axes logarithmic, a row's scale shared.

  Twice the size at twice the cost is everywhere a line at one slope.

  Args:
    columns: from the left; a name has one colour throughout.
    path: the PNG to write.
    title: above the figure.

  Raises:
    ValueError: no columns, or a value that is not positive.
  """
  curves = [
    curve
    for column in columns
    for named in (column.times, column.memory)
    for curve in named.values()
  ]
  if not curves or min(n for curve in curves for p in curve for n in p) <= 0:
    raise ValueError("a figure of growth needs points, all of them above 0")
  names = dict.fromkeys(name for column in columns for name in column.times)
  colours = {
    name: canvas.COLOURS[place % len(canvas.COLOURS)]
    for place, name in enumerate(names)
  }
  with canvas.figure(path, height=5.4) as drawing:
    canvas.heading(drawing, title)
    rows = drawing.subplots(
      2, len(columns), sharex="col", sharey="row", squeeze=False
    )
    for place, column in enumerate(columns):
      _draw(rows[0][place], column.times, colours)
      _draw(rows[1][place], column.memory, colours)
      sizes = sorted({n for line in column.times.values() for n, _ in line})
      rows[1][place].set_xticks(
        sizes, [f"{size:g}" for size in sizes], fontsize=7
      )
      rows[1][place].minorticks_off()
      rows[1][place].set_xlabel(column.axis, fontsize=9)
    rows[0][0].set_ylabel("milliseconds")
    rows[1][0].set_ylabel("temporary memory, MB")
    handles, labels = rows[0][0].get_legend_handles_labels()
    drawing.legend(
      handles,
      labels,
      loc="outside lower center",
      ncols=1,
      frameon=False,
      fontsize=8,
    )


def _draw(
  pair: Any, curves: Mapping[str, Curve], colours: Mapping[str, str]
) -> None:
  canvas.clean(pair)
  for name, points in curves.items():
    places, values = zip(*points, strict=True)
    pair.plot(
      places, values, "o-", ms=3, lw=1.3, color=colours[name], label=name
    )
  pair.set_xscale("log")
  pair.set_yscale("log")
  pair.tick_params(labelsize=7)
