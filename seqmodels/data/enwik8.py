"""The first 10^8 bytes of English Wikipedia: whole, zipped or a prefix."""

import contextlib
import hashlib
import io
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from seqmodels import errors
from seqmodels.data import download, files, raw_corpus

FILE = download.Published(
  "enwik8",
  "enwik8",
  "http://mattmahoney.net/dc/enwik8.zip",
  100_000_000,
  "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
)
ARCHIVE = download.Published(
  "enwik8",
  "enwik8.zip",
  "http://mattmahoney.net/dc/enwik8.zip",
  36_445_475,
  "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
)

_PREFIX = "enwik8.first-"
# Of the others, zipfile unpacks as much as a piece of the archive gives, which
# may be thousands of times its size.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def load(
  data_dir: str | os.PathLike[str], *, downloads: bool = True
) -> raw_corpus.RawCorpus:
  """The bytes of `enwik8`, mapped, or of a prefix that says so in its note.

  Looked for under `enwik8/` in this order: `enwik8`, `enwik8.zip`, the longest
  `enwik8.first-N`; then the archive is downloaded. An archive is unpacked once;
  see `unpack`.

  Args:
    data_dir: the data folder.
    downloads: whether the archive may be downloaded.

  Raises:
    UserError: nothing was found, or something that is not the published data,
      or there is no room to unpack it.
  """
  folder = pathlib.Path(data_dir) / FILE.folder
  whole, archive = folder / FILE.name, folder / ARCHIVE.name
  if whole.exists():
    FILE.check(whole)
    return _corpus(whole, files.bytes_of(whole))
  if not archive.exists():
    prefix = _longest_prefix(folder)
    if prefix is not None:
      return _corpus(prefix, _read_prefix(prefix), prefix=True)
    archive = download.obtain(ARCHIVE, data_dir, allowed=downloads)
  whole = unpack(archive)
  return _corpus(whole, files.bytes_of(whole))


def unpack(archive: pathlib.Path) -> pathlib.Path:
  """The file that an archive of `enwik8` holds, unpacked only once.

  It lies beside the archive or, where that folder may not be written to, in
  `$XDG_CACHE_HOME/seqmodels/enwik8` (`~/.cache` without that variable). It
  appears there when it is complete and right, not before.

  Raises:
    UserError: no such archive, member or content, or no room.
  """
  place = archive.with_name(FILE.name)
  if not os.access(archive.parent, os.W_OK):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = FILE.path(pathlib.Path(cache) / "seqmodels")
  with contextlib.suppress(errors.UserError):
    FILE.check(place)
    return place
  files.write_pieces(place, unzipped(archive, FILE))
  return place


def unzipped(
  archive: pathlib.Path, published: download.Published
) -> Iterator[bytes]:
  """The one file in an untrusted archive, in pieces, checked at the end.

  No more than the published size is unpacked, whatever the archive's directory
  promises.

  Args:
    archive: a zip file whose one member is `published.name`.
    published: what the member must hold.

  Yields:
    Its bytes; they are right once all were given without an error.

  Raises:
    UserError: no such archive, member or content.
  """
  remedy = f"replace it by the published file ({published.url})"
  digest, left = hashlib.sha256(), published.size
  try:
    with (
      _Bounded(files.opened(archive).detach()) as file,
      zipfile.ZipFile(file) as opened,
    ):
      names = opened.namelist()
      if names != [published.name]:
        raise errors.UserError(
          f"{archive} must hold the one file {published.name!r} and holds "
          f"{len(names)}: {names[:3]}; {remedy}"
        )
      if opened.infolist()[0].compress_type not in _METHODS:
        raise errors.UserError(
          f"{published.name} in {archive} is compressed in a way that zip "
          f"archives seldom are; {remedy}"
        )
      with opened.open(published.name) as member:
        while piece := member.read(min(files.PIECE, left + 1)):
          left -= len(piece)
          if left < 0:
            break
          digest.update(piece)
          yield piece
  except (
    OSError,
    EOFError,
    RuntimeError,  # encrypted
    ValueError,  # names that are no text
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise errors.UserError(
      f"{archive} is no readable zip archive ({error}); {remedy}"
    ) from error
  if left:
    found = f"{published.size - left:,}" if left > 0 else "more"
    raise errors.UserError(
      f"{published.name} in {archive} has {found} bytes where the published "
      f"one has {published.size:,}; {remedy}"
    )
  if digest.hexdigest() != published.sha256:
    raise errors.UserError(
      f"{published.name} in {archive} has SHA-256 {digest.hexdigest()} where "
      f"the published one has {published.sha256}; {remedy}"
    )


class _Bounded(io.BufferedReader):
  """A file of which no more than a piece is read at a time.

  However large an archive says that its directory is, and however many members
  it lists.
  """

  def read(self, size: int | None = -1, /) -> bytes:
    whole = size is None or size < 0
    data = super().read(files.PIECE + 1 if whole else size)
    if len(data) > files.PIECE:
      raise zipfile.BadZipFile("its directory is too large")
    return data


def _corpus(
  file: pathlib.Path, data: np.ndarray, *, prefix: bool = False
) -> raw_corpus.RawCorpus:
  note = "complete enwik8"
  if prefix:
    note = f"prefix: first {len(data):,} bytes of enwik8"
  # The whole file has just been compared with what was published.
  known = "" if prefix else FILE.sha256
  rows = [raw_corpus.file_row(file.name, data, sha256=known)]
  return raw_corpus.RawCorpus(
    "enwik8",
    {raw_corpus.WHOLE: data},
    raw_corpus.provenance("enwik8", rows, note),
    complete=not prefix,
    origins=((0, str(file)),),
  )


def _longest_prefix(folder: pathlib.Path) -> pathlib.Path | None:
  lengths = {}
  for file in folder.glob(f"{_PREFIX}*"):
    digits = file.name.removeprefix(_PREFIX)
    if digits.isascii() and digits.isdigit():
      lengths[file] = int(digits)
  return max(lengths, key=lambda file: lengths[file]) if lengths else None


def _read_prefix(file: pathlib.Path) -> np.ndarray:
  promised = int(file.name.removeprefix(_PREFIX))
  data = files.bytes_of(file)
  if len(data) != promised or promised > FILE.size:
    raise errors.UserError(
      f"{file} has {len(data):,} bytes where its name says the first "
      f"{promised:,} of the {FILE.size:,} of enwik8; name it after its length"
    )
  return data
