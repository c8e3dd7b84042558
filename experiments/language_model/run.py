"""Trains a language model and scores it: static, dynamic, beside baselines."""

import pathlib

from ml_collections import config_dict

from experiments import restore, stages, train
from experiments.handwriting import write
from experiments.language_model import evaluate as evaluate_lib
from experiments.language_model import report
from experiments.language_model import sample as sample_lib
from experiments.language_model import task as task_lib
from seqmodels.io import distributed, results

# The networks are trained by all processes, and the rest is the first one's.
DISTRIBUTED = True
PLACEMENT = task_lib.PLACEMENT
require_finished = task_lib.require_same_data


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
    write.greet(text, workdir)

  return task._replace(settle=settle)


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
  report.write(context, rows, curves, sample)
  return rows
