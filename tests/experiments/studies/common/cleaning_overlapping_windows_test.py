"""Every window: which there are, how often a symbol is in one, what is kept."""

import collections

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from experiments.studies.common import cleaning
from seqmodels import errors
from seqmodels.data.text import batching

Windows = cleaning.OverlappingWindows


def epoch_of(stream, epoch=0):
  count = stream.segments_per_epoch
  return stream.segments(epoch * count, count)


sizes = st.tuples(
  st.integers(1, 6), st.integers(1, 4), st.integers(0, 40), st.integers(0, 3)
)


@hypothesis.given(sizes)
def test_an_epoch_is_every_window_once_but_for_a_batch_that_is_not_full(size):
  length, batch, more, epoch = size
  total = length + batch + more
  stream = Windows(np.arange(total), batch=batch, length=length, seed=3)
  segments = epoch_of(stream, epoch)
  np.testing.assert_array_equal(segments.targets, segments.inputs + 1)
  assert np.all(np.diff(segments.targets, axis=1) == 1)
  starts = segments.inputs[:, 0].ravel().tolist()
  assert len(set(starts)) == len(starts)
  assert set(starts) <= set(range(total - length))
  assert len(starts) == (total - length) // batch * batch
  assert segments.targets.size == stream.segments_per_epoch * batch * length


def test_an_inner_symbol_is_predicted_once_from_every_place_in_a_window():
  segments = epoch_of(Windows(np.arange(35), batch=2, length=5))
  places = collections.defaultdict(set)
  for place in range(5):
    for target in segments.targets[:, place].ravel().tolist():
      places[target].add(place)
  assert all(places[target] == set(range(5)) for target in range(5, 31))
  assert [len(places[target]) for target in range(6)] == [0, 1, 2, 3, 4, 5]


def test_the_textbooks_numbers():
  """173,428 characters in windows of 32: 173,396 of them."""
  stream = Windows(np.zeros(173_428, np.uint8), batch=1, length=32)
  assert stream.segments_per_epoch == 173_396
  training = Windows(np.zeros(10_000 + 32, np.uint8), batch=1024, length=32)
  assert training.segments_per_epoch == 9  # the textbook keeps a tenth, of 784


def test_every_window_starts_from_a_cleared_state():
  segments = epoch_of(Windows(np.arange(50), batch=2, length=5))
  assert segments.reset[:, 0].all()
  assert not segments.reset[:, 1:].any()
  assert segments.mask.all()


def test_the_order_is_a_function_of_seed_and_epoch():
  def order(seed, epoch):
    stream = Windows(np.arange(300), batch=4, length=5, seed=seed)
    return tuple(epoch_of(stream, epoch).targets[:, 0].ravel())

  assert len({order(s, e) for s in (0, 1) for e in range(3)}) == 6
  assert order(1, 2) == order(1, 2)


def test_segments_look_like_those_of_the_other_readers():
  tokens = np.arange(60).astype(np.uint8)
  actual = Windows(tokens, batch=2, length=5).segment(0)
  for reader in (batching.SequentialStream, batching.RandomWindows):
    like = reader(tokens, batch=2, length=5).segment(0)
    for a, b in zip(actual, like, strict=True):
      assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_a_text_cut_first_shares_no_symbol_between_its_splits():
  train, valid = np.split(np.arange(60), [40])
  seen = epoch_of(Windows(train, batch=1, length=5))
  held = epoch_of(Windows(valid, batch=1, length=5))
  assert max(seen.targets.max(), seen.inputs.max()) < held.inputs.min()


def test_a_text_without_one_full_batch_is_refused_with_the_lengths():
  message = "6 symbols and a batch of 2 overlapping windows of 5 needs 7"
  with pytest.raises(errors.UserError, match=message):
    Windows(np.arange(6), batch=2, length=5)
  assert Windows(np.arange(7), batch=2, length=5).segments_per_epoch == 1
