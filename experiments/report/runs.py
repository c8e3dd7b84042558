"""Run folders read back for a report; damaged ones are named."""

import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import config_dict

from experiments import published, stages
from experiments.handwriting import run as handwriting
from experiments.language_model import task
from seqmodels import errors
from seqmodels import trained as trained_lib
from seqmodels.io import files, metrics, results, run_folder
from seqmodels.plotting import curves as figures


class Run(NamedTuple):
  """One run folder."""

  name: str  # of the folder
  path: pathlib.Path  # of the folder, resolved
  config: dict[str, Any]  # of a dynamic evaluation, those of the trained run
  evaluates: str  # the run folder whose network it evaluates again, or ""
  record: dict[str, Any]  # run.json
  rows: list[dict[str, Any]]  # of results.json; none of an unfinished run
  metrics: list[dict[str, Any]]  # lines of metrics.jsonl
  phases: dict[str, Any]  # of evaluations.json, those that have a curve
  finished: bool  # it has a results.json
  # Evaluations of the same weights, for rows that this run lacks.
  again: tuple["Run", ...] = ()

  @property
  def pen(self) -> bool:
    """True for handwriting, False for text."""
    return self.config["experiment"] == "handwriting"

  @property
  def tokenizer(self) -> str:
    """The tokenizer of its data."""
    return str(self.config["data"]["tokenizer"])

  @property
  def metric(self) -> str:
    """The metric of its scores."""
    return task.UNITS[self.tokenizer].metric

  def row(
    self, split: str, evaluation: str, metric: str, unit: str = ""
  ) -> dict[str, Any] | None:
    """The first own row of that kind, else that of an evaluation `again`."""
    for row in self.rows:
      kind = (row["split"], row["evaluation"], row["metric"])
      wanted = kind == (split, evaluation, metric)
      if wanted and unit in ("", row["unit"]) and not self.is_baseline(row):
        return row
    others = (o.row(split, evaluation, metric, unit) for o in self.again)
    return next((row for row in others if row), None)

  def value(
    self, split: str, evaluation: str, metric: str, unit: str = ""
  ) -> float | None:
    """The value of the row that `row` finds; None if there is none."""
    row = self.row(split, evaluation, metric, unit)
    return None if row is None else row["value"]

  def scored(
    self, split: str, evaluation: str, metric: str
  ) -> tuple["Run", dict[str, Any]]:
    """The row that `row` finds, and the run among `again` that made it.

    Raises:
      KeyError: there is none.
    """
    for run in (self._replace(again=()), *self.again):
      row = run.row(split, evaluation, metric)
      if row is not None:
        return run, row
    raise KeyError(f"{self.name} has no {evaluation} {metric} of {split}")

  def is_baseline(self, row: Mapping[str, Any]) -> bool:
    """True for the row of an n-gram model or a compressor."""
    own = str(self.rows[0]["name"]).partition(";")[0]
    return str(row["name"]).partition(";")[0] != own

  def valid(self) -> float:
    """The validation score, of an unfinished run the best so far; or inf."""
    score = self.value("valid", "static", self.metric)
    if score is not None:
      return float(score)
    _, values = metrics.series(self.metrics, "valid", self.metric)
    return min(values, default=float("inf"))

  def steps_per_epoch(self) -> float | None:
    """From the distance of validations, rounded up to whole dispatches.

    None before the second: the first may have come early, at the run's end.
    """
    steps, _ = metrics.series(self.metrics, "valid", self.metric)
    steps = [step for step in steps if step]  # restored weights come at 0
    often = self.config["training"]["evaluations_per_epoch"]
    return float(steps[0] * often) if len(steps) > 1 else None

  def best_epoch(self) -> float | None:
    """Epochs up to the weights that are evaluated."""
    select = self.config["training"].get("select", "validation")
    by_length = select == "description_length"
    compared = ("train", select) if by_length else ("valid", self.metric)
    steps, values = metrics.series(self.metrics, *compared)
    each = self.steps_per_epoch()
    if not each or not steps:
      return None
    return (steps[-1] if select == "last" else steps[np.argmin(values)]) / each

  def learning(self) -> figures.Learning | None:
    """Its curves by epoch, if it was validated often enough to know epochs."""
    each = self.steps_per_epoch()
    if not each:
      return None
    curves = []
    for split in ("train", "valid"):
      steps, values = metrics.series(self.metrics, split, self.metric)
      curves.append(([step / each for step in steps], values))
    return figures.Learning(self.name, self.metric, *curves)

  def curves(self, split: str) -> dict[str, tuple[list[float], list[int]]]:
    """Nats and symbols along a split by evaluation; empty if one is missing."""
    curves = {}
    for name, phase in self.phases.items():
      evaluation, _, of = name.partition(":")[0].partition(" ")
      if evaluation in ("static", "dynamic") and of == split:
        curves[evaluation] = (phase["curve_nats"], phase["curve_counts"])
    return curves if len(curves) == 2 else {}


class Gathered(NamedTuple):
  """The runs in some folders, by name."""

  runs: list[Run]  # of language models
  pens: list[Run]  # of handwriting
  skipped: dict[str, str]  # why each other folder was left out


def gather(listed: str, *, own: pathlib.Path) -> Gathered:
  """Reads every run folder in a list.

  Args:
    listed: run folders and folders of run folders, separated by commas.
    own: the folder of the report, which is no run to report.

  Raises:
    UserError: the list is empty, or no folder in it can be reported.
  """
  places = [
    pathlib.Path(os.path.expanduser(part.strip()))
    for part in listed.split(",")
    if part.strip()
  ]
  if not places:
    raise errors.UserError(
      "config.runs is empty; give a folder of runs or a comma-separated list "
      "of run folders, --config.runs=runs"
    )
  folders: list[pathlib.Path] = []
  for place in places:
    if place.is_dir() and not (place / run_folder.CONFIG).exists():
      inside = sorted(entry for entry in place.iterdir() if entry.is_dir())
      folders += inside or [place]
    else:
      folders.append(place)
  runs: dict[pathlib.Path, Run] = {}
  skipped: dict[str, str] = {}
  for folder in folders:
    path = folder.resolve()
    if path == own.resolve() or path in runs:
      continue
    try:
      runs[path] = read(folder)
    except errors.UserError as error:
      skipped[folder.name or str(folder)] = str(error)
  if not runs:
    reasons = "; ".join(f"{name}: {why}" for name, why in skipped.items())
    raise errors.UserError(
      f"config.runs={listed} holds no run of a language model or a handwriting "
      "network"
      f"{f' ({reasons})' if reasons else ''}; give the --workdir of such runs"
    )
  names = [run.name for run in runs.values()]
  named = [
    run._replace(name=f"{run.path.parent.name}/{run.name}")
    if names.count(run.name) > 1
    else run
    for run in runs.values()
  ]
  named.sort(key=lambda run: run.name)
  texts = [run for run in named if not run.pen]
  return Gathered(texts, [run for run in named if run.pen], skipped)


def read(folder: pathlib.Path) -> Run:
  """One run folder.

  Raises:
    UserError: it is none, it trains nothing that is reported, or a file is
      damaged.
  """
  if not folder.is_dir():
    raise errors.UserError("does not exist")
  if not (folder / run_folder.CONFIG).is_file():
    raise errors.UserError(f"no run folder: it has no {run_folder.CONFIG}")
  config, evaluates = run_folder.read_config(folder), ""
  if config.get("experiment") == "handwriting":
    _require(config, "handwriting network", _ask_pen_network)
  else:
    config, evaluates = _language_model(config)
  finished = run_folder.finished(folder)
  record = folder / run_folder.RUN
  return Run(
    name=folder.resolve().name,
    path=folder.resolve(),
    config=config,
    evaluates=evaluates,
    record=files.read(record) if record.is_file() else {},
    rows=_rows(folder / run_folder.RESULTS) if finished else [],
    metrics=metrics.read(folder / metrics.METRICS),
    phases=_curves(folder / stages.PHASES),
    finished=finished,
  )


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
  rows: list[dict[str, Any]] = files.read(path, rows=list)["rows"]
  if not rows or not results.well_formed(rows):
    raise files.damaged(path, "it holds no result rows")
  return rows


def _curves(path: pathlib.Path) -> dict[str, Any]:
  """The phases of evaluations.json that have a curve, each looked at."""
  if not path.is_file():
    return {}
  curves: dict[str, Any] = {}
  for name, phase in files.read_sealed(path, phases=dict)["phases"].items():
    if not isinstance(phase, dict) or "curve_nats" not in phase:
      continue
    lists = phase["curve_nats"], phase.get("curve_counts", ())
    if not all(
      isinstance(numbers, list) and all(map(files.is_number, numbers))
      for numbers in lists
    ) or len(lists[0]) != len(lists[1]):
      raise files.damaged(path, "a curve is no curve")
    curves[name] = phase
  return curves


def _require(
  config: dict[str, Any],
  model: str,
  ask: Callable[[config_dict.ConfigDict], None],
) -> None:
  """Asks once for whatever the report needs of the settings."""
  try:
    ask(config_dict.ConfigDict(config))
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
      f"{run_folder.CONFIG} is not that of a {model} ({error})"
    ) from error


def _ask_pen_network(settings: config_dict.ConfigDict) -> None:
  handwriting.published(settings, "valid")
  _ = settings.training.epochs


def _ask_language_model(settings: config_dict.ConfigDict) -> None:
  stages.model_name(settings)
  stages.noise_names(settings)
  published.line_of(settings.to_dict())
  published.papers_training(settings.to_dict())
  _ = task.UNITS[settings.data.tokenizer]
  for name in ("batch", "segment", "learning_rate", "evaluations_per_epoch"):
    if not files.is_number(settings.training[name]):
      raise TypeError(f"training.{name} is no number")
  _ = settings.data.source, settings.dynamic.rule, settings.restore


def _language_model(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
  """Settings of the trained run, and the folder that this one evaluates."""
  experiment, evaluates = config.get("experiment"), ""
  if experiment == "dynamic_evaluation":
    evaluates = str(config.get("restore"))
    place = pathlib.Path(os.path.expanduser(evaluates))
    if place.is_file():
      trained = trained_lib.read(place, "language_model").settings
    elif (place / run_folder.CONFIG).is_file():
      trained = files.read(place / run_folder.CONFIG)
    else:
      raise errors.UserError(f"evaluates {evaluates}, which is not there")
    config = trained | {"dynamic": config.get("dynamic")}
  elif experiment != "language_modelling":
    raise errors.UserError(
      f"a run of {experiment!r}, which trains nothing that is reported"
    )
  _require(config, "language model", _ask_language_model)
  return config, evaluates


def recipe(run: Run) -> str:
  """Network, noise and training, and whether that is the paper's."""
  if run.pen:
    return str(run.rows[-1]["name"]).partition(";")[0]
  config = config_dict.ConfigDict(run.config)
  training = config.training
  parts = [stages.model_name(config), *stages.noise_names(config)]
  if published.papers_training(run.config):
    parts.append("the paper's training")
  else:
    parts.append(
      f"not the paper's training: {training.optimizer} "
      f"{training.learning_rate:g}, {stages.minibatch(config)}, "
      f"{config.dtype} products"
    )
  if config.restore:
    parts.append(f"begun from {pathlib.Path(config.restore).name}")
  if run.evaluates:
    parts.append(f"{pathlib.Path(run.evaluates).name} evaluated again")
  if not adapts_plainly(run):
    parts.append(f"dynamic by the rule {config.dynamic.rule}")
  if config.get("seeds", 1) > 1:
    parts.append(f"mean of {config.seeds} seeds, deviations in its own report")
  # A row over a part of the data has a note of it.
  own = str(run.rows[0]["name"]).partition(";")[0] if run.rows else ""
  note = re.search(r"\(([^()]*)\)$", own)
  return ", ".join(parts) + (f" ({note[1]})" if note else "")


def adapts_plainly(run: Run) -> bool:
  """True if its dynamic evaluation, if any, is the paper's plain descent."""
  return run.config["dynamic"]["rule"] in ("", "sgd")


def epochs(run: Run, runs: Sequence[Run]) -> str:
  """To the best validation, and with the runs that it was begun from."""
  own, total, missing = _epochs(run, runs, set())
  if own is None:
    return "n/a"
  if missing:
    return f"{own:.1f} (and those of {missing}, unknown)"
  if total > own:
    return f"{own:.1f} ({total:.1f} with its chain)"
  return f"{own:.1f}"


def _epochs(
  run: Run, runs: Sequence[Run], seen: set[pathlib.Path]
) -> tuple[float | None, float, str]:
  """Own epochs, those of the chain, and where the chain breaks off."""
  seen = seen | {run.path}
  before = run.evaluates or run.config["restore"]
  own = 0.0 if run.evaluates else run.best_epoch()
  if not before or own is None:
    return own, own or 0.0, ""
  earlier = find(before, runs)
  if earlier is None or earlier.path in seen:
    return own, own, pathlib.Path(before).name
  first, total, missing = _epochs(earlier, runs, seen)
  if first is None:
    return own, own, earlier.name
  return (first if run.evaluates else own), own + total, missing


def find(folder: str, runs: Sequence[Run]) -> Run | None:
  """The run in a folder, or the only one of that name: runs get moved."""
  path = pathlib.Path(os.path.expanduser(folder)).resolve()
  exact = [run for run in runs if run.path == path]
  alike = [run for run in runs if run.path.name == path.name]
  if exact:
    return exact[0]
  return alike[0] if len(alike) == 1 else None


def hardware(run: Run) -> str:
  """Devices of every session."""
  return _over_sessions(run, _devices)


def _devices(session: dict[str, Any]) -> str:
  devices = session.get("devices")
  if session.get("backend") == "cpu" or not isinstance(devices, dict):
    cores = session.get("cpu_count")
    name = str(session.get("cpu") or "")
    return f"{name}, {cores} cores" if name and cores else name
  return " and ".join(f"{count} x {name}" for name, count in devices.items())


def commit(run: Run) -> str:
  """Commits of every session, and whether there were uncommitted changes."""

  def describe(session: dict[str, Any]) -> str:
    name = str(session.get("commit") or "")[:7]
    return f"{name} with changes" if name and session.get("diff") else name

  return _over_sessions(run, describe)


def time(run: Run) -> str:
  """Hours and minutes of all sessions; a killed one left none."""
  seconds = [session.get("seconds") for session in _sessions(run)]
  known = [value for value in seconds if isinstance(value, int | float)]
  if not known:
    return "n/a"
  minutes = round(sum(known) / 60)
  text = f"{minutes} min" if minutes else f"{sum(known):.0f} s"
  if minutes >= 60:
    text = f"{minutes // 60} h {minutes % 60} min"
  return text if len(known) == len(seconds) else f"over {text}"


def command(run: Run) -> str:
  """The command line that began it."""
  return " ".join(str(run.record.get("command") or "n/a").split())


def _sessions(run: Run) -> list[dict[str, Any]]:
  resumes = run.record.get("resumes")
  later = resumes if isinstance(resumes, list) else []
  return [run.record, *(entry for entry in later if isinstance(entry, dict))]


def _over_sessions(run: Run, describe: Callable[[dict[str, Any]], str]) -> str:
  texts = dict.fromkeys(map(describe, _sessions(run)))
  return ", then ".join(filter(None, texts)) or "n/a"
