import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.evaluation import static


def test_a_lone_chunk_and_a_list_and_an_iterator_read_the_same(
  segments, tokens
):
  whole = segments(tokens, 10)
  halves = [
    tuple(leaf[:6] for leaf in whole),
    tuple(leaf[6:] for leaf in whole),
  ]
  for source in (whole, tuple(whole), [whole], halves, iter(halves)):
    actual = list(static.each(source, streams=1))
    joined = [np.concatenate(parts) for parts in zip(*actual, strict=True)]
    for leaf, expected in zip(joined, whole, strict=True):
      np.testing.assert_array_equal(leaf, expected)
    assert all(isinstance(leaf, jax.Array) for leaf in actual[0])


def test_streams_must_be_announced(segments, tokens):
  with pytest.raises(errors.UserError, match=r"3 streams where 1 .*streams=3"):
    list(static.each(segments(tokens, 10, streams=3), streams=1))


@pytest.mark.parametrize("drop", [0, 1, 2, 3])
def test_leaves_of_different_shapes_are_refused(segments, tokens, drop):
  leaves = list(segments(tokens, 10))
  leaves[drop] = leaves[drop][:-1]
  with pytest.raises(errors.UserError, match="one shape"):
    list(static.each(tuple(leaves), streams=1))


def test_a_single_segment_without_its_axis_is_refused(segments, tokens):
  single = tuple(leaf[0] for leaf in segments(tokens, 10))
  with pytest.raises(errors.UserError, match="steps, streams"):
    list(static.each(single, streams=1))


@pytest.mark.parametrize("symbols", [1, 9, 10, 11, 60, 61, 102, 103])
@pytest.mark.parametrize("split", [6, 11])
def test_first_keeps_exactly_the_first_symbols(
  segments, tokens, symbols, split
):
  whole = segments(tokens, 10)
  parts = [
    tuple(leaf[:split] for leaf in whole),
    tuple(leaf[split:] for leaf in whole),
  ]
  kept = static.first(parts, symbols)
  mask = np.concatenate([chunk.mask for chunk in kept])
  targets = np.concatenate([chunk.targets for chunk in kept])
  np.testing.assert_array_equal(targets[mask], tokens[:symbols])
  assert static.count(kept) == -(-symbols // 10)
  assert mask[-1].any()


def test_first_of_more_than_there_is_keeps_all(segments, tokens):
  whole = segments(tokens, 10)
  for symbols in (104, 10**9, None):
    [kept] = static.first(whole, symbols)
    for leaf, expected in zip(kept, whole, strict=True):
      np.testing.assert_array_equal(leaf, expected)


def test_first_of_none_is_empty(segments, tokens):
  assert static.first(segments(tokens, 10), 0) == []
  assert static.first([], 5) == []
