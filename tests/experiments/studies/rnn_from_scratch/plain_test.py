"""The equations in plain arrays: the library's numbers, and their own rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.common import training
from experiments.studies.rnn_from_scratch import plain
from seqmodels.cells import ops

PLAIN = {
  "elman": plain.plain_rnn,
  "gru": plain.plain_gru,
  "lstm": plain.plain_lstm,
}


def _largest_difference(a, b):
  """Between two trees of one shape."""
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return max(
    float(np.max(np.abs(np.asarray(one) - np.asarray(two))))
    for one, two in pairs
  )


@pytest.mark.parametrize("cell", PLAIN)
def test_plain_arrays_are_the_library_in_values_and_gradients(cell):
  rows, steps, symbols = 4, 20, 11
  network = training.network(cell, symbols, (7,))
  random = np.random.default_rng(0)
  params = training.drawn(network.init, random, 0.4)
  ids = random.integers(symbols, size=(steps, rows)).astype(np.int32)
  never = np.zeros((steps, rows), bool)
  carry = jax.tree.map(
    lambda leaf: random.normal(size=leaf.shape).astype(np.float32),
    jax.eval_shape(lambda: network.initial_carry(rows)),
  )

  @jax.jit
  def library(params):
    after, outputs = network.apply(
      params, carry, jnp.asarray(ids), jnp.asarray(never)
    )
    return jnp.sum(jnp.sin(outputs)), (outputs, after[0])

  @jax.jit
  def by_loop(params):
    before = carry[0]
    state = tuple(before) if len(before) > 1 else before[0]
    outputs, after = PLAIN[cell](
      plain.from_library(params), state, np.eye(symbols, dtype=np.float32)[ids]
    )
    return jnp.sum(jnp.sin(outputs)), (outputs, after)

  (_, ours), slopes = jax.value_and_grad(library, has_aux=True)(params)
  (_, theirs), expected = jax.value_and_grad(by_loop, has_aux=True)(params)
  largest = max(
    float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected)
  )
  assert _largest_difference(ours[0], theirs[0]) < 1e-5
  assert _largest_difference(ours[1], theirs[1]) < 1e-5
  assert _largest_difference(slopes, expected) < 1e-5 * largest


@pytest.fixture
def weights():
  """Of `plain_rnn`; larger than fresh ones, so that every term matters."""
  random = np.random.default_rng(0)
  shapes = ((16, 32), (32, 32), (1, 32), (32, 16), (1, 16))
  return tuple(0.3 * random.normal(size=shape) for shape in shapes)


@pytest.fixture
def xs():
  return np.random.default_rng(1).normal(size=(100, 2, 16))


def test_a_sequence_may_be_read_in_parts(weights, xs):
  zero = np.zeros((2, 32))
  outputs, state = plain.plain_rnn(weights, zero, xs)
  assert outputs.shape == (100, 2, 16)
  assert state.shape == (2, 32)
  first, middle = plain.plain_rnn(weights, zero, xs[:37])
  second, last = plain.plain_rnn(weights, middle, xs[37:])
  parts = jnp.concatenate([first, second])
  np.testing.assert_allclose(parts, outputs, atol=1e-5)
  np.testing.assert_allclose(last, state, atol=1e-5)


def test_without_recurrence_it_is_a_perceptron_row_by_row(weights, xs):
  w_xh, w_hh, b_h, w_hq, b_q = weights
  actual, _ = plain.plain_rnn(
    (w_xh, 0 * w_hh, b_h, w_hq, b_q), np.zeros((2, 32)), xs
  )
  expected = np.tanh(xs @ w_xh + b_h) @ w_hq + b_q
  np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_rows_of_a_batch_do_not_meet(weights, xs):
  zero = np.zeros((2, 32))
  outputs, _ = plain.plain_rnn(weights, zero, xs[:6])
  turned, _ = plain.plain_rnn(weights, zero, xs[:6, ::-1])
  np.testing.assert_allclose(turned, outputs[:, ::-1], atol=1e-6)


@pytest.mark.parametrize("sizes", [(3, 1, 4), (2, 5, 3), (1, 1, 1)])
def test_one_product_of_joined_matrices_is_two(sizes):
  n, d, h = sizes
  random = np.random.default_rng(0)
  x, w_x = random.normal(size=(n, d)), random.normal(size=(d, h))
  state, w_h = random.normal(size=(n, h)), random.normal(size=(h, h))
  side, stacked = np.hstack([x, state]), np.vstack([w_x, w_h])
  joined, apart = side @ stacked, x @ w_x + state @ w_h
  np.testing.assert_allclose(joined, apart, atol=1e-12)
  # d(sum P^2) / dW = 2 (what W was multiplied with)' P
  slopes = np.vstack([2 * x.T @ apart, 2 * state.T @ apart])
  np.testing.assert_allclose(2 * side.T @ joined, slopes, atol=1e-12)


def test_the_two_grus_agree_only_where_nothing_is_reset():
  network = training.network("gru", 5, (6,))
  random = np.random.default_rng(0)
  params = training.drawn(network.init, random, 0.4)
  # Only the library's GRU has a second bias.
  params["stack"]["layer_0"]["recurrent_bias"] *= 0
  w_x, w_h, bias, *rest = plain.from_library(params)
  inputs = random.normal(size=(10, 2, 5)).astype(np.float32)
  state = np.zeros((2, 6), np.float32)

  def difference(reset):
    held = (w_x, w_h, (reset, *bias[1:]), *rest)
    usual, _ = plain.plain_gru(held, state, inputs)
    other, _ = plain.plain_gru(held, state, inputs, reset_first=True)
    return _largest_difference(usual, other)

  assert difference(bias[0]) > 1e-3
  assert difference(jnp.full_like(bias[0], 1000.0)) < 1e-6


def test_rows_looked_up_are_the_product_with_one_hot_vectors():
  random = np.random.default_rng(0)
  ids = random.integers(9, size=(4, 6)).astype(np.int32)
  weights = jnp.asarray(random.normal(size=(9, 5)), jnp.float32)
  into = random.normal(size=(4, 6, 5)).astype(np.float32)

  def slope(read):
    return jax.grad(lambda w: jnp.sum(read(w) * into))(weights)

  def by_row(w):
    return ops.lookup(w, ids)

  def by_product(w):
    return jax.nn.one_hot(ids, 9) @ w

  np.testing.assert_array_equal(by_row(weights), by_product(weights))
  np.testing.assert_allclose(slope(by_row), slope(by_product), atol=1e-5)
