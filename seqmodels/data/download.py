"""Published files: where they belong, what they hold, how to get them.

A file is looked for under the data folder first. A missing one is downloaded by
Hugging Face `datasets` into its cache, compared with the published size and
SHA-256, and copied to its place; from then on no network is touched.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

from seqmodels import errors
from seqmodels.data import files

# Seconds to connect and between two pieces of data: a silent server must not
# hold a run for the five minutes that are the HTTP client's default.
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Published:
  """A file that others have published, and how to know it.

  Attributes:
    folder: folder under the data folder.
    name: name of the file in it.
    url: where it is published.
    size: bytes.
    sha256: hexadecimal.
  """

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
    try:
      size = os.path.getsize(path)
      found = files.sha256(path) if size == self.size else ""
    except OSError as error:
      raise errors.UserError(
        f"cannot read {os.fspath(path)}: {error.strerror or error}"
      ) from error
    if size == 0:
      raise errors.UserError(f"{os.fspath(path)} is empty (0 bytes); {remedy}")
    if size != self.size:
      raise errors.UserError(
        f"{os.fspath(path)} has {size:,} bytes where the published "
        f"{self.name} has {self.size:,}; {remedy}"
      )
    if found != self.sha256:
      raise errors.UserError(
        f"{os.fspath(path)} has SHA-256 {found} where the published "
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

  Returns:
    Path of the file, whose size and SHA-256 are the published ones.

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
  """Whether the environment forbids `datasets` the network."""
  value = os.environ.get(
    "HF_DATASETS_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "")
  )
  return value.upper() in ("1", "ON", "YES", "TRUE")


def missing(
  published: Published, data_dir: str | os.PathLike[str], reason: str
) -> errors.UserError:
  """The error of a file that is nowhere: what, where to put it, whence."""
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
    data_dir: the data folder; it is made when the right file is at hand.
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
    files.write_pieces(published.path(data_dir), files.content(cached))
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
