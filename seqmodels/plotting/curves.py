"""Curves and bars: learning, dynamic evaluation, comparison, compression.

Every function draws one PNG at `path`, with `title` above it if it takes one.
"""

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

Path = style.Path
Points = tuple[Sequence[float], Sequence[float]]
# Nats of consecutive segments, and the symbols of each.
Curve = tuple[Sequence[float], Sequence[int]]

_DASHES = ("-", "--", "-.", ":")
_RING: Mapping[str, Any] = {"marker": "o", "ms": 10, "mfc": "none", "mew": 1.5}


def learning_curves(
  metrics: Path | Sequence[Mapping[str, Any]],
  path: Path,
  *,
  name: str,
  title: str = "",
  references: Mapping[str, float] | None = None,
) -> None:
  """One metric of every split against training steps.

  The training split, measured at every dispatch, is drawn pale with its running
  mean; other splits have a mark for each evaluation and a ring at the best.

  Args:
    metrics: metrics.jsonl, or its entries.
    name: the metric; lower is better.
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
    for number, (split, (steps, values)) in enumerate(curves.items()):
      colour = _colour(number)
      if split == "train":
        style.noisy_line(axes, steps, values, "train", colour)
        continue
      best = int(np.argmin(values))
      axes.plot(steps, values, "o-", ms=3.5, color=colour, label=split)
      axes.plot(
        steps[best], values[best], ls="none", mec=colour, **_RING,
        label=f"best {split}: {values[best]:.4g} at step {steps[best]:,}",
      )  # fmt: skip
    style.references(axes, references or {})
    last = max(steps[-1] for steps, _ in curves.values())
    late = [
      np.asarray(values)[np.asarray(steps) >= 0.03 * last]
      for steps, values in curves.values()
    ]
    style.crop(axes, late, 0.05)
    axes.set_xlabel("training step")
    axes.set_ylabel(style.label(name))
    style.whole_numbers(axes)
    axes.legend(frameon=False)


class Learning(NamedTuple):
  """The learning curves of one run, against epochs.

  Attributes:
    run: its name.
    metric: of both curves, such as "bits_per_character".
    train: epochs and values, measured while training.
    valid: epochs and values.
  """

  run: str
  metric: str
  train: Points
  valid: Points


def learning_curves_of_runs(runs: Sequence[Learning], path: Path) -> None:
  """Every run's training and validation against epochs, a panel a metric.

  Raises:
    ValueError: no run has a validation score.
  """
  runs = [run for run in runs if len(run.valid[0])]
  metrics = list(dict.fromkeys(run.metric for run in runs))
  if not metrics:
    raise ValueError("no run has been validated")
  title = "training (thin, in passing) and validation (marks)"
  height = 1.0 + 3.4 * len(metrics)
  with style.panels(path, title, height=height, rows=len(metrics)) as grid:
    for axes, metric in zip(grid, metrics, strict=True):
      late = []
      members = [run for run in runs if run.metric == metric]
      for number, run in enumerate(members):
        # Another dash once the colours are used up.
        dash = _DASHES[number // len(style.COLOURS) % len(_DASHES)]
        look = {"color": _colour(number), "ls": dash}
        lines: list[Any] = [run.valid]
        axes.plot(
          *run.valid, marker="o", ms=3.5, **look,
          label=f"{run.run}: {min(run.valid[1]):.4g}",
        )  # fmt: skip
        if len(run.train[0]):
          lines.append(style.thinned(*run.train, 120))
          axes.plot(*lines[1], lw=0.9, alpha=0.6, **look)
        late += [values[len(values) // 4 :] for _, values in lines]
      style.crop(axes, late, 0.08)
      axes.set_xlabel("epoch of the run")
      axes.set_ylabel(style.label(metric))
      style.legend_beside(axes, "best validation")


def dynamic_search(
  rows: Sequence[Mapping[str, Any]],
  path: Path,
  *,
  settings: Sequence[str],
  score: str = "bits_per_symbol",
  title: str = "",
) -> None:
  """The results of a search over the settings of dynamic evaluation.

  Args:
    rows: one mapping a setting: `rule`, the settings, the score. Rows whose
      rule is "static" become a line to compare with.
    settings: the settings that varied. The first is the axis; a second, if it
      has several values, makes one line each. Further ones are taken at their
      best.
    score: the column that was minimised.

  Raises:
    ValueError: no row but the static one.
  """
  static = next((row[score] for row in rows if row["rule"] == "static"), None)
  dynamic = [row for row in rows if row["rule"] != "static"]
  if not dynamic or not settings:
    raise ValueError("a search figure needs dynamic rows and their settings")
  axis, rest = settings[0], list(settings[1:2])
  finite = [row for row in dynamic if math.isfinite(row[score])]
  # Rows in order of their score: the first of each place is its best.
  ranked = sorted(finite, key=lambda row: row[score])
  with style.axes(path, title) as axes:
    groups = sorted({tuple(row[key] for key in rest) for row in dynamic})
    for number, group in enumerate(groups):
      points: dict[float, float] = {}
      for row in ranked:
        if tuple(row[key] for key in rest) == group:
          points.setdefault(row[axis], row[score])
      label = ", ".join(
        f"{key.replace('_', ' ')} {value:g}"
        for key, value in zip(rest, group, strict=True)
      )
      axes.plot(
        sorted(points), [points[key] for key in sorted(points)],
        "o-", ms=4, color=_colour(number), label=label or "dynamic",
      )  # fmt: skip
    style.references(axes, {} if static is None else {"static": static})
    if ranked:
      best = ranked[0][score]
      axes.plot(
        ranked[0][axis], best, ls="none", mec="black", **_RING,
        label=f"best: {best:.4g}",
      )  # fmt: skip
      # Settings so bad that the good ones would look alike are cut off.
      static = best if static is None else static
      room = 3 * max(abs(static - best), 0.01 * abs(best))
      low, high = axes.get_ylim()
      axes.set_ylim(low, min(high, max(static, best) + room))
    values = sorted({row[axis] for row in dynamic})
    lost = ", ".join(
      f"{value:g}"
      for value in values
      if all(row[axis] != value for row in finite)
    )
    axes.set_xlabel(
      axis.replace("_", " ") + (f" (diverged at {lost})" if lost else "")
    )
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
    rows: result rows (`results.row`); those of other metrics or without a value
      are left out.
    metric: the metric.

  Raises:
    ValueError: no row has this metric.
  """
  rows = [
    row for row in rows if row["metric"] == metric and row["value"] is not None
  ]
  if not rows:
    raise ValueError(f"no row with a value of {metric!r}")
  kinds = list(dict.fromkeys(row["evaluation"] for row in rows))
  splits = list(dict.fromkeys(row["split"] for row in rows))
  names = [
    # What distinguishes rows comes first, since long names are cut.
    textwrap.fill(
      f"{row['evaluation']}{', ' + row['split'] if len(splits) > 1 else ''}: "
      f"{row['name']}",
      width=36,
      max_lines=3,
      placeholder=" ...",
    )
    for row in rows
  ]
  tallest = 1 + max(name.count("\n") for name in names)
  height = 1.3 + (0.2 + 0.16 * tallest) * len(rows)
  with style.axes(path, title, height=height) as axes:
    places = np.arange(len(rows))
    bars = axes.barh(
      places,
      [row["value"] for row in rows],
      height=0.62,
      color=[_colour(kinds.index(row["evaluation"])) for row in rows],
    )
    axes.bar_label(
      bars, [results.figure(row["value"]) for row in rows], padding=4
    )
    published = [
      (row["reference"], place)
      for place, row in enumerate(rows)
      if row["reference"] is not None
    ]
    if published:
      axes.plot(
        *zip(*published, strict=True),
        ls="none", marker="|", ms=18, mew=2.5, color="black",
      )  # fmt: skip
    axes.set_yticks(places, names, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    mark = " (black mark: published)" if published else ""
    axes.set_xlabel(
      f"{style.label(metric)}, {' and '.join(splits)} "
      f"split{'s' if len(splits) > 1 else ''}{mark}"
    )


class Bar(NamedTuple):
  """A published value and ours; None where there is no run."""

  name: str
  paper: float
  ours: float | None


def paper_and_ours(tables: Mapping[str, Sequence[Bar]], path: Path) -> None:
  """Two bars for every line of the paper, a panel a metric.

  Args:
    tables: lines by the label of their axis.
  """
  tables = {label: bars for label, bars in tables.items() if bars}
  lines = [len(bars) for bars in tables.values()]
  height = 1.2 + 0.45 * sum(lines) + 0.7 * len(lines)
  with style.panels(
    path, "", height=height, rows=len(lines),
    height_ratios=[n + 0.5 for n in lines],
  ) as grid:  # fmt: skip
    for axes, (label, bars) in zip(grid, tables.items(), strict=True):
      places = np.arange(len(bars))
      for series, shift, values, look in (
        ("paper", -0.2, [bar.paper for bar in bars], (style.GREY, 0.55)),
        ("ours", 0.2, [bar.ours for bar in bars], (_colour(0), 1.0)),
      ):
        drawn = axes.barh(
          places + shift, [value or 0.0 for value in values], height=0.36,
          color=look[0], alpha=look[1], label=series,
        )  # fmt: skip
        axes.bar_label(
          drawn,
          [f"{value:.4g}" if value else "no result" for value in values],
          padding=4,
          fontsize=8,
        )
      axes.set_yticks(places, [bar.name for bar in bars], fontsize=9)
      axes.invert_yaxis()
      axes.margins(x=0.14)
      axes.set_xlabel(label)
      axes.grid(visible=False, axis="y")
    handles, names = grid[0].get_legend_handles_labels()
    grid[0].figure.legend(
      handles, names, loc="outside upper right", ncols=2, frameon=False
    )


def along_split(
  curves: Mapping[str, Curve],
  path: Path,
  *,
  unit: str = "bits per character",
  title: str = "",
  windows: int = 150,
) -> None:
  """The score along a split, one line an evaluation.

  The upper panel shows each evaluation's mean over everything scored so far;
  the lower, how far each one's lies from the first one's.

  Args:
    curves: by label, such as "static" and "dynamic": the nats of consecutive
      segments and how many symbols each scored. Their segments may differ.
    unit: of the upper axis; the values are bits.
    windows: the number of points of a line.

  Raises:
    ValueError: no curves, or one of them scored nothing.
  """
  places, running = running_means(curves, windows)
  first = next(iter(running))
  options: dict[str, Any] = {"height": 4.2}
  if len(running) > 1:
    options = {"height": 5.6, "rows": 2, "height_ratios": [3, 2]}
  with style.panels(path, title, sharex=True, **options) as grid:
    for number, (label, means) in enumerate(running.items()):
      look = {"color": _colour(number)}
      grid[0].plot(places, means, label=f"{label}: {means[-1]:.4g}", **look)
      if label != first:
        grid[1].plot(places, means - running[first], label=label, **look)
    grid[0].set_ylabel(f"{unit}, mean so far")
    grid[0].legend(frameon=False)
    for axes in grid[1:]:
      axes.axhline(0, color=style.GREY, lw=1, ls="--", label=first)
      axes.set_ylabel(f"minus that of {first}")
      axes.legend(frameon=False)
    _label_symbols(grid, running.values(), unit)


def dynamic_gain(
  runs: Mapping[str, Mapping[str, Curve]],
  path: Path,
  *,
  unit: str,
  points: int,
) -> None:
  """Running bits of static and dynamic evaluation, and under it the gain.

  Args:
    runs: by name, and then "static" and "dynamic", curves as of `along_split`.
    unit: of the values, such as "bits per character".
    points: the number of points of a line.

  Raises:
    ValueError: no runs, or nothing was scored.
  """
  if not runs:
    raise ValueError("no run was evaluated dynamically")
  title = "mean of everything scored so far: static dashed, dynamic solid"
  with style.panels(
    path, title, height=6.2, rows=2, sharex=True, height_ratios=[3, 2]
  ) as (upper, lower):
    lines = []
    for number, (name, curves) in enumerate(runs.items()):
      look = {"color": _colour(number)}
      places, means = running_means(curves, points)
      static, dynamic = means["static"], means["dynamic"]
      gain = static - dynamic
      values = f"{name}: {static[-1]:.4g}, {dynamic[-1]:.4g}"
      upper.plot(places, static, ls="--", **look)
      upper.plot(places, dynamic, label=values, **look)
      lower.plot(places, gain, label=f"{name}: {gain[-1]:.4f}", **look)
      lines += [static, dynamic]
    lower.axhline(0, color=style.GREY, lw=1)
    upper.set_ylabel(unit)
    lower.set_ylabel(f"gain, {unit}")
    style.legend_beside(upper, "static, dynamic")
    style.legend_beside(lower, "static minus dynamic")
    _label_symbols([upper, lower], lines, unit)


def _label_symbols(
  grid: Sequence[Any], means: Iterable[np.ndarray], unit: str
) -> None:
  """Limits running means above to what they do once settled; labels x below."""
  style.crop(grid[0], [line[len(line) // 10 :] for line in means], 0.25)
  grid[-1].set_xlabel(f"{unit.removeprefix('bits per ')}s scored")
  style.whole_numbers(grid[-1])


def running_means(
  curves: Mapping[str, Curve], points: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """Bits a symbol over everything up to a place, at the same places for all.

  >>> places, means = running_means({"a": ([np.log(2.0), 0.0], [1, 1])}, 2)
  >>> places.tolist(), means["a"].tolist()
  ([1.0, 2.0], [1.0, 0.5])

  Args:
    curves: as of `along_split`.
    points: the number of places; no more than the coarsest curve has segments.

  Returns:
    The places, symbols scored [P], and by label the means [P].

  Raises:
    ValueError: no curves, or one of them scored nothing.
  """
  # Symbols and bits up to the end of each segment, from (0, 0) on.
  sums = {
    label: (
      np.append(0.0, np.cumsum(np.asarray(counts, np.float64))),
      np.append(0.0, np.cumsum(np.asarray(nats, np.float64)) / math.log(2.0)),
    )
    for label, (nats, counts) in curves.items()
  }
  if not sums or any(ends[-1] <= 0 for ends, _ in sums.values()):
    raise ValueError("a figure along a split needs curves with scored symbols")
  span = min(ends[-1] for ends, _ in sums.values())
  # A part shorter than a segment would show its interpolation.
  points = min(points, *(len(ends) - 1 for ends, _ in sums.values()))
  places = np.linspace(0, span, points + 1)[1:]
  return places, {
    label: np.interp(places, ends, bits) / places
    for label, (ends, bits) in sums.items()
  }


def along_file(
  curve: Sequence[tuple[float, int]],
  path: Path,
  *,
  peers: Mapping[str, float],
  title: str,
) -> None:
  """Bits a byte of each block and of all so far.

  Args:
    curve: bytes of the original and of its code, block by block.
    peers: by name, bits a byte of other programs over the whole file.
  """
  sizes, codes = np.array(curve, float).T
  ends = np.cumsum(sizes) / 1e6
  running = 8 * np.cumsum(codes) / np.cumsum(sizes)
  with style.axes(path, title) as axes:
    axes.plot(ends, 8 * codes / sizes, color=style.GREY, lw=1, label="a block")
    label = f"all so far: {running[-1]:.3f}"
    axes.plot(ends, running, color=_colour(0), label=label)
    for number, (name, bits) in enumerate(peers.items(), start=1):
      axes.axhline(
        bits, color=_colour(number), ls="--", lw=1, label=f"{name}: {bits:.3f}"
      )
    axes.set_xlabel("million bytes")
    axes.set_ylabel(style.LABELS["bits_per_byte"])
    axes.set_ylim(0, None)
    axes.legend(frameon=False, fontsize=8)


def components(
  inputs: Sequence[str],
  alone: Sequence[float],
  share: Sequence[float],
  path: Path,
  *,
  mixed: float,
  title: str,
) -> None:
  """The cost of each input of the mixer alone, and its share in the mixture.

  Args:
    inputs: their names.
    alone: nats, had each coded the file by itself.
    share: sums of |weight x log-odds|.
    mixed: nats of the mixture.
  """
  rows = np.arange(len(inputs))
  shares = np.asarray(share, float) / max(np.sum(share), 1e-9)
  with style.panels(
    path, title, height=1.6 + 0.24 * len(inputs), columns=2, sharey=True
  ) as (left, right):
    left.barh(rows, np.asarray(alone) / units.LOG2 / 8e3, color=style.GREY)
    kilobytes = mixed / units.LOG2 / 8e3
    left.axvline(kilobytes, color=_colour(0), label="the mixture")
    left.set_yticks(rows, inputs, fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("kB, alone")
    left.legend(frameon=False, fontsize=8)
    right.barh(rows, 100 * shares, color=_colour(0))
    right.set_xlabel("% of all |weight x log-odds|")


def posterior(
  summary: Mapping[str, Any],
  path: Path,
  *,
  metric: str,
  title: str = "",
) -> None:
  """Signal to noise of the weights, and the score without the weakest.

  Args:
    summary: `edges` and `counts`, a histogram of log10(|mean| / deviation);
      `shares` of the weights set to zero, weakest first, and the `scores` that
      are left; `weights` and `complexity_nats` for the caption.
    metric: of the scores.
  """
  with style.panels(path, title, height=4.2, columns=2) as (left, right):
    edges, counts = np.array(summary["edges"]), np.array(summary["counts"])
    left.bar(
      edges[:-1], 100.0 * counts / counts.sum(), np.diff(edges),
      align="edge", color=_colour(0),
    )  # fmt: skip
    left.axvline(0.0, color=style.GREY, lw=1.2)
    left.set_xlabel("log10 of |mean| / standard deviation")
    left.set_ylabel("% of the weights")
    bits = summary["complexity_nats"] / np.log(2.0) / summary["weights"]
    left.set_title(
      f"{summary['weights']:,} weights, {bits:.2f} bits each", fontsize=10
    )
    right.plot(
      100.0 * np.array(summary["shares"]), summary["scores"],
      "o-", ms=4, color=_colour(1),
    )  # fmt: skip
    right.set_xlabel("% of the weights set to zero, weakest first")
    right.set_ylabel(style.label(metric))
    right.set_title("validation score without them", fontsize=10)


def _colour(number: int) -> str:
  return style.COLOURS[number % len(style.COLOURS)]
