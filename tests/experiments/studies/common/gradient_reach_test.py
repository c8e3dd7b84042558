"""Gradients by distance against powers of matrices and Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.common import gradient_reach
from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import lstm

H, T, B = 5, 4, 2
by_distance = jax.jit(gradient_reach.by_distance, static_argnums=0)


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
  norms = by_distance(
    linear_step,
    jnp.asarray(kernel),
    jnp.zeros((1, 20)),
    jnp.ones((100, 1, 20)),
    jnp.asarray(vector)[None],
  )[:, 0]
  want = np.linalg.norm(vector) * rho ** np.arange(101)
  np.testing.assert_allclose(norms, want, rtol=1e-11)
  closed = gradient_reach.linear(kernel, vector, distance=100)
  np.testing.assert_allclose(norms, closed, rtol=1e-11)
  assert gradient_reach.per_step(norms) == pytest.approx(rho, abs=1e-12)
  assert gradient_reach.spectral_radius(kernel) == pytest.approx(rho)


def test_any_matrix_goes_as_its_largest_eigenvalue_in_the_long_run():
  random = np.random.default_rng(2)
  kernel = np.diag([0.95, 0.5, -0.3]) + np.triu(random.normal(size=(3, 3)), 1)
  norms = gradient_reach.linear(kernel, random.normal(size=3), distance=200)
  assert gradient_reach.per_step(norms, first=100) == pytest.approx(0.95)
  assert gradient_reach.spectral_radius(kernel) == pytest.approx(0.95)


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
  found = by_distance(
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

  for have, want in zip(found, by_hand(carry), strict=True):
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
    found = by_distance(
      cell.step,
      params,
      carry,
      jnp.ones((T, 1, 3)),
      gradient_reach.direction(carry, jnp.ones(H), field="c"),
    )
    factor = gradient_reach.per_step(np.asarray(found.c[:, 0]))
    assert factor == pytest.approx(1 / (1 + np.exp(-bias)), rel=1e-6)


def test_the_whole_carry_is_the_root_of_the_squares():
  one, other = np.random.default_rng(4).random((2, 7, 3))
  want = np.sqrt(one**2 + other**2)
  np.testing.assert_allclose(gradient_reach.together((one, other)), want)


def test_the_angle_stays_under_its_bound():
  """n = 50, eigenvalues 1.1, 1 and below: the figures of the fact sheet."""
  q = orthogonal(50, seed=5)
  values = np.concatenate([[1.1], np.linspace(1.0, -1.0, 49)])
  matrix = q @ np.diag(values) @ q.T
  start = np.random.default_rng(6).normal(size=50)
  found = gradient_reach.turning(matrix, start, powers=60)
  assert np.all(found.tangents <= found.bounds * (1 + 1e-9))
  np.testing.assert_allclose(
    found.bounds[1:] / found.bounds[:-1], 1 / 1.1, rtol=1e-9
  )
  # The angle by arccosine, from powers taken in one go.
  for k in (0, 5, 20):
    image = np.linalg.matrix_power(matrix, k) @ start
    cosine = abs(q[:, 0] @ image) / np.linalg.norm(image)
    assert found.tangents[k] == pytest.approx(np.tan(np.arccos(cosine)))
    grown = np.linalg.norm(image) / np.linalg.norm(start) / 1.1**k
    assert found.growth[k] == pytest.approx(grown)


def test_a_leading_eigenvalue_below_zero_is_one_too():
  found = gradient_reach.turning(
    np.diag([1.0, -2.0]), np.array([1.0, 1.0]), powers=3
  )
  np.testing.assert_allclose(found.tangents, 0.5 ** np.arange(4))


def test_what_has_no_meaning_is_refused():
  with pytest.raises(errors.UserError, match="not symmetric"):
    gradient_reach.turning(np.array([[1.0, 2.0], [0.0, 1.0]]), [1, 1], powers=1)
  with pytest.raises(errors.UserError, match="not symmetric"):
    gradient_reach.turning(np.ones((2, 3)), [1, 1, 1], powers=1)
  carry = cells.get("gru").initial_carry((1,), H)
  with pytest.raises(errors.UserError, match="no field 'c'"):
    gradient_reach.direction(carry, jnp.ones(H), field="c")
  for norms in ([1.0], [0.0, 0.0]):
    with pytest.raises(errors.UserError, match="at least two"):
      gradient_reach.per_step(np.array(norms))
