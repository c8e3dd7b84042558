"""Time and memory of stacks as they grow: a table and a figure."""

import pathlib
from collections.abc import Mapping

from ml_collections import config_dict

from experiments import contest, scaling, speed_cells, timing
from seqmodels.io import report, scaling_plot

FIGURE = "figures/scaling.png"

_INTRODUCTION = """\
Forward+backward of LSTM layers on each other in float32, from one base shape,
one size changed at a time: milliseconds with quartiles, ours over the peers as
ratios, and what the compiled programs set aside beside arguments and results
(PyTorch does not tell)."""


def keys(config: config_dict.ConfigDict) -> set[str]:
  """Of the contests that stand here and not among the others."""
  lines = scaling.series(config).values()
  return {point.key for line in lines for point in line}


def section(
  workdir: pathlib.Path,
  config: config_dict.ConfigDict,
  records: Mapping[str, contest.Record],
) -> list[str]:
  """The paragraphs of the page; none without such contests.

  Args:
    workdir: the run folder, where the figure is drawn.
    config: the benchmark's.
    records: of all contests, by key.
  """
  lines = {
    field: [point for point in line if point.key in records]
    for field, line in scaling.series(config).items()
  }
  if not any(lines.values()):
    return []
  draw(workdir / FIGURE, lines, records)
  points = dict.fromkeys(point for line in lines.values() for point in line)
  return [
    "## Growth",
    _INTRODUCTION,
    f"![time and memory by size]({FIGURE})",
    _table({point: records[point.key] for point in points}),
  ]


def draw(
  path: pathlib.Path,
  lines: Mapping[str, list[scaling.Point]],
  records: Mapping[str, contest.Record],
) -> None:
  """The figure, from the points along each axis, by its field."""
  columns = []
  for field, line in lines.items():
    times: dict[str, scaling_plot.Curve] = {}
    memory: dict[str, scaling_plot.Curve] = {}
    for point in line:
      size = getattr(point, field)
      for entry in records[point.key]["entries"]:
        middle = timing.spread(entry["seconds"]).middle
        times.setdefault(entry["maker"], []).append((size, 1e3 * middle))
        # A program that sets nothing aside has no place on this axis.
        if entry["temporary"]:
          megabytes = entry["temporary"] / 1e6
          memory.setdefault(entry["maker"], []).append((size, megabytes))
    _, words = scaling.AXES[field]
    columns.append(scaling_plot.Column(words, times, memory))
  scaling_plot.grid(columns, path, title="Forward+backward of LSTM layers")


def _table(records: Mapping[scaling.Point, contest.Record]) -> str:
  """One line a point, for each maker its time, ratio and memory."""
  body = []
  columns: dict[str, None] = {}
  for point, record in records.items():
    cells = dict(zip(("T", "B", "H", "layers"), map(str, point), strict=True))
    for entry in record["entries"]:
      took = speed_cells.milliseconds(timing.spread(entry["seconds"]))
      cells[f"{entry['maker']}, ms"] = took
    for _, peer, faster in contest.ratios(record):
      cells[f"over {peer['maker']}"] = speed_cells.ratio(faster)
    for entry in record["entries"]:
      aside = speed_cells.megabytes(entry["temporary"])
      if aside is not None:
        cells[f"{entry['maker']}, MB"] = aside
    columns |= dict.fromkeys(cells)
    body.append(cells)
  return report.table(
    list(columns),
    [[cells.get(head, "n/a") for head in columns] for cells in body],
  )
