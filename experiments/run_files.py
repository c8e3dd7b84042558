"""Files of a run folder that a report reads back; a damaged one is named."""

import pathlib
from typing import Any

from seqmodels.io import json_file, report


def optional(path: pathlib.Path) -> dict[str, Any]:
  """The object of a JSON file; empty if there is none.

  Raises:
    UserError: it is damaged.
  """
  return json_file.read(path) if path.is_file() else {}


def rows(path: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of results.json, each looked at.

  Raises:
    UserError: it is damaged.
  """
  found: list[dict[str, Any]] = json_file.read(path, rows=list)["rows"]
  if not found or not report.well_formed(found):
    raise json_file.damaged(path, "it holds no result rows")
  return found


def curves(path: pathlib.Path) -> dict[str, Any]:
  """The phases of evaluations.json that have a curve, each looked at.

  Raises:
    UserError: it is damaged.
  """
  if not path.is_file():
    return {}
  found = json_file.read_sealed(path, phases=dict)["phases"]
  curves: dict[str, Any] = {}
  for name, phase in found.items():
    if not isinstance(phase, dict) or "curve_nats" not in phase:
      continue
    nats, counts = phase["curve_nats"], phase.get("curve_counts", ())
    if not (_is_curve(nats) and _is_curve(counts) and len(nats) == len(counts)):
      raise json_file.damaged(path, "a curve is no curve")
    curves[name] = phase
  return curves


def _is_curve(part: Any) -> bool:
  return isinstance(part, list) and all(map(json_file.is_number, part))
