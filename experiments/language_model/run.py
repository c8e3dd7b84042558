"""Trains a language model and scores it: static, dynamic, beside baselines."""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from experiments import page as page_lib
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
TEMPLATE = pathlib.Path(__file__).with_name("page.md")


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
  page = page_lib.Page(TEMPLATE, context.workdir)
  page["model"] = stages.describe(context)
  page["step"] = f"{context.step:,}"
  page["selected"] = stages.selected(context.config)
  page["source"] = context.data.provenance["source"]
  page["last"] = stages.evaluated_splits(context.data)[-1]
  draw(page, context, rows, curves)
  page.facts(
    "facts",
    {
      "parameters": f"{trees.count_parameters(context.params):,}",
      "symbols": f"{context.data.vocabulary.size:,}",
      "data": context.data.provenance["note"],
      **unknown_facts(context),
      **evaluate_lib.cell_facts(context),
    },
  )
  if sample:
    sample_lib.keep_sample(context.workdir, sample)
    page["sample"] = results.verbatim(sample)
  page.write(rows)


def unknown_facts(context: stages.Context) -> dict[str, str]:
  """The share of unknown symbols in each split that has some."""
  return {
    f"unknown symbols, {split}": said
    for split in context.data.splits
    if (said := stages.unknown(context, split))
  }


def draw(
  page: page_lib.Page,
  context: stages.Context,
  rows: Sequence[results.Row],
  curves: Mapping[str, Mapping[str, Any]],
) -> None:
  """Every figure that the run's files and rows allow."""
  unit = task_lib.UNITS[context.config.data.tokenizer]
  page.figure("handwriting", "samples")
  # Drawn by the stages before, if at all.
  for name in ("dynamic_search", evaluate_lib.FIGURE):
    page.figure(name)
  metrics = context.workdir / metrics_lib.METRICS
  if metrics.is_file() and metrics.stat().st_size:
    curves_lib.learning_curves(
      metrics,
      page.figure("learning_curves"),
      name=unit.metric,
      title=stages.describe(context),
    )
  for split, curve in curves.items():
    evaluations = " and ".join(curve)
    curves_lib.along_split(
      {
        name: (scores["curve_nats"], scores["curve_counts"])
        for name, scores in curve.items()
      },
      page.figure(f"along_{split}"),
      unit=f"bits per {unit.symbol}",
      title=f"{evaluations} evaluation of the {split} split",
    )
  last = stages.evaluated_splits(context.data)[-1]
  curves_lib.comparison(
    [row for row in rows if row["split"] == last],
    page.figure("comparison"),
    metric=unit.metric,
  )
