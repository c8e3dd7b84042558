"""The layer-normalised LSTM against its equations and Flax's normalisation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import cell as cells
from seqmodels.cells import layer_norm_lstm

FEATURES, WIDTH, BATCH = 5, 3, 2


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


def make(filled, peepholes):
  cell = cells.get("layer_norm_lstm", peepholes=peepholes)
  params = filled(
    lambda: cell.init_params(
      jax.random.key(0), WIDTH, FEATURES, param_dtype=jnp.float64
    )
  )
  carry = filled(
    lambda: cell.initial_carry((BATCH,), FEATURES, jnp.float64), seed=1
  )
  x = np.random.default_rng(2).normal(size=(BATCH, WIDTH))
  return params, carry, x


@pytest.mark.parametrize("peepholes", [False, True])
def test_a_step_is_its_equations(filled, peepholes):
  params, carry, x = make(filled, peepholes)

  def norm(v):
    return (v - v.mean()) / np.sqrt(v.var() + 1e-5)

  def sigma(v):
    return 1 / (1 + np.exp(-v))

  after, h = layer_norm_lstm.step(params, carry, jnp.asarray(x))
  p = params.peephole if peepholes else np.zeros((3, FEATURES))
  for row in range(BATCH):
    net = x[row] @ params.kernel + carry.h[row] @ params.recurrent_kernel
    gates = [
      scale * norm(part) + bias
      for part, scale, bias in zip(
        *(np.split(v, 4) for v in (net, params.scale, params.bias)),
        strict=True,
      )
    ]
    i = sigma(gates[0] + p[0] * carry.c[row])
    f = sigma(gates[1] + p[1] * carry.c[row])
    c = f * carry.c[row] + i * np.tanh(gates[2])
    o = sigma(gates[3] + p[2] * c)
    seen = params.cell_scale * norm(c) + params.cell_bias
    np.testing.assert_allclose(after.c[row], c, rtol=1e-12)
    np.testing.assert_allclose(h[row], o * np.tanh(seen), rtol=1e-12)


def test_the_normalisation_is_flaxs():
  v = np.random.default_rng(0).normal(2.0, 3.0, size=(4, 7))
  layer = nn.LayerNorm(
    epsilon=layer_norm_lstm.EPSILON, use_bias=False, use_scale=False,
    dtype=jnp.float64,
  )  # fmt: skip
  np.testing.assert_allclose(
    layer_norm_lstm.norm(jnp.asarray(v))[0], layer.apply({}, v), rtol=1e-9
  )


def test_the_scale_of_the_kernels_does_not_matter(filled):
  params, carry, x = make(filled, False)
  louder = params._replace(
    kernel=10 * params.kernel, recurrent_kernel=10 * params.recurrent_kernel
  )
  one, other = (
    layer_norm_lstm.step(p, carry, jnp.asarray(x))[1] for p in (params, louder)
  )
  np.testing.assert_allclose(one, other, rtol=1e-3)


def test_fresh_weights_normalise_to_the_plain_gates():
  params = layer_norm_lstm.init_params(jax.random.key(0), WIDTH, FEATURES)
  assert (params.scale == 1).all()
  assert (params.cell_scale == 1).all()
  assert (params.cell_bias == 0).all()
  forget = np.split(np.asarray(params.bias), 4)
  assert [part.max() for part in forget] == [0, 1, 0, 0]
  assert params.peephole is None
