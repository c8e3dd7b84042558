"""Noise on weights: its size, its independence, and how it is switched off."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.regularization import weight_noise

PARAMS = {"a": jnp.full((200, 100), 2.0), "b": {"c": jnp.zeros(20_000)}}


def test_every_weight_gets_noise_of_the_stated_deviation():
  noisy = weight_noise.perturb(PARAMS, jax.random.key(1), 0.075)
  drawn = [
    np.asarray(after - before).ravel()
    for before, after in zip(
      jax.tree.leaves(PARAMS), jax.tree.leaves(noisy), strict=True
    )
  ]
  for noise in drawn:
    assert abs(noise.mean()) < 4 * 0.075 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.075, rel=0.03)
    assert np.mean(np.abs(noise) < 0.075) == pytest.approx(0.6827, abs=0.02)
  assert abs(np.corrcoef(*drawn)[0, 1]) < 0.03  # leaves draw independently


def test_a_key_decides_the_noise():
  one, same, other = (
    weight_noise.perturb(PARAMS, jax.random.key(seed), 0.1)
    for seed in (1, 1, 2)
  )
  assert jax.tree.all(jax.tree.map(jnp.array_equal, one, same))
  assert not jnp.any(one["a"] == other["a"])


def test_no_deviation_gives_the_weights_themselves():
  assert weight_noise.perturb(PARAMS, jax.random.key(0), 0.0) is PARAMS


@pytest.mark.parametrize("deviation", [-0.1, float("nan"), float("inf")])
def test_what_is_no_deviation_is_refused(deviation):
  with pytest.raises(errors.UserError, match="must be a finite number"):
    weight_noise.perturb(PARAMS, jax.random.key(0), deviation)
