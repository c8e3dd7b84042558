import bz2
import gzip
import lzma
import random

import pytest

from seqmodels import errors
from seqmodels.evaluation import compressors

DECOMPRESSORS = {
  "gzip -9": gzip.decompress,
  "bzip2 -9": bz2.decompress,
  "xz -9e": lzma.decompress,
}


def _noise(length, seed=0):
  return random.Random(seed).randbytes(length)


def _by_name(actual):
  return {size.name.split(",")[0]: size for size in actual}


def test_what_is_measured_can_be_decompressed():
  data = b"the cat sees the moon\n" * 50 + _noise(500)
  assert compressors.COMPRESSORS.keys() == DECOMPRESSORS.keys()
  for name, size in _by_name(compressors.sizes(data)).items():
    packed = compressors.COMPRESSORS[name](data)
    assert DECOMPRESSORS[name](packed) == data
    assert size.compressed_bytes == len(packed)
    assert size.name == name


def test_bits_are_of_bytes_unless_symbols_are_given():
  data = "naïve café".encode() * 20
  for size in compressors.sizes(data):
    assert size.symbols == len(data) == 240
    assert size.bits_per_symbol == pytest.approx(
      8 * size.compressed_bytes / 240
    )
  for size in compressors.sizes(data, symbols=200):
    assert size.bits_per_symbol == pytest.approx(
      8 * size.compressed_bytes / 200
    )


def test_noise_needs_eight_bits_a_byte():
  for size in compressors.sizes(_noise(50_000)):
    assert 8.0 <= size.bits_per_symbol < 8.1


def test_training_text_helps_as_far_back_as_each_compressor_looks():
  data = _noise(3000)
  near = _by_name(compressors.sizes(data, training=data))
  assert near["gzip -9"].compressed_bytes < 300
  assert near["xz -9e"].compressed_bytes < 300
  far = _by_name(compressors.sizes(data, training=data + _noise(40_000, 1)))
  assert far["gzip -9"].compressed_bytes > 2900
  assert far["xz -9e"].compressed_bytes < 1000


def test_conditional_sizes_are_labelled():
  for size in compressors.sizes(b"a" * 100, training=b"b" * 100):
    assert size.name.endswith(", after training text")
    assert size.seconds >= 0


def test_sizes_are_the_same_every_time():
  data = b"abc" * 1000
  first, second = compressors.sizes(data), compressors.sizes(data)
  assert [s.compressed_bytes for s in first] == [
    s.compressed_bytes for s in second
  ]


def test_an_empty_text_is_refused():
  with pytest.raises(errors.UserError, match="empty text"):
    compressors.sizes(b"", training=b"abc")
