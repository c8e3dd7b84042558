"""Gradients under noise against sums over single streams, written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.data.text import batching
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.regularization import weight_noise
from seqmodels.training import regularizers

SYMBOLS, STEPS, STREAMS = 5, 6, 3


@pytest.fixture(scope="module")
def network():
  return networks.LanguageModel(
    SYMBOLS, recurrent.StackOptions(features=(4,))
  ).as_model()


@pytest.fixture(scope="module")
def objective(network):
  rng = np.random.default_rng(0)
  mask = rng.random((STEPS, STREAMS)) < 0.8
  segment = batching.Segment(
    rng.integers(0, SYMBOLS, (STEPS, STREAMS)).astype(np.int32),
    rng.integers(0, SYMBOLS, (STEPS, STREAMS)).astype(np.int32),
    mask,
    np.zeros((STEPS, STREAMS), bool),
  )
  carry = jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32),
    network.initial_carry(STREAMS),
  )
  return regularizers.Objective(network, carry, segment, jax.random.key(2))


@pytest.fixture(scope="module")
def params(network):
  return network.init(jax.random.key(1))


def close(one, other, **tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other
  )


def by_hand(objective, params):
  """The gradient of each stream's nats, with a loss written out by hand."""
  actual = []
  for b in range(STREAMS):
    row = slice(b, b + 1)
    segment = jax.tree.map(
      lambda leaf, row=row: leaf[:, row], objective.segment
    )
    carry = jax.tree.map(lambda leaf, row=row: leaf[row], objective.carry)

    def nats(params, segment=segment, carry=carry):
      _, logits = objective.model.apply(
        params, carry, segment.inputs, segment.reset
      )
      chosen = jax.nn.log_softmax(logits)[
        np.arange(STEPS), 0, segment.targets[:, 0]
      ]
      return -jnp.sum(chosen * segment.mask[:, 0])

    actual.append(jax.grad(nats)(params))
  return actual


def test_exact_squares_are_those_of_single_streams(objective, params):
  total, squares, outcome = regularizers.exact_squares(
    objective, params, jax.random.key(0)
  )
  rows = by_hand(objective, params)
  close(total, jax.tree.map(lambda *g: sum(g), *rows), rtol=1e-4, atol=1e-5)
  expected = jax.tree.map(lambda *g: sum(x * x for x in g), *rows)
  close(squares, expected, rtol=1e-4, atol=1e-6)
  whole = objective.by_stream(params)[1]
  close(outcome, whole, rtol=1e-5, atol=1e-6)


def test_signed_squares_average_to_the_exact_ones(
  objective, params, monkeypatch
):
  """Over all 2^B sign patterns the cross terms cancel to nothing."""
  estimates = []
  for signs in itertools.product((1.0, -1.0), repeat=STREAMS):
    monkeypatch.setattr(
      jax.random, "rademacher", lambda *_, signs=signs: jnp.array(signs)
    )
    estimates.append(
      regularizers.signed_squares(objective, params, jax.random.key(0))
    )
  mean = jax.tree.map(
    lambda *s: sum(s) / len(s), *(squares for _, squares, _ in estimates)
  )
  total, squares, outcome = regularizers.exact_squares(
    objective, params, jax.random.key(0)
  )
  close(mean, squares, rtol=1e-4, atol=1e-6)
  close(estimates[0][0], total, rtol=1e-4, atol=1e-5)
  close(estimates[0][2], outcome, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("squares", "weight"),
  [("exact", 1.0), ("exact", 0.1), ("signs", 0.1), ("signs", 1.0)],
)
def test_adaptive_gradient_is_the_formula(objective, params, squares, weight):
  rule = regularizers.adaptive(
    0.1, symbols=100, squares=squares, complexity=weight
  )
  posterior = rule.wrap(params)
  key = jax.random.key(5)
  actual, _ = rule.gradient(objective, posterior, key)
  draw_key, sign_key = jax.random.split(key)
  draw = weight_noise.sample(posterior, draw_key)
  total, squared, _ = regularizers.SQUARES[squares](objective, draw, sign_key)
  share = weight * int(np.sum(objective.segment.mask)) / 100
  cost = weight_noise.complexity_gradient(posterior)
  close(
    actual.mean,
    jax.tree.map(lambda g, c: g + share * c, total, cost.mean),
    rtol=1e-5,
    atol=1e-6,
  )
  close(
    actual.log_variance,
    jax.tree.map(
      lambda s, c: 0.5 * 0.01 * s + share * c,
      squared,
      cost.log_variance,
    ),
    rtol=1e-4,
    atol=1e-6,
  )


def test_weight_noise_takes_the_gradient_at_the_draw(objective, params):
  key = jax.random.key(9)
  actual, (_, metrics) = regularizers.noisy(0.2).gradient(
    objective, params, key
  )
  draw = weight_noise.perturb(params, key, 0.2)
  rows = by_hand(objective, draw)
  expected = jax.tree.map(lambda *g: sum(g), *rows)
  close(actual, expected, rtol=1e-4, atol=1e-6)
  _, (_, plain) = objective.by_stream(params)
  assert float(metrics.nats) != float(plain.nats)


def test_no_noise_is_the_plain_gradient(objective, params):
  key = jax.random.key(0)
  one, _ = regularizers.noisy(0.0).gradient(objective, params, key)
  other, _ = objective.gradient(params)
  assert jax.tree.all(jax.tree.map(jnp.array_equal, one, other))


def test_evaluation_sees_the_mean_weights(params):
  rule = regularizers.adaptive(0.075, symbols=10)
  kept = rule.weights(rule.wrap(params))
  assert jax.tree.all(jax.tree.map(jnp.array_equal, kept, params))


def test_streams_come_apart_with_keys_of_their_own(objective):
  carry, segment, keys = objective.streams()
  for b in range(STREAMS):
    close(
      jax.tree.map(lambda leaf, b=b: leaf[b, 0], carry),
      jax.tree.map(lambda leaf, b=b: leaf[b], objective.carry),
    )
    np.testing.assert_array_equal(
      segment.inputs[b, :, 0], objective.segment.inputs[:, b]
    )
  assert len(np.unique(jax.random.key_data(keys), axis=0)) == STREAMS
