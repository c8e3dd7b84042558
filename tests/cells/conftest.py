"""Fixtures of the tests of the cells."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest


@pytest.fixture(scope="session")
def filled() -> Callable[..., Any]:
  """Normal numbers in the shapes of what a function would return.

  `filled(lambda: cell.init_params(key, 3, 4), seed)`: no weight is zero, where
  a forgotten term would not show, and nothing is compiled.
  """

  def fill(make: Callable[[], Any], seed: int = 0, scale: float = 0.5) -> Any:
    random = np.random.default_rng(seed)
    return jax.tree.map(
      lambda leaf: (scale * random.normal(size=leaf.shape)).astype(leaf.dtype),
      jax.eval_shape(make),
    )

  return fill
