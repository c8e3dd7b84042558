import numpy as np
import pytest

from experiments.studies.autoregressive import series, study

SINE = series.sine_autocovariance()


def fitted(seed, tau=4, pairs=600):
  xs = series.noisy_sine(1000, random=np.random.default_rng(seed))
  past, future = series.windows(xs, tau).split(pairs)
  return xs, past, future, series.least_squares(past.features, past.labels)


def free_run(model, window, steps):
  """Predictions 1 to `steps` ahead of a window, by powers of one matrix."""
  return np.array([model.ahead(k).predict(window) for k in range(1, steps + 1)])


def test_least_squares_solves_the_normal_equations():
  _, past, _, model = fitted(0)
  design = np.column_stack([past.features, np.ones(600)])
  expected = np.linalg.solve(design.T @ design, design.T @ past.labels)
  np.testing.assert_allclose([*model.weights, model.bias], expected, rtol=1e-9)


def test_least_squares_of_too_few_pairs_fits_them_all():
  features = np.random.default_rng(0).normal(size=(3, 8))
  labels = np.array([1.0, 2.0, 3.0])
  model = series.least_squares(features, labels)
  np.testing.assert_allclose(model.predict(features), labels)


def test_powers_of_the_companion_matrix_are_the_recursion():
  _, past, _, model = fitted(1)
  window = list(past.features[7])
  actual = free_run(model, past.features[7], 40)
  for step in range(40):
    following = model.predict(np.array(window))
    assert actual[step] == pytest.approx(following, rel=1e-10)
    window = [*window[1:], following]


def test_a_forgetting_model_decays_to_its_fixed_point():
  _, past, _, model = fitted(2)
  assert 0.98 < model.radius < 1
  last = free_run(model, past.features[0], 3000)[-1]
  assert last == pytest.approx(model.fixed_point, abs=1e-6)
  assert series.Linear(np.array([0.5, 0.5]), 1.0).fixed_point == float("inf")


def test_the_best_window_forgets_too():
  best, _ = series.optimum(SINE, [-4, -3, -2, -1])
  assert series.Linear(best).radius == pytest.approx(0.99198, abs=1e-5)


def test_without_noise_two_values_are_exact():
  clean = series.noisy_sine(1000, random=np.random.default_rng(0), noise=0.0)
  pairs = series.windows(clean, 2)
  past, _ = pairs.split(600)
  model = series.least_squares(past.features, past.labels)
  np.testing.assert_allclose(model.weights, [-1, 2 * np.cos(0.01)], atol=1e-9)
  assert np.abs(model.predict(pairs.features) - pairs.labels).max() < 1e-12
  assert model.radius == pytest.approx(1, abs=1e-9)
  run = free_run(model, clean[600:602], 398)
  np.testing.assert_allclose(run, clean[602:], atol=1e-8)


@pytest.mark.parametrize(
  ("tau", "error"),
  [
    *((1, 0.0771), (2, 0.0593), (3, 0.0532), (4, 0.0501), (8, 0.0459)),
    *((16, 0.0450), (32, 0.0443), (64, 0.0424), (128, 0.0411), (256, 0.0404)),
  ],
)
def test_the_best_error_by_window_length(tau, error):
  actual = series.optimum(SINE, -np.arange(1, tau + 1))[1]
  assert actual == pytest.approx(error, abs=5.1e-5)


@pytest.mark.parametrize(
  ("k", "iterated", "direct", "gain", "filled"),
  [
    (1, 0.0501, 0.0501, 0.980, None),
    (4, 0.0544, 0.0513, 0.962, 0.0498),
    (16, 0.0699, 0.0646, 0.872, 0.0501),
    (64, 0.2481, 0.2306, 0.592, 0.0552),
  ],
)
def test_the_best_errors_k_steps_ahead(k, iterated, direct, gain, filled):
  best = series.Linear(series.optimum(SINE, [-4, -3, -2, -1])[0])
  ahead = best.ahead(k)
  places = -np.arange(k + 3, k - 1, -1)
  actual = series.error_of(SINE, places, ahead.weights)
  assert actual == pytest.approx(iterated, abs=5.1e-5)
  actual = series.optimum(SINE, places)[1]
  assert actual == pytest.approx(direct, abs=5.1e-5)
  assert series.gain(ahead.weights, 0.01) == pytest.approx(gain, abs=1e-3)
  if filled is not None:
    actual = series.optimum(SINE, [-k - 1, -k, k, k + 1])[1]
    assert actual == pytest.approx(filled, abs=5.1e-5)


@pytest.mark.parametrize(
  ("mixing", "error"),
  [
    (study.blocks(8), 0.0459),
    (study.blocks(32), 0.0445),
    (study.blocks(128), 0.0412),
    (np.eye(25)[::8], 0.0557),
    (study.exponential(np.arange(1, 2001)), 0.0404),
  ],
)
def test_averages_beat_strides(mixing, error):
  lags = -np.arange(1, mixing.shape[1] + 1)
  actual = series.optimum(SINE, lags, mixing=mixing)[1]
  assert actual == pytest.approx(error, abs=1.01e-4)


def test_the_optimum_is_that_of_very_many_random_phases():
  random = np.random.default_rng(0)
  phases = random.uniform(0, 2 * np.pi, (100_000, 1))
  places = np.array([-9, -2, 3])
  xs = np.sin(phases + 0.01 * places) + 0.2 * random.normal(size=(100_000, 3))
  labels = np.sin(phases[:, 0]) + 0.2 * random.normal(size=100_000)
  model = series.least_squares(xs, labels)
  best, error = series.optimum(SINE, places)
  np.testing.assert_allclose(model.weights, best, atol=0.01)
  actual = np.mean((model.predict(xs) - labels) ** 2)
  assert actual == pytest.approx(error, rel=0.02)
  other = np.array([0.3, 0.3, 0.3])
  actual = np.mean((xs @ other - labels) ** 2)
  assert series.error_of(SINE, places, other) == pytest.approx(actual, rel=0.02)


def test_without_noise_the_best_weights_are_exact():
  clean = series.sine_autocovariance(noise=0.0)
  for places in ([-2, -1], [-4, -3, -2, -1], [-3, 5]):
    best, error = series.optimum(clean, places)
    assert abs(error) < 1e-9
    xs = np.sin(1.3 + 0.01 * np.array(places))
    assert xs @ best == pytest.approx(np.sin(1.3), abs=1e-6)


def test_least_squares_misses_by_what_it_should():
  """A mean of 60 series within three standard errors; leaks show below."""
  train, test, ahead = [], [], {1: [], 4: [], 16: [], 64: []}
  for seed in range(60):
    xs, past, future, model = fitted(seed)
    train.append(np.mean((model.predict(past.features) - past.labels) ** 2))
    test.append(np.mean((model.predict(future.features) - future.labels) ** 2))
    for k, actual in ahead.items():
      pairs = series.windows(xs, 4, ahead=k)
      missed = model.ahead(k).predict(pairs.features) - pairs.labels
      # The book's 933 places, from which 64 steps ahead is still inside.
      actual.append(np.mean(missed[:933] ** 2))
  for actual, expected in (
    (train, 0.0495),
    (test, 0.0502),
    (ahead[1], 0.0498),
    (ahead[4], 0.0542),
    (ahead[16], 0.0693),
    (ahead[64], 0.2450),
  ):
    scatter = np.std(actual, ddof=1) / 60**0.5
    assert np.mean(actual) == pytest.approx(expected, abs=3 * scatter + 5e-4)
    assert min(actual) > 0.038


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 1.3])
def test_accumulated_errors_are_the_recursion(factor):
  error, actual = 0.0, []
  for _ in range(20):
    error = 0.4 + factor * error
    actual.append(error)
  expected = series.accumulated_error(0.4, factor, np.arange(1, 21))
  np.testing.assert_allclose(actual, expected)
