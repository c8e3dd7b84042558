"""Portable files: weights, settings, symbols and a card of a trained model.

Each is a safetensors file, which the library of that name reads without JAX or
this package. Weights are float32 or bfloat16; the metadata, each a text, are

    format      "seqmodels"
    version     "1"
    kind        "language_model" or "handwriting"
    settings    JSON: the settings that the network was trained with
    vocabulary  JSON: the symbols by id and their SHA-256; a handwriting network
    or pen      has its alphabet, its scaling and their SHA-256 instead
    card        JSON: data and their terms, command, commit, scores, step
    sha256      of the weights as they are stored
"""

import hashlib
import json
import os
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from seqmodels import errors
from seqmodels.data import files
from seqmodels.io import files as files_lib

SUFFIX = ".safetensors"
FORMAT, VERSION = "seqmodels", "1"
# By kind, the metadata that say what the network's inputs mean.
SYMBOLS = {"language_model": "vocabulary", "handwriting": "pen"}
DTYPES = {"F32": np.dtype(np.float32), "BF16": np.dtype(jnp.bfloat16)}

# Five times the largest network here in float32, and a vocabulary of a million
# words.
LARGEST, LARGEST_HEADER = 1 << 30, 1 << 26


class Portable(NamedTuple):
  """The contents of a file."""

  kind: str  # a key of `SYMBOLS`
  settings: dict[str, Any]  # of the training
  symbols: dict[str, Any]  # the JSON object of a vocabulary or a pen
  card: dict[str, Any]  # about the weights
  weights: dict[str, np.ndarray]  # by name; float32, however they are stored


def dtype_named(name: str) -> np.dtype:
  """The dtype that weights are stored as.

  >>> dtype_named("bfloat16")
  dtype(bfloat16)

  Raises:
    UserError: weights are not stored so.
  """
  for dtype in DTYPES.values():
    if dtype.name == name:
      return dtype
  known = [dtype.name for dtype in DTYPES.values()]
  raise errors.UserError(
    f"weights cannot be stored as {name!r}{errors.closest(name, known)}"
  )


def write(
  path: str | os.PathLike[str], model: Portable, dtype: str = "float32"
) -> None:
  """Writes a model so that `path` holds all of it or is left as it was.

  Equal models make equal files.

  Args:
    path: of the file.
    model: what to write.
    dtype: of the weights, "float32" or "bfloat16" (rounded to nearest).

  Raises:
    UserError: an unknown dtype, weights that are not finite in it, a model
      beyond `LARGEST` bytes, or a file that cannot be written.
    RunError: the disk is full.
  """
  stored = dtype_named(dtype)
  weights = {
    name: np.array(array, stored, order="C")
    for name, array in model.weights.items()
  }
  _require_finite(weights, f"the model for {os.fspath(path)} ")
  metadata = {
    "format": FORMAT,
    "version": VERSION,
    "kind": model.kind,
    "settings": json.dumps(model.settings),
    SYMBOLS[model.kind]: json.dumps(model.symbols),
    "card": json.dumps(model.card),
    "sha256": _digest({k: array.tobytes() for k, array in weights.items()}),
  }
  data = safetensors.numpy.save(weights, metadata)
  # The library writes metadata in an order of chance.
  end = 8 + int.from_bytes(data[:8], "little")
  header = json.dumps(json.loads(data[8:end]), sort_keys=True).encode()
  header += b" " * (-len(header) % 8)
  size = 8 + len(header) + len(data) - end
  if size > LARGEST or len(header) > LARGEST_HEADER:
    raise errors.UserError(
      f"{os.fspath(path)} would have {size:,} bytes, {len(header):,} of them "
      f"settings and symbols; a portable file may have {LARGEST:,} and "
      f"{LARGEST_HEADER:,}"
    )
  with files_lib.writer(path) as file:
    file.write(len(header).to_bytes(8, "little") + header)
    file.write(memoryview(data)[end:])


def read(path: str | os.PathLike[str]) -> Portable:
  """The model in a file, which may come from anywhere.

  Raises:
    UserError: it is no such file, damaged, of another version, or too large.
  """
  with files.opened(path) as file:
    data = file.read(LARGEST + 1)
  try:
    return _parsed(data)
  except errors.UserError as error:
    raise errors.UserError(f"{os.fspath(path)} {error}") from error
  except (
    safetensors.SafetensorError, KeyError, TypeError, ValueError,
    RecursionError,
  ) as error:  # fmt: skip
    raise damaged(path, error) from error


def damaged(path: str | os.PathLike[str], reason: object) -> errors.UserError:
  """The error of a file that is not what was written."""
  return errors.UserError(
    f"{os.fspath(path)} is no intact model file ({reason}); get it again, or "
    "export it again from the run"
  )


def _parsed(data: bytes) -> Portable:
  header = int.from_bytes(data[:8], "little")
  if len(data) > LARGEST or header > min(LARGEST_HEADER, len(data)):
    raise errors.UserError(
      f"claims {header:,} bytes of settings and has {len(data):,} in all; a "
      f"model file may have {LARGEST_HEADER:,} and {LARGEST:,}: it is no model "
      "file, or not the whole of one"
    )
  tensors = dict(safetensors.deserialize(data))
  metadata = json.loads(data[8 : 8 + header]).get("__metadata__") or {}
  if metadata.get("format") != FORMAT:
    raise errors.UserError(
      "is a safetensors file, but none that this package wrote; give one made "
      "with configs/export.py"
    )
  for name, value, known in (
    ("version", metadata["version"], [VERSION]),
    ("kind", metadata["kind"], list(SYMBOLS)),
  ):
    if value not in known:
      raise errors.UserError(
        f"holds a model of {name} {value!r}, and this release reads "
        f"{' and '.join(known)}; use the release that wrote it"
      )
  stored = {name: bytes(each["data"]) for name, each in tensors.items()}
  if metadata["sha256"] != _digest(stored):
    raise ValueError("the weights do not match their checksum")
  weights = {
    name: np.frombuffer(stored[name], DTYPES[each["dtype"]])
    .reshape(each["shape"])
    .astype(np.float32)
    for name, each in tensors.items()
  }
  _require_finite(weights)
  return Portable(
    metadata["kind"],
    _object(metadata["settings"]),
    _object(metadata[SYMBOLS[metadata["kind"]]]),
    _object(metadata["card"]),
    weights,
  )


def _require_finite(weights: dict[str, np.ndarray], whose: str = "") -> None:
  for name, array in weights.items():
    if not np.isfinite(array).all():
      raise errors.UserError(
        f"{whose}holds NaN or infinity among the weights {name!r}; give the "
        "model of a run that did not diverge"
      )


def _object(text: str) -> dict[str, Any]:
  value = json.loads(text)
  if not isinstance(value, dict):
    raise ValueError("its metadata are no JSON objects")
  return value


def _digest(stored: dict[str, bytes]) -> str:
  digest = hashlib.sha256()
  for name in sorted(stored):
    digest.update(name.encode() + b"\0" + stored[name])
  return digest.hexdigest()


DATA = "data.json"
_WORDS = ("name", "split", "evaluation", "metric")


def read_data(folder: pathlib.Path) -> dict[str, Any] | None:
  """The record of a run's data, from data.json; None if unknown.

  Raises:
    UserError: the file is damaged.
  """
  path = folder / DATA
  if not path.is_file():
    return None
  data = files_lib.read(path, files=list)
  if not all(map(is_file_row, data["files"])):
    raise files_lib.damaged(path, "a file has no name, size or SHA-256")
  return data


def is_file_row(row: Any) -> bool:
  """True for the record of a file, whoever wrote it."""
  return (
    isinstance(row, dict)
    and files_lib.is_whole(row.get("bytes"))
    and all(isinstance(row.get(key), str) for key in ("name", "sha256"))
  )


def of_run(folder: pathlib.Path, settings: Mapping[str, Any]) -> dict[str, Any]:
  """The card of the weights in a run folder."""
  from seqmodels.io import checkpoints, metrics, run_folder

  run: dict[str, Any] = {}
  if (folder / run_folder.RUN).is_file():
    run = files_lib.read(folder / run_folder.RUN)
  rows: list[Any] = []
  if run_folder.finished(folder):
    rows = files_lib.read(folder / run_folder.RESULTS, rows=list)["rows"]
    if not all(map(is_score, rows)):
      raise files_lib.damaged(folder / run_folder.RESULTS, "a row is no result")
  step, _ = checkpoints.read_meta(folder)
  own = [row for row in rows if _about(row) == _about(rows[0])]
  source = settings["data"].get("source", "")
  # Validations are evenly spaced; the first may have come early, at the end.
  # Restored weights are validated at step 0, before any of them.
  seen = sorted(
    {
      line["step"]
      for line in metrics.read(folder / metrics.METRICS)
      if line["split"] == "valid" and line["step"]
    }
  )
  often = settings.get("training", {}).get("evaluations_per_epoch", 1)
  return {
    "data": read_data(folder),
    "terms": files.of(source),
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
  """True for a row of results, whoever wrote it."""
  return (
    isinstance(row, dict)
    and all(isinstance(row.get(key), str) for key in _WORDS)
    and files_lib.is_whole(row.get("count"))
    and (row.get("value") is None or files_lib.is_number(row["value"]))
  )


def _about(row: Mapping[str, Any]) -> str:
  """The model that a row is of, not an n-gram or a compressor beside it."""
  return str(row["name"]).partition(";")[0]
