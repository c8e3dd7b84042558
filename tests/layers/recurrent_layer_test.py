import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqmodels.cells import cell as cells
from seqmodels.cells import lstm, scan
from seqmodels.layers import recurrent


@pytest.fixture(scope="module")
def xs():
  return jax.random.normal(jax.random.key(0), (2, 5, 3))


def oracle(variables, xs, **schedule):
  params = lstm.LSTMParams(**variables["params"])
  carry = lstm.initial_carry((xs.shape[0],), 4)
  carry, ys = scan.unroll(
    lstm.step, params, carry, jnp.swapaxes(xs, 0, 1), **schedule
  )
  return carry, jnp.swapaxes(ys, 0, 1)


def test_it_has_the_signature_of_flaxs_rnn(xs):
  layer = recurrent.RecurrentLayer(features=4)
  lengths = jnp.array([5, 2])
  variables = layer.init(jax.random.key(1), xs)
  carry, ys = layer.apply(
    variables, xs, seq_lengths=lengths, return_carry=True, reverse=True
  )
  expected, outputs = oracle(variables, xs, lengths=lengths, reverse=True)
  np.testing.assert_allclose(ys, outputs, atol=1e-6)
  np.testing.assert_allclose(carry.c, expected.c, atol=1e-6)
  plain = layer.apply(variables, xs)
  assert plain.shape == (2, 5, 4)


@pytest.mark.parametrize("lengths", [None, (5, 2)])
def test_a_reversed_run_may_hand_out_its_steps_as_made(xs, lengths):
  lengths = None if lengths is None else jnp.array(lengths)
  layer = recurrent.RecurrentLayer(features=4, reverse=True)
  variables = layer.init(jax.random.key(1), xs)
  ys = layer.apply(variables, xs, seq_lengths=lengths, keep_order=False)
  kept = layer.apply(variables, xs, seq_lengths=lengths)
  for row, length in enumerate((5, 5) if lengths is None else (5, 2)):
    np.testing.assert_array_equal(ys[row, :length], kept[row, :length][::-1])


def test_time_major_is_the_same_turned(xs):
  layer = recurrent.RecurrentLayer(features=4)
  variables = layer.init(jax.random.key(1), xs)
  batch_major = layer.apply(variables, xs)
  time_major = layer.apply(variables, jnp.swapaxes(xs, 0, 1), time_major=True)
  np.testing.assert_array_equal(jnp.swapaxes(time_major, 0, 1), batch_major)


def test_an_initial_carry_continues_a_stream(xs):
  layer = recurrent.RecurrentLayer(features=4, return_carry=True)
  variables = layer.init(jax.random.key(1), xs)
  carry, whole = layer.apply(variables, xs)
  middle, first = layer.apply(variables, xs[:, :2])
  last, second = layer.apply(variables, xs[:, 2:], initial_carry=middle)
  np.testing.assert_allclose(
    jnp.concatenate([first, second], axis=1), whole, atol=1e-6
  )
  np.testing.assert_allclose(last.c, carry.c, atol=1e-6)


def test_recomputing_changes_no_gradient(xs):
  def gradient(chunk):
    layer = recurrent.RecurrentLayer(features=4, chunk=chunk)
    variables = layer.init(jax.random.key(1), xs)
    return jax.grad(lambda v: jnp.sum(layer.apply(v, xs) ** 2))(variables)

  for a, b in zip(
    jax.tree.leaves(gradient(0)), jax.tree.leaves(gradient(2)), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_weights_carry_the_cells_names(xs):
  layer = recurrent.RecurrentLayer(features=4)
  names = set(layer.init(jax.random.key(1), xs)["params"])
  assert names == {"kernel", "recurrent_kernel", "bias", "peephole"}
  plain = recurrent.RecurrentLayer(
    features=4, cell=cells.get("lstm", peepholes=False)
  )
  assert "peephole" not in plain.init(jax.random.key(1), xs)["params"]


def test_rows_of_one_hot_inputs_start_at_the_scale_of_an_input():
  layer = recurrent.RecurrentLayer(features=64, in_features=40)
  ids = jnp.zeros((2, 3), int)
  params = layer.init(jax.random.key(0), ids)["params"]
  assert float(jnp.std(params["kernel"])) == pytest.approx(0.1, rel=0.05)
  both = layer.clone(in_features=40 + 8)
  dense = jnp.zeros((2, 3, 8))
  params = both.init(jax.random.key(0), (ids, dense))["params"]
  assert float(jnp.abs(params["kernel"][40:]).max()) <= 1 / 8
  assert float(jnp.std(params["kernel"][:40])) == pytest.approx(0.1, rel=0.05)


def test_ids_without_a_width_are_refused():
  layer = recurrent.RecurrentLayer(features=4)
  with pytest.raises(ValueError, match="in_features"):
    layer.init(jax.random.key(0), jnp.zeros((2, 3), int))


def test_it_is_at_home_in_bidirectional(xs):
  both = nn.Bidirectional(
    recurrent.RecurrentLayer(features=4),
    recurrent.RecurrentLayer(features=4),
  )
  variables = both.init(jax.random.key(0), xs)
  ys = both.apply(variables, xs)
  forward = {"params": variables["params"]["forward_rnn"]}
  backward = {"params": variables["params"]["backward_rnn"]}
  np.testing.assert_allclose(ys[..., :4], oracle(forward, xs)[1], atol=1e-6)
  np.testing.assert_allclose(
    ys[..., 4:], oracle(backward, xs, reverse=True)[1], atol=1e-6
  )


def test_the_bridge_to_nnx_gives_the_same_numbers(xs):
  layer = recurrent.RecurrentLayer(features=4)
  module = nnx.bridge.ToNNX(layer, rngs=nnx.Rngs(0)).lazy_init(xs)
  state = nnx.to_pure_dict(nnx.state(module, nnx.Param))
  ys = layer.apply({"params": state}, xs)
  np.testing.assert_array_equal(module(xs), ys)

  def loss(module):
    return jnp.sum(module(xs) ** 2)

  actual = nnx.to_pure_dict(nnx.grad(loss)(module))
  expected = jax.grad(
    lambda params: jnp.sum(layer.apply({"params": params}, xs) ** 2)
  )(state)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-6), actual, expected
  )
