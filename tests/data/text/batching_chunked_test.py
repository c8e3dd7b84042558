"""Chunks cut late are those of the whole stream, and are never all there."""

import numpy as np
import pytest

from seqmodels.data.text import batching


@pytest.fixture
def stream():
  return batching.SequentialStream(np.arange(1, 100), batch=2, length=4)


@pytest.mark.parametrize("size", [1, 5, 12, 13, 100])
def test_chunks_put_together_are_the_epoch(stream, size):
  chunks = batching.Chunks.of(stream, size)
  epoch = stream.segments(0, stream.segments_per_epoch)
  for name in batching.Segment._fields:
    joined = np.concatenate([getattr(chunk, name) for chunk in chunks])
    np.testing.assert_array_equal(joined, getattr(epoch, name))
  assert chunks.segments == stream.segments_per_epoch == 13
  assert len(chunks) == -(-13 // size)


def test_slices_know_their_segments_and_cut_the_same(stream):
  chunks = batching.Chunks.of(stream, 5)
  assert [chunks[:end].segments for end in range(4)] == [0, 5, 10, 13]
  rest = chunks[1:]
  assert isinstance(rest, batching.Chunks)
  np.testing.assert_array_equal(rest[0].targets, chunks[1].targets)
  np.testing.assert_array_equal(rest[-1].targets, chunks[2].targets)
  with pytest.raises(IndexError):
    rest[2]


def test_only_the_chunk_asked_for_is_cut(stream, monkeypatch):
  asked = []
  cut = batching.SequentialStream.segments

  def counting(self, start, count):
    asked.append((start, count))
    return cut(self, start, count)

  monkeypatch.setattr(batching.SequentialStream, "segments", counting)
  chunks = batching.Chunks.of(stream, 5)
  assert (len(chunks), chunks.segments, chunks[2:].segments) == (3, 13, 3)
  assert asked == []
  _ = chunks[2]
  assert asked == [(10, 3)]
