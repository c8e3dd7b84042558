"""Our cells in Flax's hands: `nn.RNN`, `nn.Bidirectional`, the nnx bridge."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqmodels import trees
from seqmodels.cells import cell as cells
from seqmodels.cells import convert
from seqmodels.layers import recurrent

BATCH, STEPS, WIDTH, FEATURES = 3, 6, 4, 5

CELLS = {
  "lstm": cells.get("lstm"),
  "lstm_plain": cells.get("lstm", peepholes=False),
  "layer_norm_lstm": cells.get("layer_norm_lstm"),
  "mogrifier_lstm": cells.get("mogrifier_lstm", rounds=3, rank=2),
  "gru": cells.get("gru"),
  "elman": cells.get("elman"),
  "elman_relu": cells.get("elman_relu"),
}
# The shell, and the pure cell behind it.
SHELLS = {
  name: (recurrent.RecurrentCell(FEATURES, cell), cell)
  for name, cell in CELLS.items()
}


def random_like(make, seed=0):
  random = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: 0.5 * random.normal(size=leaf.shape).astype(leaf.dtype),
    jax.eval_shape(make),
  )


def case(layer):
  """Random variables of a layer, and a batch-first input."""
  xs = random_like(lambda: jnp.zeros((BATCH, STEPS, WIDTH)), 1)
  return random_like(lambda: layer.init(jax.random.key(0), xs)), xs


def pure(cell, params, xs, **options):
  """The fused sequence, batch first, on a shell's weights."""
  like = jax.eval_shape(
    lambda: cell.init_params(jax.random.key(0), WIDTH, FEATURES)
  )
  fields = dict.fromkeys(like._fields) | params
  return cell.sequence(
    type(like)(**fields),
    cell.initial_carry((BATCH,), FEATURES),
    jnp.swapaxes(xs, 0, 1),
    **options,
  )


@pytest.mark.parametrize("name", SHELLS)
def test_params_are_named_as_the_cells_own(name):
  shell, cell = SHELLS[name]
  carry = shell.initialize_carry(jax.random.key(0), (BATCH, WIDTH))
  x = jnp.ones((BATCH, WIDTH))
  params = shell.init(jax.random.key(0), carry, x)["params"]
  like = jax.eval_shape(
    lambda: cell.init_params(jax.random.key(0), WIDTH, FEATURES)
  )
  expected = {k: v.shape for k, v in like._asdict().items() if v is not None}
  assert {k: v.shape for k, v in params.items()} == expected
  # Fields draw with keys of their own.
  kernels = np.concatenate(
    [params["kernel"].ravel(), params["recurrent_kernel"].ravel()]
  )
  assert len(np.unique(kernels)) == kernels.size


@pytest.mark.parametrize("name", SHELLS)
def test_carries_have_the_form_of_flax(name):
  shell, _ = SHELLS[name]
  theirs = nn.LSTMCell(FEATURES) if "lstm" in name else nn.GRUCell(FEATURES)
  ours, want = (
    cell.initialize_carry(jax.random.key(0), (BATCH, WIDTH))
    for cell in (shell, theirs)
  )
  assert jax.tree.structure(ours) == jax.tree.structure(want)
  assert shell.num_feature_axes == theirs.num_feature_axes
  x = jnp.ones((BATCH, WIDTH))
  (after, h), _ = shell.init_with_output(jax.random.key(0), ours, x)
  assert jax.tree.structure(after) == jax.tree.structure(want)
  assert h.shape == (BATCH, FEATURES)


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", SHELLS)
def test_in_rnn_they_are_the_fused_sequence(name):
  shell, cell = SHELLS[name]
  layer = nn.RNN(shell, return_carry=True)
  variables, xs = case(layer)

  def theirs(params, xs):
    last, hs = layer.apply({"params": {"cell": params}}, xs)
    return jnp.sum(jnp.sin(hs)), jax.tree.leaves(last)

  def ours(params, xs):
    last, hs = pure(cell, params, xs)
    return jnp.sum(jnp.sin(hs)), jax.tree.leaves(last)

  want, have = (
    jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True))(
      variables["params"]["cell"], xs
    )
    for run in (ours, theirs)
  )
  for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_in_bidirectional_with_lengths_both_directions_are_the_sequences():
  layer = nn.Bidirectional(
    nn.RNN(SHELLS["lstm"][0]),
    nn.RNN(SHELLS["gru"][0]),
  )
  variables, xs = case(layer)
  lengths = jnp.array([1, 4, STEPS])
  hs = jax.jit(layer.apply)(variables, xs, seq_lengths=lengths)
  params = variables["params"]
  forward = pure(
    cells.get("lstm"), params["forward_rnn"]["cell"], xs, lengths=lengths
  )[1]
  backward = pure(
    cells.get("gru"),
    params["backward_rnn"]["cell"],
    xs,
    lengths=lengths,
    reverse=True,
  )[1]
  want = np.swapaxes(np.concatenate([forward, backward], -1), 0, 1)
  for row, length in enumerate(lengths):  # Flax leaves the padding undefined
    np.testing.assert_allclose(
      hs[row, :length], want[row, :length], rtol=1e-4, atol=1e-5
    )


def test_without_peepholes_it_is_flax_own_lstm():
  ours = nn.RNN(SHELLS["lstm_plain"][0])
  theirs = nn.RNN(nn.OptimizedLSTMCell(FEATURES))
  variables, xs = case(theirs)
  converted = convert.lstm_from_flax(variables["params"]["cell"])
  params = {k: v for k, v in converted._asdict().items() if v is not None}
  np.testing.assert_allclose(
    ours.apply({"params": {"cell": params}}, xs),
    theirs.apply(variables, xs),
    rtol=1e-4,
    atol=1e-5,
  )


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_nnx_bridge_keeps_values_and_gradients(name):
  layer = nn.RNN(SHELLS[name][0])
  _, xs = case(layer)
  module = nnx.bridge.ToNNX(layer, rngs=nnx.Rngs(0)).lazy_init(xs)
  params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
  np.testing.assert_allclose(
    module(xs), layer.apply({"params": params}, xs), rtol=1e-5, atol=1e-6
  )

  def loss(hs):
    return jnp.sum(jnp.square(hs))

  def linen_loss(params):
    return loss(layer.apply({"params": params}, xs))

  have = nnx.to_pure_dict(nnx.grad(lambda module: loss(module(xs)))(module))
  want = jax.jit(jax.grad(linen_loss))(params)
  assert trees.differences(want, have) == []
  for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_initializers_are_handed_to_their_weights():
  fill = jax.nn.initializers.constant
  shell = recurrent.RecurrentCell(
    2,
    kernel_init=fill(1.0),
    recurrent_kernel_init=fill(2.0),
    bias_init=fill(3.0),
    carry_init=fill(4.0),
    param_dtype=jnp.bfloat16,
  )
  carry = shell.initialize_carry(jax.random.key(0), (1, 3))
  params = shell.init(jax.random.key(0), carry, jnp.ones((1, 3)))["params"]
  for name, value in (("kernel", 1), ("recurrent_kernel", 2), ("bias", 3)):
    assert params[name].dtype == jnp.bfloat16
    assert (params[name] == value).all()
  # The state is summed up over time: never less than float32.
  assert all((leaf == 4).all() for leaf in carry)
  assert {str(leaf.dtype) for leaf in carry} == {"float32"}


def test_bfloat16_operands_leave_float32_results():
  single = nn.RNN(SHELLS["gru"][0])
  half = nn.RNN(SHELLS["gru"][0].clone(dtype=jnp.bfloat16))
  variables, xs = case(single)
  a, b = single.apply(variables, xs), half.apply(variables, xs)
  assert b.dtype == jnp.float32
  assert 0 < np.abs(a - b).max() < 0.02


def test_gradients_are_clipped_inside_of_rnn():
  xs = np.ones((1, 1, WIDTH), np.float32)
  free, clipped = (
    nn.RNN(SHELLS["elman"][0].clone(gradient_clip=clip)) for clip in (None, 0.5)
  )
  variables = random_like(lambda: free.init(jax.random.key(0), xs))

  def bias_gradient(layer):
    def loss(v):
      return 100 * jnp.sum(layer.apply(v, xs))

    return jax.grad(loss)(variables)["params"]["cell"]["bias"]

  assert (bias_gradient(free) > 0.5).all()
  np.testing.assert_allclose(bias_gradient(clipped), 0.5)
