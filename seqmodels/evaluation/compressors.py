"""General-purpose compressors as baselines, in bits a symbol."""

import bz2
import gzip
import lzma
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from seqmodels import errors, units

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
  # Without a time stamp, so that the same bytes come out on every day.
  "gzip -9": lambda data: gzip.compress(data, 9, mtime=0),
  "bzip2 -9": lambda data: bz2.compress(data, 9),
  "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}


class Size(NamedTuple):
  """The size of a text by one compressor.

  Attributes:
    name: the compressor, and `after training text` if it had seen one.
    compressed_bytes: its size, headers included; conditional sizes are
      differences.
    symbols: what the bits are divided by.
    seconds: wall time of all the compressing it took.
  """

  name: str
  compressed_bytes: int
  symbols: int
  seconds: float

  @property
  def bits_per_symbol(self) -> float:
    """Eight times the bytes, over the symbols."""
    nats = 8 * self.compressed_bytes * units.LOG2
    return units.bits_per_symbol(nats, self.symbols)


def sizes(
  data: bytes,
  *,
  training: bytes | None = None,
  symbols: int | None = None,
  using: Mapping[str, Callable[[bytes], bytes]] = COMPRESSORS,
) -> list[Size]:
  """Sizes of a text under gzip -9, bzip2 -9 and xz -9e.

  Alone, a compressor starts from nothing, while a model comes trained. With
  `training` the size is conditional,

      size(training + data) - size(training),

  which sets the compressor beside a model that was trained on `training` and
  learns on through `data` (dynamic evaluation, rather than static). What it
  can use of `training` is bounded by how far back it looks: gzip 32 KiB,
  bzip2 the rest of a block of 900,000 bytes, xz 64 MiB.

  Args:
    data: the text to score, as bytes.
    training: what came before, or None to score `data` alone.
    symbols: how many symbols (characters, words) `data` stands for; its bytes
      if None.
    using: compressors by name.

  Raises:
    errors.UserError: `data` is empty.

  >>> alone, after = (
  ...   sizes(b"to be or not to be" * 9, training=training)[2]
  ...   for training in (None, b"to be or not to be" * 9))
  >>> after.name, after.compressed_bytes < alone.compressed_bytes
  ('xz -9e, after training text', True)
  """
  if not data:
    raise errors.UserError(
      "compressors were given an empty text; give at least one byte"
    )
  count = len(data) if symbols is None else symbols
  lengths = []
  for name, compress in using.items():
    start = time.perf_counter()
    if training is None:
      size = len(compress(data))
    else:
      name += ", after training text"
      size = len(compress(training + data)) - len(compress(training))
    seconds = time.perf_counter() - start
    lengths.append(Size(name, size, count, seconds))
  return lengths
