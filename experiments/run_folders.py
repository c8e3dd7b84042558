"""Folders of earlier runs, read back for a report; damaged ones are named."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import config_dict

from experiments import (
  assembly,
  pen_scoring,
  phases,
  published,
  run_files,
)
from seqmodels import errors, loading
from seqmodels.io import (
  json_file,
  metric_writers,
  report_plots,
  run_record,
)


class Run(NamedTuple):
  """One run folder.

  Attributes:
    name: of the folder.
    path: of the folder, resolved.
    config: its settings; of a dynamic evaluation, those of the trained run.
    evaluates: the run folder whose network it evaluates again; "" if it trained
      its own.
    record: run.json.
    rows: of results.json; none of an unfinished run.
    metrics: lines of metrics.jsonl.
    phases: of evaluations.json.
    finished: it has a results.json.
    again: evaluations of the same weights, for rows that this run has not.
  """

  name: str
  path: pathlib.Path
  config: dict[str, Any]
  evaluates: str
  record: dict[str, Any]
  rows: list[dict[str, Any]]
  metrics: list[dict[str, Any]]
  phases: dict[str, Any]
  finished: bool
  again: tuple["Run", ...] = ()

  @property
  def pen(self) -> bool:
    """Whether it is of handwriting, not of text."""
    return self.config["experiment"] == "handwriting"

  @property
  def tokenizer(self) -> str:
    """Of its data."""
    return str(self.config["data"]["tokenizer"])

  @property
  def metric(self) -> str:
    """What its scores are told in."""
    return assembly.UNITS[self.tokenizer].metric

  def row(
    self, split: str, evaluation: str, metric: str, unit: str = ""
  ) -> dict[str, Any] | None:
    """The first own row of that kind, else that of an evaluation `again`."""
    for row in self.rows:
      kind = (row["split"], row["evaluation"], row["metric"])
      wanted = kind == (split, evaluation, metric)
      if wanted and unit in ("", row["unit"]) and not self.is_baseline(row):
        return row
    found = (o.row(split, evaluation, metric, unit) for o in self.again)
    return next((row for row in found if row), None)

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
    """Whether a row is of an n-gram or a compressor beside the network."""
    own = str(self.rows[0]["name"]).partition(";")[0]
    return str(row["name"]).partition(";")[0] != own

  def valid(self) -> float:
    """The validation score, of an unfinished run the best so far; or inf."""
    row = self.row("valid", "static", self.metric)
    if row is not None and row["value"] is not None:
      return float(row["value"])
    _, values = metric_writers.series(self.metrics, "valid", self.metric)
    return min(values, default=float("inf"))

  def steps_per_epoch(self) -> float | None:
    """From the distance of validations, rounded up to whole dispatches.

    None before the second: the first may have come early, at the run's end.
    """
    steps, _ = metric_writers.series(self.metrics, "valid", self.metric)
    steps = [step for step in steps if step]  # restored weights come at 0
    often = self.config["training"]["evaluations_per_epoch"]
    return float(steps[0] * often) if len(steps) > 1 else None

  def best_epoch(self) -> float | None:
    """Epochs up to the weights that are evaluated."""
    select = self.config["training"].get("select", "validation")
    compared = ("valid", self.metric)
    if select == "description_length":
      compared = ("train", select)
    steps, values = metric_writers.series(self.metrics, *compared)
    each = self.steps_per_epoch()
    if not each or not steps:
      return None
    return (steps[-1] if select == "last" else steps[np.argmin(values)]) / each

  def learning(self) -> report_plots.Learning | None:
    """Its curves by epoch, if it was validated often enough to tell epochs."""
    each = self.steps_per_epoch()
    if not each:
      return None
    train, valid = (
      ([step / each for step in steps], values)
      for steps, values in (
        metric_writers.series(self.metrics, split, self.metric)
        for split in ("train", "valid")
      )
    )
    return report_plots.Learning(self.name, self.metric, train, valid)

  def curves(self, split: str) -> dict[str, tuple[list[float], list[int]]]:
    """Nats and symbols along a split by evaluation; empty if one is missing."""
    found = {}
    for name, phase in self.phases.items():
      for evaluation in ("static", "dynamic"):
        if name.partition(":")[0] == f"{evaluation} {split}":
          found[evaluation] = (phase["curve_nats"], phase["curve_counts"])
    return found if len(found) == 2 else {}


class Gathered(NamedTuple):
  """What was found.

  Attributes:
    runs: of language models, by name.
    pens: of handwriting, by name.
    skipped: why each other folder was left out.
  """

  runs: list[Run]
  pens: list[Run]
  skipped: dict[str, str]


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
    if place.is_dir() and not (place / run_record.CONFIG).exists():
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
      f"config.runs={listed} holds no run of a language model or a pen network"
      f"{f' ({reasons})' if reasons else ''}; give the --workdir of such runs"
    )
  names = [run.name for run in runs.values()]
  told_apart = [
    run._replace(name=f"{run.path.parent.name}/{run.name}")
    if names.count(run.name) > 1
    else run
    for run in runs.values()
  ]
  told_apart.sort(key=lambda run: run.name)
  return Gathered(
    [run for run in told_apart if not run.pen],
    [run for run in told_apart if run.pen],
    skipped,
  )


def read(folder: pathlib.Path) -> Run:
  """One run folder.

  Raises:
    UserError: it is none, it trains nothing that is reported, or a file is
      damaged.
  """
  if not folder.is_dir():
    raise errors.UserError("does not exist")
  if not (folder / run_record.CONFIG).is_file():
    raise errors.UserError(f"no run folder: it has no {run_record.CONFIG}")
  config, evaluates = run_record.read_config(folder), ""
  if config.get("experiment") == "handwriting":
    _require_pen_network(config)
  else:
    config, evaluates = _language_model(config)
  finished = run_record.finished(folder)
  return Run(
    name=folder.resolve().name,
    path=folder.resolve(),
    config=config,
    evaluates=evaluates,
    record=run_files.optional(folder / run_record.RUN),
    rows=run_files.rows(folder / run_record.RESULTS) if finished else [],
    metrics=metric_writers.read(folder / metric_writers.METRICS),
    phases=run_files.curves(folder / phases.PHASES),
    finished=finished,
  )


def _require_pen_network(config: dict[str, Any]) -> None:
  try:
    settings = config_dict.ConfigDict(config)
    pen_scoring.published(settings, "valid")
    _ = settings.training.epochs
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
      f"{run_record.CONFIG} is not that of a pen network ({error})"
    ) from error


def _language_model(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
  """Settings of the trained run, and the folder that this one evaluates."""
  experiment, evaluates = config.get("experiment"), ""
  if experiment == "dynamic_evaluation":
    evaluates = str(config.get("restore"))
    place = pathlib.Path(os.path.expanduser(evaluates))
    if place.is_file():
      trained = loading.read(place, "language_model").settings
    elif (place / run_record.CONFIG).is_file():
      trained = json_file.read(place / run_record.CONFIG)
    else:
      raise errors.UserError(f"evaluates {evaluates}, which is not there")
    config = trained | {"dynamic": config.get("dynamic")}
  elif experiment != "language_modelling":
    raise errors.UserError(
      f"a run of {experiment!r}, which trains nothing that is reported"
    )
  try:
    # Whatever the report needs of the settings, it asks for here once.
    settings = config_dict.ConfigDict(config)
    phases.model_name(settings)
    phases.noise_names(settings)
    published.line_of(config)
    published.papers_training(config)
    _ = assembly.UNITS[settings.data.tokenizer]
    for name in ("batch", "segment", "learning_rate", "evaluations_per_epoch"):
      if not json_file.is_number(settings.training[name]):
        raise TypeError(f"training.{name} is no number")
    _ = settings.data.source, settings.dynamic.rule, settings.restore
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
      f"{run_record.CONFIG} is not that of a language model ({error})"
    ) from error
  return config, evaluates
