"""What there is to say about trained weights: data, command, scores."""

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

from seqmodels.data import terms
from seqmodels.io import json_file

DATA = "data.json"
_WORDS = ("name", "split", "evaluation", "metric")


def read_data(folder: pathlib.Path) -> dict[str, Any] | None:
  """What a run was trained on, as data.json holds it; None if unknown.

  Raises:
    UserError: the file is damaged.
  """
  path = folder / DATA
  if not path.is_file():
    return None
  found = json_file.read(path, files=list)
  if not all(map(is_file_row, found["files"])):
    raise json_file.damaged(path, "a file has no name, size or SHA-256")
  return found


def is_file_row(row: Any) -> bool:
  """Whether this names a file, whoever wrote it."""
  return (
    isinstance(row, dict)
    and json_file.is_whole(row.get("bytes"))
    and all(isinstance(row.get(key), str) for key in ("name", "sha256"))
  )


def of_run(folder: pathlib.Path, settings: Mapping[str, Any]) -> dict[str, Any]:
  """What a run folder says about its weights."""
  from seqmodels.io import checkpoints, metric_writers, run_record

  run: dict[str, Any] = {}
  if (folder / run_record.RUN).is_file():
    run = json_file.read(folder / run_record.RUN)
  rows: list[Any] = []
  if run_record.finished(folder):
    rows = json_file.read(folder / run_record.RESULTS, rows=list)["rows"]
    if not all(map(is_score, rows)):
      raise json_file.damaged(folder / run_record.RESULTS, "a row is no result")
  step, _ = checkpoints.read_meta(folder)
  own = [row for row in rows if _about(row) == _about(rows[0])]
  source = settings["data"].get("source", "")
  # Validations are evenly spaced; the first may have come early, at the end.
  # Restored weights are validated at step 0, before any of them.
  seen = sorted(
    {
      line["step"]
      for line in metric_writers.read(folder / metric_writers.METRICS)
      if line["split"] == "valid" and line["step"]
    }
  )
  often = settings.get("training", {}).get("evaluations_per_epoch", 1)
  return {
    "data": read_data(folder),
    "terms": terms.of(source),
    "command": portable_command(str(run.get("command") or "")),
    "commit": run.get("commit"),
    "step": step,
    "epochs": round(step / (seen[0] * often), 2) if seen[1:] else None,
    "rows": [
      {key: row[key] for key in (*_WORDS, "value", "count")} for row in own
    ],
  }


def portable_command(command: str) -> str:
  """A command without the folders that lead to places on one machine.

  >>> portable_command("python main.py --workdir=../runs/a")
  'python main.py --workdir=a'
  """
  try:
    words = shlex.split(command)
  except ValueError:  # an open quote: no shell has run it
    return ""
  return shlex.join(map(_without_folders, words))


def _without_folders(word: str) -> str:
  name, equals, _ = word.partition("=")
  flag = name + equals if equals and "/" not in name else ""
  value = word[len(flag) :]
  if "/" in value and not value.startswith("configs/"):
    value = pathlib.PurePath(value).name
  return flag + value


def is_score(row: Any) -> bool:
  """Whether this is a row of results, whoever wrote it."""
  return (
    isinstance(row, dict)
    and all(isinstance(row.get(key), str) for key in _WORDS)
    and json_file.is_whole(row.get("count"))
    and (row.get("value") is None or json_file.is_number(row["value"]))
  )


def _about(row: Mapping[str, Any]) -> str:
  """The model that a row is of, not an n-gram or a compressor beside it."""
  return str(row["name"]).partition(";")[0]
