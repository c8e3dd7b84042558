"""The table of cells: names, options, and what is said of a wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells


@pytest.mark.parametrize("name", cells.CELLS)
def test_kernels_are_as_wide_as_there_are_gates(name):
  cell, features = cells.CELLS[name], 5
  params = jax.eval_shape(
    lambda: cell.init_params(jax.random.key(0), 3, features)
  )
  width = len(cell.gates) * features
  assert params.kernel.shape == (3, width)
  assert params.recurrent_kernel.shape == (features, width)
  assert params.bias.shape == (width,)
  assert cell.initial_carry((2,), features).h.shape == (2, features)


@pytest.mark.parametrize("name", cells.CELLS)
def test_every_cell_takes_the_same_initializers_and_dtype(name):
  ones = jax.nn.initializers.ones
  params = cells.CELLS[name].init_params(
    jax.random.key(0),
    2,
    3,
    kernel_init=ones,
    recurrent_kernel_init=ones,
    bias_init=ones,
    param_dtype=jnp.float16,
  )
  for leaf in (params.kernel, params.recurrent_kernel, params.bias):
    assert leaf.dtype == jnp.float16
    assert (leaf == 1).all()


def test_options_are_bound_and_the_same_cell_is_the_same_object():
  cell = cells.get("lstm", peepholes=False, forget_bias=3)
  params = cell.init_params(jax.random.key(0), 2, 1)
  assert params.peephole is None
  np.testing.assert_array_equal(params.bias, [0, 3, 0, 0])
  assert cells.get("lstm", peepholes=False, forget_bias=3) is cell
  assert cells.get("gru") is cells.CELLS["gru"]


def test_a_bound_on_the_cell_is_bound_to_step_and_sequence(filled):
  free, held = cells.get("lstm"), cells.get("lstm", cell_clip=0.1)
  assert held.init_params is free.init_params
  params, carry, xs = filled(
    lambda: (
      free.init_params(jax.random.key(0), 2, 3),
      free.initial_carry((1,), 3),
      jnp.zeros((4, 1, 2)),
    )
  )
  bound = 0.1
  for run in ("step", "sequence"):
    inputs = xs[0] if run == "step" else xs
    beyond, _ = getattr(free, run)(params, carry, inputs)
    within, _ = getattr(held, run)(params, carry, inputs)
    assert jnp.abs(beyond.c).max() > bound
    assert jnp.abs(within.c).max() == np.float32(bound)


def test_a_bound_of_0_is_none():
  assert cells.get("lstm", cell_clip=0.0).step.keywords == {"cell_clip": None}


def test_both_activations_of_the_elman_network_are_in_the_table(filled):
  make = cells.get("elman").init_params
  params = filled(lambda: make(jax.random.key(0), 2, 3))
  x = jnp.full((1, 2), 50.0)
  for name, squash in (("elman", jnp.tanh), ("elman_relu", jax.nn.relu)):
    cell = cells.get(name)
    _, h = cell.step(params, cell.initial_carry((1,), 3), x)
    want = squash(x @ params.kernel + params.bias[None])
    np.testing.assert_allclose(h, want, rtol=1e-5)


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    ("lstn", {}, r"'lstn'.*did you mean 'lstm'"),
    ("transformer", {}, r"known: elman, elman_relu, gru, layer_norm_lstm"),
    ("lstm", {"peephole": True}, r"'peephole'.*did you mean 'peepholes'"),
    ("gru", {"forget_bias": 1.0}, r"gru cell has no option 'forget_bias'"),
    ("gru", {"cell_clip": 3.0}, r"gru cell has no option 'cell_clip'"),
  ],
)
def test_a_wrong_name_gets_one_sentence(name, options, message):
  with pytest.raises(errors.UserError, match=message) as caught:
    cells.get(name, **options)
  assert "\n" not in str(caught.value)
