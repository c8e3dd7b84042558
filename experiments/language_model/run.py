"""Trains a language model and scores it: static, dynamic, beside baselines."""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from experiments import restore, runtime, stages, train
from experiments.language_model import evaluate as evaluate_lib
from experiments.language_model import sample as sample_lib
from experiments.language_model import task as task_lib
from seqmodels import pretrained, trained, trees
from seqmodels.io import distributed, results
from seqmodels.io import metrics as metrics_lib
from seqmodels.plotting import curves as curves_lib

# The networks are trained by all processes, and the rest is the first one's.
DISTRIBUTED = True
PLACEMENT = task_lib.PLACEMENT
require_finished = task_lib.require_same_data

# The quick start begins with a line by weights that come with the package.
SHIPPED = "handwriting_synthesis"
GREETING = "samples/handwriting.png"


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Trains to the end (or resumes), then evaluates, samples and reports.

  Args:
    config: as `configs.common.base`.
    workdir: the run folder.
    data_dir: where data sets are looked for.

  Returns:
    The result rows.

  Raises:
    Interrupted: after a signal, with the state saved.
    UserError, RunError: see `seqmodels.errors`.
  """
  with distributed.Interruption() as signals:
    symbols = restore.restored_vocabulary(config, workdir)
    tokens = task_lib.load_tokens(config, data_dir, symbols)
    model = task_lib.build_predictor(config, tokens.vocabulary.size)
    task = task_lib.task(config, tokens, model)
    if text := config.get("handwriting", ""):
      task = _greeting(task, text)
    return stages.train_and_evaluate(config, workdir, task, evaluate, signals)


def _greeting(task: train.Task, text: str) -> train.Task:
  """The same task, with a text written by hand before its training."""

  def settle(workdir: pathlib.Path) -> None:
    task.settle(workdir)
    greet(text, workdir)

  return task._replace(settle=settle)


def greet(text: str, workdir: pathlib.Path) -> None:
  """Draws a text by the shipped weights, unless that is done or there are none.

  The picture is `GREETING` in the run folder.
  """
  path = workdir / GREETING
  if SHIPPED not in pretrained.shipped() or path.exists():
    return
  hand: Any = trained.load(pretrained.path(SHIPPED), dtype=runtime.fast_dtype())
  page = hand.write(text, bias=1.0)
  path.parent.mkdir(exist_ok=True)
  page.save(path)
  print(f"handwriting: {path}", file=sys.stderr, flush=True)


def evaluate(
  context: stages.Context, result: train.TrainResult
) -> list[results.Row]:
  """All rows of the results, the figures and the report."""
  if result.posterior is not None:
    evaluate_lib.posterior_study(context, result.posterior)
  rows, curves = evaluate_lib.static_and_dynamic(context)
  rows += evaluate_lib.baseline_rows(context)
  sample = sample_lib.sample_phase(context)
  context.signals.check()
  write_report(context, rows, curves, sample)
  return rows


def write_report(
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
    sample_lib.keep_sample(context.workdir, sample)
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
      **evaluate_lib.cell_facts(context),
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


def draw(
  context: stages.Context,
  rows: Sequence[results.Row],
  curves: Mapping[str, Mapping[str, Any]],
) -> list[results.Figure]:
  """Every figure that the run's files and rows allow."""
  unit = task_lib.UNITS[context.config.data.tokenizer]
  folder = context.workdir / "figures"
  drawn: list[results.Figure] = []
  if (context.workdir / GREETING).is_file():
    caption = "Written by the network that comes with the package."
    drawn.append(results.Figure(GREETING, caption))

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
  if (folder / f"{evaluate_lib.FIGURE}.png").is_file():
    path(
      evaluate_lib.FIGURE, "What adaptive weight noise found of each weight."
    )
  last = stages.evaluated_splits(context.data)[-1]
  curves_lib.comparison(
    [row for row in rows if row["split"] == last],
    path("comparison", f"The rows of the {last} split beside each other."),
    metric=unit.metric,
  )
  return drawn
