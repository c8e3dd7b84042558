"""Figures of a benchmark: speed-ups over peers, growth with size.

Both write one PNG at `path` with a `title` above, give each library one colour
in all panels, by its place among `names` (ours, then the peers), and draw on
logarithmic axes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from seqmodels.plotting import style


class SpeedUp(NamedTuple):
  """The speed of ours as a multiple of a peer's, over repeated measurements.

  Attributes:
    peer: its name.
    low: the lower quartile.
    middle: the median.
    high: the upper quartile.
    best: each in its fastest precision, drawn filled; otherwise both in
      float32, drawn hollow.
  """

  peer: str
  low: float
  middle: float
  high: float
  best: bool = True


# A line of a panel: its label, and the marks on it from the top down.
Row = tuple[str, Sequence[SpeedUp]]


def speedups(
  panels: Mapping[str, Sequence[Row]],
  path: style.Path,
  *,
  names: Sequence[str],
  title: str = "",
) -> None:
  """Draws speed-ups with quartiles and values, one panel a kind of work.

  Twice as fast and half as fast lie equally far from ours, the line at 1.

  Args:
    panels: rows by the panel's heading, two panels side by side.
    path: the PNG to write.
    names: of the libraries.
    title: above the figure.

  Raises:
    ValueError: no speed-ups, or one that is not positive.
  """
  marks = [m for rows in panels.values() for _, row in rows for m in row]
  if not marks or min(mark.low for mark in marks) <= 0:
    raise ValueError("a figure of ratios needs some, all of them above 0")
  columns = min(2, len(panels))
  sizes = [sum(len(row) + 1 for _, row in rows) for rows in panels.values()]
  heights = [
    max(sizes[first : first + columns])
    for first in range(0, len(sizes), columns)
  ]
  colours = _colours(names)
  height = 1 + 0.5 * len(heights) + 0.125 * sum(heights)
  with style.panels(
    path, title, height=height, rows=len(heights), columns=columns, sharex=True,
    height_ratios=heights,
  ) as cells:  # fmt: skip
    for axes, (heading, rows) in zip(cells, panels.items(), strict=False):
      axes.set_title(heading, fontsize=9, fontweight="bold", loc="left")
      _draw_rows(axes, rows, colours)
    for axes in cells[len(panels) :]:
      axes.set_axis_off()
    least = min(0.8, *(mark.low for mark in marks))
    most = max(1.2, *(mark.high for mark in marks))
    room = max(1.8, (most / least) ** 0.2)  # for the values beside the marks
    limits = (least / room, most * room)
    steps = (1, 2, 5) if limits[1] < 100 * limits[0] else (1,)
    ticks = [step * 10.0**power for power in range(-4, 5) for step in steps]
    ticks = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
    cells[0].set_xscale("log")
    cells[0].set_xlim(limits)
    cells[0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    for axes in cells:
      axes.minorticks_off()
    _legend(cells[0].figure, _handles(cells[0], marks, colours))


def _draw_rows(
  axes: Any, rows: Sequence[Row], colours: Mapping[str, str]
) -> None:
  axes.grid(visible=False, axis="y")
  ours = next(iter(colours.values()))
  axes.axvline(1, color=ours, lw=1.5)
  line, centres = 0, []
  for _, row in rows:
    centres.append(line + (len(row) - 1) / 2)
    for place, mark in enumerate(row, start=line):
      colour = colours[mark.peer]
      axes.errorbar(
        mark.middle,
        place,
        xerr=[[mark.middle - mark.low], [mark.high - mark.middle]],
        fmt="o",
        ms=4,
        lw=1.2,
        color=colour,
        mfc=colour if mark.best else "white",
        label=mark.peer,
      )
      # Away from the line at 1, which it would cover.
      slower = mark.middle < 1
      axes.annotate(
        f"{mark.middle:.2f}",
        (mark.low if slower else mark.high, place),
        xytext=(-4 if slower else 4, 0),
        textcoords="offset points",
        ha="right" if slower else "left",
        va="center",
        fontsize=6.5,
        color=colour,
      )
    line += len(row) + 1
    axes.axhline(line - 1, color="#E5E5E5", lw=0.6)
  axes.set_yticks(centres, [label for label, _ in rows])
  axes.set_ylim(line - 1, -1)
  axes.tick_params(labelsize=7, labelbottom=True)
  axes.tick_params(axis="y", length=0)


def _handles(
  axes: Any, marks: Sequence[SpeedUp], colours: Mapping[str, str]
) -> list[Any]:
  """Legend entries: ours, the peers with marks, and the two kinds of marks."""

  def handle(mark: str, label: str, **look: Any) -> Any:
    [line] = axes.plot([], [], mark, ms=4, label=label, **look)
    return line

  ours, *peers = colours
  handles = [handle("-", ours, color=colours[ours])]
  handles += [
    handle("o", peer, color=colours[peer])
    for peer in peers
    if any(mark.peer == peer for mark in marks)
  ]
  for best, label in ((False, "both in float32"), (True, "each at its best")):
    if any(mark.best == best for mark in marks):
      fill = style.GREY if best else "white"
      handles.append(handle("o", label, color=style.GREY, mfc=fill))
  return handles


Curve = list[tuple[float, float]]  # (size, value)


class Column(NamedTuple):
  """The growth along one axis.

  Attributes:
    axis: the label of what changes.
    times: milliseconds by library.
    memory: megabytes by library.
  """

  axis: str
  times: Mapping[str, Curve]
  memory: Mapping[str, Curve]


def growth(
  columns: Sequence[Column],
  path: style.Path,
  *,
  names: Sequence[str],
  title: str = "",
) -> None:
  """Draws times above memory, one column an axis, a row's scale shared.

  Twice the size at twice the cost is a line at the same slope everywhere.

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
  colours = _colours(names)
  with style.panels(
    path, title, height=5.0, rows=2, columns=len(columns),
    sharex="col", sharey="row",
  ) as grid:  # fmt: skip
    above, below = grid[: len(columns)], grid[len(columns) :]
    for upper, lower, column in zip(above, below, columns, strict=True):
      _draw_curves(upper, column.times, colours)
      _draw_curves(lower, column.memory, colours)
      sizes = sorted({n for line in column.times.values() for n, _ in line})
      lower.set_xticks(sizes, [f"{size:g}" for size in sizes], fontsize=7)
      lower.xaxis.minorticks_off()
      lower.set_xlabel(column.axis, fontsize=9)
    above[0].set_ylabel("milliseconds")
    below[0].set_ylabel("temporary memory, MB")
    _legend(above[0].figure, above[0].get_legend_handles_labels()[0])


def _draw_curves(
  axes: Any, curves: Mapping[str, Curve], colours: Mapping[str, str]
) -> None:
  for name, points in curves.items():
    places, values = zip(*points, strict=True)
    axes.plot(
      places, values, "o-", ms=3, lw=1.3, color=colours[name], label=name
    )
  axes.set_xscale("log")
  axes.set_yscale("log")
  axes.tick_params(which="both", labelsize=7)


def _colours(names: Sequence[str]) -> dict[str, str]:
  return dict(zip(names, style.COLOURS, strict=False))


def _legend(drawing: Any, handles: Sequence[Any]) -> None:
  drawing.legend(
    handles=handles,
    loc="outside lower center",
    ncols=len(handles),
    frameon=False,
    fontsize=8,
  )
