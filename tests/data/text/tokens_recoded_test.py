"""Bytes recoded where they are read, against ids made all at once."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data import files
from seqmodels.data.text import batching, tokens, vocabulary

TEXT = np.random.default_rng(0).integers(0, 256, 3000).astype(np.uint8) | 1
SYMBOLS = vocabulary.Vocabulary.of_bytes(TEXT.tolist())


@pytest.fixture
def both(tmp_path):
  """The same ids, recoded from a mapped file and as an array."""
  (tmp_path / "text").write_bytes(TEXT.tobytes())
  mapped = files.bytes_of(tmp_path / "text")
  return (
    tokens.RecodedBytes.of(mapped, SYMBOLS),
    SYMBOLS.encode(TEXT, np.uint8),
  )


def test_it_stands_where_an_array_stands(both):
  lazy, ids = both
  assert (len(lazy), lazy.shape, lazy.ndim) == (3000, (3000,), 1)
  assert lazy.dtype == ids.dtype == np.uint8
  np.testing.assert_array_equal(lazy, ids)
  assert lazy.tolist() == ids.tolist()
  assert np.asarray(lazy, np.int64).dtype == np.int64
  for place in (0, -1, 17):
    assert lazy[place] == ids[place]
  for part in (slice(10, 20), slice(-5, None), slice(None, None, 7)):
    assert isinstance(lazy[part], tokens.RecodedBytes)
    np.testing.assert_array_equal(lazy[part], ids[part])
  place = np.random.default_rng(1).integers(-3000, 3000, (4, 5))
  np.testing.assert_array_equal(lazy[place], ids[place])


def test_a_slice_reads_nothing(both):
  lazy, _ = both
  assert np.shares_memory(lazy[1000:].data, lazy.data)


@pytest.mark.parametrize(
  "stream",
  [
    lambda ids: batching.SequentialStream(
      ids, batch=3, length=7, random_offset=True, reset_every=2
    ),
    lambda ids: batching.RandomWindows(ids, batch=3, length=7),
  ],
)
def test_streams_of_it_are_those_of_the_array(both, stream):
  lazy, whole = (stream(ids).segments(0, 160) for ids in both)
  for a, b in zip(lazy, whole, strict=True):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


def test_a_byte_without_an_id_is_refused_with_its_place():
  text = np.full(3 * files.PIECE, 7, np.uint8)
  text[2 * files.PIECE + 5] = 8
  own = vocabulary.Vocabulary((7,))
  message = f"symbol 8 at position {2 * files.PIECE + 5}"
  with pytest.raises(errors.UserError, match=message):
    tokens.RecodedBytes.of(text, own)


def test_a_byte_without_an_id_is_unknown_where_there_is_such_a_symbol():
  own = vocabulary.Vocabulary((7, "<unk>"))
  text = np.array([8, 7, 9], np.uint8)
  assert tokens.RecodedBytes.of(text, own).tolist() == [1, 0, 1]


def test_an_array_that_may_not_be_a_copy_is_refused(both):
  with pytest.raises(ValueError, match="copy"):
    np.asarray(both[0], copy=False)
