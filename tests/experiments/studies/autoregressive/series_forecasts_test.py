import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.autoregressive import series, study
from experiments.studies.autoregressive.series import Linear


def sine(length=120):
  return series.noisy_sine(length, random=np.random.default_rng(0), rate=0.1)


def elman_by_hand(params):
  """The trained network in float64, one number at a time."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  layer, readout = params["stack"]["layer_0"], params["readout"]

  def step(h, x):
    net = x * layer["kernel"][0] + h @ layer["recurrent_kernel"]
    h = np.tanh(net + layer["bias"])
    return h, float((h @ readout["kernel"] + readout["bias"])[0])

  return step


@pytest.fixture(scope="module")
def network():
  model = series.latent("elman", (6,))
  params = jax.device_get(jax.jit(model.init)(jax.random.key(3)))
  return model, jax.tree.map(lambda leaf: 1.5 * leaf, params)


def test_every_horizon_equals_reading_and_then_dreaming(network):
  model, params = network
  step, xs = elman_by_hand(params), sine(40)
  actual = series.k_steps(model, params, xs, 7)
  assert actual.shape == (7, 40)
  assert np.isfinite(actual).sum(axis=1).tolist() == [
    40 - k for k in range(1, 8)
  ]
  h = np.zeros(6)
  for place, x in enumerate(xs):
    h, prediction = step(h, x)
    dream = h
    for k in range(1, 8):
      if place + k < 40:
        ahead = actual[k - 1, place + k]
        assert ahead == pytest.approx(prediction, abs=2e-5)
      dream, prediction = step(dream, prediction)


def test_one_step_is_the_first_horizon(network):
  model, params = network
  xs, before = sine(), model.reach - 1
  _, whole = model.apply(params, model.initial_carry(1), jnp.array(xs)[:, None])
  first = series.k_steps(model, params, xs, 3)[0]
  assert np.all(np.isnan(first[: before + 1]))
  np.testing.assert_allclose(
    first[before + 1 :], whole[before:-1, 0], atol=1e-6
  )


def test_a_free_run_is_every_horizon_of_the_last_place(network):
  model, params = network
  xs = sine()
  run = series.free_run(model, params, xs[:100], 20)
  ahead = series.k_steps(model, params, xs, 20)
  of_the_last = ahead[np.arange(20), 100 + np.arange(20)]
  np.testing.assert_allclose(of_the_last, run, atol=1e-5)


def test_a_linear_free_run_is_the_closed_form():
  linear = Linear(np.array([0.1, -0.2, 0.3, 0.75]), 0.02)
  model, params = series.window(4), series.of_linear(linear)
  xs = series.noisy_sine(604, random=np.random.default_rng(0))
  run = series.free_run(model, params, xs, 396)
  closed = [linear.ahead(k).predict(xs[-4:]) for k in range(1, 397)]
  np.testing.assert_allclose(run, closed, atol=1e-5)


def test_linear_horizons_are_powers_too():
  linear = Linear(np.array([0.1, -0.2, 0.3, 0.75]), 0.02)
  model, params = series.window(4), series.of_linear(linear)
  xs = sine()
  for k, part in enumerate(series.k_steps(model, params, xs, 10), 1):
    windows = np.lib.stride_tricks.sliding_window_view(xs, 4)[:-k]
    expected = linear.ahead(k).predict(windows)
    assert np.isnan(part[: 3 + k]).all()
    np.testing.assert_allclose(part[3 + k :], expected, atol=1e-5)


def test_each_horizon_is_aligned_by_its_own_k():
  """A model that counts on is right at every k, if compared at its time."""
  model = series.window(4)
  params = series.of_linear(Linear(np.array([0, 0, 0, 1.0]), 1.0))
  xs = np.arange(1000.0)
  actual = series.k_steps(model, params, xs, 64)
  for k, part in enumerate(actual, 1):
    np.testing.assert_array_equal(part[3 + k :], xs[3 + k :])
  assert np.isfinite(actual[63]).sum() == 933


def test_errors_may_begin_with_the_test():
  many = np.array([[9.0, 9.0, 3.0, 2.0]])
  ahead = np.array([[[np.nan, 1.0, 1.0, 1.0], [np.nan, np.nan, 3.0, 0.0]]])
  runs = np.zeros((1, 2))
  fitted = study.Fitted(series.window(1), [], many, 2, ahead, runs, 0.0)
  np.testing.assert_allclose(fitted.test, [2.5, 2.0])
  # Where a series does not reach back far enough there is no error.
  np.testing.assert_allclose(fitted.errors(slice(3)), [34.0, 0.0])
