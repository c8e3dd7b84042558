"""The two handwriting networks: sizes, windows and dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import mixture_density as mixtures
from seqmodels import trees
from seqmodels.cells import window_lstm
from seqmodels.layers import recurrent
from seqmodels.models import networks

STEPS, BATCH, SYMBOLS = 8, 2, 6
TEXT = np.array([[1, 4], [2, 0], [5, -1]])
XS = np.random.default_rng(0).normal(size=(STEPS, BATCH, 3)).astype(np.float32)


def small(**settings):
  settings = {"features": (5, 4), "gradient_clip": 10.0, **settings}
  return recurrent.StackOptions(**settings)


@functools.cache
def predicting(**settings):
  return networks.Handwriting(small(**settings), components=2).as_model()


@functools.cache
def writing(**settings):
  return networks.Handwriting(
    small(**settings), symbols=SYMBOLS, window=2, components=2
  ).as_model()


NETWORKS = {"prediction": predicting, "synthesis": writing}
each = pytest.mark.parametrize("kind", NETWORKS)


@functools.cache
def params_of(kind):
  params = jax.jit(NETWORKS[kind]().init)(jax.random.key(0))
  if kind == "synthesis":
    # As if trained: letters heard, and a window that crosses its text.
    layer = params["stack"]["layer_0"]
    layer["recurrent_kernel"] = 2.0 * layer["recurrent_kernel"]
    layer["window_bias"] = layer["window_bias"].at[-2:].set(-0.7)
  return params


@functools.partial(jax.jit, static_argnums=0)
def apply(network, params, carry, inputs, text, reset=None, key=None):
  return network.apply(params, carry, inputs, text, reset, key=key)


def outputs(network, params, text=TEXT, key=None):
  carry = network.initial_carry(BATCH)
  return apply(network, params, carry, XS, text, key=key)[1]


@pytest.mark.parametrize(
  ("network", "count"),
  [
    (
      networks.Handwriting(
        recurrent.StackOptions(features=(400, 400, 400), gradient_clip=10.0)
      ).as_model(),
      3_368_121,
    ),
    (
      networks.Handwriting(
        recurrent.StackOptions(features=(900,), gradient_clip=10.0)
      ).as_model(),
      3_366_121,
    ),
    (
      networks.Handwriting(
        recurrent.StackOptions(features=(400, 400, 400), gradient_clip=10.0),
        symbols=57,
      ).as_model(),
      3_653_751,
    ),
  ],
)
def test_the_published_networks_have_their_weights(network, count):
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  assert trees.count_parameters(shapes) == count


@each
def test_outputs_are_those_of_a_mixture(kind):
  network = NETWORKS[kind]()
  actual = outputs(network, params_of(kind))
  assert actual.shape == (STEPS, BATCH, mixtures.outputs(2))
  assert actual.dtype == jnp.float32
  assert network.components == 2
  assert network.loss.keywords["output_clip"] == 100.0


@each
def test_continuing_is_running_at_once(kind):
  network, params = NETWORKS[kind](), params_of(kind)
  zero = network.initial_carry(BATCH)
  whole = apply(network, params, zero, XS, TEXT)
  middle, first = apply(network, params, zero, XS[: STEPS // 2], TEXT)
  last, second = apply(network, params, middle, XS[STEPS // 2 :], TEXT)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    (last, np.concatenate([first, second])),
    whole,
  )


@each
def test_a_reset_is_the_state_before_a_line(kind):
  network, params = NETWORKS[kind](), params_of(kind)
  fresh = apply(network, params, network.initial_carry(BATCH), XS, TEXT)
  reset = np.zeros((STEPS, BATCH), bool)
  reset[0, 0] = True
  _, actual = apply(network, params, fresh[0], XS, TEXT, reset)
  np.testing.assert_array_equal(actual[:, 0], fresh[1][:, 0])
  assert np.any(actual[:, 1] != fresh[1][:, 1])


def test_prediction_does_not_look_at_the_text():
  network, params = predicting(), params_of("prediction")
  assert network.window is None
  assert network.vocabulary_size == 0
  expected = outputs(network, params)
  for other in (TEXT[::-1], np.zeros((0, BATCH), np.int32)):
    np.testing.assert_array_equal(outputs(network, params, other), expected)


def test_synthesis_looks_at_the_text_of_each_line():
  network, params = writing(), params_of("synthesis")
  assert network.vocabulary_size == SYMBOLS
  other = TEXT.copy()
  other[0, 1] = 3
  changed = outputs(network, params) != outputs(network, params, other)
  assert [bool(changed[:, b].any()) for b in range(BATCH)] == [False, True]


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_the_window_that_is_shown_is_the_one_that_was_read_through(dtype):
  """From it and the text comes the very w that the carry holds."""
  network, params = writing(dtype=dtype), params_of("synthesis")
  carry, _ = apply(network, params, network.initial_carry(BATCH), XS, TEXT)
  window = network.window(params, carry)
  letters = np.asarray(window_lstm.letters(jnp.array(TEXT), SYMBOLS))
  for b in range(BATCH):
    alpha, beta, kappa = (np.asarray(part[b], np.float64) for part in window)
    places = np.arange(1, len(TEXT) + 1)
    away = kappa[:, None] - places
    phi = (alpha[:, None] * np.exp(-beta[:, None] * away**2)).sum(axis=0)
    seen = np.asarray(carry[0].h[b, small().features[0] :])
    np.testing.assert_allclose(phi @ letters[b], seen, rtol=1e-4, atol=1e-6)
    assert seen.max() > 0.01
    assert np.all(kappa > 1)


@each
def test_bfloat16_products_stay_near(kind):
  params = params_of(kind)
  exact = outputs(NETWORKS[kind](), params)
  rough = outputs(NETWORKS[kind](dtype=jnp.bfloat16), params)
  assert rough.dtype == jnp.float32
  assert np.any(exact != rough)
  np.testing.assert_allclose(exact, rough, atol=0.1)


@each
@pytest.mark.parametrize("rate", ["hidden", "output", "drop_connect"])
def test_every_rate_drops_as_its_key_says_and_in_training_alone(kind, rate):
  loud = NETWORKS[kind](noise=recurrent.Noise(**{rate: 0.5}))
  params = params_of(kind)
  calm = outputs(NETWORKS[kind](), params)
  np.testing.assert_array_equal(outputs(loud, params), calm)
  one, again, other = (
    outputs(loud, params, key=jax.random.key(seed)) for seed in (3, 3, 4)
  )
  np.testing.assert_array_equal(one, again)
  assert np.any(one != calm)
  assert np.any(one != other)


@each
def test_without_noise_training_is_use(kind):
  network, params = NETWORKS[kind](), params_of(kind)
  np.testing.assert_array_equal(
    outputs(network, params, key=jax.random.key(0)), outputs(network, params)
  )
