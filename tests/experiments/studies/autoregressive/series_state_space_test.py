import numpy as np
import pytest

from experiments.studies.autoregressive import series

SINE = {"rate": 0.3, "noise": 0.4, "drift": 0.2}


def random_model(states=3, seed=0):
  random = np.random.default_rng(seed)
  turn = np.linalg.qr(random.normal(size=(states, states)))[0]
  push, start = random.normal(size=(2, states, states))
  return series.StateSpace(
    0.8 * turn, push @ push.T, random.normal(size=states), 0.3, start @ start.T
  )


def covariance_of(model, steps):
  """Of x_1 .. x_T, from the model's definition, [T, T]."""
  states = [model.start]
  for _ in range(steps - 1):
    states.append(model.transition @ states[-1] @ model.transition.T)
    states[-1] = states[-1] + model.drive
  actual = model.variance * np.eye(steps)
  for early in range(steps):
    for late in range(early, steps):
      power = np.linalg.matrix_power(model.transition, late - early)
      value = model.readout @ power @ states[early] @ model.readout
      actual[early, late] += value
      actual[late, early] += value if late > early else 0
  return actual


@pytest.mark.parametrize("seed", range(3))
def test_the_filter_conditions_the_joint_normal_distribution(seed):
  model = random_model(seed=seed)
  values = np.random.default_rng(9).normal(size=8)
  joint = covariance_of(model, 8)
  expected = [
    joint[t, :t] @ np.linalg.solve(joint[:t, :t], values[:t]) for t in range(8)
  ]
  np.testing.assert_allclose(model.predictions(values), expected, atol=1e-10)


def test_the_settled_error_is_that_of_a_very_long_past():
  model = random_model()
  joint = covariance_of(model, 60)
  given = np.linalg.solve(joint[:-1, :-1], joint[:-1, -1])
  left = joint[-1, -1] - joint[-1, :-1] @ given
  assert model.error == pytest.approx(left, rel=1e-9)


def test_a_rotation_has_the_autocovariance_of_a_drifting_sine():
  model = series.rotation(**SINE)
  expected = series.sine_autocovariance(**SINE)
  places = np.arange(12)
  np.testing.assert_allclose(
    covariance_of(model, 12), expected(places[:, None] - places), atol=1e-12
  )


def test_two_numbers_do_what_a_window_does_only_if_it_is_long():
  covariance = series.sine_autocovariance(**SINE)
  floor = series.rotation(**SINE).error
  lacking = [
    series.optimum(covariance, -np.arange(1, tau + 1))[1] - floor
    for tau in (1, 4, 16, 200)
  ]
  assert lacking[0] > lacking[1] > lacking[2] > 1e-5
  assert abs(lacking[3]) < 1e-9


def test_the_filter_misses_a_drifting_sine_by_its_error():
  random = np.random.default_rng(0)
  model = series.rotation(**SINE)
  xs = series.noisy_sine(20_000, random=random, **SINE)
  missed = (model.predictions(xs) - xs)[100:] ** 2
  # Means over 200 stretches, which hardly depend on one another.
  parts = missed[: 200 * 99].reshape(200, 99).mean(axis=1)
  assert parts.mean() == pytest.approx(
    model.error, abs=4 * parts.std() / 200**0.5
  )


def test_the_exact_filter_is_the_mean_over_phases_by_their_likelihood():
  """By 200,000 random walks of the phase, each weighed by what it explains."""
  random = np.random.default_rng(0)
  xs = series.noisy_sine(6, random=random, **SINE)
  phases = random.uniform(0, 2 * np.pi, 200_000)
  weights, expected = np.ones(len(phases)), []
  for value in xs:
    push = SINE["drift"] * random.normal(size=len(phases))
    phases = phases + SINE["rate"] + push
    expected.append(weights @ np.sin(phases) / weights.sum())
    weights *= np.exp(-0.5 * ((value - np.sin(phases)) / SINE["noise"]) ** 2)
  actual = series.phase_predictions(xs, **SINE)
  np.testing.assert_allclose(actual, expected, atol=0.01)
  finer = series.phase_predictions(xs, points=400, **SINE)
  np.testing.assert_allclose(actual, finer, atol=1e-9)


def test_who_knows_the_circle_predicts_better():
  xs = series.noisy_sine(4000, random=np.random.default_rng(3), **SINE)
  exact, linear = (
    np.mean((actual - xs)[100:] ** 2)
    for actual in (
      series.phase_predictions(xs, **SINE),
      series.rotation(**SINE).predictions(xs),
    )
  )
  assert SINE["noise"] ** 2 < exact < linear
