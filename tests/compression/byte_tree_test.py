"""A byte as eight decisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.compression import byte_tree


def test_paths_spell_the_bytes():
  for byte in range(256):
    node, spelt = 0, 0
    for depth in range(8):
      assert byte_tree.PATHS[byte, depth] == node
      bit = int(byte_tree.BITS[byte, depth])
      spelt = 2 * spelt + bit
      # Children of the node for k bits v stand for 2v and 2v + 1.
      node = (1 << (depth + 1)) - 1 + spelt
    assert spelt == byte


def test_signs_are_the_decisions_on_the_path_and_nothing_else():
  for byte in (0, 77, 255):
    signs = byte_tree.SIGNS[byte]
    path = byte_tree.PATHS[byte]
    np.testing.assert_array_equal(signs[path], 2 * byte_tree.BITS[byte] - 1)
    assert np.count_nonzero(signs) == 8


def test_log_odds_are_those_of_conditional_probabilities():
  logits = jax.random.normal(jax.random.key(0), (3, 256)) * 2
  p = np.asarray(jax.nn.softmax(logits), np.float64)
  odds = np.asarray(byte_tree.log_odds(logits))
  for depth, prefix in ((0, 0), (3, 5), (7, 100)):
    width = 256 >> depth
    inside = p[:, prefix * width : (prefix + 1) * width]
    zero, one = np.split(inside, 2, axis=1)
    expected = np.log(one.sum(1) / zero.sum(1))
    node = (1 << depth) - 1 + prefix
    np.testing.assert_allclose(odds[:, node], expected, rtol=2e-5, atol=2e-5)


def test_distribution_undoes_log_odds():
  logits = jax.random.normal(jax.random.key(1), (4, 256))
  p = byte_tree.distribution(byte_tree.log_odds(logits))
  np.testing.assert_allclose(p, jax.nn.softmax(logits), atol=1e-6)


def test_nats_along_the_path_are_the_nats_of_the_byte():
  logits = jax.random.normal(jax.random.key(2), (5, 256))
  symbols = jnp.array([0, 1, 128, 200, 255])
  odds = byte_tree.on_path(byte_tree.log_odds(logits), symbols)
  cost = jnp.sum(byte_tree.nats(odds, byte_tree.bits(symbols)), axis=1)
  expected = -jax.nn.log_softmax(logits)[jnp.arange(5), symbols]
  np.testing.assert_allclose(cost, expected, rtol=1e-5)


@pytest.mark.parametrize("sure", [0, 255])
def test_certainty_stays_finite(sure):
  logits = jnp.full(256, -1e9).at[sure].set(0.0)
  odds = byte_tree.log_odds(logits)
  assert jnp.all(jnp.abs(odds) <= byte_tree.BOUND)
  assert byte_tree.distribution(odds)[sure] > 0.999
