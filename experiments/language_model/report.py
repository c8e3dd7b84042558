"""The figures and the page that a language experiment leaves behind."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import stages
from experiments.handwriting import write as write_lib
from experiments.language_model import evaluate, task
from seqmodels import trees
from seqmodels.io import files, results
from seqmodels.io import metrics as metrics_lib
from seqmodels.plotting import curves as curves_lib


def write(
  context: stages.Context,
  rows: Sequence[results.Row],
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
  name = stages.describe(context)
  figures = draw(context, rows, curves)
  if sample:
    keep_sample(context.workdir, sample)
  page = results.page(
    name,
    rows,
    introduction=(
      f"The weights of step {context.step:,}, "
      f"{stages.selected(context.config)}, are evaluated on "
      f"{context.data.provenance['source']}."
    ),
    facts={
      "parameters": f"{trees.count_parameters(context.params):,}",
      "symbols": f"{context.data.vocabulary.size:,}",
      "data": context.data.provenance["note"],
      **unknown_facts(context),
      **evaluate.cell_facts(context),
    },
    figures=figures,
    sample=sample,
  )
  results.write(context.workdir, page)


def unknown_facts(context: stages.Context) -> dict[str, str]:
  """The share of unknown symbols in each split that has some."""
  return {
    f"unknown symbols, {split}": said
    for split in context.data.splits
    if (said := stages.unknown(context, split))
  }


def keep_sample(workdir: pathlib.Path, sample: str) -> None:
  """Writes generated text to `samples/sample.txt`."""
  samples = workdir / "samples"
  samples.mkdir(exist_ok=True)
  files.write_text(samples / "sample.txt", sample)


def draw(
  context: stages.Context,
  rows: Sequence[results.Row],
  curves: Mapping[str, Mapping[str, Any]],
) -> list[results.Figure]:
  """Every figure that the run's files and rows allow."""
  unit = task.UNITS[context.config.data.tokenizer]
  folder = context.workdir / "figures"
  drawn: list[results.Figure] = []
  if (context.workdir / write_lib.GREETING).is_file():
    caption = "Written by the network that comes with the package."
    drawn.append(results.Figure(write_lib.GREETING, caption))

  def path(name: str, caption: str) -> pathlib.Path:
    drawn.append(results.Figure(f"figures/{name}.png", caption))
    return folder / f"{name}.png"

  metrics = context.workdir / metrics_lib.METRICS
  if metrics.is_file() and metrics.stat().st_size:
    curves_lib.learning_curves(
      metrics,
      path("learning_curves", "Training and validation by step."),
      name=unit.metric,
      title=stages.describe(context),
    )
  for split, found in curves.items():
    evaluations = " and ".join(found)
    curves_lib.along_split(
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
  if (folder / f"{evaluate.FIGURE}.png").is_file():
    path(evaluate.FIGURE, "What adaptive weight noise found of each weight.")
  last = stages.evaluated_splits(context.data)[-1]
  curves_lib.comparison(
    [row for row in rows if row["split"] == last],
    path("comparison", f"The rows of the {last} split beside each other."),
    metric=unit.metric,
  )
  return drawn
