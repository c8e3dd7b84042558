"""Files that appear under their final name only when they are complete."""

import contextlib
import errno
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any, BinaryIO

from seqmodels import errors

_TEMPORARY = ".incomplete-"
# No room: the disk, the quota of the user, the largest file allowed.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  r"""Writes `data` to `path`, whole or not at all.

  Raises:
    errors.UserError: the folder is missing or may not be written.
    errors.RunError: there is no room left.

  >>> import tempfile
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> write_bytes(folder / "code.bin", b"\x01\x02")
  >>> (folder / "code.bin").read_bytes()
  b'\x01\x02'
  """
  with writer(path) as file:
    file.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
  r"""Writes `text` to `path` as UTF-8, newlines as they are.

  Raises what `write_bytes` raises.

  >>> import tempfile
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> write_text(folder / "report.md", "# Résumé\n")
  >>> (folder / "report.md").read_text(encoding="utf-8")
  '# Résumé\n'
  """
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
  r"""Writes `value` to `path` as JSON with a newline at its end.

  Infinities and NaN are written as Python's json module writes and reads them.

  Raises:
    TypeError: `value` is no JSON value; nothing is written.
    errors.UserError, errors.RunError: as `write_bytes`.

  >>> import tempfile
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> write_json(folder / "results.json", {"finished": True}, indent=None)
  >>> (folder / "results.json").read_text()
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
    with refusals(final):
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
  """Deletes what killed writers left in a folder that nobody else writes to.

  >>> import tempfile
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> (folder / ".incomplete-0123456789abcdef").touch()
  >>> sweep(folder)
  >>> list(folder.iterdir())
  []
  """
  for left in pathlib.Path(folder).glob(f"{_TEMPORARY}*"):
    with contextlib.suppress(OSError):
      left.unlink()


@contextlib.contextmanager
def refusals(path: str | os.PathLike) -> Iterator[None]:
  """Turns the operating system's refusal to write `path` into one sentence.

  Raises:
    errors.RunError: no room left.
    errors.UserError: any other reason.

  >>> with refusals("runs/a"):
  ...   raise OSError(errno.ENOSPC, "No space left on device")
  Traceback (most recent call last):
  seqmodels.errors.RunError: cannot write runs/a: no space left on device; \
free some space there or choose another folder, then run the command again
  """
  try:
    yield
  except OSError as error:
    if error.filename is not None and not _concerns(path, error.filename):
      raise  # Another file, as one that is read while this one is written.
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
  """Whether `filename` is `path`, or lies in or above the same folder."""
  folder = pathlib.Path(path).absolute().parent
  other = pathlib.Path(os.fsdecode(filename)).absolute()
  return folder in other.parents or other in (folder, *folder.parents)


def sync_folder(folder: pathlib.Path) -> None:
  """Makes the names in `folder` durable, where the file system knows how."""
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
