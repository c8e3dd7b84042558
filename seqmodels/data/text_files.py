"""Texts of one's own, and the textbook's: any file, or a folder of files."""

import os
import pathlib

import numpy as np

from seqmodels import errors
from seqmodels.data import download, files, raw_corpus

TIME_MACHINE = download.Published(
  "timemachine",
  "timemachine.txt",
  "http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
  178_979,
  "8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
)


def load(path: str | os.PathLike[str]) -> raw_corpus.RawCorpus:
  """A file, or all files under a folder, sorted by path and joined.

  A single file is mapped. In a folder, what is hidden (a leading dot) is passed
  over.

  Raises:
    UserError: nothing there, nothing in it, or it cannot be read.
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
    return _folder(place)
  data = files.bytes_of(place)
  return _corpus("text", place, data, "one file", ((0, str(place)),))


def load_time_machine(
  data_dir: str | os.PathLike[str], *, downloads: bool = True
) -> raw_corpus.RawCorpus:
  """*The Time Machine* by H. G. Wells, the corpus of Dive into Deep Learning.

  Raises:
    UserError: the file is missing or not the published one.
  """
  file = download.obtain(TIME_MACHINE, data_dir, allowed=downloads)
  origins = ((0, str(file)),)
  note = "The Time Machine, as Dive into Deep Learning publishes it"
  return _corpus("timemachine", file, files.bytes_of(file), note, origins)


def _folder(folder: pathlib.Path) -> raw_corpus.RawCorpus:
  contents, origins, total = [], [], 0
  for file in sorted(folder.rglob("*")):
    relative = file.relative_to(folder)
    if not file.is_file() or any(p.startswith(".") for p in relative.parts):
      continue
    try:
      contents.append(file.read_bytes())
    except OSError as error:
      raise errors.UserError(
        f"cannot read {file}: {error.strerror or error}"
      ) from error
    origins.append((total, str(file)))
    total += len(contents[-1])
  if not total:
    raise errors.UserError(
      f"folder {folder} is empty ({len(contents)} files, 0 bytes); give a "
      "folder with text in it"
    )
  joined = np.frombuffer(b"".join(contents), np.uint8)
  note = f"files of a folder, sorted by path and joined: {len(contents)}"
  return _corpus("text", folder, joined, note, tuple(origins))


def _corpus(
  source: str,
  place: pathlib.Path,
  data: np.ndarray,
  note: str,
  origins: tuple[tuple[int, str], ...],
) -> raw_corpus.RawCorpus:
  rows = [raw_corpus.file_row(place.resolve().name, data)]
  return raw_corpus.RawCorpus(
    source,
    {raw_corpus.WHOLE: data},
    raw_corpus.provenance(source, rows, note),
    origins=origins,
  )
