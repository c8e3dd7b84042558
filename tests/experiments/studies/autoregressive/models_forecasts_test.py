import jax
import numpy as np
import pytest

from experiments.studies.autoregressive import data, models
from experiments.studies.autoregressive.models import Linear
from seqmodels import errors


def sine(length=120):
  return data.noisy_sine(length, random=np.random.default_rng(0), rate=0.1)


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
  model = models.latent("elman", (6,))
  params = jax.device_get(jax.jit(model.init)(jax.random.key(3)))
  return model, jax.tree.map(lambda leaf: 1.5 * leaf, params)


def test_every_horizon_equals_reading_and_then_dreaming(network):
  model, params = network
  step, xs = elman_by_hand(params), sine(40)
  found = models.k_steps(model, params, xs, 7)
  assert [len(part.times) for part in found] == [40 - k for k in range(1, 8)]
  h = np.zeros(6)
  for place, x in enumerate(xs):
    h, prediction = step(h, x)
    dream = h
    for k in range(1, 8):
      if place + k < 40:
        part = found[k - 1]
        assert part.times[place] == place + k
        assert part.values[place] == pytest.approx(prediction, abs=2e-5)
      dream, prediction = step(dream, prediction)


def test_one_step_is_the_first_horizon(network):
  model, params = network
  one = models.one_step(model, params, sine())
  first = models.k_steps(model, params, sine(), 3)[0]
  np.testing.assert_array_equal(one.times, first.times)
  np.testing.assert_allclose(one.values, first.values, atol=1e-6)


def test_a_free_run_is_every_horizon_of_the_last_place(network):
  model, params = network
  xs = sine()
  run = models.free_run(model, params, xs[:100], 20)
  ahead = models.k_steps(model, params, xs, 20)
  for k, part in enumerate(ahead, 1):
    place = np.flatnonzero(part.times == 99 + k)[0]
    assert part.values[place] == pytest.approx(run[k - 1], abs=1e-5)


def test_a_linear_free_run_is_the_closed_form():
  linear = Linear(np.array([0.1, -0.2, 0.3, 0.75]), 0.02)
  model, params = models.window(4), models.of_linear(linear)
  xs = data.noisy_sine(604, random=np.random.default_rng(0))
  run = models.free_run(model, params, xs, 396)
  closed = linear.free_run(xs[-4:], 396)
  np.testing.assert_allclose(run, closed, atol=1e-5)


def test_linear_horizons_are_powers_too():
  linear = Linear(np.array([0.1, -0.2, 0.3, 0.75]), 0.02)
  model, params = models.window(4), models.of_linear(linear)
  xs = sine()
  for k, part in enumerate(models.k_steps(model, params, xs, 10), 1):
    windows = np.lib.stride_tricks.sliding_window_view(xs, 4)[:-k]
    expected = linear.ahead(k).predict(windows)
    np.testing.assert_allclose(part.values, expected, atol=1e-5)


def test_each_horizon_is_aligned_by_its_own_k():
  """A model that counts on is right at every k, if compared at its time."""
  model = models.window(4)
  params = models.of_linear(Linear(np.array([0, 0, 0, 1.0]), 1.0))
  xs = np.arange(1000.0)
  found = models.k_steps(model, params, xs, 64)
  for k, part in enumerate(found, 1):
    np.testing.assert_array_equal(part.times, np.arange(4 + k - 1, 1000))
    np.testing.assert_array_equal(part.values, xs[part.times])
  assert len(found[63].times) == 933
  np.testing.assert_array_equal(models.errors_by_step(found, xs), 0)


def test_errors_may_begin_with_the_test():
  part = models.Forecasts(np.array([1, 2, 3]), np.array([1.0, 1.0, 1.0]))
  xs = np.array([9.0, 9.0, 3.0, 2.0])
  found = models.errors_by_step([part, part], xs, 2)
  np.testing.assert_allclose(found, [2.5, 2.5])


@pytest.mark.parametrize(
  ("length", "steps"), [(0, 1), (4, 1), (10, 7), (10, 0), (10, -3)]
)
def test_a_horizon_beyond_the_data_is_refused(length, steps):
  model = models.window(4)
  params = models.of_linear(Linear(np.ones(4)))
  with pytest.raises(errors.UserError, match=r"at least 1|series has|use a"):
    models.k_steps(model, params, np.ones(length), steps)


def test_too_few_values_are_refused():
  model = models.window(4)
  params = models.of_linear(Linear(np.ones(4)))
  with pytest.raises(errors.UserError, match="has 0 values"):
    models.one_step(model, params, np.array([]))
  with pytest.raises(errors.UserError, match="has 3 values"):
    models.free_run(model, params, np.ones(3), 2)
  with pytest.raises(errors.UserError, match="0 steps"):
    models.free_run(model, params, np.ones(8), 0)
  assert len(models.free_run(model, params, np.ones(4), 2)) == 2
