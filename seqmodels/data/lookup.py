"""Ids of whole texts, by table instead of symbol by symbol."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

# Lookup tables want int64 indices, eight times the bytes they come from; by
# pieces, 100 MB of text cost a few MB more and not 800.
_PIECE = 1 << 20
_CODE_POINTS = 0x110000


class Tables(NamedTuple):
  """Ids by code point and by byte value.

  >>> ids, missing = Tables.of({"a": 0, "b": 1}, -1).ids("abba", np.int32)
  >>> ids, missing
  (array([0, 1, 1, 0], dtype=int32), None)
  >>> Tables.of({"a": 0}, -1).ids("aab", np.int32)[1]
  2
  """

  by_code_point: np.ndarray  # int32 [0x110000]
  by_byte: np.ndarray  # int32 [256]

  @classmethod
  def of(cls, index: Mapping[str | int, int], unknown: int) -> "Tables":
    """Tables of a vocabulary.

    Args:
      index: ids by symbol.
      unknown: what all other symbols become; negative if they may not occur.
    """
    by_code_point = np.full(_CODE_POINTS, unknown, np.int32)
    for symbol, number in index.items():
      if isinstance(symbol, str) and len(symbol) == 1:
        by_code_point[ord(symbol)] = number
    by_byte = np.array([index.get(b, unknown) for b in range(256)], np.int32)
    return cls(by_code_point, by_byte)

  def ids(
    self, data: str | np.ndarray, dtype: np.typing.DTypeLike
  ) -> tuple[np.ndarray, int | None]:
    """Ids of the characters of a string, or of the bytes of an array.

    Args:
      data: a string, or uint8 [N], possibly mapped from a file.
      dtype: integer type of the ids.

    Returns:
      The ids [N], and where the first symbol without one stands, if any does;
      the ids are then incomplete.
    """
    found = np.empty(len(data), dtype)
    for start in range(0, len(data), _PIECE):
      piece = data[start : start + _PIECE]
      if isinstance(piece, str):
        coded = piece.encode("utf-32-le", "surrogatepass")
        numbers = self.by_code_point[np.frombuffer(coded, "<u4")]
      else:
        numbers = self.by_byte[piece]
      if numbers.min() < 0:
        return found, start + int(np.argmin(numbers))
      found[start : start + _PIECE] = numbers
    return found, None
