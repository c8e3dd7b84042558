"""The clip of derivatives: identity forward, bound backward."""

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import ops


def test_values_pass_and_derivatives_stop_at_the_limit():
  x = jnp.array([-30.0, 0.0, 2.0])
  cotangent = jnp.array([-5.0, 0.25, 5.0])
  y, pullback = jax.vjp(lambda x: ops.clip_gradient(x, 1.0), x)
  np.testing.assert_array_equal(y, x)
  np.testing.assert_array_equal(pullback(cotangent)[0], [-1.0, 0.25, 1.0])
  np.testing.assert_array_equal(ops.clip(cotangent, 1.0), [-1.0, 0.25, 1.0])


def test_without_a_limit_nothing_is_touched():
  x = jnp.array([-30.0, 2.0])
  assert ops.clip_gradient(x, None) is x
  assert ops.clip(x, None) is x


def test_the_clip_acts_on_each_element_and_not_on_their_sum():
  # Two paths of derivative 0.8 each through their own clip: nothing is cut.
  def loss(x):
    return 0.8 * sum(ops.clip_gradient(x, 1.0) for _ in range(2))

  np.testing.assert_allclose(jax.grad(loss)(1.0), 1.6, rtol=1e-6)
