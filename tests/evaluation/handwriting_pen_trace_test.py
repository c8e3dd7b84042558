"""A line followed step by step against the network run over it at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import mixture_density as mixtures
from seqmodels.evaluation import handwriting as handwriting_lib
from seqmodels.layers import recurrent
from seqmodels.models import networks

SYMBOLS, TEXT = 6, np.array([1, 4, 2, 2, 5])
LINE = np.random.default_rng(0).normal(size=(8, 3))
SMALL = recurrent.StackOptions(features=(5,), gradient_clip=10.0)


@pytest.fixture(scope="module")
def writing():
  network = networks.Handwriting(
    SMALL, symbols=SYMBOLS, window=2, components=2
  ).as_model()
  params = jax.jit(network.init)(jax.random.key(0))
  # A window that crosses the text, and letters that are heard.
  layer = params["stack"]["layer_0"]
  layer["recurrent_kernel"] = 3.0 * layer["recurrent_kernel"]
  layer["window_bias"] = layer["window_bias"].at[-2:].set(-0.5)
  return network, params


@pytest.fixture(scope="module")
def predicting():
  network = networks.Handwriting(SMALL, components=2).as_model()
  return network, jax.jit(network.init)(jax.random.key(0))


def whole(network, params, text):
  """Carry and mixtures of the line run over at once."""
  inputs = np.concatenate([np.zeros((1, 3)), LINE[:-1]])[:, None]
  carry, outputs = jax.jit(network.apply)(
    params,
    network.initial_carry(1),
    jnp.array(inputs, jnp.float32),
    jnp.array(text)[:, None],
  )
  return carry, mixtures.mixture(outputs[:, 0])


@pytest.mark.parametrize("kind", ["writing", "predicting"])
def test_densities_are_those_of_the_whole_line(kind, request):
  network, params = request.getfixturevalue(kind)
  text = TEXT if kind == "writing" else None
  actual = handwriting_lib.trace(network, params, LINE, text)
  _, expected = whole(network, params, TEXT)
  close = {"rtol": 1e-4, "atol": 1e-5}
  np.testing.assert_allclose(actual.weights, expected.weights, **close)
  means = np.stack([expected.mean_x, expected.mean_y], axis=-1)
  np.testing.assert_allclose(actual.means, means, **close)
  deviations = np.exp(
    np.stack([expected.log_deviation_x, expected.log_deviation_y], axis=-1)
  )
  np.testing.assert_allclose(actual.deviations, deviations, **close)
  np.testing.assert_allclose(actual.correlations, expected.correlation, **close)
  np.testing.assert_allclose(actual.lifts, expected.lift, **close)
  assert actual.weights.shape == (len(LINE), 2)
  assert (actual.window is None) == (kind == "predicting")


def test_the_window_is_what_the_network_reads_the_text_through(writing):
  """At the last step, it and the letters give the w that the carry holds."""
  network, params = writing
  actual = handwriting_lib.trace(network, params, LINE, TEXT)
  assert actual.window.shape == (len(LINE), len(TEXT))
  carry, _ = whole(network, params, TEXT)
  seen = actual.window[-1] @ np.eye(SYMBOLS)[TEXT]
  np.testing.assert_allclose(seen, carry[0].h[0, 5:], rtol=1e-4, atol=1e-6)
  places = actual.window.argmax(axis=1)
  assert places[0] == 0
  assert places[-1] > 1
  assert np.all(np.diff(places) >= 0)


def test_what_a_step_expects_does_not_know_what_comes(writing):
  network, params = writing
  other = LINE.copy()
  other[5:] = 7.0
  one, two = (
    handwriting_lib.trace(network, params, x, TEXT) for x in (LINE, other)
  )
  for a, b in zip(one, two, strict=True):
    np.testing.assert_array_equal(a[:6], b[:6])
  assert np.any(one.means[6:] != two.means[6:])
