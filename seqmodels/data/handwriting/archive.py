"""The files of an archive, or of the folder it was unpacked to, one by one.

Nothing is unpacked: members are read into memory, with bounds, and what a data
set does not contain (links, devices, paths that lead elsewhere) is refused.
"""

import contextlib
import gzip
import itertools
import os
import pathlib
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple, cast

from seqmodels import errors
from seqmodels.data import files

# The archive of IAM-OnDB holds 16,055 members, the largest of 105,268 bytes,
# 434 million in all.
LARGEST_MEMBER = 4 << 20
LARGEST_TOTAL = 2 << 30
MOST_MEMBERS = 100_000
# What a member's name, times and owners take; and those of all members. Python
# reads some of it in a time that grows with the square.
LARGEST_HEADER = 8 << 10
LARGEST_HEADERS = 64 << 20

# (bytes gone through, of how many).
Progress = Callable[[int, int], None]


_PIECE = 1 << 20
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
# Errors that a damaged archive makes Python raise.
_DAMAGE = (
  gzip.BadGzipFile,
  tarfile.TarError,
  zlib.error,
  ValueError,
  OverflowError,
  RecursionError,
)


class Member(NamedTuple):
  """One file: its path in the archive, with "/", and what it holds."""

  name: str
  data: bytes


def members(
  path: str | os.PathLike[str],
  suffix: str,
  *,
  progress: Progress | None = None,
) -> Iterator[Member]:
  """The files of an archive whose names end in `suffix`.

  Those whose own name begins with a dot are left out: archivers of some systems
  leave such beside every file.

  Args:
    path: a .tar.gz, whose order the members keep, or a folder, gone through in
      the order of names.
    suffix: such as ".xml"; other files are passed over unread.
    progress: called after each file with (bytes gone through, of how many), of
      the archive as it is stored.

  Raises:
    UserError: the archive is missing, cut off or damaged; a name is absolute or
      leads upwards, or occurs twice; a member is a link or a device; or it is
      larger than the bounds.
  """
  if os.path.isdir(path):
    listed = _of_folder(pathlib.Path(path), suffix, progress)
  else:
    listed = _of_tar(path, suffix, progress)
  return _bounded(path, listed)


def _bounded(
  path: str | os.PathLike[str], listed: Iterator[Member]
) -> Iterator[Member]:
  seen: set[str] = set()
  for member in listed:
    if member.name in seen:
      raise errors.UserError(
        f"{os.fspath(path)} holds {member.name!r} twice; download it again"
      )
    seen.add(member.name)
    yield member


def _of_folder(
  folder: pathlib.Path, suffix: str, progress: Progress | None
) -> Iterator[Member]:
  chosen = []
  for place, folders, names in os.walk(folder, onerror=_refuse):
    for name in folders:
      # It would be passed over, and what is in it missed much later.
      if os.path.islink(os.path.join(place, name)):
        raise _no_file(os.path.join(place, name))
    chosen += [
      pathlib.Path(place, name) for name in names if _wanted(name, suffix)
    ]
    if len(chosen) > MOST_MEMBERS:
      raise _too_many(folder)
  chosen.sort()
  sizes = []
  for path in chosen:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
      raise _no_file(path)
    sizes.append(status.st_size)
    _check_size(folder, str(path), status.st_size)
  total, done = sum(sizes), 0
  _check_total(folder, total)
  for path in chosen:
    with files.reading(path), open(path, "rb") as file:
      data = file.read(LARGEST_MEMBER + 1)
    _check_size(folder, str(path), len(data))
    done += len(data)
    yield Member(path.relative_to(folder).as_posix(), data)
    if progress:
      progress(min(done, total), total)


def _no_file(path: str | os.PathLike[str]) -> errors.UserError:
  return errors.UserError(
    f"{os.fspath(path)} is no regular file or folder; replace it by that of "
    "the database"
  )


def _refuse(error: OSError) -> None:
  raise errors.UserError(
    f"cannot read {error.filename}: {error.strerror or error}"
  ) from error


def _of_tar(
  path: str | os.PathLike[str], suffix: str, progress: Progress | None
) -> Iterator[Member]:
  with contextlib.ExitStack() as stack:
    with _telling(path):
      file = stack.enter_context(files.opened(path))
      total = os.fstat(file.fileno()).st_size
      stream = stack.enter_context(gzip.GzipFile(fileobj=file))
      forward = _Forward(stream, path)
      with forward.heading():
        archive = stack.enter_context(
          tarfile.open(fileobj=cast(IO[bytes], forward), mode="r:")
        )
    for count in itertools.count(1):
      with _telling(path), forward.heading():
        header = archive.next()
      # What it knows of earlier members, it would keep and copy for each.
      archive.members = []  # type: ignore[attr-defined]
      archive.pax_headers = {}
      if header is None:
        break
      if count > MOST_MEMBERS:
        raise _too_many(path)
      name = _normal(path, header.name)
      if header.isdir():
        continue
      if header.type not in _REGULAR or header.issparse():
        raise errors.UserError(
          f"{os.fspath(path)} holds {name!r}, which is no regular file; the "
          "database has no links or devices: download it again"
        )
      if not _wanted(name, suffix):
        continue
      _check_size(path, name, header.size)
      with _telling(path):
        content = archive.extractfile(header)
        assert content is not None, name  # it is a regular file
        data = content.read()
      yield Member(name, data)
      if progress:
        progress(file.tell(), total)
    with _telling(path):
      forward.finish()
  if progress:
    progress(total, total)


class _Forward:
  """A stream that is read once from its beginning to its end, within bounds."""

  def __init__(
    self, stream: gzip.GzipFile, path: str | os.PathLike[str]
  ) -> None:
    self._stream, self._path, self._position = stream, path, 0
    self._last = b""
    self._header = self._headers = 0
    self._heading = False

  @contextlib.contextmanager
  def heading(self) -> Iterator[None]:
    """While the header of one member is read."""
    self._header, self._heading = 0, True
    try:
      yield
    finally:
      self._heading = False

  def tell(self) -> int:
    return self._position

  def seek(self, position: int) -> int:
    if position < self._position:
      raise tarfile.ReadError("a member that begins before another ends")
    while self._position < position:
      if not self._advance(min(position - self._position, _PIECE)):
        break
    return self._position

  def read(self, size: int) -> bytes:
    if self._heading:
      # A header can ask for any size, and for more and more.
      _check_size(self._path, "a header", size, LARGEST_HEADER)
      self._header += size
      self._headers += size
      _check_size(self._path, "a header", self._header, LARGEST_HEADER)
      _check_size(self._path, "all headers", self._headers, LARGEST_HEADERS)
    return self._advance(size)

  def _advance(self, size: int) -> bytes:
    data = self._last = self._stream.read(size)
    self._position += len(data)
    _check_total(self._path, self._position)
    return data

  def finish(self) -> None:
    """Goes to the end, where the checksum is compared."""
    # An archive ends with zeros; where tarfile meets a damaged header, or none
    # at all, it stops as quietly.
    if len(self._last) < tarfile.BLOCKSIZE:
      raise EOFError
    data = self._last
    while data:
      if data.strip(b"\0"):
        raise tarfile.ReadError("a damaged header")
      data = self._advance(_PIECE)


@contextlib.contextmanager
def _telling(path: str | os.PathLike[str]) -> Iterator[None]:
  """One sentence for whatever reading a damaged archive raises."""
  with files.reading(path):
    try:
      yield
    except EOFError as error:
      raise errors.UserError(
        f"{os.fspath(path)} is cut off: it ends in the middle of its data; "
        "download it again"
      ) from error
    except _DAMAGE as error:
      raise errors.UserError(
        f"{os.fspath(path)} is no whole .tar.gz ({error}); download it again"
      ) from error


def _normal(path: str | os.PathLike[str], name: str) -> str:
  """A member's path without "." in it."""
  place = pathlib.PurePosixPath(name)
  if place.is_absolute() or ".." in place.parts or "\\" in name:
    raise errors.UserError(
      f"{os.fspath(path)} holds {name!r}, which leads out of it; download it "
      "again"
    )
  return place.as_posix()


def _wanted(name: str, suffix: str) -> bool:
  own = name.rpartition("/")[2]
  return own.endswith(suffix) and not own.startswith(".")


def _check_size(
  path: str | os.PathLike[str],
  name: str,
  size: int,
  limit: int = LARGEST_MEMBER,
) -> None:
  if not 0 <= size <= limit:
    raise errors.UserError(
      f"{os.fspath(path)}: {name!r} has {size:,} bytes and at most {limit:,} "
      "are read; download it again"
    )


def _check_total(path: str | os.PathLike[str], total: int) -> None:
  if total > LARGEST_TOTAL:
    raise errors.UserError(
      f"{os.fspath(path)} holds more than {LARGEST_TOTAL:,} bytes, the most "
      "that are read; download it again"
    )


def _too_many(path: str | os.PathLike[str]) -> errors.UserError:
  return errors.UserError(
    f"{os.fspath(path)} holds more than {MOST_MEMBERS:,} files, the most that "
    "are read; download it again"
  )
