"""Symbols to bytes and back, given their frequencies: a library's range coder.

`constriction` codes; here is what it must be given for both sides to agree:
float32 rows in C order, exact whole numbers, always in its fast mode.
"""

import constriction
import numpy as np

from seqmodels import errors
from seqmodels.compression import quantization

_WORD = np.dtype("<u4")
_FAMILY = constriction.stream.model.Categorical(perfect=False)


class Encoder:
  """Writes a code, some symbols at a time.

  >>> rows = np.full((3, 4), quantization.TOTAL // 4)
  >>> encoder = Encoder()
  >>> encoder.encode(np.array([3, 0, 2]), rows)
  >>> Decoder(encoder.code()).decode(rows).tolist()
  [3, 0, 2]
  """

  def __init__(self) -> None:
    self._encoder = constriction.stream.queue.RangeEncoder()

  def encode(self, symbols: np.ndarray, frequencies: np.ndarray) -> None:
    """Appends N symbols; frequencies int [N, V] of `quantization`."""
    if len(symbols):
      symbols = np.ascontiguousarray(symbols, np.int32)
      self._encoder.encode(symbols, _FAMILY, _rows(frequencies))

  def code(self) -> bytes:
    """The code of all so far, in whole words."""
    return self._encoder.get_compressed().astype(_WORD).tobytes()


class Decoder:
  """Reads a code from its beginning, some symbols at a time."""

  def __init__(self, code: bytes):
    """Raises `UserError` where the code is no whole number of words."""
    if len(code) % _WORD.itemsize:
      raise errors.UserError(
        f"a code of {len(code):,} bytes is no whole number of "
        f"{_WORD.itemsize}-byte words: the file is damaged"
      )
    words = np.frombuffer(code, _WORD).astype(np.uint32)
    self._decoder = constriction.stream.queue.RangeDecoder(words)

  def decode(self, frequencies: np.ndarray) -> np.ndarray:
    """The next N symbols, int32, for frequencies int [N, V].

    Other frequencies than the encoder's give other symbols, mostly without an
    error, so who decodes compares a checksum.

    Raises:
      UserError: no such symbols can come next.
    """
    try:
      return np.asarray(self._decoder.decode(_FAMILY, _rows(frequencies)))
    except (AssertionError, ValueError) as error:
      raise errors.UserError(
        "the code cannot go on like this: the file is damaged, or the "
        "predictions are not those it was made with"
      ) from error


def _rows(frequencies: np.ndarray) -> np.ndarray:
  rows = np.ascontiguousarray(frequencies, np.float32)
  return rows / np.float32(quantization.TOTAL)
