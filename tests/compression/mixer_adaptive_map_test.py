"""Learned corrections of probabilities."""

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.compression import mixer


def test_a_new_map_gives_back_what_it_is_given():
  odds = jnp.linspace(-8, 8, 101)
  reading = mixer.read_map(mixer.create_map(3), jnp.full(101, 2), odds)
  np.testing.assert_allclose(reading.p, jax.nn.sigmoid(odds), atol=0.01)


def test_reading_is_linear_between_knots():
  table = mixer.create_map(1)
  grid = jnp.linspace(-8, 8, mixer.KNOTS)
  odds = jnp.array([-8.0, -3.3, 0.1, 7.9, 8.0])
  reading = mixer.read_map(table, jnp.zeros(5, int), odds)
  np.testing.assert_allclose(
    reading.p, jnp.interp(odds, grid, table[0]), rtol=1e-4, atol=1e-6
  )


def test_what_is_always_wrong_is_corrected_where_it_was_read_and_only_there():
  table = mixer.create_map(2)
  situation, odds = jnp.array([1]), jnp.array([2.0])
  for _ in range(400):
    reading = mixer.read_map(table, situation, odds)
    table = mixer.learn_map(table, situation, reading, jnp.zeros(1), 0.02)
  assert float(mixer.read_map(table, situation, odds).p[0]) < 0.01
  untouched = mixer.create_map(2)
  np.testing.assert_array_equal(table[0], untouched[0])
  assert int(jnp.sum(table[1] != untouched[1])) <= 2


def test_many_readings_at_once_leave_finite_log_odds():
  table = mixer.create_map(1)
  situation = jnp.zeros(5000, int)
  reading = mixer.read_map(table, situation, jnp.zeros(5000))
  table = mixer.learn_map(table, situation, reading, jnp.ones(5000), 0.5)
  p = mixer.read_map(table, situation[:1], jnp.zeros(1)).p
  assert bool(jnp.all(jnp.isfinite(mixer.logit(p))))
