"""Bytes as ids without a copy: mapped, and recoded where they are read."""

import dataclasses
from typing import Any, overload

import numpy as np

from seqmodels.data import files, vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class RecodedBytes:
  """The ids of a text of bytes, looked up in a table of 256 when asked for.

  Stands where an array of ids [N] stands: it has a length, slices to its like
  (nothing is read) and gives ids for positions. The bytes stay where they are,
  as a rule in a file mapped into memory, so that 100 MB of text take no memory
  but what a segment needs.

  >>> letters = vocabulary.Vocabulary.of_bytes(b"abc")
  >>> ids = RecodedBytes.of(np.frombuffer(b"abcab", np.uint8), letters)
  >>> len(ids), ids[2:].tolist(), ids[np.array([[0, -1]])]
  (5, [2, 0, 1], array([[0, 1]], dtype=uint8))

  Attributes:
    data: uint8 [N], in memory or mapped.
    table: [256], the id of each byte value.
  """

  data: np.ndarray
  table: np.ndarray

  @classmethod
  def of(
    cls, data: np.ndarray, symbols: vocabulary.Vocabulary
  ) -> "RecodedBytes":
    """Bytes in the ids of a vocabulary.

    Args:
      data: uint8 [N], in memory or mapped; read once, a piece at a time, if
        there are bytes that the vocabulary has no id for.
      symbols: of bytes.

    Raises:
      UserError: `data` has a byte without an id and there is no `<unk>`.
    """
    get, unknown = symbols.index.get, symbols.unk
    lacking = np.array([get(value) is None for value in range(256)])
    if unknown is None and lacking.any():
      start = 0
      for piece in files.pieces(data):
        wrong = lacking[piece]
        if wrong.any():
          place = int(np.argmax(wrong))
          symbols.refuse(int(piece[place]), start + place)
        start += len(piece)
    ids = [get(value, unknown or 0) for value in range(256)]
    return cls(data, np.array(ids, symbols.id_dtype))

  @property
  def dtype(self) -> np.dtype[Any]:
    """Of the ids: the smallest that holds them."""
    return self.table.dtype

  @property
  def shape(self) -> tuple[int]:
    """(N,)."""
    return (len(self.data),)

  @property
  def ndim(self) -> int:
    """1."""
    return 1

  def __len__(self) -> int:
    return len(self.data)

  @overload
  def __getitem__(self, place: slice) -> "RecodedBytes": ...

  @overload
  def __getitem__(self, place: int | np.ndarray) -> Any: ...

  def __getitem__(self, place: Any) -> Any:
    if isinstance(place, slice):
      return dataclasses.replace(self, data=self.data[place])
    return self.table[self.data[place]]

  def __array__(
    self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None
  ) -> np.ndarray:
    """All ids [N], in memory: a byte each, where no other type is asked for."""
    if copy is False:
      raise ValueError("recoded bytes are no array yet; a copy has to be made")
    ids = self.table[self.data]
    return ids if dtype is None else ids.astype(dtype, copy=False)

  def tolist(self) -> list[int]:
    """All ids as a list."""
    return np.asarray(self).tolist()


# Ids [N] of a text: in memory, or of bytes where they lie.
Ids = np.ndarray | RecodedBytes
