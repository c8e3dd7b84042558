"""The fused windowed layer against its own step unrolled."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from seqmodels.cells import lstm, scan, window_lstm

STEPS, BATCH, FEATURES, SYMBOLS, GAUSSIANS = 9, 3, 4, 6, 2


@pytest.fixture(scope="module", autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def setting(peepholes=True):
  keys = jax.random.split(jax.random.key(1), 4)
  params = window_lstm.init_params(
    keys[0],
    3,
    FEATURES,
    SYMBOLS,
    GAUSSIANS,
    lstm_init=functools.partial(lstm.init_params, peepholes=peepholes),
    param_dtype=jnp.float64,
  )
  # Fast enough that the window crosses its text.
  bias = params.window_bias.at[2 * GAUSSIANS :].set(-0.5)
  params = params._replace(window_bias=bias)
  carry = jax.tree.map(
    lambda leaf: 0.3 * jax.random.normal(keys[1], leaf.shape, jnp.float64),
    window_lstm.initial_carry(BATCH, FEATURES, SYMBOLS, GAUSSIANS),
  )
  xs = jax.random.normal(keys[2], (STEPS, BATCH, 3), jnp.float64)
  text = jnp.array([[1, 2, 3], [0, 5, 5], [4, 4, -1], [2, -1, -1]])
  characters = window_lstm.letters(text, SYMBOLS).astype(jnp.float64)
  return params, carry, xs, characters


def fused(params, carry, xs, characters, clip=None, cell_clip=None):
  return window_lstm.sequence(
    params, carry, xs, characters, gradient_clip=clip, cell_clip=cell_clip
  )


def oracle(params, carry, xs, characters, clip=None, cell_clip=None):
  def step(params, carry, x):
    return window_lstm.step(
      params, carry, x, characters, gradient_clip=clip, cell_clip=cell_clip
    )

  return scan.unroll(step, params, carry, xs)


def close(actual, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
    actual,
    expected,
  )


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("peepholes", [True, False])
def test_values_and_gradients_are_those_of_the_step(peepholes, clip):
  params, carry, xs, characters = setting(peepholes)
  weight = jax.random.normal(
    jax.random.key(9), (STEPS, BATCH, FEATURES + SYMBOLS), jnp.float64
  )

  def loss(run, params, carry, xs):
    last, outputs = run(params, carry, xs, characters, clip)
    rest = sum(jnp.sum(jnp.sin(leaf)) for leaf in last)
    return jnp.sum(weight * outputs) + rest

  close(
    fused(params, carry, xs, characters), oracle(params, carry, xs, characters)
  )
  close(
    jax.grad(lambda *a: loss(fused, *a), (0, 1, 2))(params, carry, xs),
    jax.grad(lambda *a: loss(oracle, *a), (0, 1, 2))(params, carry, xs),
  )


def test_the_state_of_the_cells_is_bounded_straight_through():
  params, carry, xs, characters = setting()
  bound = 0.2

  def loss(run, params):
    last, outputs = run(params, carry, xs, characters, cell_clip=bound)
    return jnp.sum(jnp.sin(3.0 * outputs)) + jnp.sum(last.c**2), last.c

  actual, state = jax.grad(lambda p: loss(fused, p), has_aux=True)(params)
  assert jnp.max(jnp.abs(state)) == bound
  close(actual, jax.grad(lambda p: loss(oracle, p)[0])(params))


def test_gradients_are_those_of_finite_differences():
  params, carry, xs, characters = setting()

  def loss(params):
    return jnp.sum(fused(params, carry, xs, characters)[1] ** 2)

  jax.test_util.check_grads(loss, (params,), order=1, modes=("rev",), rtol=1e-5)


def test_continuing_is_running_at_once():
  params, carry, xs, characters = setting()
  middle, first = fused(params, carry, xs[:4], characters)
  last, second = fused(params, middle, xs[4:], characters)
  whole, outputs = fused(params, carry, xs, characters)
  close(jnp.concatenate([first, second]), outputs)
  close(last, whole)


def test_bfloat16_products_stay_near():
  params, carry, xs, characters = setting()
  exact = fused(params, carry, xs, characters)[1]
  rough = window_lstm.sequence(
    params, carry, xs, characters, dtype=jnp.bfloat16
  )[1]
  assert not np.array_equal(exact, rough)
  np.testing.assert_allclose(exact, rough, atol=0.1)
