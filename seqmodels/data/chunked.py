"""A pass over a stream in chunks of segments, each cut when it is asked for."""

import dataclasses
from collections.abc import Sequence
from typing import overload

from seqmodels.data import streams


@dataclasses.dataclass(frozen=True, eq=False)
class Chunks(Sequence[streams.Segment]):
  """One epoch of a stream as a sequence of chunks [K, T, B].

  Segments are four arrays of ids and marks, ten bytes a symbol; of a long split
  only the chunk in use is in memory. Slices are cut as late.

  >>> import numpy as np
  >>> stream = streams.SequentialStream(np.arange(70), batch=1, length=10)
  >>> chunks = Chunks.of(stream, 3)
  >>> [len(chunk.targets) for chunk in chunks], chunks[1:].segments
  ([3, 3, 1], 4)

  Attributes:
    stream: what is cut.
    size: K, segments a chunk; the last may have fewer.
    places: numbers of the chunks that are in this sequence.
  """

  stream: streams.SequentialStream
  size: int
  places: range

  @classmethod
  def of(cls, stream: streams.SequentialStream, size: int) -> "Chunks":
    """The whole epoch in chunks of `size` segments."""
    return cls(stream, size, range(-(-stream.segments_per_epoch // size)))

  @property
  def segments(self) -> int:
    """Segments of all these chunks, known without cutting them."""
    return sum(self._count(place) for place in self.places)

  def __len__(self) -> int:
    return len(self.places)

  @overload
  def __getitem__(self, index: int) -> streams.Segment: ...

  @overload
  def __getitem__(self, index: slice) -> "Chunks": ...

  def __getitem__(self, index: int | slice) -> "streams.Segment | Chunks":
    if isinstance(index, slice):
      return dataclasses.replace(self, places=self.places[index])
    place = self.places[index]
    return self.stream.segments(place * self.size, self._count(place))

  def _count(self, place: int) -> int:
    return min(self.size, self.stream.segments_per_epoch - place * self.size)
