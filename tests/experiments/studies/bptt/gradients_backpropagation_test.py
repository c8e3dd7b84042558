"""Derivatives by hand against autodiff, differences and explicit sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.bptt import gradients
from seqmodels import errors
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


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_the_five_gradients_are_those_of_autodiff(problem, activation):
  weights, xs, targets = problem
  hs = gradients.states(weights, xs, activation=activation)
  found = gradients.backward(
    weights,
    xs,
    d_outputs_of(hs @ weights.outputs, targets),
    activation=activation,
  )
  with jax.enable_x64(True):
    none = np.zeros((STEPS, FEATURES)), np.zeros((STEPS, OUTPUTS))
    d_weights, (d_states, d_outputs) = jax.jit(
      jax.grad(
        lambda w, nudges: loss_of(network(w, xs, nudges, activation), targets),
        argnums=(0, 1),
      )
    )(weights, none)
  np.testing.assert_allclose(found.d_outputs, d_outputs, atol=1e-15)
  np.testing.assert_allclose(found.d_states, d_states, atol=1e-14)
  for have, want in zip(found.weights, d_weights, strict=True):
    np.testing.assert_allclose(have, want, atol=1e-14)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_the_gradients_are_those_of_finite_differences(problem, activation):
  weights, xs, targets = problem
  hs = gradients.states(weights, xs, activation=activation)
  found = gradients.backward(
    weights,
    xs,
    d_outputs_of(hs @ weights.outputs, targets),
    activation=activation,
  )

  def loss(weights):
    hs = gradients.states(weights, xs, activation=activation)
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
      have = getattr(found.weights, field)[place]
      assert have == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_powers_of_the_matrix_give_the_same_states(problem):
  weights, xs, targets = problem
  hs = gradients.states(weights, xs)
  d_outputs = d_outputs_of(hs @ weights.outputs, targets)
  np.testing.assert_allclose(
    gradients.linear_states(weights, d_outputs),
    gradients.backward(weights, xs, d_outputs).d_states,
    atol=1e-14,
  )


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
  want = gradients.states(weights, xs, activation="tanh")
  np.testing.assert_allclose(hs[:, 0], want, atol=1e-5)


@pytest.mark.parametrize("columns", [(), (2,)])
def test_the_unrolled_terms_sum_to_the_recursion(columns):
  random = np.random.default_rng(1)
  b = random.normal(size=(7, 3, *columns))
  c = random.normal(size=(7, 3, 3))
  terms = gradients.unrolled_terms(b, c)
  a = np.zeros((3, *columns))
  for t in range(7):
    a = b[t] + c[t] @ a
    np.testing.assert_allclose(terms[t].sum(axis=0), a, rtol=1e-9, atol=1e-12)
    assert not terms[t, t + 1 :].any()
  product = c[4] @ c[3] @ c[2] @ b[1]  # later factors stand further left
  np.testing.assert_allclose(terms[4, 1], product, rtol=1e-9)


def test_an_activation_without_a_derivative_is_refused(problem):
  weights, xs, _ = problem
  with pytest.raises(errors.UserError, match="'relu'; use identity or tanh"):
    gradients.states(weights, xs, activation="relu")
