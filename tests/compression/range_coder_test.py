"""The range coder, as we use it."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.compression import range_coder


def rows_and_symbols(count, seed=0, spread=0.05):
  rng = np.random.default_rng(seed)
  p = rng.dirichlet(np.full(256, spread), size=count).astype(np.float32)
  rows = np.asarray(range_coder.frequencies(p))
  symbols = np.array([rng.choice(256, p=r / range_coder.TOTAL) for r in rows])
  return rows, symbols


def test_pieces_of_any_length_give_the_same_code_and_the_symbols_back():
  rows, symbols = rows_and_symbols(500)
  whole, pieces = range_coder.Encoder(), range_coder.Encoder()
  whole.encode(symbols, rows)
  for begin in range(0, 500, 37):
    pieces.encode(symbols[begin : begin + 37], rows[begin : begin + 37])
  assert whole.code() == pieces.code()
  decoder = range_coder.Decoder(whole.code())
  actual = [
    decoder.decode(rows[begin : begin + 16]) for begin in range(0, 500, 16)
  ]
  np.testing.assert_array_equal(np.concatenate(actual), symbols)


def test_the_code_is_as_long_as_the_frequencies_say():
  rows, symbols = rows_and_symbols(20_000)
  encoder = range_coder.Encoder()
  encoder.encode(symbols, rows)
  ideal = -np.log2(rows[np.arange(len(rows)), symbols] / range_coder.TOTAL)
  assert len(encoder.code()) < 1.001 * ideal.sum() / 8


def test_the_dearest_symbol_can_be_coded():
  rows = np.ones((40, 256), np.int32)
  rows[:, 0] = range_coder.TOTAL - 255
  symbols = np.arange(40) + 200
  encoder = range_coder.Encoder()
  encoder.encode(symbols, rows)
  actual = range_coder.Decoder(encoder.code()).decode(rows)
  np.testing.assert_array_equal(actual, symbols)


def test_no_symbols_give_no_code():
  assert range_coder.Encoder().code() == b""


def test_half_a_word_is_refused():
  with pytest.raises(errors.UserError, match="no whole number of 4-byte words"):
    range_coder.Decoder(b"abc")
