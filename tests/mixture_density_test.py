"""The mixture against brute force, closed forms and its own draws."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from seqmodels import mixture_density as mixtures

COUNT = 4


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


def outputs(shape=(), scale=1.0, seed=0):
  random = np.random.default_rng(seed)
  return scale * random.normal(size=(*shape, mixtures.outputs(COUNT)))


def brute_force(raw, point):
  """-log Pr of equations (18) to (25), in plain floats."""
  e = 1 / (1 + np.exp(raw[0]))
  pi, mx, my, sx, sy, r = np.split(raw[1:], 6)
  pi = np.exp(pi) / np.exp(pi).sum()
  sx, sy, rho = np.exp(sx), np.exp(sy), np.tanh(r)
  dx, dy = (point[0] - mx) / sx, (point[1] - my) / sy
  z = dx**2 + dy**2 - 2 * rho * dx * dy
  density = np.exp(-z / (2 * (1 - rho**2)))
  density /= 2 * np.pi * sx * sy * np.sqrt(1 - rho**2)
  return -np.log((pi * density).sum()) - np.log(e if point[2] else 1 - e)


@pytest.mark.parametrize("lifted", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_nats_are_those_of_the_equations(float64, seed, lifted):
  raw = outputs(seed=seed)
  point = np.array([*np.random.default_rng(seed + 9).normal(size=2), lifted])
  actual = mixtures.nats(mixtures.mixture(jnp.array(raw)), jnp.array(point))
  np.testing.assert_allclose(actual, brute_force(raw, point), rtol=1e-10)


def test_the_density_integrates_to_one(float64):
  """Over the plane, and over the pen's being down or lifted."""
  raw = outputs(scale=0.5)
  side = np.linspace(-12, 12, 481)
  grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
  total = 0.0
  for lifted in (0.0, 1.0):
    points = np.concatenate([grid, np.full((len(grid), 1), lifted)], axis=1)
    many = jnp.broadcast_to(jnp.array(raw), (len(grid), len(raw)))
    nats = mixtures.nats(mixtures.mixture(many), jnp.array(points))
    total += float(jnp.exp(-nats).sum()) * (side[1] - side[0]) ** 2
  np.testing.assert_allclose(total, 1.0, rtol=1e-6)


@pytest.mark.parametrize("lifted", [0.0, 1.0])
def test_derivatives_are_the_closed_forms(float64, lifted):
  """Equations (27) to (31)."""
  raw = outputs(seed=3)
  x = np.array([0.4, -0.7, lifted])
  actual = jax.grad(
    lambda raw: mixtures.nats(mixtures.mixture(raw), jnp.array(x))
  )(jnp.array(raw))
  pi, mx, my, sx, sy, r = np.split(raw[1:], 6)
  pi = np.exp(pi) / np.exp(pi).sum()
  sx, sy, rho = np.exp(sx), np.exp(sy), np.tanh(r)
  d1, d2 = (x[0] - mx) / sx, (x[1] - my) / sy
  c = 1 / (1 - rho**2)
  z = d1**2 + d2**2 - 2 * rho * d1 * d2
  density = np.exp(-z * c / 2) / (2 * np.pi * sx * sy) * np.sqrt(c)
  g = pi * density / (pi * density).sum()
  expected = [
    [lifted - 1 / (1 + np.exp(raw[0]))],
    pi - g,
    -g * c / sx * (d1 - rho * d2),
    -g * c / sy * (d2 - rho * d1),
    -g * (c * d1 * (d1 - rho * d2) - 1),
    -g * (c * d2 * (d2 - rho * d1) - 1),
    -g * (d1 * d2 + rho * (1 - c * z)),
  ]
  np.testing.assert_allclose(actual, np.concatenate(expected), rtol=1e-9)


def test_derivatives_are_those_of_finite_differences(float64):
  raw, point = outputs(seed=5), jnp.array([0.2, 0.3, 1.0])

  def loss(raw):
    return mixtures.nats(mixtures.mixture(raw), point)

  jax.test_util.check_grads(
    loss, (jnp.array(raw),), order=1, modes=("rev",), rtol=1e-6
  )


@pytest.mark.parametrize("size", [1e1, 1e2, 1e4])
def test_float32_stays_finite_whatever_the_outputs(size):
  raw = jnp.array(outputs((50,), size), jnp.float32)
  points = jnp.array(np.random.default_rng(1).normal(size=(50, 3)), jnp.float32)

  def total(raw):
    return jnp.sum(mixtures.nats(mixtures.mixture(raw), points))

  assert np.isfinite(mixtures.nats(mixtures.mixture(raw), points)).all()
  assert np.isfinite(jax.grad(total)(raw)).all()
  drawn = mixtures.sample(jax.random.key(0), mixtures.mixture(raw))
  assert np.isfinite(drawn).all()


def test_float32_is_near_float64(float64):
  raw = outputs((200,), 2.0, seed=7)
  points = np.random.default_rng(2).normal(size=(200, 3))
  exact = mixtures.nats(mixtures.mixture(jnp.array(raw)), jnp.array(points))
  rough = mixtures.nats(
    mixtures.mixture(jnp.array(raw, jnp.float32)),
    jnp.array(points, jnp.float32),
  )
  assert rough.dtype == jnp.float32
  np.testing.assert_allclose(rough, exact, rtol=2e-4, atol=2e-4)


def test_a_scale_at_its_bound_can_come_back():
  low = mixtures.LOG_DEVIATION[0]
  raw = jnp.zeros(7).at[4].set(low - 3.0)

  def loss(raw, x):
    point = jnp.array([x, 0.0, 0.0])
    return mixtures.nats(mixtures.mixture(raw), point)

  # Far from the mean, a wider component is wanted; its derivative is that at
  # the bound.
  at_bound = raw.at[4].set(low)
  for x in (1e-3, 0.0):
    assert jax.grad(loss)(raw, x)[4] == jax.grad(loss)(at_bound, x)[4]
  assert jax.grad(loss)(raw, 1e-2)[4] < 0 < jax.grad(loss)(raw, 0.0)[4]


def test_bias_makes_the_mode():
  """Equations (61) and (62): 0 changes nothing, much leaves the likeliest."""
  raw = jnp.array(outputs((3,), seed=11), jnp.float32)
  plain, unbiased = mixtures.mixture(raw), mixtures.mixture(raw, bias=0.0)
  jax.tree.map(np.testing.assert_array_equal, plain, unbiased)
  one = mixtures.mixture(raw, bias=1.0)
  logits = np.asarray(raw)[:, 1 : 1 + COUNT]
  expected = np.exp(2.0 * logits)
  np.testing.assert_allclose(
    one.weights, expected / expected.sum(-1, keepdims=True), rtol=1e-5
  )
  np.testing.assert_allclose(
    one.log_deviation_x, plain.log_deviation_x - 1.0, rtol=1e-5
  )
  np.testing.assert_array_equal(one.lift, plain.lift)
  sharp = mixtures.mixture(raw, bias=50.0)
  drawn = mixtures.sample(jax.random.key(3), sharp)
  np.testing.assert_allclose(drawn[:, :2], plain.likeliest_mean(), atol=1e-5)


def test_bias_may_differ_from_row_to_row():
  raw = jnp.array(outputs((2,), seed=11), jnp.float32)
  both = mixtures.mixture(raw, bias=jnp.array([[0.0], [2.0]]))
  alone = mixtures.mixture(raw[1:], bias=2.0)
  np.testing.assert_allclose(both.weights[1], alone.weights[0], rtol=1e-6)


def test_draws_have_the_moments_of_the_mixture():
  raw = jnp.array(outputs(seed=13, scale=0.7), jnp.float32)
  actual = mixtures.mixture(raw)
  many = 200_000
  drawn = np.asarray(
    mixtures.sample(
      jax.random.key(5),
      jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (many, *leaf.shape)), actual
      ),
    ),
    np.float64,
  )
  weights = np.asarray(actual.weights, np.float64)
  mean = np.stack([actual.mean_x, actual.mean_y], -1).astype(np.float64)
  sx, sy = np.exp(actual.log_deviation_x), np.exp(actual.log_deviation_y)
  cross = np.asarray(actual.correlation) * sx * sy
  second = np.stack([sx**2, cross, cross, sy**2], -1).reshape(-1, 2, 2)
  second = second + mean[:, :, None] * mean[:, None, :]
  centre = weights @ mean
  spread = np.einsum("m,mij->ij", weights, second) - np.outer(centre, centre)
  np.testing.assert_allclose(drawn[:, :2].mean(0), centre, atol=0.02)
  np.testing.assert_allclose(
    np.cov(drawn[:, :2].T), spread, rtol=0.03, atol=0.02
  )
  np.testing.assert_allclose(drawn[:, 2].mean(), actual.lift, atol=0.01)
  np.testing.assert_allclose(actual.mean(), centre, rtol=1e-5)


def test_widths_that_are_no_mixture_are_refused():
  with pytest.raises(ValueError, match="no 6 M"):
    mixtures.mixture(jnp.zeros(120))
