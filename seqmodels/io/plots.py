"""Figures of a run, as PNG files; matplotlib is imported by the first one."""

import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqmodels.io import canvas, metric_writers, report

Path = canvas.Path


def learning_curves(
  metrics: Path | Sequence[Mapping[str, Any]],
  path: Path,
  *,
  name: str,
  title: str = "",
  references: Mapping[str, float] | None = None,
) -> None:
  """One metric of every split against training steps.

  The training split, scored in passing at every dispatch, is drawn pale with
  its running mean; other splits have a mark for each evaluation and a ring at
  the best.

  Args:
    metrics: metrics.jsonl, or its entries.
    path: the PNG to write.
    name: the metric; lower is better.
    title: above the figure.
    references: horizontal lines, such as a published value, by label.

  Raises:
    ValueError: no split has this metric.
  """
  if isinstance(metrics, str | os.PathLike):
    metrics = metric_writers.read(metrics)
  splits = dict.fromkeys(
    entry["split"] for entry in metrics if entry["name"] == name
  )
  curves = {
    split: metric_writers.series(metrics, split, name) for split in splits
  }
  curves = {split: curve for split, curve in curves.items() if curve[0]}
  if not curves:
    raise ValueError(f"no finite value of {name!r} in the metrics")
  with canvas.axes(path, title) as axes:
    for colour, (split, (steps, values)) in zip(
      canvas.COLOURS * len(curves), curves.items(), strict=False
    ):
      if split == "train":
        canvas.noisy_line(axes, steps, values, "train", colour)
        continue
      best = int(np.argmin(values))
      axes.plot(steps, values, "o-", ms=3.5, color=colour, label=split)
      axes.plot(
        steps[best],
        values[best],
        "o",
        ms=10,
        mfc="none",
        mec=colour,
        mew=1.5,
        label=f"best {split}: {values[best]:.4g} at step {steps[best]:,}",
      )
    canvas.references(axes, references or {})
    _spare_the_start(axes, curves)
    axes.set_xlabel("training step")
    axes.set_ylabel(canvas.label(name))
    canvas.whole_numbers(axes)
    axes.legend(frameon=False)


def dynamic_search(
  rows: Sequence[Mapping[str, Any]],
  path: Path,
  *,
  settings: Sequence[str],
  score: str = "bits_per_symbol",
  title: str = "",
) -> None:
  """What a search over the settings of dynamic evaluation found.

  Args:
    rows: one mapping a setting: `rule`, the settings, the score. Rows whose
      rule is "static" become a line to compare with.
    path: the PNG to write.
    settings: the settings that varied. The first is the axis; a second, if it
      has several values, makes one line each. Further ones are taken at their
      best.
    score: the column that was minimised.
    title: above the figure.

  Raises:
    ValueError: no row but the static one.
  """
  static = [row for row in rows if row["rule"] == "static"]
  dynamic = [row for row in rows if row["rule"] != "static"]
  if not dynamic or not settings:
    raise ValueError("a search figure needs dynamic rows and their settings")
  axis, rest = settings[0], list(settings[1:2])
  groups = sorted({tuple(row[key] for key in rest) for row in dynamic})
  finite = [row for row in dynamic if math.isfinite(row[score])]
  with canvas.axes(path, title) as axes:
    for position, group in enumerate(groups):
      members = [
        row for row in finite if tuple(row[key] for key in rest) == group
      ]
      points = {
        row[axis]: min(
          other[score] for other in members if other[axis] == row[axis]
        )
        for row in members
      }
      label = ", ".join(
        f"{key.replace('_', ' ')} {value:g}"
        for key, value in zip(rest, group, strict=True)
      )
      axes.plot(
        sorted(points),
        [points[key] for key in sorted(points)],
        "o-",
        ms=4,
        color=canvas.COLOURS[position % len(canvas.COLOURS)],
        label=label or "dynamic",
      )
    canvas.references(axes, {"static": static[0][score]} if static else {})
    if finite:
      best = min(finite, key=lambda row: row[score])
      axes.plot(
        best[axis], best[score], "o", ms=10, mfc="none", mec="black", mew=1.5,
        label=f"best: {best[score]:.4g}",
      )  # fmt: skip
      _spare_the_worst(axes, best[score], static[0][score] if static else None)
    lost = sorted(
      {row[axis] for row in dynamic} - {row[axis] for row in finite}
    )
    if lost:
      axes.set_xlabel(
        f"{axis.replace('_', ' ')} (diverged at "
        f"{', '.join(f'{value:g}' for value in lost)})"
      )
    else:
      axes.set_xlabel(axis.replace("_", " "))
    values = sorted({row[axis] for row in dynamic})
    if values[0] > 0 and values[-1] >= 5 * values[0]:
      axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values], minor=False)
    axes.minorticks_off()
    axes.set_ylabel(f"validation {canvas.label(score)}")
    axes.legend(frameon=False)


def comparison(
  rows: Sequence[Mapping[str, Any]],
  path: Path,
  *,
  metric: str,
  title: str = "",
) -> None:
  """Bars of one metric over result rows, published values as marks.

  Args:
    rows: result rows (`report.row`); those of other metrics or without a value
      are left out.
    path: the PNG to write.
    metric: which metric.
    title: above the figure.

  Raises:
    ValueError: no row has this metric.
  """
  shown = [
    row for row in rows if row["metric"] == metric and row["value"] is not None
  ]
  if not shown:
    raise ValueError(f"no row with a value of {metric!r}")
  kinds = list(dict.fromkeys(row["evaluation"] for row in shown))
  names = _names(shown)
  tallest = 1 + max(name.count("\n") for name in names)
  height = 1.3 + (0.2 + 0.16 * tallest) * len(shown)
  with canvas.axes(path, title, height=height) as axes:
    places = np.arange(len(shown))
    bars = axes.barh(
      places,
      [row["value"] for row in shown],
      height=0.62,
      color=[
        canvas.COLOURS[kinds.index(row["evaluation"]) % len(canvas.COLOURS)]
        for row in shown
      ],
    )
    axes.bar_label(
      bars, [f"{report.figure(row['value'])}" for row in shown], padding=4
    )
    published = [
      (row["reference"], place)
      for place, row in enumerate(shown)
      if row["reference"] is not None
    ]
    if published:
      axes.plot(
        [value for value, _ in published],
        [place for _, place in published],
        ls="none", marker="|", ms=18, mew=2.5, color="black",
      )  # fmt: skip
    axes.set_yticks(places, names, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    mark = " (black mark: published)" if published else ""
    axes.set_xlabel(f"{canvas.label(metric)}, {_splits(shown)}{mark}")


def _spare_the_start(
  axes: Any, curves: Mapping[str, tuple[list[int], list[float]]]
) -> None:
  """Cuts off the first steep fall, which would flatten all that follows."""
  last = max(steps[-1] for steps, _ in curves.values())
  late = [
    value
    for steps, values in curves.values()
    for step, value in zip(steps, values, strict=True)
    if step >= 0.03 * last
  ]
  _, high = axes.get_ylim()
  margin = 0.05 * (max(late) - min(late)) + 1e-9
  axes.set_ylim(min(late) - margin, min(high, max(late) + margin))


def _spare_the_worst(axes: Any, best: float, static: float | None) -> None:
  """Cuts off settings so bad that the good ones would look alike."""
  gain = 0.0 if static is None else abs(static - best)
  highest = best if static is None else max(static, best)
  low, high = axes.get_ylim()
  axes.set_ylim(low, min(high, highest + 3 * max(gain, 0.01 * abs(best))))


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """Labels of rows on an axis, what tells them apart first, at most 3 lines."""
  several = len({row["split"] for row in rows}) > 1
  names = [
    f"{row['evaluation']}{', ' + row['split'] if several else ''}: "
    f"{row['name']}"
    for row in rows
  ]
  return [
    "\n".join(textwrap.wrap(name, width=36, max_lines=3, placeholder=" ..."))
    for name in names
  ]


def _splits(rows: Sequence[Mapping[str, Any]]) -> str:
  splits = dict.fromkeys(row["split"] for row in rows)
  return " and ".join(splits) + (" splits" if len(splits) > 1 else " split")
