"""Padded lengths against all sets of them."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np

from seqmodels.data import batching


def padded(shapes, sizes):
  shapes = np.array(shapes)
  return shapes[np.searchsorted(shapes, sizes)].sum()


@hypothesis.given(
  st.lists(st.integers(1, 20), min_size=1, max_size=12),
  st.integers(1, 3),
  st.integers(1, 4),
)
def test_no_set_of_lengths_pads_less(sizes, multiple, shapes):
  sizes = np.array(sizes)
  actual = batching.lengths(sizes, multiple=multiple, shapes=shapes)
  assert 1 <= len(actual) <= shapes
  assert np.all(np.diff(actual) > 0)
  assert np.all(actual % multiple == 0)
  units = np.unique(-(-sizes // multiple)) * multiple
  best = min(
    padded(chosen, sizes)
    for count in range(1, shapes + 1)
    for chosen in itertools.combinations(units, count)
    if chosen[-1] == units[-1]
  )
  assert padded(actual, sizes) == best


def test_thousands_of_lengths_are_quick_and_pad_little():
  sizes = np.random.default_rng(0).gamma(8, 80, 10_000).astype(int) + 1
  actual = batching.lengths(sizes, multiple=8, shapes=24)
  assert len(actual) == 24
  assert padded(actual, sizes) < 1.04 * sizes.sum()
