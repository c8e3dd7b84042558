"""Learned corrections of probabilities."""

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.compression import adaptive_map


def test_a_new_map_gives_back_what_it_is_given():
  odds = jnp.linspace(-8, 8, 101)
  reading = adaptive_map.read(adaptive_map.create(3), jnp.full(101, 2), odds)
  np.testing.assert_allclose(reading.p, jax.nn.sigmoid(odds), atol=0.01)


def test_reading_is_linear_between_knots():
  table = adaptive_map.create(1)
  grid = jnp.linspace(-8, 8, adaptive_map.KNOTS)
  odds = jnp.array([-8.0, -3.3, 0.1, 7.9, 8.0])
  reading = adaptive_map.read(table, jnp.zeros(5, int), odds)
  np.testing.assert_allclose(
    reading.p, jnp.interp(odds, grid, table[0]), rtol=1e-4, atol=1e-6
  )


def test_what_is_always_wrong_is_corrected_where_it_was_read_and_only_there():
  table = adaptive_map.create(2)
  situation, odds = jnp.array([1]), jnp.array([2.0])
  for _ in range(400):
    reading = adaptive_map.read(table, situation, odds)
    table = adaptive_map.learn(table, situation, reading, jnp.zeros(1), 0.02)
  assert float(adaptive_map.read(table, situation, odds).p[0]) < 0.01
  untouched = adaptive_map.create(2)
  np.testing.assert_array_equal(table[0], untouched[0])
  assert int(jnp.sum(table[1] != untouched[1])) <= 2


def test_many_readings_at_once_leave_finite_log_odds():
  table = adaptive_map.create(1)
  situation = jnp.zeros(5000, int)
  reading = adaptive_map.read(table, situation, jnp.zeros(5000))
  table = adaptive_map.learn(table, situation, reading, jnp.ones(5000), 0.5)
  p = adaptive_map.read(table, situation[:1], jnp.zeros(1)).p
  assert bool(jnp.all(jnp.isfinite(adaptive_map.log_odds(p))))
