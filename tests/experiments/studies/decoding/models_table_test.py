import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.decoding import models

ROWS = {
  (): [0.5, 0.3, 0.2],
  (0,): [0.1, 0.8, 0.1],
  (0, 1): [0.0, 0.25, 0.75],
  (2,): [0.6, 0.3, 0.1],
}


def probability(string):
  """From the rows themselves."""
  total = 1.0
  for place, symbol in enumerate(string):
    total *= ROWS.get(string[:place], [1 / 3] * 3)[symbol]
  return total


def logits_of(inputs, reset=None):
  predictor, params = models.table(ROWS)
  inputs = jnp.asarray(inputs, jnp.int32)
  reset = jnp.zeros(inputs.shape, bool) if reset is None else reset
  carry = predictor.initial_carry(inputs.shape[1])
  return predictor.apply(params, carry, inputs, reset)[1]


def test_every_string_has_the_product_of_its_rows():
  strings = np.array(list(itertools.product(range(3), repeat=4)))
  inputs = np.concatenate([np.full((81, 1), -1), strings[:, :-1]], axis=1)
  shares = np.asarray(jax.nn.softmax(logits_of(inputs.T), axis=-1), np.float64)
  picked = np.take_along_axis(shares, strings.T[..., None], -1)[..., 0]
  actual = picked.prod(axis=0)
  expected = [probability(tuple(string)) for string in strings.tolist()]
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  assert actual.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_reset_begins_anew_and_the_null_vector_says_nothing():
  inputs = [[-1], [0], [1], [2], [-1], [0]]
  reset = jnp.array([[False]] * 4 + [[True], [False]])
  shares = np.asarray(jax.nn.softmax(logits_of(inputs, reset), axis=-1))[:, 0]
  for step, prefix in enumerate([(), (0,), (0, 1), None, (), (0,)]):
    row = ROWS[prefix] if prefix is not None else [1 / 3] * 3
    np.testing.assert_allclose(shares[step], row, rtol=1e-5)


def test_the_last_two_symbols_decide():
  """Strings of a second-order model have the product of its conditionals."""
  logits = np.random.default_rng(0).normal(size=(4, 4, 3))
  predictor, params = models.second_order(logits)
  strings = np.array(list(itertools.product(range(3), repeat=4)))
  inputs = np.concatenate([np.full((81, 1), -1), strings[:, :-1]], axis=1).T
  _, actual = predictor.apply(
    params, predictor.initial_carry(81), jnp.asarray(inputs), inputs < -1
  )
  for step in range(4):
    before = inputs[step - 1] + 1 if step else np.zeros(81, int)
    want = logits[before, inputs[step] + 1]
    np.testing.assert_allclose(actual[step], want, rtol=1e-6)
