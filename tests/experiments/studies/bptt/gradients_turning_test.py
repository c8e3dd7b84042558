"""The angle of powers of a matrix against its bound and the arccosine."""

import numpy as np
import pytest

from experiments.studies.bptt import gradients


def test_the_angle_stays_under_its_bound():
  """n = 50, eigenvalues 1.1, 1 and below: the figures of the fact sheet."""
  random = np.random.default_rng(5)
  q = np.linalg.qr(random.normal(size=(50, 50)))[0]
  values = np.concatenate([[1.1], np.linspace(1.0, -1.0, 49)])
  matrix = q @ np.diag(values) @ q.T
  start = np.random.default_rng(6).normal(size=50)
  tangents, bounds, growth = gradients.turning(matrix, start, powers=60)
  assert np.all(tangents <= bounds * (1 + 1e-9))
  np.testing.assert_allclose(bounds[1:] / bounds[:-1], 1 / 1.1, rtol=1e-9)
  # The angle by arccosine, from powers taken in one go.
  for k in (0, 5, 20):
    image = np.linalg.matrix_power(matrix, k) @ start
    cosine = abs(q[:, 0] @ image) / np.linalg.norm(image)
    assert tangents[k] == pytest.approx(np.tan(np.arccos(cosine)))
    grown = np.linalg.norm(image) / np.linalg.norm(start) / 1.1**k
    assert growth[k] == pytest.approx(grown)


def test_a_leading_eigenvalue_below_zero_is_one_too():
  tangents, _, _ = gradients.turning(
    np.diag([1.0, -2.0]), np.array([1.0, 1.0]), powers=3
  )
  np.testing.assert_allclose(tangents, 0.5 ** np.arange(4))
