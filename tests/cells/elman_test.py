"""The Elman network against its equation, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import elman, scan

STEPS, WIDTH, FEATURES = 6, 3, 4


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_values_are_those_of_the_equation(activation):
  random = np.random.default_rng(0)
  w = random.normal(size=(WIDTH, FEATURES))
  u = random.normal(size=(FEATURES, FEATURES))
  b, h = random.normal(size=(2, FEATURES))
  xs, start = random.normal(size=(STEPS, WIDTH)), h
  squash = np.tanh if activation == "tanh" else lambda x: np.maximum(x, 0)
  expected = []
  for x in xs:
    h = squash(x @ w + h @ u + b)
    expected.append(h)
  with jax.enable_x64(True):
    params = elman.ElmanParams(*map(jnp.asarray, (w, u, b)))
    carry = elman.ElmanCarry(jnp.asarray(start[None]))
    inputs = jnp.asarray(xs[:, None])

    def step(*arguments):
      return elman.step(*arguments, activation=activation)

    for last, hs in (
      scan.unroll(step, params, carry, inputs),
      elman.sequence(params, carry, inputs, activation=activation),
    ):
      np.testing.assert_allclose(hs[:, 0], expected, rtol=1e-12)
      np.testing.assert_allclose(last.h[0], expected[-1], rtol=1e-12)


def test_an_unknown_activation_is_named_with_the_closest(filled):
  params = filled(lambda: elman.init_params(jax.random.key(0), 2, 3))
  carry = elman.initial_carry((1,), 3)
  for run, x in (
    (elman.step, jnp.ones((1, 2))),
    (elman.sequence, jnp.ones((1, 1, 2))),
  ):
    with pytest.raises(errors.UserError, match=r"'rely'.*'relu'"):
      run(params, carry, x, activation="rely")


def test_each_initializer_fills_its_own_weights():
  fill = {
    f"{name}_init": jax.nn.initializers.constant(value)
    for value, name in enumerate(elman.ElmanParams._fields)
  }
  params = elman.init_params(jax.random.key(0), 2, 3, **fill)
  for value, leaf in enumerate(params):
    assert (leaf == value).all()
