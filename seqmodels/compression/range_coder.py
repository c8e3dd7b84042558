"""Range coding with integer frequencies.

Symbols to bytes and back, given their frequencies: a library's range coder.

`constriction` codes; here is what it must be given for both sides to agree:
float32 rows in C order, exact whole numbers, always in its fast mode.
"""

import constriction
import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors

# Float32 counts whole numbers up to 2^24 exactly, and so does the coder.
TOTAL = 1 << 22


def frequencies(probabilities: jax.Array) -> jax.Array:
  """Whole-number weights that a coder can use.

  Each symbol gets at least 1, so that nothing is impossible, however sure the
  model is; the likeliest symbol takes what rounding leaves. The price is below
  `symbols / TOTAL` nats a symbol, 0.0001 bits for bytes.

  Args:
    probabilities: [..., V], nonnegative; their sum may be off by rounding.
      Where one is not finite the whole row becomes uniform.

  Returns:
    int32 [..., V] with the sum `TOTAL`.

  >>> frequencies(jnp.array([1.0, 0.0])).tolist()
  [4194303, 1]
  """
  symbols = probabilities.shape[-1]
  whole = jnp.isfinite(jnp.sum(probabilities, axis=-1, keepdims=True))
  p = jnp.where(whole, jnp.clip(probabilities, 0.0, 1.0), 1 / symbols)
  p = p / jnp.sum(p, axis=-1, keepdims=True)
  counts = 1 + jnp.floor(p * (TOTAL - 2 * symbols)).astype(jnp.int32)
  rest = TOTAL - jnp.sum(counts, axis=-1, keepdims=True)
  best = jax.nn.one_hot(jnp.argmax(counts, axis=-1), symbols, dtype=bool)
  return counts + jnp.where(best, rest, 0)


_WORD = np.dtype("<u4")
_FAMILY = constriction.stream.model.Categorical(perfect=False)


class Encoder:
  """Writes a code, some symbols at a time.

  >>> rows = np.full((3, 4), TOTAL // 4)
  >>> encoder = Encoder()
  >>> encoder.encode(np.array([3, 0, 2]), rows)
  >>> Decoder(encoder.code()).decode(rows).tolist()
  [3, 0, 2]
  """

  def __init__(self) -> None:
    self._encoder = constriction.stream.queue.RangeEncoder()

  def encode(self, symbols: np.ndarray, frequencies: np.ndarray) -> None:
    """Appends N symbols; int [N, V] of `frequencies`."""
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
  return rows / np.float32(TOTAL)
