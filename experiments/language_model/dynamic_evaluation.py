"""Static against dynamic evaluation of the network of an earlier run."""

import pathlib

from ml_collections import config_dict

from experiments import restore, stages
from experiments.language_model import evaluate, report, task
from seqmodels.io import distributed, results
from seqmodels.training import sharding


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Reloads a run, searches settings on validation data if asked, and scores.

  Args:
    config: `restore` names the run; `dynamic` and `evaluation` say how. Data
      and model are those of the run; `data.path` says where a text has moved.
    workdir: the run folder of this evaluation; the restored one is only read.
    data_dir: where data sets are looked for.

  Raises:
    UserError: no such run, or data that is not what it was trained on.
  """
  with distributed.Interruption() as signals:
    trained = restore.reload(config.restore, dtype=config.dtype)
    merged = trained.config.copy_and_resolve_references()
    with merged.unlocked():
      merged.dynamic = config.dynamic
      merged.evaluation = config.evaluation
      merged.sample.length = 0
      if config.data.path:
        merged.data.path = config.data.path
      merged.seed = config.seed
      if config.dtype:
        merged.dtype = config.dtype
    tokens = task.load_tokens(merged, data_dir)
    trained.vocabulary.require_same(tokens.vocabulary)
    source = trained.source
    restore.require_files_of(source.data(), source.place, tokens.provenance)
    context = stages.Context(
      merged,
      workdir,
      tokens,
      trained.predictor,
      sharding.whole(trained.params),
      trained.step,
      signals,
    )
    rows, curves = evaluate.static_and_dynamic(context)
    report.write(context, rows, curves, "")
    return rows
