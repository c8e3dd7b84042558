"""Whole-number frequencies."""

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from seqmodels.compression import range_coder


@pytest.mark.parametrize(
  "row",
  [
    np.eye(256)[3],
    np.full(256, 1 / 256),
    np.full(256, np.nan),
    np.full(256, np.inf),
    np.zeros(256),
    np.r_[np.nan, np.full(255, 1 / 255)],
    np.r_[-1.0, 2.0, np.zeros(254)],
    np.full(256, 1e-30),
  ],
  ids=["sure", "even", "nan", "inf", "zero", "one nan", "negative", "tiny"],
)
def test_any_row_gives_positive_counts_with_the_right_sum(row):
  counts = np.asarray(range_coder.frequencies(jnp.asarray(row, jnp.float32)))
  assert counts.min() >= 1
  assert counts.sum() == range_coder.TOTAL


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(st.integers(0, 2**32 - 1), st.floats(0.01, 10.0))
def test_counts_are_near_the_probabilities(seed, spread):
  rng = np.random.default_rng(seed)
  p = rng.dirichlet(np.full(256, spread)).astype(np.float32)
  counts = np.asarray(range_coder.frequencies(jnp.asarray(p)))
  assert counts.min() >= 1
  assert counts.sum() == range_coder.TOTAL
  excess = np.sum(p * (np.log(p + 1e-38) - np.log(counts / counts.sum())))
  assert excess < 3 * 256 / range_coder.TOTAL
