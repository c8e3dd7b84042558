import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.autoregressive import series
from experiments.studies.autoregressive.series import Linear
from seqmodels.cells import elman

MODELS = {
  "linear": series.window(3),
  "mlp": series.window(3, (5,)),
  "rnn": series.latent("gru", (3, 2)),
}


def numbers(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
  """A model with weights of some size, compiled."""
  model = MODELS[request.param]
  params = jax.jit(model.init)(jax.random.key(2))
  params = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.3, params)
  return model._replace(apply=jax.jit(model.apply)), params


def test_a_series_may_be_read_in_pieces(fitted):
  model, params = fitted
  xs = numbers(8, 2)
  carry, whole = model.apply(params, model.initial_carry(2), xs)
  middle, first = model.apply(params, model.initial_carry(2), xs[:4])
  last, second = model.apply(params, middle, xs[4:])
  np.testing.assert_allclose(whole, jnp.concatenate([first, second]), atol=1e-6)
  for ours, theirs in zip(
    jax.tree.leaves(carry), jax.tree.leaves(last), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_no_prediction_depends_on_what_comes_later(fitted):
  model, params = fitted

  @jax.jit
  @jax.jacrev
  def derivatives(xs):
    return model.apply(params, model.initial_carry(1), xs[:, None])[1][:, 0]

  jacobian = np.asarray(derivatives(numbers(6)))
  assert np.all(jacobian[np.triu_indices(6, 1)] == 0)
  assert np.all(np.diag(jacobian) != 0)
  if model.reach > 1:
    # And a window's on nothing before the window.
    assert np.all(jacobian[np.tril_indices(6, -model.reach)] == 0)
  else:
    assert jacobian[5, 0] != 0


def test_a_window_is_the_linear_map_of_its_values():
  linear = Linear(np.array([0.2, -0.7, 1.1]), 0.4)
  model, xs = series.window(3), numbers(20)
  params = series.of_linear(linear)
  actual = model.apply(params, model.initial_carry(1), xs[:, None])[1][:, 0]
  pairs = series.windows(xs, 3)
  np.testing.assert_allclose(
    actual[2:-1], linear.predict(pairs.features), rtol=1e-5
  )


def test_a_shift_register_makes_a_latent_model_a_window():
  """An Elman cell with rectifiers, its values raised so that none is cut."""
  linear = Linear(np.array([0.2, -0.7, 0.5, 1.1]), 0.4)
  newest, raised = np.arange(4) == 3, 8.0
  layer = elman.ElmanParams(
    kernel=jnp.array(newest[None, :], jnp.float32),
    recurrent_kernel=jnp.array(np.eye(4, k=-1), jnp.float32),
    bias=jnp.array(raised * newest, jnp.float32),
  )
  bias = linear.bias - raised * linear.weights.sum()
  readout = {
    "kernel": jnp.array(linear.weights[:, None], jnp.float32),
    "bias": jnp.array([bias], jnp.float32),
  }
  latent = series.latent("elman_relu", (4,))
  params = {"stack": {"layer_0": layer._asdict()}, "readout": readout}
  window, xs = series.window(4), numbers(30, 1)
  theirs = latent.apply(params, latent.initial_carry(1), xs)[1]
  ours = window.apply(series.of_linear(linear), window.initial_carry(1), xs)[1]
  np.testing.assert_allclose(theirs[3:], ours[3:], atol=2e-5)


def test_first_weights_are_as_announced():
  init = jax.jit(series.window(400).init)
  linear = jax.device_get(init(jax.random.key(0)))["readout"]
  assert np.std(linear["kernel"]) == pytest.approx(0.01, rel=0.15)
  assert float(linear["bias"][0]) == 0
  init = jax.jit(series.window(4, (10,)).init)
  network = jax.device_get(init(jax.random.key(0)))
  bounds = {"Dense_0": (6 / 14) ** 0.5, "readout": (6 / 11) ** 0.5}
  assert network.keys() == bounds.keys()
  for name, bound in bounds.items():
    kernel = np.abs(np.asarray(network[name]["kernel"]))
    assert 0.6 * bound < kernel.max() <= bound
    assert not np.any(network[name]["bias"])


@pytest.mark.parametrize(
  ("model", "weights"),
  [
    (series.window(4), 5),
    (series.window(4, (10,)), 61),
    (series.latent("elman", (16,)), 16 + 16 * 16 + 16 + 17),
    (series.latent("gru", (16,)), 3 * (16 + 16 * 16) + 17 + 64),
  ],
)
def test_a_model_has_its_weights(model, weights):
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == weights


def test_linear_weights_go_in_and_out():
  linear = Linear(np.array([0.25, -0.5]), 1.5)
  actual = series.to_linear(series.of_linear(linear))
  np.testing.assert_array_equal(actual.weights, linear.weights)
  assert actual.bias == 1.5
