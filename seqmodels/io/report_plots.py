"""Figures over several runs: how they learned, and where they came out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels.io import canvas

Points = tuple[Sequence[float], Sequence[float]]

_STYLES = ("-", "--", "-.", ":")


class Learning(NamedTuple):
  """How one run learned.

  Attributes:
    run: its name.
    metric: of both curves, such as "bits_per_character".
    train: epochs and values, scored in passing.
    valid: epochs and values.
  """

  run: str
  metric: str
  train: Points
  valid: Points


class Bar(NamedTuple):
  """A published value and ours; None where there is no run."""

  name: str
  paper: float
  ours: float | None


def learning_curves(runs: Sequence[Learning], path: canvas.Path) -> None:
  """Every run's training and validation against epochs, a panel a metric.

  Raises:
    ValueError: no run has a validation score.
  """
  runs = [run for run in runs if len(run.valid[0])]
  metrics = list(dict.fromkeys(run.metric for run in runs))
  if not metrics:
    raise ValueError("no run has been validated")
  with canvas.figure(path, height=1.0 + 3.4 * len(metrics)) as drawing:
    drawing.suptitle(
      "training (thin, in passing) and validation (marks)", fontsize=11
    )
    grid = drawing.subplots(len(metrics), squeeze=False)[:, 0]
    for axes, metric in zip(grid, metrics, strict=True):
      members = [run for run in runs if run.metric == metric]
      for number, run in enumerate(members):
        style = _style(number)
        epochs, values = map(np.asarray, run.valid)
        axes.plot(
          epochs, values, marker="o", ms=3.5, **style,
          label=f"{run.run}: {values.min():.4g}",
        )  # fmt: skip
        if len(run.train[0]):
          axes.plot(*_thinned(run.train), lw=0.9, alpha=0.6, **style)
      _spare_the_start(axes, members)
      axes.set_xlabel("epoch of the run")
      axes.set_ylabel(canvas.label(metric))
      canvas.legend_beside(axes, "best validation")
      canvas.clean(axes)


def paper_and_ours(
  tables: Mapping[str, Sequence[Bar]], path: canvas.Path
) -> None:
  """Two bars for every line of the paper, a panel a metric.

  Args:
    tables: lines by what their axis says.
    path: the PNG to write.
  """
  tables = {label: bars for label, bars in tables.items() if bars}
  lines = [len(bars) for bars in tables.values()]
  with canvas.figure(
    path, height=1.2 + 0.45 * sum(lines) + 0.7 * len(lines)
  ) as (drawing):
    grid = drawing.subplots(
      len(tables), squeeze=False, height_ratios=[n + 0.5 for n in lines]
    )[:, 0]
    for axes, (label, bars) in zip(grid, tables.items(), strict=True):
      places = np.arange(len(bars))
      _draw_bars(axes, places - 0.2, [bar.paper for bar in bars], "paper", None)
      _draw_bars(
        axes, places + 0.2, [bar.ours for bar in bars], "ours", "no result"
      )
      axes.set_yticks(places, [bar.name for bar in bars], fontsize=9)
      axes.invert_yaxis()
      axes.margins(x=0.14)
      axes.set_xlabel(label)
      canvas.clean(axes)
      axes.grid(visible=False, axis="y")
    handles, names = grid[0].get_legend_handles_labels()
    drawing.legend(
      handles, names, loc="outside upper right", ncols=2, frameon=False
    )


def _draw_bars(
  axes: Any,
  places: np.ndarray,
  values: Sequence[float | None],
  name: str,
  missing: str | None,
) -> None:
  """One series; where there is no value, the word for it."""
  colour = canvas.GREY if name == "paper" else canvas.COLOURS[0]
  bars = axes.barh(
    places, [value or 0.0 for value in values], height=0.36, color=colour,
    alpha=0.55 if name == "paper" else 1.0, label=name,
  )  # fmt: skip
  axes.bar_label(
    bars,
    [f"{value:.4g}" if value else missing for value in values],
    padding=4,
    fontsize=8,
  )


def _style(number: int) -> dict[str, str]:
  """A colour, and another dash once the colours are used up."""
  round_, place = divmod(number, len(canvas.COLOURS))
  return {
    "color": canvas.COLOURS[place],
    "ls": _STYLES[round_ % len(_STYLES)],
  }


def _thinned(curve: Points, points: int = 120) -> tuple[np.ndarray, np.ndarray]:
  """A curve of many points as the means of so many stretches."""
  places, values = (np.asarray(part, float) for part in curve)
  parts = min(points, len(places))
  means = [
    np.array([part.mean() for part in np.array_split(of, parts)])
    for of in (places, values)
  ]
  return means[0], means[1]


def _spare_the_start(axes: Any, runs: Sequence[Learning]) -> None:
  """Cuts off the first fall, which would flatten all that follows."""
  late = [
    value
    for run in runs
    for values in (run.valid[1], _thinned(run.train)[1] if run.train[0] else [])
    for value in np.asarray(values)[len(values) // 4 :]
  ]
  margin = 0.08 * (max(late) - min(late)) + 1e-3
  axes.set_ylim(min(late) - margin, max(late) + margin)
