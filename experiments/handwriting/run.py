"""Trains a handwriting network, scores it and draws what it writes."""

import pathlib

from ml_collections import config_dict

from experiments import stages, train
from experiments.handwriting import evaluate as evaluate_lib
from experiments.handwriting import task as task_lib
from seqmodels.io import distributed, results

# The network is trained by all processes, and the rest is the first one's.
DISTRIBUTED = True


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Trains to the end (or resumes), then evaluates, writes and reports.

  Args:
    config: as `configs.handwriting_prediction.base`.
    workdir: the run folder.
    data_dir: where data sets are looked for.

  Returns:
    The result rows.

  Raises:
    Interrupted: after a signal, with the state saved.
    UserError, RunError: see `seqmodels.errors`.
  """
  with distributed.Interruption() as signals:
    data = task_lib.load(config, data_dir, signals)
    model = task_lib.build_network(
      config, data.alphabet.size, finest=data.finest
    )
    if config.model.network == "synthesis":
      # What could not be written at the end is refused at the beginning.
      for text in config.sample.texts:
        data.alphabet.encode(text)
    task = task_lib.task(config, data, model)
    return stages.train_and_evaluate(config, workdir, task, evaluate, signals)


def evaluate(
  context: stages.Context, result: train.TrainResult
) -> list[results.Row]:
  """All rows of the results, the figures and the report."""
  del result
  rows = evaluate_lib.rows(context)
  evaluate_lib.write(context, rows)
  return rows
