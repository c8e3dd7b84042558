"""Our sequences against `torch.nn`, weights converted; skipped without torch.

Both in float64, both directions of a two-layer module.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import convert, gru, lstm

STEPS, BATCH, WIDTH, FEATURES = 6, 3, 4, 5

# Our cell, the torch module and its options, from torch, to torch.
MODULES = {
  "lstm": (
    "LSTM",
    {},
    convert.lstm_from_torch,
    convert.lstm_to_torch,
  ),
  "gru": ("GRU", {}, convert.gru_from_torch, convert.gru_to_torch),
  "elman": (
    "RNN",
    {"nonlinearity": "tanh"},
    convert.elman_from_torch,
    convert.elman_to_torch,
  ),
  "elman_relu": (
    "RNN",
    {"nonlinearity": "relu"},
    convert.elman_from_torch,
    convert.elman_to_torch,
  ),
}


@pytest.fixture(scope="module")
def torch():
  return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


def bidirectional(cell, from_torch, state, xs):
  """Two layers, each both ways, as torch stacks them."""
  carries = []
  for layer in range(2):
    outputs = []
    for reverse in (False, True):
      last, hs = cell.sequence(
        from_torch(state, layer=layer, reverse=reverse),
        cell.initial_carry((BATCH,), FEATURES, jnp.float64),
        xs,
        reverse=reverse,
      )
      carries.append(last)
      outputs.append(hs)
    xs = jnp.concatenate(outputs, axis=-1)
  return carries, xs


@pytest.mark.parametrize("name", MODULES)
def test_values_and_gradients_are_those_of_torch(name, torch):
  kind, options, from_torch, _ = MODULES[name]
  torch.manual_seed(0)
  module = getattr(torch.nn, kind)(
    WIDTH, FEATURES, num_layers=2, bidirectional=True, **options
  ).double()
  random = np.random.default_rng(0)
  xs = random.normal(size=(STEPS, BATCH, WIDTH))
  weights = random.normal(size=(STEPS, BATCH, 2 * FEATURES))
  inputs = torch.tensor(xs, requires_grad=True)
  outputs, last = module(inputs)
  (outputs * torch.tensor(weights)).sum().backward()

  cell = cells.get(name, **({"peepholes": False} if name == "lstm" else {}))
  state = {
    key: jnp.asarray(value.numpy())
    for key, value in module.state_dict().items()
  }

  @jax.jit
  def run(state, xs):
    def loss(state, xs):
      carries, hs = bidirectional(cell, from_torch, state, xs)
      return jnp.sum(hs * weights), (carries, hs)

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(state, xs)

  (_, (carries, hs)), (d_state, d_xs) = run(state, xs)
  close = {"rtol": 1e-9, "atol": 1e-11}
  np.testing.assert_allclose(hs, outputs.detach().numpy(), **close)
  h_last, *c_last = last if name == "lstm" else (last,)
  for index, carry in enumerate(carries):
    np.testing.assert_allclose(carry.h, h_last[index].detach(), **close)
    for c in c_last:
      np.testing.assert_allclose(carry.c, c[index].detach(), **close)
  np.testing.assert_allclose(d_xs, inputs.grad, **close)
  for key, parameter in module.named_parameters():
    np.testing.assert_allclose(d_state[key], parameter.grad, **close)


@pytest.mark.parametrize("name", MODULES)
def test_torch_loads_what_is_made_for_it(name, torch, filled):
  kind, options, from_torch, to_torch = MODULES[name]
  module = getattr(torch.nn, kind)(WIDTH, FEATURES, **options)
  cell = cells.get(name, **({"peepholes": False} if name == "lstm" else {}))
  params = filled(lambda: cell.init_params(jax.random.key(0), WIDTH, FEATURES))
  state = {k: torch.from_numpy(v) for k, v in to_torch(params).items()}
  module.load_state_dict(state)  # strict: every name and shape
  xs = np.ones((STEPS, BATCH, WIDTH), np.float32)
  with torch.no_grad():
    want = module(torch.from_numpy(xs))[0].numpy()
  carry = cell.initial_carry((BATCH,), FEATURES, jnp.float32)
  np.testing.assert_allclose(
    cell.sequence(params, carry, xs)[1], want, atol=1e-5
  )
  # A module's own state_dict, tensors and all, comes back as it went.
  for a, b in zip(from_torch(module.state_dict()), params, strict=True):
    if a is not None:
      np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_a_round_trip_changes_nothing(name, reverse, filled):
  _, _, from_torch, to_torch = MODULES[name]
  cell = cells.get(name, **({"peepholes": False} if name == "lstm" else {}))
  params = filled(lambda: cell.init_params(jax.random.key(0), WIDTH, FEATURES))
  state = to_torch(params, layer=3, reverse=reverse)
  suffix = "_l3_reverse" if reverse else "_l3"
  assert set(state) == {
    f"{kind}_{side}{suffix}"
    for kind in ("weight", "bias")
    for side in ("ih", "hh")
  }
  back = from_torch(state, layer=3, reverse=reverse)
  for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
    np.testing.assert_array_equal(a, b)


def test_two_biases_become_one_but_for_the_candidate_of_the_gru():
  ones = {"bias_ih_l0": 1.0, "bias_hh_l0": 10.0}
  for gates, from_torch, bias in (
    (4, convert.lstm_from_torch, [11] * 8),
    (1, convert.elman_from_torch, [11] * 2),
    (3, convert.gru_from_torch, [11] * 4 + [1] * 2),
  ):
    state = {key: np.full(2 * gates, value) for key, value in ones.items()}
    state["weight_ih_l0"] = np.zeros((2 * gates, 3))
    state["weight_hh_l0"] = np.zeros((2 * gates, 2))
    params = from_torch(state)
    np.testing.assert_array_equal(params.bias, bias)
    if isinstance(params, gru.GRUParams):
      np.testing.assert_array_equal(params.recurrent_bias, [10, 10])


def test_a_module_without_biases_gets_zeros():
  state = {"weight_ih_l0": np.ones((6, 3)), "weight_hh_l0": np.ones((6, 2))}
  params = convert.gru_from_torch(state)
  assert params.bias.shape == (6,)
  assert not params.bias.any()
  assert not params.recurrent_bias.any()


def test_bfloat16_weights_leave_as_float32():
  leaf = jnp.ones((4, 4), jnp.bfloat16)
  params = lstm.LSTMParams(leaf, leaf, leaf[0], None)
  state = convert.lstm_to_torch(params)
  assert {value.dtype for value in state.values()} == {np.dtype(np.float32)}


GOOD_STATE = {
  "weight_ih_l0": np.zeros((8, 3)),
  "weight_hh_l0": np.zeros((8, 2)),
  "bias_ih_l0": np.zeros(8),
  "bias_hh_l0": np.zeros(8),
}


@pytest.mark.parametrize(
  ("changes", "layer", "message"),
  [
    ({}, 1, r"'weight_hh_l1'.*did you mean 'weight_hh_l0'"),
    ({"weight_hr_l0": np.zeros((1, 2))}, 0, "proj_size"),
    ({"weight_hh_l0": np.zeros((6, 2))}, 0, r"\[6, 2\].*\[8, 2\]"),
    ({"weight_ih_l0": np.zeros((6, 3))}, 0, r"\[6, 3\].*\[8, 3\]"),
    ({"bias_hh_l0": np.zeros(4)}, 0, r"bias_hh_l0 is \[4\].*\[8\]"),
  ],
)
def test_what_does_not_fit_is_named(changes, layer, message):
  with pytest.raises(errors.UserError, match=message):
    convert.lstm_from_torch({**GOOD_STATE, **changes}, layer=layer)


def test_peepholes_have_no_place_in_torch(filled):
  params = filled(lambda: lstm.init_params(jax.random.key(0), 2, 3))
  with pytest.raises(errors.UserError, match="peepholes"):
    convert.lstm_to_torch(params)
