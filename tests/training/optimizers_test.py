import numpy as np
import optax
import pytest

from seqmodels import errors
from seqmodels.training import optimizers


def run(optimizer, gradients):
  params = np.zeros(3)
  state = optimizer.init(params)
  for gradient in gradients:
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
  return np.asarray(params)


def test_rmsprop_graves_follows_equations_38_to_45():
  gradients = np.random.default_rng(0).normal(size=(50, 3))
  n, g, delta, w = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
  for e in gradients:
    n = 0.95 * n + 0.05 * e**2
    g = 0.95 * g + 0.05 * e
    delta = 0.9 * delta - 1e-4 * e / np.sqrt(n - g**2 + 1e-4)
    w = w + delta
  actual = run(
    optimizers.build("rmsprop_graves", learning_rate=1e-4, momentum=0.9),
    gradients,
  )
  np.testing.assert_allclose(actual, w, rtol=2e-5)


def test_sgd_carries_momentum():
  gradients = np.random.default_rng(1).normal(size=(20, 3))
  velocity, w = np.zeros(3), np.zeros(3)
  for e in gradients:
    velocity = 0.99 * velocity + e
    w = w - 1e-2 * velocity
  actual = run(
    optimizers.build("sgd", learning_rate=1e-2, momentum=0.99), gradients
  )
  np.testing.assert_allclose(actual, w, rtol=1e-5)


def test_adam_follows_its_equations():
  gradients = np.random.default_rng(2).normal(size=(20, 3))
  m, v, w = np.zeros(3), np.zeros(3), np.zeros(3)
  for t, e in enumerate(gradients, start=1):
    m = 0.5 * m + 0.5 * e
    v = 0.999 * v + 0.001 * e**2
    w = w - 0.01 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
  actual = run(
    optimizers.build("adam", learning_rate=0.01, momentum=0.5), gradients
  )
  np.testing.assert_allclose(actual, w, rtol=1e-4)


def test_norm_clipping_bounds_the_whole_gradient():
  optimizer = optimizers.build(
    "sgd", learning_rate=1.0, momentum=0.0, clip_norm=1.0
  )
  actual = run(optimizer, [np.array([3.0, 4.0, 0.0], np.float32)])
  np.testing.assert_allclose(actual, [-0.6, -0.8, 0.0], rtol=1e-6)


@pytest.mark.parametrize("name", optimizers.SCHEDULES)
def test_schedules_rise_to_the_rate_and_never_pass_it(name):
  schedule = optimizers.SCHEDULES[name](0.5, steps=100, warmup=10)
  values = np.array([float(schedule(step)) for step in range(100)])
  assert values.max() == pytest.approx(0.5)
  assert 0 < values[0] < 0.06
  assert np.all(np.diff(values[:10]) > 0)
  expected = 0.5 if name == "constant" else 0.02
  assert values[-1] <= expected


def test_halving_holds_four_of_eleven_epochs_and_halves_in_each_that_follows():
  for warmup in (0, 5):
    schedule = optimizers.halving(8.0, steps=110, warmup=warmup)
    rates = [float(schedule(step)) for step in range(warmup, 110)]
    epochs = [8.0] * 4 + [8.0 / 2**n for n in range(1, 8)]
    expected = np.repeat(epochs, 10)[warmup:]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_cosine_ends_at_a_hundredth():
  schedule = optimizers.cosine(1.0, steps=100, warmup=0)
  assert float(schedule(100)) == pytest.approx(0.01)
  assert float(schedule(50)) == pytest.approx((1 + 0.01) / 2, rel=1e-5)


@pytest.mark.parametrize(
  ("settings", "hint"),
  [
    ({"name": "adan"}, "did you mean 'adam'"),
    ({"name": "sgd", "schedule": "cosin"}, "did you mean 'cosine'"),
  ],
)
def test_unknown_names_are_answered_with_the_closest(settings, hint):
  with pytest.raises(errors.UserError, match=hint):
    optimizers.build(**settings, learning_rate=1.0)


def trajectory(optimizer, gradients):
  """Parameters after each update, and the states, from zeros in float32."""
  params = np.zeros(3, np.float32)
  state, actual, states = optimizer.init(params), [], []
  for gradient in gradients.astype(np.float32):
    updates, state = optimizer.update(gradient, state, params)
    params = np.asarray(optax.apply_updates(params, updates))
    actual.append(params)
    states.append(state)
  return np.array(actual), states


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_averaging_is_the_mean_of_the_last_weights_and_moves_none(name, share):
  gradients = np.random.default_rng(3).normal(size=(40, 3))
  settings = {"learning_rate": 0.1, "clip_norm": 0.5, "steps": 40}
  expected, _ = trajectory(optimizers.build(name, **settings), gradients)
  actual, states = trajectory(
    optimizers.build(name, **settings, average=share), gradients
  )
  np.testing.assert_array_equal(actual, expected)
  start = 40 - round(share * 40)
  for count, state in enumerate(states, start=1):
    last = expected[min(start, count - 1) : count].astype(np.float64)
    np.testing.assert_allclose(
      state.average, np.mean(last, axis=0), rtol=1e-6, atol=1e-6
    )
    if len(last) == 1:
      np.testing.assert_array_equal(state.average, last[0])


@pytest.mark.parametrize("name", optimizers.SCHEDULES)
def test_learning_rates_are_those_of_the_updates(name):
  settings = {"steps": 20, "warmup_steps": 4}
  actual = optimizers.learning_rates(
    optimizers.build_schedule(name, 0.5, **settings), steps=20
  )
  descent = optimizers.build(
    "sgd", learning_rate=0.5, momentum=0.0, schedule=name, **settings
  )
  params, _ = trajectory(descent, np.ones((20, 3)))
  np.testing.assert_allclose(
    actual, -np.diff(params[:, 0], prepend=0.0), rtol=1e-4
  )
