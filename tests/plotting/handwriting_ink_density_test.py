"""Summed densities: against brute force, and none lost."""

import numpy as np
import pytest

from seqmodels.plotting import handwriting


def mixtures(steps, components=4, *, seed=0):
  """Positions of a pen, and mixtures of where it could go next."""
  rng = np.random.default_rng(seed)
  shape = (steps, components)
  return {
    "positions": np.cumsum(rng.normal((30.0, 0.0), 30.0, (steps, 2)), axis=0),
    "weights": rng.dirichlet(np.ones(components), steps),
    "means": rng.normal((30.0, 0.0), 30.0, (*shape, 2)),
    "deviations": np.exp(rng.normal(2, 0.5, (*shape, 2))),
    "correlations": np.tanh(rng.normal(size=shape)),
  }


def brute_force(said, corner, shape, cell):
  """Every component at the centre of every cell, blurred by half a cell."""
  rows, columns = (np.arange(count) + 0.5 for count in shape)
  at = np.stack(np.meshgrid(columns, rows), axis=-1) * cell + corner
  total = np.zeros(shape)
  for t, position in enumerate(said["positions"]):
    for m, weight in enumerate(said["weights"][t]):
      s, rho = said["deviations"][t, m], said["correlations"][t, m]
      covariance = np.outer(s, s) * [[1, rho], [rho, 1]]
      covariance += np.eye(2) * (cell / 2) ** 2
      away = at - position - said["means"][t, m]
      square = np.einsum(
        "ijk,kl,ijl->ij", away, np.linalg.inv(covariance), away
      )
      scale = 2 * np.pi * np.sqrt(np.linalg.det(covariance))
      total += weight * np.exp(-square / 2) / scale
  return total


@pytest.mark.parametrize("seed", range(3))
def test_the_grid_is_that_of_brute_force(seed):
  said = mixtures(6, seed=seed)
  place = {"corner": (-40.0, -90.0), "shape": (60, 90), "cell": 3.0}
  grid = handwriting.summed(**said, **place)
  expected = brute_force(said, **place)
  assert grid.shape == (60, 90)
  np.testing.assert_allclose(grid, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("cell", [1.0, 4.0, 25.0])
@pytest.mark.parametrize("deviation", [1e-6, 0.1, 3.0, 20.0])
@pytest.mark.parametrize("correlation", [0.0, 0.999, -1.0])
def test_no_density_is_lost_between_cells(cell, deviation, correlation):
  grid = handwriting.summed(
    np.array([[0.3, 0.7], [-2.1, 5.2]]),
    np.array([[0.25, 0.75]] * 2),
    np.array([[[1.0, 2.0], [-3.0, 0.4]]] * 2),
    np.full((2, 2, 2), deviation),
    np.full((2, 2), correlation),
    corner=(-250.0, -200.0),
    shape=(int(400 / cell), int(500 / cell)),
    cell=cell,
  )
  assert float(grid.sum()) * cell**2 == pytest.approx(2.0, rel=0.02)


def test_what_lies_beside_the_grid_is_left_out():
  grid = handwriting.summed(
    np.array([[1e6, 0.0], [0.0, -1e6], [-1e9, 1e9]]),
    np.ones((3, 1)),
    np.zeros((3, 1, 2)),
    np.ones((3, 1, 2)),
    np.zeros((3, 1)),
    corner=(0.0, 0.0),
    shape=(5, 7),
    cell=1.0,
  )
  assert not grid.any()
