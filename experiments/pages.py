"""The figures and the page that a language experiment leaves behind."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import assembly, phases, posterior, scoring
from seqmodels import trees
from seqmodels.io import atomic, metric_writers, plots, report, running_plot


def write(
  context: phases.Context,
  rows: Sequence[report.Row],
  curves: Mapping[str, Mapping[str, Any]],
  sample: str,
) -> None:
  """Draws what there is to draw and writes report.md.

  Args:
    context: of the run.
    rows: its result rows.
    curves: by split and evaluation: nats and counts along the split.
    sample: generated text; empty for none.
  """
  name = phases.describe(context)
  figures = draw(context, rows, curves)
  if sample:
    keep_sample(context.workdir, sample)
  page = report.page(
    name,
    rows,
    introduction=(
      f"Trained on {context.tokens.provenance['source']}; the weights of step "
      f"{context.step:,}, {phases.selected(context.config)}, "
      "are evaluated."
    ),
    facts={
      "parameters": f"{trees.count_parameters(context.params):,}",
      "symbols": f"{context.tokens.vocabulary.size:,}",
      "data": context.tokens.provenance["note"],
      **scoring.cell_facts(context),
    },
    figures=figures,
    sample=sample,
  )
  report.write(context.workdir, page)


def keep_sample(workdir: pathlib.Path, sample: str) -> None:
  """Writes generated text to `samples/sample.txt`."""
  samples = workdir / "samples"
  samples.mkdir(exist_ok=True)
  atomic.write_text(samples / "sample.txt", sample)


def draw(
  context: phases.Context,
  rows: Sequence[report.Row],
  curves: Mapping[str, Mapping[str, Any]],
) -> list[report.Figure]:
  """Every figure that the run's files and rows allow."""
  unit = assembly.UNITS[context.config.data.tokenizer]
  folder = context.workdir / "figures"
  drawn: list[report.Figure] = []

  def path(name: str, caption: str) -> pathlib.Path:
    drawn.append(report.Figure(f"figures/{name}.png", caption))
    return folder / f"{name}.png"

  metrics = context.workdir / metric_writers.METRICS
  if metrics.is_file() and metrics.stat().st_size:
    plots.learning_curves(
      metrics,
      path("learning_curves", "Training and validation by step."),
      name=unit.metric,
      title=phases.describe(context),
    )
  for split, found in curves.items():
    evaluations = " and ".join(found)
    running_plot.along_split(
      {
        name: (scores["curve_nats"], scores["curve_counts"])
        for name, scores in found.items()
      },
      path(f"along_{split}", f"The score along the {split} split."),
      unit=f"bits per {unit.symbol}",
      title=f"{evaluations} evaluation of the {split} split",
    )
  if (folder / "dynamic_search.png").is_file():
    path("dynamic_search", "Settings of dynamic evaluation, on validation.")
  if (folder / f"{posterior.FIGURE}.png").is_file():
    path(posterior.FIGURE, "What adaptive weight noise found of each weight.")
  last = phases.evaluated_splits(context.tokens)[-1]
  plots.comparison(
    [row for row in rows if row["split"] == last],
    path("comparison", f"The rows of the {last} split beside each other."),
    metric=unit.metric,
  )
  return drawn
