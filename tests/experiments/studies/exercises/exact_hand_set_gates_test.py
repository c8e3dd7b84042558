"""Hand-set gates over long sequences, in values and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.common import memory_tasks
from experiments.studies.exercises import exact
from seqmodels.cells import gru, lstm, scan


@pytest.fixture(autouse=True, scope="module")
def doubles():
  with jax.enable_x64(True):
    yield


@pytest.fixture(scope="module")
def sums():
  segment = memory_tasks.AddingTask(length=500, batch=8, seed=1).segment(0)
  return segment._replace(inputs=segment.inputs.astype(np.float64))


def test_the_latch_depends_on_one_input_alone(sums):
  inputs = sums.inputs.copy()
  inputs[250:, :, 1] = 0  # one mark is left
  params = exact.latch(0.5)

  def outputs(inputs):
    carry = gru.initial_carry((8,), 1, jnp.float64)
    return scan.unroll(gru.step, params, carry, inputs)[1][..., 0]

  def last(inputs):
    return outputs(inputs)[-1]

  values = (inputs[..., 0] * inputs[..., 1]).sum(axis=0)
  np.testing.assert_allclose(last(inputs), np.tanh(0.5 * values), rtol=1e-14)
  # Nothing at all happens after the mark, which stands in the first half.
  kept = np.asarray(outputs(inputs)[250:])
  np.testing.assert_array_equal(kept, np.tile(kept[:1], (250, 1)))
  slopes = jax.grad(lambda xs: last(xs).sum())(jnp.asarray(inputs))[..., 0]
  np.testing.assert_array_equal(slopes != 0, inputs[..., 1] == 1)
  np.testing.assert_allclose(
    slopes.sum(axis=0), 0.5 / np.cosh(0.5 * values) ** 2
  )


@pytest.mark.parametrize("gain", [1e-1, 1e-2, 1e-3])
def test_the_adder_adds_to_the_order_of_its_gain(sums, gain):
  carry = lstm.initial_carry((8,), 1, jnp.float64)
  last, hs = scan.unroll(
    lstm.step, exact.adder(gain), carry, jnp.asarray(sums.inputs)
  )
  actual = np.asarray(hs[-1, :, 0]) / gain
  np.testing.assert_allclose(actual, sums.targets[-1], atol=3 * gain**2)
  np.testing.assert_allclose(hs[-1], np.tanh(last.c))
