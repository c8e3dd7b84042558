"""Trains a language model and scores it: static, dynamic, beside baselines."""

import pathlib

from ml_collections import config_dict

from experiments import (
  assembly,
  baselines,
  course,
  fitting,
  pages,
  phases,
  posterior,
  sampled_text,
  scoring,
  text_task,
  training_setup,
)
from seqmodels.io import interruption, processes
from seqmodels.io import report as reports

Row = reports.Row

# The networks are trained by all processes, and the rest is the first one's.
DISTRIBUTED = True


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[Row]:
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
  with interruption.Interruption() as signals:
    tokens = assembly.load_tokens(config, data_dir)
    course.plan(config, tokens)  # what it refuses leaves no trace
    training_setup.mesh_of(config)
    network = assembly.build_predictor(config, tokens.vocabulary.size)
    processes.from_first(lambda: assembly.settle_data(workdir, tokens))
    task = text_task.task(config, tokens, network)
    fitted = fitting.train(config, workdir, task, signals)
    context = phases.Context(
      config,
      workdir,
      tokens,
      network,
      fitted.params,
      fitted.step,
      signals,
    )
    return processes.from_first(lambda: evaluate(context, fitted))


def evaluate(context: phases.Context, fitted: fitting.Fitted) -> list[Row]:
  """All rows of the results, the figures and the report."""
  if fitted.posterior is not None:
    posterior.study(context, fitted.posterior)
  rows, curves = scoring.static_and_dynamic(context)
  rows += baselines.rows(context)
  sample = sampled_text.sample_phase(context)
  context.signals.check()
  pages.write(context, rows, curves, sample)
  return rows
