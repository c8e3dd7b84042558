"""Blocks and streams of a file."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from seqmodels.compression import settings


@hypothesis.given(st.integers(1, 500), st.integers(1, 40))
def test_splitting_a_block_and_joining_it_gives_the_bytes(size, streams):
  block = settings.Block(0, 0, size, streams)
  data = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
  whole, rest = block.split(data)
  assert whole.shape == (size // streams, streams)
  assert len(rest) == size % streams
  np.testing.assert_array_equal(block.join(whole, rest), data)


@hypothesis.given(st.integers(0, 5000), st.integers(64, 700))
def test_blocks_cover_a_file_once(size, length):
  chosen = settings.Settings(block=length)
  actual = list(settings.blocks(chosen, size))
  assert len(actual) == settings.count(chosen, size)
  end = 0
  for number, block in enumerate(actual):
    assert (block.number, block.begin) == (number, end)
    end += block.size
  assert end == size
  assert list(settings.blocks(chosen, size, first=2)) == actual[2:]


def test_a_file_of_a_terabyte_is_planned_in_no_time():
  chosen = settings.Settings()
  first = next(settings.blocks(chosen, 1 << 40))
  assert first.size == chosen.block
  last = settings.count(chosen, 1 << 40) - 1
  (block,) = settings.blocks(chosen, 1 << 40, first=last)
  assert block.begin + block.size == 1 << 40
  assert block.offsets.min() >= 0


def test_short_files_have_fewer_streams():
  chosen = settings.Settings(streams=16)
  sizes = (0, 1, 2047, 2048, 1 << 20)
  assert [settings.streams(chosen, size) for size in sizes] == [1, 1, 1, 2, 16]
