"""Scores of pen movements against NumPy, and what stays out of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import losses
from seqmodels import mixture_density as mixtures

STEPS, BATCH, COUNT = 6, 3, 4


@pytest.fixture(scope="module", autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


@pytest.fixture(scope="module")
def setting():
  """Outputs, targets and a mask with positions of both kinds."""
  random = np.random.default_rng(0)
  outputs = random.normal(size=(STEPS, BATCH, mixtures.outputs(COUNT)))
  targets = random.normal(size=(STEPS, BATCH, 3))
  targets[..., 2] = random.random((STEPS, BATCH)) < 0.5
  mask = np.arange(STEPS)[:, None] < np.array([STEPS, 2, 4])
  return outputs, targets, mask


def by_hand(raw, point):
  """Nats, wrong, and both squared errors of one point, from the equations."""
  e = 1 / (1 + np.exp(raw[0]))
  pi, mx, my, sx, sy, r = np.split(raw[1:], 6)
  pi = np.exp(pi) / np.exp(pi).sum()
  sx, sy, rho = np.exp(sx), np.exp(sy), np.tanh(r)
  dx, dy = (point[0] - mx) / sx, (point[1] - my) / sy
  z = (dx**2 + dy**2 - 2 * rho * dx * dy) / (2 * (1 - rho**2))
  density = np.exp(-z) / (2 * np.pi * sx * sy * np.sqrt(1 - rho**2))
  nats = -np.log((pi * density).sum())
  nats -= np.log(e if point[2] else 1 - e)
  best = pi.argmax()
  return (
    nats,
    (e > 0.5) != bool(point[2]),
    (point[0] - pi @ mx) ** 2 + (point[1] - pi @ my) ** 2,
    (point[0] - mx[best]) ** 2 + (point[1] - my[best]) ** 2,
  )


def test_every_score_is_that_of_the_equations(setting):
  outputs, targets, mask = setting
  actual = losses.mixture_density_nll(outputs, targets, mask)
  for t, b in np.ndindex(STEPS, BATCH):
    expected = by_hand(outputs[t, b], targets[t, b]) if mask[t, b] else (0,) * 4
    np.testing.assert_allclose(
      [values[t, b] for values in actual],
      [*expected, expected[0]],
      rtol=1e-10,
    )
  assert 0 < int(actual.wrong.sum()) < int(mask.sum())


def test_coarse_nats_are_those_of_deviations_that_are_not_finer(setting):
  outputs, targets, mask = setting
  finest = (0.7, 1.3)
  actual = losses.mixture_density_nll(outputs, targets, mask, finest=finest)
  blunt = outputs.copy()
  for place, least in enumerate(finest):
    columns = slice(1 + (3 + place) * COUNT, 1 + (4 + place) * COUNT)
    blunt[..., columns] = np.maximum(blunt[..., columns], np.log(least))
  expected = losses.mixture_density_nll(blunt, targets, mask).nats
  np.testing.assert_allclose(actual.coarse, expected, rtol=1e-10)
  assert np.any(actual.coarse != actual.nats)


@pytest.mark.parametrize("clip", [None, 100.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_what_is_masked_adds_nothing_whatever_stands_there(setting, bad, clip):
  outputs, targets, mask = setting
  spoilt = np.where(mask[..., None], outputs, bad)
  wrong = np.where(mask[..., None], targets, bad)

  def total(outputs, targets, field):
    scores = losses.mixture_density_nll(
      outputs, targets, mask, output_clip=clip
    )
    return jnp.sum(getattr(scores, field)), scores

  for field in ("nats", "squared", "squared_likeliest"):
    gradient = jax.grad(total, (0, 1), has_aux=True)
    actual, scores = gradient(spoilt, wrong, field)
    expected, clean = gradient(outputs, targets, field)
    jax.tree.map(np.testing.assert_array_equal, scores, clean)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    for part in actual:
      assert np.all(np.asarray(part)[~mask] == 0)
    for values in scores:
      assert np.all(np.asarray(values)[~mask] == 0)


def test_nothing_scored_is_nothing():
  scores = losses.mixture_density_nll(
    jnp.full((2, 1, 7), jnp.nan), jnp.zeros((2, 1, 3)), jnp.zeros((2, 1), bool)
  )
  assert [float(jnp.sum(values)) for values in scores] == [0] * 5


def derivative(outputs, targets, mask, clip, weight=1.0):
  return jax.grad(
    lambda raw: (
      weight
      * jnp.sum(
        losses.mixture_density_nll(raw, targets, mask, output_clip=clip).nats
      )
    )
  )(outputs)


@pytest.mark.parametrize("clip", [0.01, 0.3, 100.0])
def test_the_clip_is_of_each_derivative_of_the_summed_nats(setting, clip):
  outputs, targets, mask = setting
  targets = 20 * targets  # far enough off for derivatives above 100
  free = jax.grad(
    lambda raw: jnp.sum(
      jnp.where(mask, mixtures.nats(mixtures.mixture(raw), targets), 0)
    )
  )(jnp.array(outputs))
  assert np.abs(free).max() > clip
  actual = derivative(outputs, targets, mask, clip)
  np.testing.assert_allclose(actual, np.clip(free, -clip, clip), rtol=1e-12)
  np.testing.assert_allclose(
    derivative(outputs, targets, mask, None), free, rtol=1e-12
  )


def test_a_point_far_off_pulls_with_a_hundred_and_no_more():
  """One component: dL/dmu = (mu - x) / sigma^2, dL/dsigma^ = 1 - that^2."""
  sigma, clip = 0.1, 100.0
  raw = jnp.zeros((1, 1, 7)).at[..., 4:6].set(np.log(sigma))
  point = np.array([[[0.5, 2.0, 1.0]]])
  actual = derivative(raw, point, np.ones((1, 1), bool), clip)[0, 0]
  pull = -point[0, 0, :2] / sigma**2
  spread = 1 - (point[0, 0, :2] / sigma) ** 2
  expected = np.clip([0.5, 0, *pull, *spread, -100], -clip, clip)
  np.testing.assert_allclose(actual, expected, rtol=1e-9)
  assert actual[3] == -clip


def test_the_clip_is_of_the_nats_and_not_of_what_is_made_of_them(setting):
  """Half the sum has its derivatives halved before the clip sees them."""
  outputs, targets, mask = setting
  free = derivative(outputs, targets, mask, None)
  actual = derivative(outputs, targets, mask, 0.1, weight=0.5)
  np.testing.assert_allclose(actual, np.clip(0.5 * free, -0.1, 0.1), rtol=1e-12)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_values_know_nothing_of_the_clip(setting, clip):
  outputs, targets, mask = setting
  one = losses.mixture_density_nll(outputs, targets, mask, output_clip=clip)
  other = losses.mixture_density_nll(outputs, targets, mask)
  jax.tree.map(np.testing.assert_array_equal, one, other)
