"""Files read with bounds and written whole or not at all."""

import errno
import hashlib
import io
import mmap
import os
import pathlib
import stat
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from seqmodels import errors

PIECE = 1 << 20


def opened(path: str | os.PathLike[str]) -> io.BufferedReader:
  """A regular file, open for reading.

  Anything else is refused: a pipe would keep the reader waiting for somebody
  to write, and a device may never end.

  Raises:
    UserError: it is none, or cannot be read.
  """
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):
      raise errors.UserError(
        f"cannot read {os.fspath(path)}: it is no regular file; replace it by "
        "one"
      )
    return open(path, "rb")
  except OSError as error:
    raise errors.UserError(
      f"cannot read {os.fspath(path)}: {error.strerror or error}"
    ) from error


def sha256(path: str | os.PathLike[str]) -> str:
  """SHA-256 of a file, in hexadecimal, read in pieces.

  Raises:
    UserError: it is no regular file, or cannot be opened.
  """
  digest = hashlib.sha256()
  for piece in content(path):
    digest.update(piece)
  return digest.hexdigest()


def content(path: str | os.PathLike[str]) -> Iterator[bytes]:
  """What a file holds, a piece at a time; raises what `opened` raises."""
  with opened(path) as file:
    while piece := file.read(PIECE):
      yield piece


def pieces(data: np.ndarray, size: int = PIECE) -> Iterator[np.ndarray]:
  """Consecutive views of an array, to go through it once.

  Pages of a file that is mapped read-only are handed back after each piece, so
  that having read all of it leaves none of it resident.

  >>> [piece.tolist() for piece in pieces(np.arange(5), 2)]
  [[0, 1], [2, 3], [4]]

  Args:
    data: [N, ...], in memory or mapped.
    size: elements a piece along the first axis.
  """
  mapping = _mapping(data)
  for start in range(0, len(data), size):
    yield data[start : start + size]
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
      mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(data: np.ndarray) -> mmap.mmap | None:
  """The mapping of a file under an array, where nothing was written to it."""
  under: Any = data
  while isinstance(under, np.ndarray):
    base = under.base
    if isinstance(base, mmap.mmap):
      # What was written to a private copy would be lost with its pages.
      readable = isinstance(under, np.memmap) and under.mode == "r"
      return base if readable else None
    under = base
  return None


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
  write_pieces(path, (data,))


def write_pieces(path: str | os.PathLike[str], data: Iterable[bytes]) -> None:
  """Like `write_whole`, a piece at a time.

  Args:
    path: the file.
    data: its pieces in order; if giving them raises, nothing is left of them.

  Raises:
    RunError: the disk is full.
    UserError: the folder cannot be made or written to.
  """
  target = pathlib.Path(path)
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    # The same folder: a rename is atomic only within one file system.
    handle, temporary = tempfile.mkstemp(
      dir=target.parent, prefix=".incomplete-"
    )
    try:
      with os.fdopen(handle, "wb") as file:
        for piece in data:
          file.write(piece)
        file.flush()
        os.fsync(file.fileno())
      # mkstemp makes files that only their owner reads; data may be shared.
      os.chmod(temporary, 0o644)
      os.replace(temporary, target)
    except BaseException:
      os.unlink(temporary)
      raise
  except OSError as error:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    raise (errors.RunError if full else errors.UserError)(
      f"cannot write {target}: {error.strerror or error}; free space or choose "
      "a folder you may write to"
    ) from error
