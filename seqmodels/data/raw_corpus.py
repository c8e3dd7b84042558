"""The bytes of a corpus before they are tokenized."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from seqmodels.data import files

WHOLE = "whole"


@dataclasses.dataclass(frozen=True)
class RawCorpus:
  """The bytes of one corpus, and what is known about them.

  Attributes:
    name: of the source.
    parts: uint8 arrays, mapped from files where that can be: "train", "valid"
      and "test" where the publisher made the splits, else one `WHOLE`.
    provenance: what was read, ready for JSON; see `provenance`.
    complete: everything that was published is here (this is no prefix).
    origins: the file behind each stretch of bytes of `WHOLE`, for the position
      in an error: ((first offset, file name), ...), by rising offset.
  """

  name: str
  parts: dict[str, np.ndarray]
  provenance: dict[str, Any]
  complete: bool = True
  origins: tuple[tuple[int, str], ...] = ()

  def locate(self, part: str, offset: int) -> tuple[str, int]:
    """The file that one byte of a part came from, and its offset there."""
    name, first = f"{self.name} {part}", 0
    for start, file in self.origins if part == WHOLE else ():
      if start <= offset:
        name, first = file, start
    return name, offset - first


def file_row(
  name: str, data: np.ndarray, *, sha256: str = ""
) -> dict[str, Any]:
  """What is recorded of one file.

  >>> file_row("empty.txt", np.zeros(0, np.uint8))["bytes"]
  0

  Args:
    name: of the file.
    data: uint8 [number of bytes].
    sha256: of the data, in hexadecimal, where it is known already.
  """
  if not sha256:
    digest = hashlib.sha256()
    for piece in files.pieces(data):
      digest.update(np.ascontiguousarray(piece).data)
    sha256 = digest.hexdigest()
  return {"name": name, "bytes": len(data), "sha256": sha256}


def provenance(
  source: str, rows: list[dict[str, Any]], note: str
) -> dict[str, Any]:
  """What a run records of its corpus: "source", "files" and a "note"."""
  return {"source": source, "files": rows, "note": note}
