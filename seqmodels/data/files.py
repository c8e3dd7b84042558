"""Files read with bounds and written whole or not at all."""

import hashlib
import os
import pathlib
import tempfile

import numpy as np

from seqmodels import errors

_READ_BYTES = 1 << 20


def sha256(path: str | os.PathLike[str]) -> str:
  """SHA-256 of a file, in hexadecimal, read in pieces."""
  digest = hashlib.sha256()
  with open(path, "rb") as file:
    while piece := file.read(_READ_BYTES):
      digest.update(piece)
  return digest.hexdigest()


def bytes_of(path: str | os.PathLike[str]) -> np.ndarray:
  """A file as a read-only uint8 array that is mapped, not loaded.

  Args:
    path: a regular file.

  Returns:
    uint8 [number of bytes].

  Raises:
    UserError: the file cannot be read or is empty.
  """
  try:
    if os.path.getsize(path) == 0:
      raise errors.UserError(
        f"{os.fspath(path)} is empty (0 bytes); give a file with text in it"
      )
    return np.memmap(path, np.uint8, mode="r")
  except OSError as error:
    raise errors.UserError(
      f"cannot read {os.fspath(path)}: {error.strerror or error}"
    ) from error


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
  """Writes `data` so that `path` holds all of it or is left as it was.

  Raises:
    UserError: the folder cannot be made or written to.
  """
  target = pathlib.Path(path)
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    # The same folder: a rename is atomic only within one file system.
    handle, temporary = tempfile.mkstemp(
      dir=target.parent, prefix=f".{target.name}."
    )
    try:
      with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
      # mkstemp makes files that only their owner reads; data may be shared.
      os.chmod(temporary, 0o644)
      os.replace(temporary, target)
    except BaseException:
      os.unlink(temporary)
      raise
  except OSError as error:
    raise errors.UserError(
      f"cannot write {target}: {error.strerror or error}; free space or choose "
      "a folder you may write to"
    ) from error
