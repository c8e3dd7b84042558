"""How scores develop along a split: means of everything scored so far."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from seqmodels.io import canvas

# Nats of consecutive segments, and the symbols of each.
Curve = tuple[Sequence[float], Sequence[int]]


def along_split(
  curves: Mapping[str, Curve],
  path: canvas.Path,
  *,
  unit: str = "bits per character",
  title: str = "",
  windows: int = 150,
) -> None:
  """How the score develops along a split, one line an evaluation.

  The upper panel shows each evaluation's mean over everything scored so far;
  the lower, how far each one's lies from the first one's.

  Args:
    curves: by label, such as "static" and "dynamic": the nats of consecutive
      segments and how many symbols each scored. They may be cut differently.
    path: the PNG to write.
    unit: of the upper axis; the values are bits.
    title: above the figure.
    windows: how many points a line has.

  Raises:
    ValueError: no curves, or one of them scored nothing.
  """
  places, running = running_means(curves, windows)
  compared = len(running) > 1
  with canvas.figure(path, height=5.6 if compared else 4.2) as figure:
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(
      2 if compared else 1,
      sharex=True,
      squeeze=False,
      height_ratios=[3, 2] if compared else [1],
    )[:, 0]
    first = next(iter(running))
    for colour, label in zip(
      canvas.COLOURS * len(running), running, strict=False
    ):
      means = running[label]
      grid[0].plot(
        places, means, color=colour, label=f"{label}: {means[-1]:.4g}"
      )
      if compared and label != first:
        grid[1].plot(places, means - running[first], color=colour, label=label)
    _spare_the_first_symbols(grid[0], running.values())
    grid[0].set_ylabel(f"{unit}, mean so far")
    grid[0].legend(frameon=False)
    if compared:
      grid[1].axhline(0, color=canvas.GREY, lw=1, ls="--", label=first)
      grid[1].set_ylabel(f"minus that of {first}")
      grid[1].legend(frameon=False)
    grid[-1].set_xlabel(f"{unit.removeprefix('bits per ')}s scored")
    canvas.whole_numbers(grid[-1])
    for axes in grid:
      canvas.clean(axes)


def dynamic_gain(
  runs: Mapping[str, Mapping[str, Curve]],
  path: canvas.Path,
  *,
  unit: str,
  points: int,
) -> None:
  """Running bits of static and dynamic evaluation, and under it the gain.

  Args:
    runs: by name, and then "static" and "dynamic": nats of consecutive segments
      and the symbols of each.
    path: the PNG to write.
    unit: of the values, such as "bits per character".
    points: of a line.

  Raises:
    ValueError: no runs, or nothing was scored.
  """
  if not runs:
    raise ValueError("no run was evaluated dynamically")
  with canvas.figure(path, height=6.2) as drawing:
    upper, lower = drawing.subplots(2, sharex=True, height_ratios=[3, 2])
    drawing.suptitle(
      "mean of everything scored so far: static dashed, dynamic solid",
      fontsize=11,
    )
    drawn = []
    for number, (name, curves) in enumerate(runs.items()):
      colour = canvas.COLOURS[number % len(canvas.COLOURS)]
      places, means = running_means(curves, points)
      static, dynamic = means["static"], means["dynamic"]
      upper.plot(places, static, color=colour, ls="--")
      upper.plot(
        places, dynamic, color=colour,
        label=f"{name}: {static[-1]:.4g}, {dynamic[-1]:.4g}",
      )  # fmt: skip
      lower.plot(
        places, static - dynamic, color=colour,
        label=f"{name}: {static[-1] - dynamic[-1]:.4f}",
      )  # fmt: skip
      drawn += [static, dynamic]
    _spare_the_first_symbols(upper, drawn)
    lower.axhline(0, color=canvas.GREY, lw=1)
    upper.set_ylabel(unit)
    lower.set_ylabel(f"gain, {unit}")
    lower.set_xlabel(f"{unit.removeprefix('bits per ')}s scored")
    canvas.whole_numbers(lower)
    canvas.legend_beside(upper, "static, dynamic")
    canvas.legend_beside(lower, "static minus dynamic")
    for axes in (upper, lower):
      canvas.clean(axes)


def running_means(
  curves: Mapping[str, Curve], points: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """Bits a symbol over everything up to a place, at the same places for all.

  >>> places, means = running_means({"a": ([np.log(2.0), 0.0], [1, 1])}, 2)
  >>> places.tolist(), means["a"].tolist()
  ([1.0, 2.0], [1.0, 0.5])

  Args:
    curves: by label: nats of consecutive segments, and the symbols of each.
    points: how many places; no more than the coarsest curve has segments.

  Returns:
    The places, symbols scored [P], and by label the means [P].

  Raises:
    ValueError: no curves, or one of them scored nothing.
  """
  sums = {
    label: _cumulative(nats, counts) for label, (nats, counts) in curves.items()
  }
  if not sums or any(ends[-1] <= 0 for ends, _ in sums.values()):
    raise ValueError("a figure along a split needs curves with scored symbols")
  span = min(ends[-1] for ends, _ in sums.values())
  # A stretch shorter than a segment would show its interpolation.
  points = min(points, *(len(ends) - 1 for ends, _ in sums.values()))
  places = np.linspace(0, span, points + 1)[1:]
  return places, {
    label: np.interp(places, ends, bits) / places
    for label, (ends, bits) in sums.items()
  }


def _spare_the_first_symbols(axes: Any, means: Iterable[np.ndarray]) -> None:
  """Cuts the height to what lines of running means do once they settle.

  The means of the first few symbols jump so far that they would flatten all
  that follows; a tenth of the way along, they no longer do.
  """
  settled = np.concatenate([line[len(line) // 10 :] for line in means])
  margin = 0.25 * float(np.ptp(settled)) + 1e-3
  axes.set_ylim(settled.min() - margin, settled.max() + margin)


def _cumulative(
  nats: Sequence[float], counts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
  """Symbols and bits up to the end of each segment, from (0, 0) on."""
  symbols = np.cumsum(np.asarray(counts, np.float64))
  bits = np.cumsum(np.asarray(nats, np.float64)) / math.log(2.0)
  return np.append(0.0, symbols), np.append(0.0, bits)
