"""Gathers run folders into one page and one set of figures."""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

from ml_collections import config_dict

from configs import checks
from experiments import published
from experiments.language_model import task
from experiments.report import runs as runs_lib
from experiments.report import tables
from seqmodels.io import results as reports
from seqmodels.plotting import curves as curves_lib

NOTES = (
  "The difference is in bits a character for character nets, in perplexity for "
  "word nets; below 0 ours is better. A perplexity of a character net is a "
  "word's, of 442,423 / 78,669 = 5.62 characters, line ends not counted as "
  "words: the paper's relation, 2^(5.6 x bits). A word net's perplexity counts "
  "line ends, and its bits are shared out over all characters, 442,423 / "
  "82,430 = 5.37 a symbol; the paper's column has log2(perplexity) / 5.6 "
  "there, so these two are not to be compared. Epochs are those to the best "
  "validation; the paper does not say whether its count is that of the whole "
  "chain."
)

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
  lines, _ = tables.assign(gathered.runs)
  figures = draw(gathered.runs, lines, workdir, config.points)
  reports.write(workdir, page(gathered, figures))
  return tables.result_rows(lines)


def page(
  gathered: runs_lib.Gathered, figures: Sequence[reports.Figure] = ()
) -> str:
  """The whole report as Markdown."""
  runs, every = gathered.runs, (*gathered.runs, *gathered.pens)
  lines, beyond = tables.assign(runs)
  shown = [tables.shown(lines, line)[0] for line in lines]
  paths = {run.path for run in shown if run is not None}
  also = [
    run
    for members in lines.values()
    for run in members
    if run.path not in paths
  ]
  missing = [
    f"    python main.py {command}"
    for line, command in published.COMMANDS.items()
    if line not in lines
  ]
  parts = [
    f"# Report on {len(every)} {'run' if len(every) == 1 else 'runs'}",
    f"## {published.SOURCE_1}: Penn Treebank, test split",
    tables.table_1(lines, runs),
    NOTES,
    f"## {published.SOURCE_2}",
    tables.table_2(lines),
    f"## {tables.TITLE}",
    tables.table(gathered.pens),
    tables.NOTE,
  ]
  sections = {
    "To be run": "\n".join(missing),
    "On the same lines, but not shown above": tables.others(also, runs),
    "Other networks and data": tables.others(beyond, runs),
    "Beside the networks": tables.baselines(runs),
  }
  for title, section in sections.items():
    if section:
      parts += [f"## {title}", section]
  for figure in figures:
    parts.append(f"![{figure.caption}]({figure.path})\n\n{figure.caption}")
  commands = [[run.name, runs_lib.command(run)] for run in every]
  parts += ["## Commands", reports.table(["run", "command"], commands)]
  if gathered.skipped:
    skipped = [[name, why] for name, why in sorted(gathered.skipped.items())]
    parts += ["## Left out", reports.table(["folder", "why"], skipped)]
  return "\n\n".join(parts) + "\n"


def draw(
  runs: Sequence[runs_lib.Run],
  lines: tables.Assigned,
  workdir: pathlib.Path,
  points: int,
) -> list[reports.Figure]:
  """Every figure that the runs allow."""
  drawn: list[reports.Figure] = []

  def path(name: str, caption: str) -> pathlib.Path:
    drawn.append(reports.Figure(f"figures/{name}.png", caption))
    return workdir / "figures" / f"{name}.png"

  learned = [curve for run in runs if (curve := run.learning())]
  if learned:
    curves_lib.learning_curves_of_runs(
      learned, path("learning_curves", "Training and validation by epoch.")
    )
  groups: dict[tuple[str, str, str], dict[str, Any]] = {}
  for run in runs:
    for split in ("test", "valid"):
      if curves := run.curves(split):
        source = re.sub(r"\W", "_", str(run.config["data"]["source"]))
        group = groups.setdefault((source, run.tokenizer, split), {})
        group[run.name] = curves
  for (source, tokenizer, split), members in groups.items():
    curves_lib.dynamic_gain(
      members,
      path(
        f"dynamic_gain_{source}_{tokenizer}_{split}",
        f"Static and dynamic evaluation along the {split} split ({source}, "
        f"{tokenizer}).",
      ),
      unit=f"bits per {task.UNITS[tokenizer].symbol}",
      points=points,
    )
  curves_lib.paper_and_ours(
    _bars(lines), path("paper_and_ours", "The paper's values and ours.")
  )
  return drawn


def _bars(lines: tables.Assigned) -> dict[str, list[curves_lib.Bar]]:
  """All lines of Tables 1 and 2, by the label of their axis."""
  axes = {
    "characters": "bits per character, Penn Treebank test split",
    "words": "perplexity, Penn Treebank test split",
    "bytes": "bits per byte, enwik8",
  }
  bars: dict[str, list[curves_lib.Bar]] = {text: [] for text in axes.values()}
  for line in published.TABLE_1:
    run_, _ = tables.shown(lines, (line.tokenizer, line.regularisation))
    if line.tokenizer == "characters":
      paper, ours = line.bits, tables.bits(run_, line.evaluation)
    else:
      paper = line.perplexity
      ours = tables.perplexity(run_, line.evaluation)
    name = f"{line.regularisation}, {line.evaluation}"
    bars[axes[line.tokenizer]].append(curves_lib.Bar(name, paper, ours))
  whole, _ = tables.shown(lines, ("bytes", "none"))
  for (split, evaluation), paper in published.TABLE_2.items():
    ours = whole.value(split, evaluation, "bits_per_byte") if whole else None
    bar = curves_lib.Bar(f"{split}, {evaluation}", paper, ours)
    bars[axes["bytes"]].append(bar)
  return bars
