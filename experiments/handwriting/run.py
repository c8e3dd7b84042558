"""Trains a pen network, for prediction or synthesis, scores it and draws."""

import pathlib

from ml_collections import config_dict

from experiments import train
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
    network = task_lib.build_network(config, data.alphabet.size)
    task = task_lib.task(config, data, network)
    if config.model.network == "synthesis":
      # What could not be written at the end is refused at the beginning.
      for text in config.sample.texts:
        data.alphabet.encode(text)
    setup = train.prepare(config, workdir, task)
    distributed.from_first(lambda: task_lib.settle_data(workdir, data))
    result = train.train(setup, signals)
    context = task_lib.Context(
      config, workdir, data, network, result.params, result.step, signals
    )
    return distributed.from_first(lambda: evaluate(context))


def evaluate(context: task_lib.Context) -> list[results.Row]:
  """All rows of the results, the figures and the report."""
  rows = evaluate_lib.rows(context)
  evaluate_lib.write(context, rows)
  return rows
