"""Speed ratios of a benchmark as one figure."""

from collections.abc import Sequence

import numpy as np

from seqmodels.io import canvas

# The label of a series, and a ratio's lower quartile, median, upper quartile.
Point = tuple[str, float, float, float]

_MARKS = "os^D"  # another when the colours are used up
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)


def ratios(
  groups: Sequence[tuple[str, Sequence[Point]]],
  path: canvas.Path,
  *,
  title: str = "",
) -> None:
  """Ratios as dots with their quartiles, one line of the figure a group.

  The axis is logarithmic: twice as fast and half as fast lie equally far from
  the line at 1.

  Args:
    groups: from the top down: what was done, and its points. Points of one
      label have one colour and mark throughout; one group may have several.
    path: the PNG to write.
    title: above the figure.

  Raises:
    ValueError: no points, or a ratio that is not positive.
  """
  labels = list(dict.fromkeys(p[0] for _, points in groups for p in points))
  values = [value for _, points in groups for p in points for value in p[1:]]
  if not values or min(values) <= 0:
    raise ValueError("a figure of ratios needs some, all of them above 0")
  step = 0.7 / max(len(points) for _, points in groups)
  height = 1.6 + 0.5 * len(groups) + 0.2 * len(labels)
  with canvas.figure(path, height=height) as drawing:
    axes = drawing.subplots()
    canvas.clean(axes)
    axes.set_title(title, fontsize=11)
    axes.axvline(1, color=canvas.GREY, lw=1.2)
    for number, label in enumerate(labels):
      turn, colour = divmod(number, len(canvas.COLOURS))
      places, found = [], []
      for line, (_, points) in enumerate(groups):
        for place, point in enumerate(points):
          if point[0] == label:
            places.append(line + step * (place - (len(points) - 1) / 2))
            found.append(point[1:])
      low, middle, high = np.array(found, float).T
      axes.errorbar(
        middle,
        places,
        xerr=(middle - low, high - middle),
        fmt=_MARKS[turn % len(_MARKS)],
        ms=4.5,
        lw=1.5,
        color=canvas.COLOURS[colour],
        label=label,
      )
    axes.set_xscale("log")
    least, most = min(*values, 0.9), max(*values, 1.1)
    axes.set_xlim(least / 1.1, most * 1.1)
    ticks = [tick for tick in _TICKS if least / 1.1 <= tick <= most * 1.1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(
      range(len(groups)), [name for name, _ in groups], fontsize=8
    )
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel("speed as a ratio to the peer; above 1, ours is faster")
    drawing.legend(
      loc="outside lower center", ncols=1, frameon=False, fontsize=8
    )
