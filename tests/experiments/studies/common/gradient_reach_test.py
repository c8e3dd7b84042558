"""Gradients by distance against powers of matrices and Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.common import gradient_reach
from seqmodels.cells import cell as cells
from seqmodels.cells import lstm

H, T, B = 5, 4, 2


@pytest.fixture(autouse=True, scope="module")
def doubles():
  with jax.enable_x64(True):
    yield


def linear_step(kernel, carry, x):
  after = carry @ kernel + x
  return after, after


def orthogonal(size, seed=0):
  random = np.random.default_rng(seed)
  return np.linalg.qr(random.normal(size=(size, size)))[0]


@pytest.mark.parametrize("rho", [0.9, 1.0, 1.1])
def test_a_scaled_rotation_multiplies_by_its_radius(rho):
  kernel = rho * orthogonal(20)
  vector = np.random.default_rng(1).normal(size=20)
  norms = gradient_reach.by_distance(
    linear_step,
    jnp.asarray(kernel),
    jnp.zeros((1, 20)),
    jnp.ones((100, 1, 20)),
    jnp.asarray(vector)[None],
  )[:, 0]
  want = np.linalg.norm(vector) * rho ** np.arange(101)
  np.testing.assert_allclose(norms, want, rtol=1e-11)


def test_any_matrix_goes_as_its_largest_eigenvalue_in_the_long_run():
  random = np.random.default_rng(2)
  kernel = np.diag([0.95, 0.5, -0.3]) + np.triu(random.normal(size=(3, 3)), 1)
  norms = gradient_reach.by_distance(
    linear_step,
    jnp.asarray(kernel),
    jnp.zeros((1, 3)),
    jnp.ones((200, 1, 3)),
    jnp.asarray(random.normal(size=(1, 3))),
  )[:, 0]
  assert (norms[200] / norms[100]) ** (1 / 100) == pytest.approx(0.95)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_the_norms_are_those_of_the_jacobians(name):
  cell = cells.get(name)
  random = np.random.default_rng(3)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(0.5 * random.normal(size=leaf.shape)),
    jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, H)),
  )
  carry = cell.initial_carry((B,), H, jnp.float64)
  xs = jnp.asarray(random.normal(size=(T, B, 3)))
  vector = jnp.asarray(random.normal(size=H))
  actual = gradient_reach.by_distance(
    cell.step,
    params,
    carry,
    xs,
    gradient_reach.direction(carry, vector),
  )

  def ahead(start, inputs):
    for x in inputs:
      start, _ = cell.step(params, start, x)
    return jnp.sum(start.h @ vector)

  @jax.jit
  def by_hand(start):
    slopes = []
    for place in range(T + 1):
      slopes.append(jax.grad(ahead)(start, xs[place:]))
      if place < T:
        start, _ = cell.step(params, start, xs[place])
    return jax.tree.map(
      lambda *leaves: jnp.linalg.norm(jnp.stack(leaves[::-1]), axis=-1), *slopes
    )

  for have, want in zip(actual, by_hand(carry), strict=True):
    np.testing.assert_allclose(have, want, atol=1e-12)


def test_the_cell_s_own_path_decays_with_the_forget_gate():
  """With all weights 0 the cell's derivative is sigma(bias) a step."""
  for bias in (0.0, 1.0, 5.0):
    cell = cells.get("lstm")
    held = np.zeros((4, H))
    held[1] = bias  # the gates are i, f, g, o
    params = lstm.LSTMParams(
      jnp.zeros((3, 4 * H)),
      jnp.zeros((H, 4 * H)),
      jnp.asarray(held.ravel()),
      None,
    )
    carry = cell.initial_carry((1,), H, jnp.float64)
    actual = gradient_reach.by_distance(
      cell.step,
      params,
      carry,
      jnp.ones((T, 1, 3)),
      gradient_reach.direction(carry, jnp.ones(H), field="c"),
    )
    factors = actual.c[1:, 0] / actual.c[:-1, 0]
    np.testing.assert_allclose(factors, 1 / (1 + np.exp(-bias)), rtol=1e-6)


def test_the_whole_carry_is_the_root_of_the_squares():
  cell = cells.get("lstm")
  random = np.random.default_rng(4)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(random.normal(size=leaf.shape)),
    jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, H)),
  )
  carry = cell.initial_carry((B,), H, jnp.float64)
  xs = jnp.asarray(random.normal(size=(T, B, 3)))
  direction = gradient_reach.direction(carry, jnp.ones(H))
  norms = gradient_reach.by_distance(cell.step, params, carry, xs, direction)
  h, c = map(np.asarray, norms)
  actual = gradient_reach.mean_norms(cell, params, xs, jnp.ones(H))
  # The geometric mean over the two rows.
  want = np.sqrt(np.prod(np.hypot(h, c), axis=1))
  np.testing.assert_allclose(actual, want)
