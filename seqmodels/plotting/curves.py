"""Curves and bars: learning, dynamic evaluation, comparison, compression."""

import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels import units
from seqmodels.io import metrics as metrics_lib
from seqmodels.io import results
from seqmodels.plotting import style
from seqmodels.plotting import style as style_lib

Path = style.Path


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
    metrics = metrics_lib.read(metrics)
  splits = dict.fromkeys(
    entry["split"] for entry in metrics if entry["name"] == name
  )
  curves = {split: metrics_lib.series(metrics, split, name) for split in splits}
  curves = {split: curve for split, curve in curves.items() if curve[0]}
  if not curves:
    raise ValueError(f"no finite value of {name!r} in the metrics")
  with style.axes(path, title) as axes:
    for colour, (split, (steps, values)) in zip(
      style.COLOURS * len(curves), curves.items(), strict=False
    ):
      if split == "train":
        style.noisy_line(axes, steps, values, "train", colour)
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
    style.references(axes, references or {})
    _crop_curves(axes, curves)
    axes.set_xlabel("training step")
    axes.set_ylabel(style.label(name))
    style.whole_numbers(axes)
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
  with style.axes(path, title) as axes:
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
        color=style.COLOURS[position % len(style.COLOURS)],
        label=label or "dynamic",
      )
    style.references(axes, {"static": static[0][score]} if static else {})
    if finite:
      best = min(finite, key=lambda row: row[score])
      axes.plot(
        best[axis], best[score], "o", ms=10, mfc="none", mec="black", mew=1.5,
        label=f"best: {best[score]:.4g}",
      )  # fmt: skip
      _crop_search(axes, best[score], static[0][score] if static else None)
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
    axes.set_ylabel(f"validation {style.label(score)}")
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
  with style.axes(path, title, height=height) as axes:
    places = np.arange(len(shown))
    bars = axes.barh(
      places,
      [row["value"] for row in shown],
      height=0.62,
      color=[
        style.COLOURS[kinds.index(row["evaluation"]) % len(style.COLOURS)]
        for row in shown
      ],
    )
    axes.bar_label(
      bars, [f"{results.figure(row['value'])}" for row in shown], padding=4
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
    axes.set_xlabel(f"{style.label(metric)}, {_splits(shown)}{mark}")


def _crop_curves(
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


def _crop_search(axes: Any, best: float, static: float | None) -> None:
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


def learning_curves_of_runs(
  runs: Sequence[Learning], path: style_lib.Path
) -> None:
  """Every run's training and validation against epochs, a panel a metric.

  Raises:
    ValueError: no run has a validation score.
  """
  runs = [run for run in runs if len(run.valid[0])]
  metrics = list(dict.fromkeys(run.metric for run in runs))
  if not metrics:
    raise ValueError("no run has been validated")
  with style_lib.figure(path, height=1.0 + 3.4 * len(metrics)) as drawing:
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
      _crop_runs(axes, members)
      axes.set_xlabel("epoch of the run")
      axes.set_ylabel(style_lib.label(metric))
      style_lib.legend_beside(axes, "best validation")
      style_lib.clean(axes)


def paper_and_ours(
  tables: Mapping[str, Sequence[Bar]], path: style_lib.Path
) -> None:
  """Two bars for every line of the paper, a panel a metric.

  Args:
    tables: lines by what their axis says.
    path: the PNG to write.
  """
  tables = {label: bars for label, bars in tables.items() if bars}
  lines = [len(bars) for bars in tables.values()]
  with style_lib.figure(
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
      style_lib.clean(axes)
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
  colour = style_lib.GREY if name == "paper" else style_lib.COLOURS[0]
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
  round_, place = divmod(number, len(style_lib.COLOURS))
  return {
    "color": style_lib.COLOURS[place],
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


def _crop_runs(axes: Any, runs: Sequence[Learning]) -> None:
  """Cuts off the first fall, which would flatten all that follows."""
  late = [
    value
    for run in runs
    for values in (run.valid[1], _thinned(run.train)[1] if run.train[0] else [])
    for value in np.asarray(values)[len(values) // 4 :]
  ]
  margin = 0.08 * (max(late) - min(late)) + 1e-3
  axes.set_ylim(min(late) - margin, max(late) + margin)


# Nats of consecutive segments, and the symbols of each.
Curve = tuple[Sequence[float], Sequence[int]]


def along_split(
  curves: Mapping[str, Curve],
  path: style.Path,
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
  with style.figure(path, height=5.6 if compared else 4.2) as figure:
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(
      2 if compared else 1,
      sharex=True,
      squeeze=False,
      height_ratios=[3, 2] if compared else [1],
    )[:, 0]
    first = next(iter(running))
    for colour, label in zip(
      style.COLOURS * len(running), running, strict=False
    ):
      means = running[label]
      grid[0].plot(
        places, means, color=colour, label=f"{label}: {means[-1]:.4g}"
      )
      if compared and label != first:
        grid[1].plot(places, means - running[first], color=colour, label=label)
    _crop_means(grid[0], running.values())
    grid[0].set_ylabel(f"{unit}, mean so far")
    grid[0].legend(frameon=False)
    if compared:
      grid[1].axhline(0, color=style.GREY, lw=1, ls="--", label=first)
      grid[1].set_ylabel(f"minus that of {first}")
      grid[1].legend(frameon=False)
    grid[-1].set_xlabel(f"{unit.removeprefix('bits per ')}s scored")
    style.whole_numbers(grid[-1])
    for axes in grid:
      style.clean(axes)


def dynamic_gain(
  runs: Mapping[str, Mapping[str, Curve]],
  path: style.Path,
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
  with style.figure(path, height=6.2) as drawing:
    upper, lower = drawing.subplots(2, sharex=True, height_ratios=[3, 2])
    drawing.suptitle(
      "mean of everything scored so far: static dashed, dynamic solid",
      fontsize=11,
    )
    drawn = []
    for number, (name, curves) in enumerate(runs.items()):
      colour = style.COLOURS[number % len(style.COLOURS)]
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
    _crop_means(upper, drawn)
    lower.axhline(0, color=style.GREY, lw=1)
    upper.set_ylabel(unit)
    lower.set_ylabel(f"gain, {unit}")
    lower.set_xlabel(f"{unit.removeprefix('bits per ')}s scored")
    style.whole_numbers(lower)
    style.legend_beside(upper, "static, dynamic")
    style.legend_beside(lower, "static minus dynamic")
    for axes in (upper, lower):
      style.clean(axes)


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


def _crop_means(axes: Any, means: Iterable[np.ndarray]) -> None:
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


def along_file(
  curve: Sequence[tuple[float, int]],
  path: style.Path,
  *,
  peers: Mapping[str, float],
  title: str,
) -> None:
  """Bits a byte of each block and of all so far.

  Args:
    curve: bytes of the original and of its code, block by block.
    path: the PNG to write.
    peers: by name, bits a byte that others made of the whole file.
    title: above the figure.
  """
  given, made = np.array(curve, float).T
  ends = np.cumsum(given) / 1e6
  with style.axes(path, title) as pair:
    pair.plot(ends, 8 * made / given, color=style.GREY, lw=1, label="a block")
    running = 8 * np.cumsum(made) / np.cumsum(given)
    pair.plot(
      ends,
      running,
      color=style.COLOURS[0],
      label=f"all so far: {running[-1]:.3f}",
    )
    for number, (name, bits) in enumerate(peers.items(), start=1):
      colour = style.COLOURS[number % len(style.COLOURS)]
      pair.axhline(
        bits, color=colour, ls="--", lw=1, label=f"{name}: {bits:.3f}"
      )
    pair.set_xlabel("million bytes")
    pair.set_ylabel(style.LABELS["bits_per_byte"])
    pair.set_ylim(0, None)
    pair.legend(frameon=False, fontsize=8)


def components(
  inputs: Sequence[str],
  alone: Sequence[float],
  share: Sequence[float],
  path: style.Path,
  *,
  mixed: float,
  title: str,
) -> None:
  """What each input of the mixer would cost alone, and its part in the whole.

  Args:
    inputs: their names.
    alone: nats, had each coded the file by itself.
    share: sums of |weight x log-odds|.
    path: the PNG to write.
    mixed: nats of the mixture.
    title: above the figure.
  """
  rows = np.arange(len(inputs))
  shares = np.asarray(share, float) / max(np.sum(share), 1e-9)
  with style.figure(path, height=1.6 + 0.24 * len(inputs)) as figure:
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2, sharey=True)
    for pair in (left, right):
      style.clean(pair)
    left.barh(rows, np.asarray(alone) / units.LOG2 / 8e3, color=style.GREY)
    left.axvline(
      mixed / units.LOG2 / 8e3, color=style.COLOURS[0], label="the mixture"
    )
    left.set_yticks(rows, inputs, fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("kB, alone")
    left.legend(frameon=False, fontsize=8)
    right.barh(rows, 100 * shares, color=style.COLOURS[0])
    right.set_xlabel("% of all |weight x log-odds|")


def posterior(
  found: Mapping[str, Any],
  path: style.Path,
  *,
  metric: str,
  title: str = "",
) -> None:
  """Signal to noise of the weights, and the score without the weakest.

  Args:
    found: `edges` and `counts`, a histogram of log10(|mean| / deviation);
      `shares` of the weights set to zero, weakest first, and the `scores` that
      are left; `weights` and `complexity_nats` for the caption.
    path: the PNG to write.
    metric: of the scores.
    title: above the figure.
  """
  with style.figure(path, height=4.2) as drawing:
    left, right = drawing.subplots(1, 2)
    for axes in (left, right):
      style.clean(axes)
    edges, counts = np.array(found["edges"]), np.array(found["counts"], float)
    left.bar(
      edges[:-1],
      100.0 * counts / counts.sum(),
      np.diff(edges),
      align="edge",
      color=style.COLOURS[0],
    )
    left.axvline(0.0, color=style.GREY, lw=1.2)
    left.set_xlabel("log10 of |mean| / standard deviation")
    left.set_ylabel("% of the weights")
    bits = found["complexity_nats"] / np.log(2.0) / found["weights"]
    left.set_title(
      f"{found['weights']:,} weights, {bits:.2f} bits each", fontsize=10
    )
    right.plot(
      100.0 * np.array(found["shares"]),
      found["scores"],
      "o-",
      ms=4,
      color=style.COLOURS[1],
    )
    right.set_xlabel("% of the weights set to zero, weakest first")
    right.set_ylabel(style.label(metric))
    right.set_title("validation score without them", fontsize=10)
    drawing.suptitle(title, fontsize=10, wrap=True)
