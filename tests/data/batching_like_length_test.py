"""Minibatches of like length: every sequence once, whole dispatches alike."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data import batching

LikeLength = batching.LikeLength


@hypothesis.given(
  st.lists(st.integers(1, 30), min_size=4, max_size=60),
  st.integers(1, 4),
  st.integers(1, 5),
  st.integers(1, 4),
  st.integers(0, 3),
)
def test_an_epoch_takes_every_sequence_once_but_for_leftovers(
  lengths, batch, dispatch, shapes, epoch
):
  batches = LikeLength(
    np.array(lengths), batch=batch, dispatch=dispatch, shapes=shapes
  )
  count = batches.batches_per_epoch
  chosen = batches.chosen(epoch * count, count)
  assert chosen.shape == (len(lengths) // batch, batch)
  assert len(set(chosen.ravel().tolist())) == chosen.size


@hypothesis.given(st.integers(0, 300), st.integers(1, 9))
def test_a_step_is_the_same_however_it_is_asked_for(start, count):
  lengths = np.random.default_rng(3).integers(1, 90, 203)
  batches = LikeLength(lengths, batch=2, dispatch=4, seed=7)
  anew = LikeLength(lengths, batch=2, dispatch=4, seed=7)
  chosen = batches.chosen(start, count)
  for row in reversed(range(count)):
    np.testing.assert_array_equal(chosen[row], anew.indices(start + row))
  assert batches.steps(chosen) >= lengths[chosen].max()


def test_dispatches_hold_sequences_of_one_or_two_padded_lengths():
  """Also the one that two epochs share, which takes middling lengths."""
  lengths = np.random.default_rng(0).gamma(5, 22, 4_001).astype(int) + 1
  batches = LikeLength(lengths, batch=3, dispatch=8, seed=1)
  last = len(batches.padded) - 1
  apart = []
  for start in range(0, 3 * batches.batches_per_epoch, 8):
    pools = np.searchsorted(
      batches.padded, lengths[batches.chosen(start, 8)].ravel()
    )
    # The longest are few: a dispatch of them reaches further down.
    apart.append(np.ptp(pools) if pools.max() < last else 0)
  assert max(apart) <= 1


def test_neighbours_in_length_meet_others_every_epoch():
  lengths = np.repeat(np.arange(1, 101), 8)
  batches = LikeLength(lengths, batch=8, dispatch=2, shapes=10)
  count = batches.batches_per_epoch
  epochs = [
    set(map(frozenset, batches.chosen(n * count, count).tolist()))
    for n in range(3)
  ]
  assert not epochs[0] & epochs[1]
  assert not epochs[1] & epochs[2]


@pytest.mark.parametrize("name", ["batch", "dispatch", "multiple", "shapes"])
def test_sizes_below_1_are_refused(name):
  with pytest.raises(errors.UserError, match=f"{name} is 0"):
    LikeLength(np.array([1, 2]), **{"batch": 1, name: 0})
