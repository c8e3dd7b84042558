"""What a report says of a run beside its scores: recipe, machine, time."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from ml_collections import config_dict

from experiments import phases, published, run_folders


def recipe(run: run_folders.Run) -> str:
  """Network, noise and training, and whether that is the paper's."""
  config = config_dict.ConfigDict(run.config)
  training = config.training
  parts = [phases.model_name(config), *phases.noise_names(config)]
  if published.papers_training(run.config):
    parts.append("the paper's training")
  else:
    parts.append(
      f"not the paper's training: {training.optimizer} "
      f"{training.learning_rate:g}, {phases.minibatch(config)}, "
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
  # What a row over a part of the data says of it.
  own = str(run.rows[0]["name"]).partition(";")[0] if run.rows else ""
  note = re.search(r"\(([^()]*)\)$", own)
  return ", ".join(parts) + (f" ({note[1]})" if note else "")


def adapts_plainly(run: run_folders.Run) -> bool:
  """Whether its dynamic evaluation, if any, is the paper's plain descent."""
  return run.config["dynamic"]["rule"] in ("", "sgd")


def epochs(run: run_folders.Run, runs: Sequence[run_folders.Run]) -> str:
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
  run: run_folders.Run,
  runs: Sequence[run_folders.Run],
  seen: set[pathlib.Path],
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


def find(
  folder: str, runs: Sequence[run_folders.Run]
) -> run_folders.Run | None:
  """The run in a folder, or the only one of that name: runs get moved."""
  path = pathlib.Path(os.path.expanduser(folder)).resolve()
  exact = [run for run in runs if run.path == path]
  alike = [run for run in runs if run.path.name == path.name]
  if exact:
    return exact[0]
  return alike[0] if len(alike) == 1 else None


def hardware(run: run_folders.Run) -> str:
  """Devices of every session."""
  return _over_sessions(run, _devices)


def _devices(session: dict[str, Any]) -> str:
  devices = session.get("devices")
  if session.get("backend") == "cpu" or not isinstance(devices, dict):
    cores = session.get("cpu_count")
    name = str(session.get("cpu") or "")
    return f"{name}, {cores} cores" if name and cores else name
  return " and ".join(f"{count} x {name}" for name, count in devices.items())


def commit(run: run_folders.Run) -> str:
  """Commits of every session, and whether there were uncommitted changes."""

  def told(session: dict[str, Any]) -> str:
    name = str(session.get("commit") or "")[:7]
    return f"{name} with changes" if name and session.get("diff") else name

  return _over_sessions(run, told)


def time(run: run_folders.Run) -> str:
  """Hours and minutes of all sessions; a killed one left none."""
  told = [session.get("seconds") for session in _sessions(run)]
  known = [value for value in told if isinstance(value, int | float)]
  if not known:
    return "n/a"
  minutes = round(sum(known) / 60)
  text = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else (
    f"{minutes} min" if minutes else f"{sum(known):.0f} s"
  )  # fmt: skip
  return text if len(known) == len(told) else f"over {text}"


def command(run: run_folders.Run) -> str:
  """The command line that began it."""
  return " ".join(str(run.record.get("command") or "n/a").split())


def _sessions(run: run_folders.Run) -> list[dict[str, Any]]:
  resumes = run.record.get("resumes")
  later = resumes if isinstance(resumes, list) else []
  return [run.record, *(entry for entry in later if isinstance(entry, dict))]


def _over_sessions(run: run_folders.Run, told: Any) -> str:
  found = dict.fromkeys(told(session) for session in _sessions(run))
  return ", then ".join(text for text in found if text) or "n/a"
