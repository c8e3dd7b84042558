"""Predictive densities of many steps, summed on one grid."""

import math

import numpy as np

from seqmodels import errors


def summed(
  positions: np.ndarray,
  weights: np.ndarray,
  means: np.ndarray,
  deviations: np.ndarray,
  correlations: np.ndarray,
  *,
  corner: tuple[float, float],
  shape: tuple[int, int],
  cell: float,
) -> np.ndarray:
  """Densities of the next point, summed over the steps, on a grid of cells.

  Each component is blurred by half a cell, so that none falls between the
  centres of cells, and is evaluated only where it is not negligible: within
  five deviations. Memory is that of the grid.

  Args:
    positions: `[T, 2]` of the pen before each step.
    weights: `[T, M]`; components below 1e-4 are left out.
    means: `[T, M, 2]`, relative to the positions.
    deviations: `[T, M, 2]`.
    correlations: `[T, M]`.
    corner: least x and least y of the grid.
    shape: its rows, along y, and its columns, along x.
    cell: the side of a cell, in the unit of all of these.

  Returns:
    Float32 `shape`: points per area; its sum, times the area of a cell, is T
    where the grid holds everything.

  Raises:
    ValueError: shapes that do not agree.
    errors.UserError: a number that is not finite.

  >>> grid = summed(np.zeros((1, 2)), np.ones((1, 1)), np.zeros((1, 1, 2)),
  ...               np.ones((1, 1, 2)), np.zeros((1, 1)),
  ...               corner=(-6.0, -6.0), shape=(24, 24), cell=0.5)
  >>> round(float(grid.sum()) * 0.25, 4)
  1.0
  """
  parts = [
    np.asarray(part, np.float64)
    for part in (positions, weights, means, deviations, correlations)
  ]
  places, shares, centres, spreads, ties = parts
  pairs = (*shares.shape, 2)
  if (
    shares.ndim != 2
    or places.shape != (len(shares), 2)
    or centres.shape != pairs
    or spreads.shape != pairs
    or ties.shape != shares.shape
  ):
    shapes = ", ".join(str(part.shape) for part in parts)
    raise ValueError(f"{shapes} are not the shapes of positions and a mixture")
  if not all(np.isfinite(part).all() for part in parts):
    raise errors.UserError(
      "a mixture to draw has numbers that are not finite; draw that of a "
      "network from before it diverged"
    )
  step, component = np.nonzero(shares >= 1e-4)
  # In units of cells, from the middle of the first.
  x, y = (places[step] + centres[step, component] - corner).T / cell - 0.5
  blurred = (spreads[step, component] / cell) ** 2 + 0.25
  both = ties[step, component] * spreads[step, component].prod(-1) / cell**2
  variance_x, variance_y = blurred.T
  left = variance_x * variance_y - both**2
  height = shares[step, component] / (2 * np.pi * np.sqrt(left) * cell**2)
  # Minus half the inverse of the covariance.
  xx, yy = -0.5 * variance_y / left, -0.5 * variance_x / left
  xy = both / left
  reach = 5.0 * np.sqrt(blurred)
  grid = np.zeros(shape, np.float32)
  for k in range(len(step)):
    columns = _cells(x[k], reach[k, 0], shape[1])
    rows = _cells(y[k], reach[k, 1], shape[0])
    across = columns - np.float32(x[k])
    down = (rows - np.float32(y[k]))[:, None]
    exponent = down * (np.float32(xy[k]) * across)
    exponent += np.float32(xx[k]) * across**2
    exponent += np.float32(yy[k]) * down**2
    if exponent.size:
      grid[
        int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1
      ] += np.float32(height[k]) * np.exp(exponent)
  return grid


def _cells(centre: float, reach: float, count: int) -> np.ndarray:
  """The cells of one axis within reach of a centre, as float32 numbers."""
  first = min(max(math.ceil(centre - reach), 0), count)
  end = max(min(math.floor(centre + reach) + 1, count), first)
  return np.arange(first, end, dtype=np.float32)
