"""Data files: reading, writing, and getting those that are published.

A published file is looked for under the data folder first. A missing one is
downloaded by Hugging Face `datasets` into its cache, compared with the
published size and SHA-256, and copied to its place; from then on no network is
touched.
"""

import contextlib
import dataclasses
import hashlib
import io
import mmap
import os
import pathlib
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from seqmodels import errors
from seqmodels.io import files

# By source; the terms of other data are their owners'.
TERMS = {
  "ptb": (
    "Penn Treebank (Linguistic Data Consortium, LDC99T42): research use; the "
    "text itself may not be redistributed"
  ),
  "iamondb": (
    "IAM On-Line Handwriting Database (University of Bern): non-commercial "
    "research use; the data themselves may not be redistributed"
  ),
  "enwik8": "English Wikipedia of 2006: CC BY-SA 3.0 and GFDL",
  "timemachine": "The Time Machine, H. G. Wells, 1895: public domain",
  "embedded": "the documentation of Python: PSF License",
  "synthetic": "made by this package: its own license",
}


def of(source: str) -> str:
  """The terms of a source's data, in a sentence.

  >>> of("synthetic")
  'made by this package: its own license'
  """
  return TERMS.get(source, "those of the owner of the data")


PIECE = 1 << 20


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
  """Raises the system's errors within as UserErrors about a file."""
  try:
    yield
  except OSError as error:
    raise errors.UserError(
      f"cannot read {os.fspath(path)}: {error.strerror or error}"
    ) from error


# What is no regular file, by the type of its mode.
_KINDS = {
  stat.S_IFIFO: "a pipe",
  stat.S_IFSOCK: "a socket",
  stat.S_IFDIR: "a folder",
  stat.S_IFCHR: "a device",
  stat.S_IFBLK: "a device",
}


def opened(path: str | os.PathLike[str]) -> io.BufferedReader:
  """A regular file, open for reading.

  Anything else is refused: a pipe would keep the reader waiting for somebody
  to write, can be read only once, and a device may never end.

  Raises:
    UserError: it is none, or cannot be read.
  """
  with reading(path):
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
      kind = _KINDS.get(stat.S_IFMT(mode), "something else")
      raise errors.UserError(
        f"cannot read {os.fspath(path)}: it is {kind}, not a regular file; "
        "save its content to a file and give that"
      )
    return open(path, "rb")


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
  """The bytes of a file, a piece at a time; raises what `opened` raises."""
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
  """A regular file as a uint8 array [bytes], mapped and read-only.

  Raises:
    UserError: the file cannot be read or is empty.
  """
  with opened(path) as file, reading(path):
    if os.fstat(file.fileno()).st_size == 0:
      raise errors.UserError(
        f"{os.fspath(path)} is empty (0 bytes); give a file with text in it"
      )
    return np.memmap(file, np.uint8, mode="r")


def write_pieces(path: str | os.PathLike[str], data: Iterable[bytes]) -> None:
  """Writes `data` so that `path` holds all of it or is left as it was.

  Args:
    path: the file; its folder is made.
    data: pieces in order; if giving them raises, nothing is left of them.

  Raises:
    RunError: the disk is full.
    UserError: the folder cannot be made or written to.
  """
  files.make_folder_of(path)
  with files.writer(path) as file:
    file.writelines(data)


# Seconds to connect and between two pieces of data: a silent server must not
# hold a run for the five minutes that are the HTTP client's default.
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Published:
  """A published file: its folder under the data folder, size and checksum."""

  folder: str
  name: str
  url: str
  size: int
  sha256: str

  def path(self, data_dir: str | os.PathLike[str]) -> pathlib.Path:
    """Its place under the data folder."""
    return pathlib.Path(data_dir) / self.folder / self.name

  def check(self, path: str | os.PathLike[str]) -> None:
    """Compares a file with what was published.

    Raises:
      UserError: its size or its SHA-256 is another.
    """
    remedy = f"replace it by the published file ({self.url})"
    with reading(path):
      size = os.path.getsize(path)
      digest = sha256(path) if size == self.size else ""
    if size == 0:
      raise errors.UserError(f"{os.fspath(path)} is empty (0 bytes); {remedy}")
    if size != self.size:
      raise errors.UserError(
        f"{os.fspath(path)} has {size:,} bytes where the published "
        f"{self.name} has {self.size:,}; {remedy}"
      )
    if digest != self.sha256:
      raise errors.UserError(
        f"{os.fspath(path)} has SHA-256 {digest} where the published "
        f"{self.name} has {self.sha256}; {remedy}"
      )


def obtain(
  published: Published,
  data_dir: str | os.PathLike[str],
  *,
  allowed: bool = True,
) -> pathlib.Path:
  """The checked file under `data_dir`, downloaded when it is missing.

  Args:
    published: the file wanted.
    data_dir: the data folder.
    allowed: whether the network may be used. `HF_HUB_OFFLINE=1` or
      `HF_DATASETS_OFFLINE=1` in the environment forbids it too.

  Raises:
    UserError: the file has another size or checksum, or it is missing and
      cannot be downloaded or stored.
  """
  target = published.path(data_dir)
  if target.exists():
    published.check(target)
    return target
  if not allowed:
    raise missing(published, data_dir, "downloading is switched off")
  if offline():
    raise missing(published, data_dir, "the environment says offline")
  try:
    fetch(published, data_dir, retrieve=_retrieve)
  except errors.UserError:
    # Another process may have stored it meanwhile and emptied the cache.
    if not target.exists():
      raise
    published.check(target)
  return target


def offline() -> bool:
  """True where the environment forbids `datasets` the network."""
  value = os.environ.get(
    "HF_DATASETS_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "")
  )
  return value.upper() in ("1", "ON", "YES", "TRUE")


def missing(
  published: Published, data_dir: str | os.PathLike[str], reason: str
) -> errors.UserError:
  """The error of a missing file; says where to get it and where to put it."""
  return errors.UserError(
    f"missing file {published.folder}/{published.name} ({reason}): get it from "
    f"{published.url} and put it at {published.path(data_dir)}, or name the "
    "folder that holds it with --data_dir"
  )


def fetch(
  published: Published,
  data_dir: str | os.PathLike[str],
  *,
  retrieve: Callable[[str], pathlib.Path],
) -> None:
  """Downloads, checks and stores one file; all of it or nothing.

  Args:
    published: the file.
    data_dir: the data folder; made once the right file is there.
    retrieve: URL to the path of the cached file.

  Raises:
    UserError: the download failed, brought other bytes, or cannot be stored.
  """
  try:
    cached = retrieve(published.url)
  except Exception as error:
    # Whatever the HTTP stack raises, the user's remedy is the same; the cause
    # stays attached.
    text = " ".join(f"{type(error).__name__}: {error}".split())
    raise missing(published, data_dir, f"download failed, {text}") from error
  try:
    published.check(cached)
    write_pieces(published.path(data_dir), content(cached))
  finally:
    # A wrong file must not answer the next try, a right one need not lie
    # twice on the disk.
    cached.unlink(missing_ok=True)


def _retrieve(url: str) -> pathlib.Path:
  # Imported here: they take a second, and local files need neither.
  import aiohttp
  import datasets

  timeout = aiohttp.ClientTimeout(
    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS
  )
  config = datasets.DownloadConfig(
    # An ETag would be asked for each time: no use offline, and the checksum
    # says more.
    use_etag=False,
    storage_options={
      scheme: {"client_kwargs": {"timeout": timeout}}
      for scheme in ("http", "https")
    },
  )
  manager = datasets.DownloadManager(download_config=config)
  return pathlib.Path(manager.download(url))
