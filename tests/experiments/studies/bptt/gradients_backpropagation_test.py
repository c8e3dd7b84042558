"""Derivatives by hand against autodiff, differences and explicit sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.bptt import gradients
from seqmodels.cells import elman, scan

STEPS, WIDTH, FEATURES, OUTPUTS = 6, 3, 4, 5


@pytest.fixture
def problem():
  random = np.random.default_rng(0)
  weights = gradients.Weights(
    random.normal(size=(WIDTH, FEATURES)),
    0.7 * random.normal(size=(FEATURES, FEATURES)),
    random.normal(size=(FEATURES, OUTPUTS)),
  )
  xs = random.normal(size=(STEPS, WIDTH))
  targets = random.integers(OUTPUTS, size=STEPS)
  return weights, xs, targets


def loss_of(outputs, targets):
  """Mean softmax cross-entropy; NumPy or JAX."""
  shifted = outputs - outputs.max(axis=-1, keepdims=True)
  log_sums = jnp.log(jnp.exp(shifted).sum(axis=-1))
  return jnp.mean(log_sums - shifted[jnp.arange(STEPS), targets])


def d_outputs_of(outputs, targets):
  shares = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
  shares /= shares.sum(axis=-1, keepdims=True)
  shares[np.arange(STEPS), targets] -= 1
  return shares / STEPS


def network(weights, xs, nudges, activation):
  """Outputs, with a nudge added to every state and to every output."""
  phi = jnp.tanh if activation == "tanh" else lambda x: x
  h, outputs = jnp.zeros(FEATURES), []
  for x, d_h, d_o in zip(xs, *nudges, strict=True):
    h = phi(x @ weights.inputs + h @ weights.recurrent) + d_h
    outputs.append(h @ weights.outputs + d_o)
  return jnp.stack(outputs)


def states_of(weights, xs, activation):
  h, actual = np.zeros(FEATURES), []
  for x in xs:
    h = x @ weights.inputs + h @ weights.recurrent
    h = np.tanh(h) if activation == "tanh" else h
    actual.append(h)
  return np.array(actual)


def backward(weights, xs, targets, activation):
  hs = states_of(weights, xs, activation)
  slopes = 1 - hs**2 if activation == "tanh" else np.ones_like(hs)
  d_outputs = d_outputs_of(hs @ weights.outputs, targets)
  return d_outputs, gradients.backward(weights, xs, hs, slopes, d_outputs)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_the_five_gradients_are_those_of_autodiff(problem, activation):
  weights, xs, targets = problem
  d_hand, actual = backward(weights, xs, targets, activation)
  with jax.enable_x64(True):
    none = np.zeros((STEPS, FEATURES)), np.zeros((STEPS, OUTPUTS))
    d_weights, (d_states, d_outputs) = jax.jit(
      jax.grad(
        lambda w, nudges: loss_of(network(w, xs, nudges, activation), targets),
        argnums=(0, 1),
      )
    )(weights, none)
  np.testing.assert_allclose(d_hand, d_outputs, atol=1e-15)
  np.testing.assert_allclose(actual.states, d_states, atol=1e-14)
  for have, want in zip(actual.weights, d_weights, strict=True):
    np.testing.assert_allclose(have, want, atol=1e-14)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_the_gradients_are_those_of_finite_differences(problem, activation):
  weights, xs, targets = problem
  _, actual = backward(weights, xs, targets, activation)

  def loss(weights):
    hs = states_of(weights, xs, activation)
    out = hs @ weights.outputs
    shifted = out - out.max(axis=-1, keepdims=True)
    picked = shifted[np.arange(STEPS), targets]
    return np.mean(np.log(np.exp(shifted).sum(axis=-1)) - picked)

  for field in weights._fields:
    matrix = getattr(weights, field)
    for place in np.ndindex(matrix.shape):
      step = np.zeros_like(matrix)
      step[place] = 1e-6
      above = loss(weights._replace(**{field: matrix + step}))
      below = loss(weights._replace(**{field: matrix - step}))
      slope = (above - below) / 2e-6
      have = getattr(actual.weights, field)[place]
      assert have == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_powers_of_the_matrix_give_the_same_states(problem):
  """dL/dh_t = sum_{i >= t} dL/do_i W_o' (W_h')^(i-t) without a tanh."""
  weights, xs, targets = problem
  d_outputs, actual = backward(weights, xs, targets, "identity")
  injected = d_outputs @ weights.outputs.T
  powers = [
    np.linalg.matrix_power(weights.recurrent.T, k) for k in range(STEPS)
  ]
  for t in range(STEPS):
    want = sum(injected[i] @ powers[i - t] for i in range(t, STEPS))
    np.testing.assert_allclose(actual.states[t], want, atol=1e-14)


def test_the_network_is_the_library_s_cell(problem):
  weights, xs, _ = problem
  params = elman.ElmanParams(
    weights.inputs, weights.recurrent, np.zeros(FEATURES)
  )
  _, hs = scan.unroll(
    elman.step,
    jax.tree.map(jnp.float32, params),
    elman.initial_carry((1,), FEATURES),
    jnp.asarray(xs[:, None], jnp.float32),
  )
  want = states_of(weights, xs, "tanh")
  np.testing.assert_allclose(hs[:, 0], want, atol=1e-5)
