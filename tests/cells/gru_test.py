"""The GRU against its equations, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import gru, scan

STEPS, WIDTH, FEATURES = 6, 3, 4


def sigma(x):
  return 1 / (1 + np.exp(-x))


def test_values_are_those_of_the_equations():
  random = np.random.default_rng(0)
  w = {g: random.normal(size=(WIDTH, FEATURES)) for g in "rzn"}
  u = {g: random.normal(size=(FEATURES, FEATURES)) for g in "rzn"}
  b = {g: random.normal(size=FEATURES) for g in "rzn"}
  c_n = random.normal(size=FEATURES)
  h = start = random.normal(size=FEATURES)
  xs = random.normal(size=(STEPS, WIDTH))
  expected = []
  for x in xs:
    r = sigma(x @ w["r"] + h @ u["r"] + b["r"])
    z = sigma(x @ w["z"] + h @ u["z"] + b["z"])
    n = np.tanh(x @ w["n"] + b["n"] + r * (h @ u["n"] + c_n))
    h = (1 - z) * n + z * h
    expected.append(h)
  with jax.enable_x64(True):
    params = gru.GRUParams(
      kernel=jnp.hstack([w[g] for g in "rzn"]),
      recurrent_kernel=jnp.hstack([u[g] for g in "rzn"]),
      bias=jnp.hstack([b[g] for g in "rzn"]),
      recurrent_bias=jnp.asarray(c_n),
    )
    carry = gru.GRUCarry(jnp.asarray(start[None]))
    for last, hs in (
      scan.unroll(gru.step, params, carry, jnp.asarray(xs[:, None])),
      gru.sequence(params, carry, jnp.asarray(xs[:, None])),
    ):
      np.testing.assert_allclose(hs[:, 0], expected, rtol=1e-12)
      np.testing.assert_allclose(last.h[0], expected[-1], rtol=1e-12)


@pytest.mark.parametrize(("c_n", "d_r"), [(1.0, 0.25), (100.0, 1.0)])
def test_each_gate_is_clipped_and_the_candidate_before_r_shares_it(c_n, d_r):
  # One unit, one step, every weight zero but b_n = -r c_n: all net inputs are
  # zero, r = z = 1/2 and n = 0. The loss is steep, so d_n and d_z are clipped
  # to 1; r passes half of d_n on to c_n, and gets d_n c_n r (1 - r) itself,
  # which is 1/4 for c_n = 1 and clipped for c_n = 100.
  params = gru.GRUParams(
    kernel=jnp.zeros((1, 3)),
    recurrent_kernel=jnp.zeros((1, 3)),
    bias=jnp.array([0.0, 0.0, -0.5 * c_n]),
    recurrent_bias=jnp.array([c_n]),
  )
  carry, x = gru.GRUCarry(h=jnp.full((1, 1), 2.0)), jnp.ones((1, 1))

  def fused(params, carry, x, **options):
    return gru.sequence(params, carry, x[None], **options)

  for run in (gru.step, fused):

    def loss(params, run=run):
      return 1e4 * jnp.sum(run(params, carry, x, gradient_clip=1.0)[0].h)

    gradient = jax.jit(jax.grad(loss))(params)
    np.testing.assert_allclose(gradient.bias, [d_r, 1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(gradient.recurrent_bias, [0.5], rtol=1e-6)


def test_each_initializer_fills_its_own_weights():
  fill = {
    f"{name}_init": jax.nn.initializers.constant(value)
    for value, name in enumerate(gru.GRUParams._fields)
  }
  params = gru.init_params(jax.random.key(0), 2, 3, **fill)
  for value, leaf in enumerate(params):
    assert (leaf == value).all()


def test_fresh_biases_are_zero_and_kernels_bounded():
  params = gru.init_params(jax.random.key(0), WIDTH, 16)
  assert not params.bias.any()
  assert not params.recurrent_bias.any()
  for leaf in (params.kernel, params.recurrent_kernel):
    assert 0.2 < np.abs(leaf).max() <= 0.25
