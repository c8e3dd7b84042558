"""JSON objects in files: read with bounds, or refused in one sentence.

What lies in a run folder may have been damaged, edited or sent by others, so
nothing is taken from it before it is known to be what it should be.
"""

import hashlib
import json
import os
import pathlib
import stat
from typing import Any

from seqmodels import errors
from seqmodels.io import atomic

# The scores of a million segments take a third of it.
LARGEST = 1 << 27
_SEAL = "sha256"
_KINDS = {dict: "object", list: "list", int: "whole number", str: "text"}


def read(path: str | os.PathLike, **members: type) -> dict[str, Any]:
  """The object in a file.

  >>> import tempfile
  >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.json"
  >>> atomic.write_json(path, {"files": []})
  >>> read(path, files=list)
  {'files': []}
  >>> read(path, step=int)
  Traceback (most recent call last):
  seqmodels.errors.UserError: ...data.json is damaged ('step' is missing or no \
whole number); restore it from a copy of the run, or choose another --workdir

  Args:
    path: of the file.
    members: name and type of those that the object must have.

  Raises:
    UserError: it is no regular file, cannot be read, has more than `LARGEST`
      bytes, or is not JSON of an object with such members.
  """
  path = pathlib.Path(path)
  found = _object(path)
  for name, kind in members.items():
    member = found.get(name)
    right = is_whole(member) if kind is int else isinstance(member, kind)
    if not right:
      raise damaged(path, f"{name!r} is missing or no {_KINDS[kind]}")
  return found


def is_whole(value: Any) -> bool:
  """Whether this is a whole number that arrays and files can hold.

  >>> is_whole(3), is_whole(True), is_whole(10**400), is_whole(3.0)
  (True, False, False, False)
  """
  whole = isinstance(value, int) and not isinstance(value, bool)
  return whole and abs(value) < 1 << 63


def is_number(value: Any) -> bool:
  """Whether this is a whole number or a fraction, perhaps no finite one.

  >>> is_number(0.5), is_number(3), is_number("3"), is_number(None)
  (True, True, False, False)
  """
  return isinstance(value, float) or is_whole(value)


def damaged(path: str | os.PathLike, reason: object) -> errors.UserError:
  """The error of a file that is not what was written."""
  return errors.UserError(
    f"{os.fspath(path)} is damaged ({reason}); restore it from a copy of the "
    "run, or choose another --workdir"
  )


def write_sealed(path: str | os.PathLike, value: dict[str, Any]) -> None:
  """Writes an object and the SHA-256 of it; raises what `atomic` raises."""
  plain = json.loads(json.dumps(value))  # as it will be read
  atomic.write_json(path, {**plain, _SEAL: _digest(plain)}, indent=None)


def read_sealed(path: str | os.PathLike, **members: type) -> dict[str, Any]:
  """The object that `write_sealed` wrote, without its digest.

  A file without one, of an earlier release, is believed.

  Args:
    path: of the file.
    members: as of `read`.

  Raises:
    UserError: as of `read`, or its digest is another.
  """
  found = read(path, **members)
  seal = found.pop(_SEAL, None)
  if seal is not None and seal != _digest(found):
    raise damaged(path, "it does not match its checksum")
  return found


def _object(path: pathlib.Path) -> dict[str, Any]:
  try:
    status = path.stat()
    # Opening a pipe would wait for somebody to write.
    if not stat.S_ISREG(status.st_mode):
      raise damaged(path, "it is no regular file")
    if status.st_size > LARGEST:
      raise damaged(
        path, f"it has {status.st_size:,} bytes and may have {LARGEST:,}"
      )
    found = json.loads(path.read_text(encoding="utf-8"))
  except OSError as error:
    raise damaged(path, error.strerror or error) from error
  except ValueError as error:
    raise damaged(path, error) from error
  except RecursionError as error:
    raise damaged(path, "it is nested too deeply") from error
  if not isinstance(found, dict):
    raise damaged(path, "it holds no JSON object")
  return found


def _digest(value: dict[str, Any]) -> str:
  text = json.dumps(value, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()
