"""The input side of a layer: several inputs, ids, and what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import ops


def test_several_inputs_are_the_product_of_their_concatenation():
  random = np.random.default_rng(0)
  first, second = random.normal(size=(2, 5, 2, 3)).astype(np.float32)
  ids = np.array([[0, 3], [1, -1], [2, 2], [3, 0], [-1, 1]])
  kernel = random.normal(size=(3 + 4 + 3, 6)).astype(np.float32)
  bias = random.normal(size=6).astype(np.float32)
  hot = np.asarray(jax.nn.one_hot(ids, 4))
  want = np.concatenate([first, hot, second], -1) @ kernel + bias
  have = ops.project(
    jnp.asarray(kernel),
    (jnp.asarray(first), jnp.asarray(ids), jnp.asarray(second)),
    bias=jnp.asarray(bias),
  )
  np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


def test_two_id_inputs_take_the_rows_their_widths_say():
  kernel = jnp.arange(5.0)[:, None]
  ids = jnp.array([1])
  both = ops.project(kernel, (ids, ids), widths=(2, 3))
  assert float(both[0, 0]) == 1 + 3
  with pytest.raises(ValueError, match="widths"):
    ops.project(kernel, (ids, ids))


@pytest.mark.parametrize("width", [2, 4])
def test_inputs_of_another_width_than_the_kernel_are_refused(width):
  with pytest.raises((ValueError, TypeError)):
    ops.project(jnp.ones((3, 1)), jnp.ones((5, width)))


def test_no_inputs_are_refused():
  with pytest.raises(ValueError, match="0 wide"):
    ops.project(jnp.ones((3, 1)), ())
