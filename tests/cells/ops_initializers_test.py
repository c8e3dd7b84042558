"""Initial weights: bounds, spread and the forget gate's block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import ops


def test_uniform_fills_its_interval():
  values = np.asarray(ops.uniform(0.2)(jax.random.key(0), (10_000,)))
  assert np.abs(values).max() <= 0.2
  assert abs(values.mean()) < 0.01
  np.testing.assert_allclose(values.std(), 0.2 / np.sqrt(3), rtol=0.02)


def test_recurrent_uniform_narrows_with_the_width():
  init = ops.recurrent_uniform(100)
  values = init(jax.random.key(0), (100, 400), jnp.bfloat16)
  assert values.dtype == jnp.bfloat16
  assert 0.099 < np.abs(np.asarray(values, np.float32)).max() <= 0.1001


@pytest.mark.parametrize(("gate", "gates"), [(1, 4), (0, 3), (2, 3)])
def test_forget_bias_fills_one_block(gate, gates):
  init = ops.forget_bias(1.5, gate=gate, gates=gates)
  blocks = np.split(np.asarray(init(None, (gates * 4,))), gates)
  for index, block in enumerate(blocks):
    assert (block == (1.5 if index == gate else 0.0)).all()


def test_each_gate_of_an_orthogonal_kernel_is_orthogonal_and_its_own():
  kernel = ops.orthogonal_gates(jax.random.key(0), (20, 60))
  gates = np.split(np.asarray(kernel), 3, axis=1)
  for gate in gates:
    np.testing.assert_allclose(gate @ gate.T, np.eye(20), atol=1e-5)
  assert np.abs(gates[0] - gates[1]).max() > 0.1


@pytest.mark.parametrize("name", cells.CELLS)
def test_every_cell_takes_an_initializer_of_recurrent_kernels(name):
  def kernel(**options):
    init = cells.get(name, **options).init_params
    return np.asarray(init(jax.random.key(0), 2, 5).recurrent_kernel)

  np.testing.assert_array_equal(kernel(recurrent_init="uniform"), kernel())
  gate = kernel(recurrent_init="orthogonal")[:, -5:]
  np.testing.assert_allclose(gate @ gate.T, np.eye(5), atol=1e-5)
  with pytest.raises(errors.UserError, match="did you mean 'orthogonal'"):
    cells.get(name, recurrent_init="orthogonl")


def test_normal_has_the_deviation_asked_for():
  values = np.asarray(ops.normal(0.3)(jax.random.key(0), (10_000,)))
  assert abs(values.mean()) < 0.02
  np.testing.assert_allclose(values.std(), 0.3, rtol=0.03)


def test_rows_that_meet_one_hot_vectors_are_drawn_apart_from_the_dense_ones():
  symbols, features = 40, 400
  init = ops.one_hot_rows(symbols, features)
  kernel = np.asarray(init(jax.random.key(0), (100, features)))
  assert kernel.shape == (100, features)
  np.testing.assert_allclose(kernel[:symbols].std(), 0.1, rtol=0.03)
  assert np.abs(kernel[symbols:]).max() <= 1 / np.sqrt(features)
  assert len(np.unique(kernel)) > 0.9 * kernel.size
