"""Gathers run folders into one page and one set of figures."""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

from ml_collections import config_dict

from configs import checks
from experiments import page as page_lib
from experiments import published
from experiments.language_model import task
from experiments.report import papers_tables
from experiments.report import runs as runs_lib
from seqmodels.io import results as reports
from seqmodels.plotting import curves as curves_lib

TEMPLATE = pathlib.Path(__file__).with_name("page.md")

# Of this page alone, over those of every page.
RULES = {"points": checks.whole(2)}


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[reports.Row]:
  """Writes report.md and the figures; only reads the runs.

  Args:
    config: `runs`, folders separated by commas; `points` of a curve.
    workdir: the run folder of the report.
    data_dir: unused.

  Returns:
    The runs' rows that are on a line of the paper.

  Raises:
    UserError: a bad setting; no run of a language model or of handwriting in
      those folders.
  """
  del data_dir
  gathered = runs_lib.gather(config.runs, own=workdir)
  lines, _ = papers_tables.assign(gathered.runs)
  page = fill(gathered, workdir)
  draw(page, gathered.runs, lines, config.points)
  page.write()
  return papers_tables.result_rows(lines)


def fill(gathered: runs_lib.Gathered, workdir: pathlib.Path) -> page_lib.Page:
  """The page with its tables, the figures not yet drawn."""
  runs, every = gathered.runs, (*gathered.runs, *gathered.pens)
  lines, beyond = papers_tables.assign(runs)
  shown = [papers_tables.shown(lines, line)[0] for line in lines]
  paths = {run.path for run in shown if run is not None}
  also = [
    run
    for members in lines.values()
    for run in members
    if run.path not in paths
  ]
  page = page_lib.Page(TEMPLATE, workdir)
  page["count"] = f"{len(every)} {'run' if len(every) == 1 else 'runs'}"
  page["table_1"] = papers_tables.table_1(lines, runs)
  page["table_2"] = papers_tables.table_2(lines)
  page["handwriting"] = papers_tables.table(gathered.pens)
  page["missing"] = "\n".join(
    f"    python main.py {command}"
    for line, command in published.COMMANDS.items()
    if line not in lines
  )
  page["also"] = papers_tables.others(also, runs)
  page["beyond"] = papers_tables.others(beyond, runs)
  page["baselines"] = papers_tables.baselines(runs)
  page.table(
    "commands",
    ["run", "command"],
    [[run.name, runs_lib.command(run)] for run in every],
  )
  skipped = [[name, why] for name, why in sorted(gathered.skipped.items())]
  page.table("skipped", ["folder", "why"], skipped)
  page["gains"] = ""
  return page


def draw(
  page: page_lib.Page,
  runs: Sequence[runs_lib.Run],
  lines: papers_tables.Assigned,
  points: int,
) -> None:
  """Every figure that the runs allow."""
  learned = [curve for run in runs if (curve := run.learning())]
  if learned:
    curves_lib.learning_curves_of_runs(learned, page.figure("learning_curves"))
  groups: dict[tuple[str, str, str], dict[str, Any]] = {}
  for run in runs:
    for split in ("test", "valid"):
      if curves := run.curves(split):
        source = re.sub(r"\W", "_", str(run.config["data"]["source"]))
        group = groups.setdefault((source, run.tokenizer, split), {})
        group[run.name] = curves
  gains = []
  for (source, tokenizer, split), members in groups.items():
    name = f"dynamic_gain_{source}_{tokenizer}_{split}"
    curves_lib.dynamic_gain(
      members,
      page.figure(name),
      unit=f"bits per {task.UNITS[tokenizer].symbol}",
      points=points,
    )
    gains.append(
      f"![Static and dynamic evaluation along the {split} split ({source}, "
      f"{tokenizer}).](figures/{name}.png)"
    )
  page["gains"] = "\n\n".join(gains)
  curves_lib.paper_and_ours(_bars(lines), page.figure("paper_and_ours"))


def _bars(lines: papers_tables.Assigned) -> dict[str, list[curves_lib.Bar]]:
  """All lines of Tables 1 and 2, by the label of their axis."""
  axes = {
    "characters": "bits per character, Penn Treebank test split",
    "words": "perplexity, Penn Treebank test split",
    "bytes": "bits per byte, enwik8",
  }
  bars: dict[str, list[curves_lib.Bar]] = {text: [] for text in axes.values()}
  for line in published.TABLE_1:
    run_, _ = papers_tables.shown(lines, (line.tokenizer, line.regularisation))
    if line.tokenizer == "characters":
      paper, ours = line.bits, papers_tables.bits(run_, line.evaluation)
    else:
      paper = line.perplexity
      ours = papers_tables.perplexity(run_, line.evaluation)
    name = f"{line.regularisation}, {line.evaluation}"
    bars[axes[line.tokenizer]].append(curves_lib.Bar(name, paper, ours))
  whole, _ = papers_tables.shown(lines, ("bytes", "none"))
  for (split, evaluation), paper in published.TABLE_2.items():
    ours = whole.value(split, evaluation, "bits_per_byte") if whole else None
    bar = curves_lib.Bar(f"{split}, {evaluation}", paper, ours)
    bars[axes["bytes"]].append(bar)
  return bars
