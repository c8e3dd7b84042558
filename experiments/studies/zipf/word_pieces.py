"""Byte pairs: frequent runs of bytes as symbols, between characters and words.

Ids 0 to 255 are the byte values. Each merge gives the next id to a pair of
pieces (Gage, 1994; for words, Sennrich et al., 2016):

    learn     the pair that stands side by side most often becomes one piece;
              again, M times
    encode    the merges, in the order in which they were learned
    decode    the bytes of all pieces, one after the other

No byte is lost and none is unknown, whatever the text. White space only begins
a piece, so that none reaches from one word into the next.
"""

import functools
from collections.abc import Iterable

import numpy as np

BYTES = 256
_SPACES = b" \t\n\r\f\v"


class BytePairs:
  """Learned merges: the two ids that each piece from 256 on is made of.

  >>> pairs = BytePairs.learn(b"no no nor not", 2)
  >>> pairs.pieces[256:]
  (b'no', b' no')
  >>> pairs.encode(b"no nose").tolist()
  [256, 257, 115, 101]
  >>> pairs.decode([256, 257, 115, 101])
  b'no nose'
  """

  def __init__(self, merges: Iterable[tuple[int, int]]):
    """Pairs of known merges."""
    self.merges = tuple(merges)

  @classmethod
  def learn(cls, data: bytes, merges: int) -> "BytePairs":
    """M merges of a text; fewer where no pair occurs twice.

    Of pairs that occur equally often, that with the lowest ids comes first.
    """
    ids, found = _values(data), list[tuple[int, int]]()
    begins = np.zeros(BYTES + merges, bool)
    begins[list(_SPACES)] = True
    for new in range(BYTES, BYTES + merges):
      mergeable = ~begins[ids[1:]]
      keys = (ids[:-1] * new + ids[1:])[mergeable]
      counts = np.bincount(keys, minlength=1)
      key = int(counts.argmax())
      if counts[key] < 2:
        break
      left, right = divmod(key, new)
      found.append((left, right))
      begins[new] = begins[left]
      ids = _merged(ids, left, right, new)
    return cls(found)

  @functools.cached_property
  def pieces(self) -> tuple[bytes, ...]:
    """The bytes of every id."""
    found = [bytes([value]) for value in range(BYTES)]
    for left, right in self.merges:
      found.append(found[left] + found[right])
    return tuple(found)

  def encode(self, data: bytes) -> np.ndarray:
    """Ids of a text, int64 [pieces]."""
    ids = _values(data)
    for new, (left, right) in enumerate(self.merges, BYTES):
      ids = _merged(ids, left, right, new)
    return ids

  def decode(self, ids: Iterable[int]) -> bytes:
    """The text."""
    return b"".join(self.pieces[i] for i in ids)


def _values(data: bytes) -> np.ndarray:
  return np.frombuffer(data, np.uint8).astype(np.int64)


def _merged(ids: np.ndarray, left: int, right: int, new: int) -> np.ndarray:
  """Ids with every such pair as one, from the left."""
  places = np.flatnonzero((ids[:-1] == left) & (ids[1:] == right))
  if left == right:
    # In a run of equal ones pairs overlap: every second is one.
    firsts = np.diff(places, prepend=-2) > 1
    begun = np.maximum.accumulate(np.where(firsts, places, 0))
    places = places[(places - begun) % 2 == 0]
  ids = ids.copy()
  ids[places] = new
  return np.delete(ids, places + 1)
