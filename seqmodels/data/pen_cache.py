"""Parsed lines in a file of their own, which is believed only if it is whole.

    8 bytes     "penlines"
    32 bytes    SHA-256 of all that follows
    8 bytes     length of the header, little-endian
    header      JSON: "key", "names", "texts", "points"
    edges       int64, little-endian, one more than there are lines
    points      float32, little-endian

Nothing is unpickled, and nothing is taken from a file whose checksum is wrong.
"""

import hashlib
import json
import os
import pathlib
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqmodels.data import files
from seqmodels.data.pen_lines import PenLines

_MAGIC = b"penlines"
_BEGIN = len(_MAGIC) + 32  # what the checksum covers
_HEADER = _BEGIN + 8

# The whole database takes 93 million bytes.
LARGEST = 1 << 30


class Stale(Exception):
  """A cache that is not of this data; its text says why."""


def key(facts: Mapping[str, Any]) -> str:
  """SHA-256, in hexadecimal, of what the lines were made from and how.

  >>> key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
  True

  Args:
    facts: ready for JSON.
  """
  text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode("ascii")).hexdigest()


def store(
  path: str | os.PathLike[str], lines: PenLines, made_from: str
) -> None:
  """Writes lines; the file is whole or is left as it was.

  Args:
    path: the file.
    lines: to be kept.
    made_from: `key` of what they were made from.

  Raises:
    UserError: it cannot be written.
  """
  header = json.dumps(
    {
      "key": made_from,
      "names": lines.names,
      "texts": lines.texts,
      "points": len(lines.points),
    }
  ).encode("ascii")
  pieces = [
    len(header).to_bytes(8, "little"),
    header,
    lines.edges.astype("<i8").tobytes(),
    lines.points.astype("<f4").tobytes(),
  ]
  digest = hashlib.sha256()
  for piece in pieces:
    digest.update(piece)
  files.write_pieces(path, (_MAGIC, digest.digest(), *pieces))


def load(path: str | os.PathLike[str], made_from: str) -> PenLines | None:
  """The lines stored at `path`, None where there is no file.

  Args:
    path: the file.
    made_from: `key` of what they must have been made from.

  Raises:
    Stale: it cannot be read, is damaged, or holds other lines.
  """
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):
      raise Stale("it is no regular file")
    with open(path, "rb") as file:
      data = file.read(LARGEST + 1)
  except FileNotFoundError:
    return None
  except OSError as error:
    raise Stale(f"cannot read it: {error.strerror or error}") from error
  if not _HEADER <= len(data) <= LARGEST or not data.startswith(_MAGIC):
    raise Stale("it is no cache of lines")
  view = memoryview(data)
  if hashlib.sha256(view[_BEGIN:]).digest() != data[len(_MAGIC) : _BEGIN]:
    raise Stale("it is damaged: its checksum is another")
  try:
    return _lines(view, made_from)
  except (ValueError, TypeError, KeyError, RecursionError) as error:
    # A right checksum does not make right contents: whoever wrote the file
    # made both.
    raise Stale(f"it does not hold what it says ({error})") from error


def _lines(view: memoryview, made_from: str) -> PenLines:
  begin = _HEADER + int.from_bytes(view[_BEGIN:_HEADER], "little")
  header = json.loads(bytes(view[_HEADER:begin]).decode("ascii"))
  if header["key"] != made_from:
    raise Stale("it was made from other files or in another way")
  names, texts = tuple(header["names"]), tuple(header["texts"])
  if not all(isinstance(text, str) for text in (*names, *texts)):
    raise TypeError("names and texts must be strings")
  count, points = len(names) + 1, header["points"]
  if len(view) != begin + 8 * count + 12 * points:
    raise ValueError("its length is another")
  edges = np.frombuffer(view, "<i8", count, begin)
  flat = np.frombuffer(view, "<f4", 3 * points, begin + 8 * count)
  found = PenLines(
    flat.reshape(-1, 3).astype(np.float32), edges.astype(np.int64), names, texts
  )
  if not np.isfinite(found.points).all():
    raise ValueError("its offsets are not finite")
  return found


def folders(beside: str | os.PathLike[str]) -> list[pathlib.Path]:
  """Where a cache of the data in a folder may be, the best place first.

  `$SEQMODELS_CACHE` where it is set, and no other place; else the folder itself
  if it may be written to, and `~/.cache/seqmodels/` and the folder's name.

  Args:
    beside: the folder of the data.
  """
  folder = pathlib.Path(beside)
  named = os.environ.get("SEQMODELS_CACHE")
  if named:
    return [pathlib.Path(os.path.expanduser(named))]
  found = [folder] if _writable(folder) else []
  try:
    home = pathlib.Path.home()
  except RuntimeError:  # no home to be found
    return found
  return [*found, home / ".cache" / "seqmodels" / folder.name]


def _writable(folder: pathlib.Path) -> bool:
  # The superuser may write to folders that are marked as not to be written to.
  try:
    marked = folder.stat().st_mode & 0o222
  except OSError:
    return False
  return bool(marked) and os.access(folder, os.W_OK)
