"""Experiments by name, each a module with `run(config, workdir, data_dir)`.

A module's `run` returns its result rows (`seqmodels.io.results.row`) after it
has written its own files into the run folder: metrics, checkpoints, figures,
report.md. What surrounds every experiment is here: the limits of its settings,
the record of the run, the lock, results.json as the last file, the printed
table. A module may have `RULES`, the limits of settings that only it has,
`PLACEMENT` and `DISTRIBUTED`.
"""

import contextlib
import importlib
import os
import pathlib
import shutil
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from ml_collections import config_dict

from configs import checks
from experiments import runtime
from seqmodels import errors
from seqmodels.io import distributed, files, progress, run_folder
from seqmodels.io import results as reports

# Settings that say where a run's arrays lie and nothing of its results. An
# experiment that knows its data by their SHA-256 has more of them.
PLACEMENT = ("training.model_shards",)

MODULES = {
  "language_modelling": "experiments.language_model.run",
  "dynamic_evaluation": "experiments.language_model.dynamic_evaluation",
  "text_sampling": "experiments.language_model.sample",
  "benchmark": "experiments.benchmark.run",
  "compression": "experiments.compression.run",
  "handwriting": "experiments.handwriting.run",
  "handwriting_writing": "experiments.handwriting.write",
  "fundamentals": "experiments.studies.run",
  "seeds": "experiments.multi_seed",
  "export": "experiments.export",
  "report": "experiments.report.run",
}


def module(name: str) -> types.ModuleType:
  """The experiment's module, imported now.

  Args:
    name: a key of `MODULES`, or the dotted path of a module elsewhere.

  Raises:
    UserError: no such experiment.
  """
  path = MODULES.get(name, name if "." in name else "")
  try:
    imported = importlib.import_module(path) if path else None
  except ModuleNotFoundError as error:
    if error.name is None or not f"{path}.".startswith(f"{error.name}."):
      raise
    imported = None
  except (TypeError, ValueError):  # "../x": a path where a name belongs
    imported = None
  if not callable(getattr(imported, "run", None)):
    raise errors.UserError(
      f"config.experiment is {name!r}, which is no experiment"
      f"{errors.closest(name, MODULES)}"
    )
  assert imported is not None
  return imported


def run(
  config: config_dict.ConfigDict,
  workdir: str | pathlib.Path,
  data_dir: str | pathlib.Path,
  *,
  command: str = "",
) -> dict[str, Any]:
  """Runs or resumes one experiment and prints its table.

  Args:
    config: the settings; `config.experiment` names the module.
    workdir: the run folder; made if missing, resumed if begun, and only read
      if finished.
    data_dir: where data sets are looked for.
    command: the command line, for the record.

  Returns:
    What results.json holds.

  Raises:
    UserError: bad settings, or a folder that belongs to another run.
  """
  single = module(config.experiment)
  checks.validate(config, getattr(single, "RULES", None))
  config = _absolute(config)
  workdir, data_dir = pathlib.Path(workdir), pathlib.Path(data_dir)
  # Several seeds of any experiment are an experiment of their own.
  several = config.get("seeds", 1) > 1
  experiment = module("seeds") if several else single
  if jax.process_count() > 1 and not getattr(experiment, "DISTRIBUTED", False):
    what = "several seeds are" if several else f"{config.experiment} is"
    raise errors.UserError(
      f"{what} one process's work, here are {jax.process_count()}; run it "
      "without --distributed"
    )
  config = _with_dtype(config, workdir)
  settings = config.to_dict()
  with (
    run_folder.start(
      workdir,
      config=settings,
      command=command,
      source=pathlib.Path(__file__).resolve().parent.parent,
      free=(*PLACEMENT, *getattr(single, "PLACEMENT", ())),
      # A command line is all that its process was started for.
      age=progress.process_age() if command else 0.0,
    ) as record,
    _time_reported(record),
  ):
    results = record.results
    if results is None:
      with errors.memory_of(config.experiment, _smaller(settings)):
        rows = experiment.run(config, workdir, data_dir)
      results = {
        "experiment": config.experiment,
        "config": record.config,
        "finished": True,
        "rows": rows,
      }
      record.finish(results)
    elif not reports.well_formed(results["rows"]):
      raise files.damaged(workdir / run_folder.RESULTS, "a row is no result")
    elif record.primary:
      if hasattr(experiment, "require_finished"):
        experiment.require_finished(config, workdir, data_dir)
      print(f"already finished: {workdir}", file=sys.stderr)
  if record.primary:
    # Where the result itself goes to standard output, the table must not.
    piped = config.get("output") == "-"
    width = shutil.get_terminal_size((0, 0)).columns  # 0: no terminal
    table = reports.console_table(results["rows"], width or None)
    print(table, file=sys.stderr if piped else sys.stdout)
  return results


def _with_dtype(
  config: config_dict.ConfigDict, workdir: pathlib.Path
) -> config_dict.ConfigDict:
  """The settings with a dtype in place of "auto".

  A resumed run keeps the one that it began with, on whatever machine; a new one
  gets what is quickest in its first process.
  """
  if config.get("dtype") != "auto":
    return config

  def choose() -> str:
    before = run_folder.begun_with(workdir) or {}
    return str(before.get("dtype") or runtime.fast_dtype())

  settled = config_dict.ConfigDict(config.to_dict())
  settled.dtype = distributed.on_primary(choose)
  return settled


def _absolute(config: config_dict.ConfigDict) -> config_dict.ConfigDict:
  """The settings with the path of the data as any folder understands it."""
  config = config.copy_and_resolve_references()
  data = config.get("data", {})
  if data.get("path"):
    data.path = os.path.abspath(os.path.expanduser(data.path))
  return config


# Settings that memory grows with, where an experiment has them.
_SIZES = (
  *("training.batch", "training.segment", "training.points", "model.features"),
  *("model.layers", "model.streams", "model.context_bits", "sample.length"),
)


def _smaller(settings: Mapping[str, Any]) -> str:
  """The settings of an experiment that need less memory when smaller.

  >>> _smaller({"training": {"batch": 1}, "model": {"features": (8,)}})
  'a smaller config.training.batch or config.model.features'
  """
  known = dict(checks.flatten(settings))
  names = [f"config.{name}" for name in _SIZES if name in known]
  return f"a smaller {' or '.join(names) or 'input'}"


@contextlib.contextmanager
def _time_reported(record: run_folder.RunRecord) -> Iterator[None]:
  """Prints at the end, also of a failed run, where its time went."""
  try:
    yield
  finally:
    line = record.account.line() if record.account else ""
    if line:
      print(line, file=sys.stderr, flush=True)
