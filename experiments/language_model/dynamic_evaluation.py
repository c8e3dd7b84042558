"""Static against dynamic evaluation of the network of an earlier run."""

import dataclasses
import pathlib

from ml_collections import config_dict

from experiments import restore, stages
from experiments.language_model import evaluate, task
from experiments.language_model import run as run_lib
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import distributed, results
from seqmodels.training import sharding

PLACEMENT = task.PLACEMENT
require_finished = task.require_same_data


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Reloads a run, searches settings on validation data if asked, and scores.

  Args:
    config: `restore` names the run; `dynamic` and `evaluation` say how. The
      model is that of the run, and so are the data where `data` names none.
    workdir: the run folder of this evaluation; the restored one is only read.
    data_dir: where data sets are looked for.

  Raises:
    UserError: no such run, data that have changed since, or symbols in other
      data that the run's vocabulary cannot stand for.
  """
  with distributed.Interruption() as signals:
    trained = restore.reload(config.restore, dtype=config.dtype)
    merged = trained.config.copy_and_resolve_references()
    with merged.unlocked():
      merged.dynamic = config.dynamic
      merged.evaluation = config.evaluation
      merged.sample.length = 0
      merged.seed = config.seed
      if config.dtype:
        merged.dtype = config.dtype
    tokens = _tokens(trained, merged, config.data, data_dir)
    restore.settle_files(workdir, tokens.provenance)
    context = stages.Context(
      merged,
      workdir,
      tokens,
      trained.model,
      sharding.to_host(trained.params),
      trained.step,
      signals,
    )
    rows, curves = evaluate.static_and_dynamic(context)
    run_lib.write_report(context, rows, curves, "")
    return rows


def _tokens(
  trained: restore.LoadedRun,
  merged: config_dict.ConfigDict,
  given: config_dict.ConfigDict,
  data_dir: pathlib.Path,
) -> tokens_lib.Tokens:
  """The data of the run, or the other ones that are given in its symbols.

  Args:
    trained: the run.
    merged: its settings, which take up what is given.
    given: `config.data` of the evaluation.
    data_dir: where data sets are looked for.
  """
  known = trained.source.data()
  if not (given.path or given.source):
    tokens = task.load_tokens(merged, data_dir)
    trained.symbols.require_same(tokens.vocabulary)
    restore.require_files_of(known, trained.source.place, tokens.provenance)
    return tokens
  with merged.unlocked():
    for key, value in _other_data(merged.data, given).items():
      merged.data[key] = value
  tokens = task.load_tokens(merged, data_dir, trained.symbols)
  if known is not None and restore.same_files(known, tokens.provenance):
    return tokens
  with merged.unlocked():
    merged.reference = {}  # of the data that it was trained on
  names = [file["name"] for file in tokens.provenance["files"]]
  note = f"{stages.OTHER}{', '.join(names)}"
  return dataclasses.replace(
    tokens, provenance={**tokens.provenance, "note": note}
  )


def _other_data(
  own: config_dict.ConfigDict, given: config_dict.ConfigDict
) -> dict[str, str]:
  source = given.source or "text"
  # Of three files, or of one text.
  usual = own.partition if own.partition != "mikolov" else "standard"
  usual = "mikolov" if source == "ptb" else usual
  return {
    "source": source,
    "path": given.path,
    "files": given.files,
    "partition": given.partition or usual,
  }
