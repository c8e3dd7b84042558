"""Files of a run folder, read back; a damaged one is named."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from seqmodels import errors
from seqmodels.io import metric_writers

NUMBER = (int, float)


def mapping(path: pathlib.Path) -> dict[str, Any]:
  """The object of a JSON file.

  Raises:
    UserError: it is damaged.
  """
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise errors.UserError(f"{path.name} is damaged ({error})") from None
  if not isinstance(found, dict):
    raise errors.UserError(f"{path.name} is damaged (it holds no object)")
  return found


def optional(path: pathlib.Path) -> dict[str, Any]:
  """The object of a JSON file; empty if there is none.

  Raises:
    UserError: it is damaged.
  """
  return mapping(path) if path.is_file() else {}


def rows(path: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of results.json, each looked at.

  Raises:
    UserError: it is damaged.
  """
  rows = mapping(path).get("rows")
  words = ("name", "split", "evaluation", "metric", "unit")
  good = isinstance(rows, list) and all(
    isinstance(row, dict)
    and all(isinstance(row.get(key), str) for key in words)
    and all(isinstance(row.get(key), NUMBER) for key in ("count", "seconds"))
    and isinstance(row.get("value"), (*NUMBER, type(None)))
    for row in rows
  )
  if not good or not rows:
    raise errors.UserError(f"{path.name} is damaged (it holds no result rows)")
  return rows


def metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of metrics.jsonl, each looked at.

  Raises:
    UserError: it is damaged.
  """
  try:
    entries = metric_writers.read(path)
  except (errors.UserError, UnicodeDecodeError) as error:
    raise errors.UserError(f"{path.name} is damaged ({error})") from None
  for entry in entries:
    good = (
      isinstance(entry, dict)
      and isinstance(entry.get("step"), int)
      and isinstance(entry.get("value"), (*NUMBER, type(None)))
      and {"split", "name"} <= entry.keys()
    )
    if not good:
      raise errors.UserError(f"{path.name} is damaged (a line is no metric)")
  return entries


def curves(path: pathlib.Path, found: Any) -> dict[str, Any]:
  """The phases that have a curve, each looked at.

  Args:
    path: of the file, for what is said of a damaged one.
    found: its phases by name.

  Raises:
    UserError: it is damaged.
  """
  if not isinstance(found, dict):
    raise errors.UserError(f"{path.name} is damaged (it holds no phases)")
  curves: dict[str, Any] = {}
  for name, phase in found.items():
    if not isinstance(phase, dict) or "curve_nats" not in phase:
      continue
    parts: Sequence[Any] = (phase["curve_nats"], phase.get("curve_counts"))
    if not all(
      isinstance(part, list) and all(isinstance(x, NUMBER) for x in part)
      for part in parts
    ) or len(parts[0]) != len(parts[1]):
      raise errors.UserError(f"{path.name} is damaged (a curve is no curve)")
    curves[name] = phase
  return curves
