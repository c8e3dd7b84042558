"""Limits on derivatives inside a network, whatever its loss is scaled by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import ops
from seqmodels.data.text import batching
from seqmodels.models import networks
from seqmodels.training import regularizers

SYMBOLS, STEPS, STREAMS, LIMIT = 5, 6, 3, 0.25
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(SYMBOLS, SYMBOLS)).astype(np.float32)
INPUTS, TARGETS = RANDOM.integers(0, SYMBOLS, (2, STEPS, STREAMS), np.int32)
MASK = RANDOM.random((STEPS, STREAMS)) < 0.7


def make(limit, mask=MASK):
  """A chain whose logits' derivatives are limited, as an LSTM's net inputs."""

  def apply(params, carry, inputs, reset):
    del reset
    return carry, ops.clip_gradient(params[inputs], limit)

  chain = networks.SequenceModel(
    apply=apply,
    initial_carry=lambda batch: jnp.zeros((batch, 1)),
    init=lambda key: jnp.array(TABLE),
    vocabulary_size=SYMBOLS,
  )
  segment = batching.Segment(INPUTS, TARGETS, mask, np.zeros_like(mask))
  return regularizers.Objective(
    chain, jnp.zeros((STREAMS, 1)), segment, jax.random.key(2)
  )


def by_hand(limit, columns=slice(None)):
  """Of the summed nats: at each position, share minus choice, limited."""
  share = np.exp(TABLE) / np.exp(TABLE).sum(axis=1, keepdims=True)
  total = np.zeros_like(TABLE)
  for t, b in np.argwhere(MASK):
    if b in np.arange(STREAMS)[columns]:
      one = share[INPUTS[t, b]] - np.eye(SYMBOLS)[TARGETS[t, b]]
      total[INPUTS[t, b]] += np.clip(one, -limit, limit)
  return total


@pytest.mark.parametrize("limit", [LIMIT, 10.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_limited_is_the_derivative_of_the_summed_nats(
  step_gradient, limit, reduction
):
  actual, (_, metrics) = step_gradient(
    make(limit), jnp.array(TABLE), reduction=reduction
  )
  scale = 1 / MASK.sum() if reduction == "mean" else 1.0
  np.testing.assert_allclose(actual, scale * by_hand(limit), atol=1e-6)
  assert int(metrics.count) == MASK.sum()
  assert not np.allclose(by_hand(LIMIT), by_hand(10.0), atol=0.1)


def test_values_are_sums():
  nats, (_, metrics) = make(LIMIT).by_stream(jnp.array(TABLE))
  expected = -np.take_along_axis(
    np.asarray(jax.nn.log_softmax(TABLE))[INPUTS], TARGETS[..., None], axis=-1
  )
  expected = (expected[..., 0] * MASK).sum(axis=0)
  np.testing.assert_allclose(nats, expected, rtol=1e-5)
  np.testing.assert_allclose(metrics.nats, expected.sum(), rtol=1e-5)


def test_squares_of_streams_see_the_same_limits():
  total, squares, _ = regularizers.exact_squares(
    make(LIMIT), jnp.array(TABLE), jax.random.key(0)
  )
  rows = [by_hand(LIMIT, [b]) for b in range(STREAMS)]
  np.testing.assert_allclose(total, sum(rows), atol=1e-6)
  np.testing.assert_allclose(squares, sum(g * g for g in rows), atol=1e-6)


def test_nothing_scored_is_no_gradient(step_gradient):
  empty = make(LIMIT, np.zeros_like(MASK))
  actual, (_, metrics) = step_gradient(empty, jnp.array(TABLE))
  assert not np.any(actual)
  assert float(metrics.nats) == int(metrics.count) == 0
