"""How a file is cut: into blocks, and each block into streams."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seqmodels.compression import expert
from seqmodels.compression import settings as settings_lib

# Streams of a file that is shorter than this many bytes each are not worth it.
_SHORTEST_STREAM = 1024


class Block(NamedTuple):
  """Consecutive bytes that are coded together.

  Attributes:
    number: 0, 1, ...
    begin: of its first byte in the file.
    size: bytes.
    streams: pieces that it is cut into; the first `size % streams` are one
      byte longer than the others.
  """

  number: int
  begin: int
  size: int
  streams: int

  @property
  def starts(self) -> np.ndarray:
    """Where each stream starts within the block, and the block's end."""
    short, longer = divmod(self.size, self.streams)
    index = np.arange(self.streams + 1)
    return index * short + np.minimum(index, longer)

  @property
  def offsets(self) -> np.ndarray:
    """Where each stream starts within the file, as experts are told."""
    found = (self.begin + self.starts[:-1]) % expert.OFFSETS
    return found.astype(np.int32)

  @property
  def steps(self) -> int:
    """Steps in which every stream has a byte."""
    return self.size // self.streams

  def split(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes in the order of coding: [steps, streams], and what is left.

    >>> Block(0, 0, 5, 2).split(np.arange(5))
    (array([[0, 3],
           [1, 4]]), array([2]))
    """
    starts = self.starts[:-1]
    whole = data[starts + np.arange(self.steps)[:, None]]
    rest = data[starts[: self.size % self.streams] + self.steps]
    return whole, rest

  def join(self, whole: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Undoes `split`."""
    data = np.empty(self.size, np.uint8)
    starts = self.starts[:-1]
    data[starts + np.arange(self.steps)[:, None]] = whole
    data[starts[: len(rest)] + self.steps] = rest
    return data


def streams(settings: settings_lib.Settings, size: int) -> int:
  """Streams of every block of a file of so many bytes.

  >>> streams(settings_lib.Settings(streams=16), 3000)
  2
  """
  return max(1, min(settings.streams, size // _SHORTEST_STREAM))


def count(settings: settings_lib.Settings, size: int) -> int:
  """Blocks of a file of so many bytes."""
  return -(-size // settings.block)


def blocks(
  settings: settings_lib.Settings, size: int, *, first: int = 0
) -> Iterator[Block]:
  """The blocks of a file, from the given one on.

  >>> [block.size for block in blocks(settings_lib.Settings(block=64), 100)]
  [64, 36]
  """
  for number in range(first, count(settings, size)):
    begin = number * settings.block
    yield Block(
      number,
      begin,
      min(settings.block, size - begin),
      streams(settings, size),
    )
