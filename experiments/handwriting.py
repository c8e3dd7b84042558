"""Trains a pen network, for prediction or synthesis, scores it and draws."""

import pathlib

from ml_collections import config_dict

from experiments import (
  fitting,
  pen_assembly,
  pen_pages,
  pen_scoring,
  pen_task,
  training_setup,
)
from seqmodels.io import interruption, processes, report

# The network is trained by all processes, and the rest is the first one's.
DISTRIBUTED = True


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[report.Row]:
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
  with interruption.Interruption() as signals:
    training_setup.mesh_of(config)
    data = pen_assembly.load(config, data_dir, signals)
    network = pen_assembly.build_network(config, data.alphabet.size)
    task = pen_task.task(config, data, network)
    if config.model.network == "synthesis":
      # What could not be written at the end is refused at the beginning.
      for text in config.sample.texts:
        data.alphabet.encode(text)
    processes.from_first(lambda: pen_assembly.settle_data(workdir, data))
    fitted = fitting.train(config, workdir, task, signals)
    context = pen_assembly.Context(
      config, workdir, data, network, fitted.params, fitted.step, signals
    )
    return processes.from_first(lambda: evaluate(context))


def evaluate(context: pen_assembly.Context) -> list[report.Row]:
  """All rows of the results, the figures and the report."""
  rows = pen_scoring.rows(context)
  pen_pages.write(context, rows)
  return rows
