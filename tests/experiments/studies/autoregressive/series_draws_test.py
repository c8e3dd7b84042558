import numpy as np
import pytest

from experiments.studies.autoregressive import series


def rng(seed=0):
  return np.random.default_rng(seed)


def test_the_noise_around_the_sine_has_its_variance():
  xs = series.noisy_sine(200_000, random=rng())
  clean = np.sin(0.01 * np.arange(1, 200_001))
  assert np.var(xs - clean) == pytest.approx(0.04, rel=0.02)
  assert abs(np.mean(xs - clean)) < 0.002


def test_a_sine_begins_at_one_and_may_be_shifted():
  clean = series.noisy_sine(5, random=rng(), noise=0.0, rate=0.3, phase=0.7)
  np.testing.assert_allclose(clean, np.sin(0.3 * np.arange(1, 6) + 0.7))


def test_a_drifting_phase_is_a_random_walk():
  """Each step turns by the rate and a normal draw; the first one, too."""
  steps = [
    np.arcsin(series.noisy_sine(1, random=rng(i), noise=0, rate=0.3, drift=0.1))
    for i in range(2_000)
  ]
  assert np.mean(steps) == pytest.approx(0.3, abs=0.01)
  assert np.std(steps) == pytest.approx(0.1, rel=0.06)
  xs = series.noisy_sine(100_000, random=rng(), noise=0, rate=0.3, drift=0.1)
  for lag in (1, 5, 20):
    actual = np.mean(xs[lag:] * xs[:-lag])
    expected = 0.5 * np.cos(0.3 * lag) * np.exp(-0.01 * lag / 2)
    assert actual == pytest.approx(expected, abs=0.02)


def test_walks_start_at_zero_and_step_independently():
  walks = series.random_walks(2000, 30, random=rng(), scale=0.5)
  moves = np.diff(walks, axis=1)
  assert walks.shape == (2000, 31)
  assert np.all(walks[:, 0] == 0)
  assert moves.std() == pytest.approx(0.5, rel=0.02)
  assert abs(np.corrcoef(moves[:, 3], moves[:, 4])[0, 1]) < 0.08


def test_past_winners_win_nothing():
  random, past, future = rng(), [], []
  for _ in range(300):
    walks = series.random_walks(1000, 2, random=random)
    winner = walks[walks[:, 1].argmax()]
    past.append(winner[1])
    future.append(winner[2] - winner[1])
  # The expected largest of 1000 normal draws is 3.24.
  assert np.mean(past) == pytest.approx(3.24, abs=0.08)
  assert abs(np.mean(future)) < 3 * np.std(future) / 300**0.5


def test_the_cubic_rests_near_two_states():
  xs = series.cubic(20_000, random=rng())
  noise = xs[1:] - (1.5 * xs[:-1] - 0.25 * xs[:-1] ** 3)
  assert noise.std() == pytest.approx(0.4, rel=0.03)
  assert np.abs(xs).max() <= 3
  # Near the roots of 1, far from 0.
  assert np.mean(np.abs(np.abs(xs) - 2**0.5) < 0.7) > 0.7
  assert 0.3 < np.mean(xs > 0) < 0.7


def test_equal_generators_give_equal_series():
  np.testing.assert_array_equal(
    series.noisy_sine(9, random=rng(4)), series.noisy_sine(9, random=rng(4))
  )
