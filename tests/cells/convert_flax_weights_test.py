"""Our sequences against Flax's own cells under `nn.RNN`, weights converted."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import convert, elman, gru, lstm

STEPS, BATCH, WIDTH, FEATURES = 6, 3, 4, 5

# Flax's cell, our name for it, from Flax, to Flax.
PAIRS = {
  "LSTMCell": (
    nn.LSTMCell,
    "lstm",
    convert.lstm_from_flax,
    convert.lstm_to_flax,
  ),
  "OptimizedLSTMCell": (
    nn.OptimizedLSTMCell,
    "lstm",
    convert.lstm_from_flax,
    convert.lstm_to_flax,
  ),
  "GRUCell": (
    nn.GRUCell,
    "gru",
    convert.gru_from_flax,
    convert.gru_to_flax,
  ),
  "SimpleCell": (
    nn.SimpleCell,
    "elman",
    convert.elman_from_flax,
    convert.elman_to_flax,
  ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_are_those_of_flax(name, filled):
  make, ours, from_flax, _ = PAIRS[name]
  layer = nn.RNN(make(FEATURES), time_major=True, return_carry=True)
  cell = cells.get(ours)
  xs = filled(lambda: jnp.zeros((STEPS, BATCH, WIDTH)), 1)
  params = filled(lambda: layer.init(jax.random.key(0), xs)["params"])
  start = filled(lambda: cell.initial_carry((BATCH,), FEATURES), 2)
  weights = filled(lambda: jnp.zeros((STEPS, BATCH, FEATURES)), 3)

  def theirs(params, start, xs):
    carry = tuple(start) if len(start) > 1 else start[0]
    last, hs = layer.apply({"params": params}, xs, initial_carry=carry)
    return jnp.sum(weights * hs), (jax.tree.leaves(last), hs)

  def ours_on_their_weights(params, start, xs):
    last, hs = cell.sequence(from_flax(params["cell"]), start, xs)
    return jnp.sum(weights * hs), (jax.tree.leaves(last), hs)

  want, have = (
    jax.jit(jax.value_and_grad(run, argnums=(0, 1, 2), has_aux=True))(
      params, start, xs
    )
    for run in (theirs, ours_on_their_weights)
  )
  assert jax.tree.structure(have) == jax.tree.structure(want)
  for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
def test_a_round_trip_changes_nothing(name, filled):
  make, _, from_flax, to_flax = PAIRS[name]
  cell, x = make(FEATURES), jnp.zeros((1, WIDTH))

  def init():
    carry = cell.initialize_carry(jax.random.key(0), x.shape)
    return cell.init(jax.random.key(0), carry, x)["params"]

  params = filled(init)
  back = to_flax(from_flax(params))
  assert jax.tree.structure(back) == jax.tree.structure(params)
  for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
    np.testing.assert_array_equal(a, b)


def test_gates_keep_their_names():
  params = lstm.LSTMParams(
    kernel=np.arange(4.0).repeat(3)[None],
    recurrent_kernel=np.arange(4.0).repeat(3)[None].repeat(3, axis=0),
    bias=np.arange(4.0).repeat(3),
    peephole=None,
  )
  tree = convert.lstm_to_flax(params)
  for value, gate in enumerate("ifgo"):
    assert (tree[f"i{gate}"]["kernel"] == value).all()
    assert (tree[f"h{gate}"]["kernel"] == value).all()
    assert (tree[f"h{gate}"]["bias"] == value).all()


def test_peepholes_have_no_place_in_flax(filled):
  params = filled(lambda: lstm.init_params(jax.random.key(0), 2, 3))
  with pytest.raises(errors.UserError, match="peepholes"):
    convert.lstm_to_flax(params)


def test_everything_that_does_not_fit_is_named(filled):
  params = filled(lambda: gru.init_params(jax.random.key(0), 2, 3))
  tree = convert.gru_to_flax(params)
  del tree["hz"]
  tree["ir"]["bias"] = jnp.zeros(4)
  tree["extra"] = {"kernel": jnp.zeros(1)}
  with pytest.raises(errors.UserError) as caught:
    convert.gru_from_flax(tree)
  for note in (
    "GRUCell",
    "hz/kernel: missing",
    "ir/bias: expected float32[3], found float32[4]",
    "extra/kernel: unexpected",
  ):
    assert note in str(caught.value)


@pytest.mark.parametrize("params", [{}, {"ii": {}}, {"ii": 3.0}])
def test_a_tree_of_another_kind_is_refused_in_one_sentence(params):
  with pytest.raises(errors.UserError, match="no matrix ii/kernel"):
    convert.lstm_from_flax(params)


def test_another_cells_params_are_refused(filled):
  params = filled(lambda: elman.init_params(jax.random.key(0), 2, 3))
  tree = convert.elman_to_flax(params)
  with pytest.raises(errors.UserError, match="GRUCell"):
    convert.gru_from_flax(tree)
