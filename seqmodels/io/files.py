"""Atomic writes, and JSON files that are checked when they are read.

What lies in a run folder may have been damaged, edited or sent by others, so
nothing is taken from it before it is checked.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import secrets
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from seqmodels import errors

_TEMPORARY = ".incomplete-"
# No room: the disk, the quota of the user, the largest file allowed.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes `data` to `path`, whole or not at all.

  Raises:
    errors.UserError: the folder is missing or may not be written.
    errors.RunError: there is no room left.
  """
  with writer(path) as file:
    file.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes `text` as UTF-8, newlines as they are, as `write_bytes`."""
  try:
    data = text.encode("utf-8")
  except UnicodeEncodeError as error:
    bad = text[max(0, error.start - 20) : error.end + 20]
    raise errors.UserError(
      f"cannot write {path}: {bad!r} has characters that are not UTF-8; rename "
      "the file or the setting they come from"
    ) from error
  write_bytes(path, data)


def write_json(
  path: str | os.PathLike, value: Any, *, indent: int | None = 2
) -> None:
  r"""Writes `value` as JSON with a newline at its end, as `write_bytes`.

  Infinities and NaN are written as Python's json module writes and reads them.

  Raises:
    TypeError: `value` is no JSON value; nothing is written.

  >>> import tempfile
  >>> path = pathlib.Path(tempfile.mkdtemp()) / "results.json"
  >>> write_json(path, {"finished": True}, indent=None)
  >>> path.read_text()
  '{"finished": true}\n'
  """
  write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def writer(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """A binary file that takes the name `path` when the block ends well.

  The bytes go to a temporary file beside `path`, reach the disk, and the file
  is then renamed. A block that raises leaves `path` as it was and no temporary
  file behind.

  >>> import tempfile
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> with writer(folder / "out") as file:
  ...   _ = file.write(b"some")
  ...   (folder / "out").exists()
  False
  >>> [entry.name for entry in folder.iterdir()]
  ['out']
  """
  # A link keeps pointing where it points: the file it names is replaced.
  final = pathlib.Path(os.path.realpath(path))
  temporary = final.with_name(_TEMPORARY + secrets.token_hex(8))
  try:
    with os_errors_as_user_errors(final):
      if final.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(final))
      # Not tempfile: its files are private, a run folder is often shared.
      file = open(temporary, "xb")  # noqa: SIM115
      with file:
        yield file
        file.flush()
        os.fsync(file.fileno())
      os.replace(temporary, final)
      sync_folder(final.parent)
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink()


def sweep(folder: str | os.PathLike) -> None:
  """Deletes what killed writers left in a folder without other writers."""
  for leftover in pathlib.Path(folder).glob(f"{_TEMPORARY}*"):
    with contextlib.suppress(OSError):
      leftover.unlink()


@contextlib.contextmanager
def os_errors_as_user_errors(path: str | os.PathLike) -> Iterator[None]:
  """Turns an OSError on writing `path` into one sentence.

  Raises:
    errors.RunError: no room left.
    errors.UserError: any other reason.

  >>> with os_errors_as_user_errors("runs/a"):
  ...   raise OSError(errno.ENOSPC, "No space left on device")
  Traceback (most recent call last):
  seqmodels.errors.RunError: cannot write runs/a: no space left on device; \
free some space there or choose another folder, then run the command again
  """
  try:
    yield
  except OSError as error:
    if error.filename is not None and not _concerns(path, error.filename):
      raise  # On another file, such as one read while this one is written.
    reason = (error.strerror or str(error)).lower()
    if error.errno in _FULL:
      raise errors.RunError(
        f"cannot write {path}: {reason}; free some space there or choose"
        " another folder, then run the command again"
      ) from error
    raise errors.UserError(
      f"cannot write {path}: {reason}; choose a folder that exists and that"
      " you may write to"
    ) from error


def _concerns(path: str | os.PathLike, filename: str | bytes) -> bool:
  """True if `filename` is `path`, or lies in or above the same folder."""
  folder = pathlib.Path(path).absolute().parent
  other = pathlib.Path(os.fsdecode(filename)).absolute()
  return folder in other.parents or other in (folder, *folder.parents)


def make_folder_of(path: str | os.PathLike) -> None:
  """Makes the folder that `path` lies in; raises what `write_bytes` raises."""
  with os_errors_as_user_errors(path):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: pathlib.Path) -> None:
  """Makes the names in `folder` durable, where the file system can."""
  try:
    handle = os.open(folder, os.O_RDONLY)
  except OSError:
    return  # A folder that cannot be opened as a file (Windows).
  try:
    os.fsync(handle)
  except OSError:
    pass  # Some network file systems refuse; the rename has happened anyway.
  finally:
    os.close(handle)


# The scores of a million segments take a third of it.
LARGEST = 1 << 27
_SEAL = "sha256"
_KINDS = {dict: "object", list: "list", int: "whole number", str: "text"}


def read_bytes(path: str | os.PathLike, largest: float | None = None) -> bytes:
  """The content of a regular file; opening a pipe would wait for a writer.

  Args:
    path: of the file.
    largest: number of bytes; `LARGEST` by default.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no regular file, or too large.
  """
  largest = LARGEST if largest is None else largest
  status = os.stat(path)
  if not stat.S_ISREG(status.st_mode):
    raise ValueError("it is no regular file")
  if status.st_size > largest:
    raise ValueError(
      f"it has {status.st_size:,} bytes and may have {largest:,}"
    )
  return pathlib.Path(path).read_bytes()


def read(path: str | os.PathLike, **members: type) -> dict[str, Any]:
  """The JSON object in a file.

  >>> import tempfile
  >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.json"
  >>> write_json(path, {"files": []})
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
  try:
    value = json.loads(read_bytes(path).decode("utf-8"))
  except OSError as error:
    raise damaged(path, error.strerror or error) from error
  except ValueError as error:
    raise damaged(path, error) from error
  except RecursionError as error:
    raise damaged(path, "it is nested too deeply") from error
  if not isinstance(value, dict):
    raise damaged(path, "it holds no JSON object")
  for name, kind in members.items():
    member = value.get(name)
    if not (is_whole(member) if kind is int else isinstance(member, kind)):
      raise damaged(path, f"{name!r} is missing or no {_KINDS[kind]}")
  return value


def is_whole(value: Any) -> bool:
  """True for a whole number that arrays and files can hold.

  >>> is_whole(3), is_whole(True), is_whole(10**400), is_whole(3.0)
  (True, False, False, False)
  """
  whole = isinstance(value, int) and not isinstance(value, bool)
  return whole and abs(value) < 1 << 63


def is_number(value: Any) -> bool:
  """True for a whole number or a float, finite or not."""
  return isinstance(value, float) or is_whole(value)


def damaged(path: str | os.PathLike, reason: object) -> errors.UserError:
  """The error of a file that is not what was written."""
  return errors.UserError(
    f"{os.fspath(path)} is damaged ({reason}); restore it from a copy of the "
    "run, or choose another --workdir"
  )


def write_sealed(path: str | os.PathLike, value: dict[str, Any]) -> None:
  """Writes an object with its SHA-256; raises what `write_json` raises."""
  plain = json.loads(json.dumps(value))  # as it will be read
  write_json(path, {**plain, _SEAL: json_sha256(plain)}, indent=None)


def read_sealed(path: str | os.PathLike, **members: type) -> dict[str, Any]:
  """The object that `write_sealed` wrote, without its digest.

  Otherwise as `read`. Files of earlier releases have no digest.

  Raises:
    UserError: as of `read`, or the digest differs.
  """
  value = read(path, **members)
  seal = value.pop(_SEAL, None)
  if seal is not None and seal != json_sha256(value):
    raise damaged(path, "it does not match its checksum")
  return value


def json_sha256(value: Any) -> str:
  """SHA-256 of a JSON value, whatever the order of its names."""
  text = json.dumps(value, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()
