"""The description length against closed forms and finite differences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.regularization import weight_noise as noise


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


@pytest.fixture
def posterior():
  mean, log_variance = np.random.default_rng(3).normal(size=(2, 5))
  return noise.Posterior(
    *(
      {"a": jnp.array(row[:2]), "b": jnp.array(row[2:])}
      for row in (mean, log_variance - 2.0)
    )
  )


def flat(tree):
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def kl(mean, variance, m, v):
  """KL of N(mean, variance) from N(m, v), summed; the textbook's formula."""
  return np.sum(
    np.log(np.sqrt(v) / np.sqrt(variance))
    + (variance + (mean - m) ** 2) / (2 * v)
    - 0.5
  )


def test_complexity_is_the_divergence_from_the_best_prior(posterior):
  mean, variance = flat(posterior.mean), np.exp(flat(posterior.log_variance))
  actual = float(noise.complexity(posterior))
  given = noise.prior(posterior)
  assert actual == pytest.approx(
    kl(mean, variance, float(given.mean), float(given.variance)), rel=1e-12
  )
  # No prior nearby is cheaper.
  for m, v in itertools.product((-0.05, 0.0, 0.05), (0.9, 1.0, 1.1)):
    other = kl(mean, variance, given.mean + m, given.variance * v)
    assert other >= actual - 1e-12


def test_complexity_gradient_is_its_finite_difference(posterior):
  exact = flat(noise.complexity_gradient(posterior))
  leaves, structure = jax.tree.flatten(posterior)
  numeric = []
  for index, leaf in enumerate(leaves):
    for place in range(leaf.size):
      ends = []
      for step in (1e-6, -1e-6):
        moved = [*leaves]
        moved[index] = leaf.at[place].add(step)
        ends.append(
          float(noise.complexity(jax.tree.unflatten(structure, moved)))
        )
      numeric.append((ends[0] - ends[1]) / 2e-6)
  np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-8)


def test_complexity_gradient_is_what_autodiff_gives(posterior):
  by_jax = jax.grad(noise.complexity)(posterior)
  np.testing.assert_allclose(
    flat(noise.complexity_gradient(posterior)), flat(by_jax), rtol=1e-9
  )


@pytest.mark.parametrize("weight", [1.0, 0.1])
def test_linear_gaussian_case_has_the_gradient_of_its_closed_form(weight):
  """y = w x + unit noise: the expected error is known, so is its gradient.

      E_w[sum_n (y_n - w x_n)^2 / 2] = sum_n [(y_n - mu x_n)^2 + s^2 x_n^2] / 2

  Expectations over w are taken exactly, by quadrature; over y, as the square
  stands for the curvature under the model's own data, by the two points
  w x +- 1, whose mean and variance are the model's.
  """
  xs = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
  ys = np.array([0.3, -1.0, 2.0])
  mean, variance = np.array([0.7, -0.2]), np.array([0.09, 0.04])
  posterior = noise.Posterior(jnp.array(mean), jnp.log(jnp.array(variance)))

  def length(mean, log_variance):
    variance = np.exp(log_variance)
    error = np.sum((ys - xs @ mean) ** 2 + xs**2 @ variance) / 2
    m = mean.mean()
    v = np.mean(variance + (mean - m) ** 2)
    return error + weight * kl(mean, variance, m, v)

  nodes, weights = np.polynomial.hermite_e.hermegauss(7)
  weights = weights / weights.sum()
  actual = np.zeros((2, 2))
  for (a, p), (b, q) in itertools.product(
    zip(nodes, weights, strict=True), repeat=2
  ):
    draw = mean + np.sqrt(variance) * np.array([a, b])
    gradients = (xs @ draw - ys)[:, None] * xs  # one row a sequence
    for sign in (1.0, -1.0):
      squares = (sign * xs) ** 2  # of gradients on the model's own y
      part = noise.gradient(
        posterior, gradients.sum(0), squares.sum(0), share=weight
      )
      actual += p * q / 2 * np.array([part.mean, part.log_variance])

  at = (mean, np.log(variance))
  for kind, place in itertools.product(range(2), range(2)):
    ends = []
    for step in (1e-5, -1e-5):
      moved = [at[0].copy(), at[1].copy()]
      moved[kind][place] += step
      ends.append(length(*moved))
    numeric = (ends[0] - ends[1]) / 2e-5
    assert actual[kind, place] == pytest.approx(numeric, rel=1e-6), (
      kind,
      place,
    )


def test_minibatches_share_the_complexity(posterior):
  zeros = jax.tree.map(jnp.zeros_like, posterior.mean)
  parts = [
    noise.gradient(posterior, zeros, zeros, share=share)
    for share in (0.25, 0.75)
  ]
  np.testing.assert_allclose(
    flat(parts[0]) + flat(parts[1]), flat(noise.complexity_gradient(posterior))
  )


def test_samples_have_the_posteriors_moments():
  posterior = noise.Posterior(
    {"w": jnp.array([1.0, -2.0])}, {"w": jnp.log(jnp.array([0.25, 4.0]))}
  )
  keys = jax.random.split(jax.random.key(0), 20_000)
  draws = jax.vmap(lambda key: noise.sample(posterior, key)["w"])(keys)
  np.testing.assert_allclose(np.mean(draws, axis=0), [1.0, -2.0], atol=0.05)
  np.testing.assert_allclose(np.std(draws, axis=0), [0.5, 2.0], rtol=0.02)


@pytest.mark.parametrize("deviation", [0.0, -1.0])
def test_a_posterior_needs_a_width(deviation):
  with pytest.raises(errors.UserError, match="deviation"):
    noise.create({"w": jnp.zeros(2)}, deviation)
