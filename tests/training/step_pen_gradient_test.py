"""Gradients of padded lines against those of each line by itself."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqmodels import mixture_density as mixtures
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.training import regularizers, step

LENGTHS, TEXTS, SYMBOLS = (5, 8, 5), ([1, 2], [3, 0, 4], [2, 4]), 5


class Lines(NamedTuple):
  """Not the library's type: any tuple of these fields must do."""

  inputs: np.ndarray
  targets: np.ndarray
  mask: np.ndarray
  text: np.ndarray
  reset: np.ndarray


@functools.cache
def network_of(**settings):
  options = recurrent.StackOptions(
    features=(4,), gradient_clip=settings.pop("gradient_clip", 10.0)
  )
  return networks.Handwriting(
    options, symbols=SYMBOLS, components=2, window=2, **settings
  ).as_model()


@pytest.fixture(scope="module")
def params():
  actual = jax.jit(network_of().init)(jax.random.key(1))
  layer = actual["stack"]["layer_0"]
  layer["window_bias"] = layer["window_bias"].at[-2:].set(-1.0)
  return actual


def lines(*rows, steps=12, letters=5):
  """Those lines side by side; targets are NaN where nobody should look."""
  random = np.random.default_rng(0)
  points = [random.normal(size=(length, 3)) for length in LENGTHS]
  inputs = np.zeros((steps, len(rows), 3), np.float32)
  targets = np.full_like(inputs, np.nan)
  mask = np.zeros((steps, len(rows)), bool)
  text = np.full((letters, len(rows)), -1, np.int32)
  for column, row in enumerate(rows):
    length = LENGTHS[row]
    points[row][:, 2] = np.arange(length) % 3 == 2
    targets[:length, column] = points[row]
    inputs[1:length, column] = points[row][:-1]
    mask[:length, column] = True
    text[: len(TEXTS[row]), column] = TEXTS[row]
  reset = np.broadcast_to(np.arange(steps)[:, None] == 0, mask.shape)
  return Lines(inputs, targets, mask, text, reset)


def objective_of(segment, network):
  carry = network.initial_carry(segment.mask.shape[1])
  return regularizers.Objective(network, carry, segment, jax.random.key(2))


@functools.partial(jax.jit, static_argnums=2)
def gradient(params, segment, network=network_of()):
  return objective_of(segment, network).gradient(params)


@functools.partial(jax.jit, static_argnums=2)
def squares(params, segment, kind):
  objective = objective_of(segment, network_of())
  return regularizers.SQUARES[kind](objective, params, jax.random.key(0))


ALL = lines(0, 1, 2)
OUTPUT_CLIP = 0.02
CLIPPED = network_of(output_clip=OUTPUT_CLIP, gradient_clip=0.01)


@pytest.fixture(scope="module")
def singles(params):
  """Nats and gradient of each line, with a loss written out by hand."""

  def nats(params, line):
    network = network_of()
    _, outputs = network.apply(
      params, network.initial_carry(1), line.inputs, line.text
    )
    return jnp.sum(mixtures.nats(mixtures.mixture(outputs), line.targets))

  both = jax.jit(jax.value_and_grad(nats))
  return [
    both(params, lines(row, steps=LENGTHS[row], letters=len(TEXTS[row])))
    for row in range(3)
  ]


def close(one, other, **tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other
  )


def test_nats_are_those_of_each_line_without_its_padding(params, singles):
  nats, (_, metrics) = jax.jit(
    lambda params: objective_of(ALL, network_of()).by_stream(params)
  )(params)
  np.testing.assert_allclose(nats, [one for one, _ in singles], rtol=1e-5)
  np.testing.assert_allclose(metrics.nats, np.sum(nats), rtol=1e-6)
  assert int(metrics.count) == sum(LENGTHS)
  assert 0 < int(metrics.errors) < sum(LENGTHS)


def test_a_batch_has_the_gradient_of_its_lines_without_padding(params, singles):
  actual, _ = gradient(params, ALL)
  total = jax.tree.map(lambda *g: sum(g), *(one for _, one in singles))
  close(actual, total, rtol=1e-4, atol=1e-5)


def test_a_line_in_stretches_is_the_line_at_once(params, singles):
  """The state is handed on, and cleared where the segment says so."""
  objective = objective_of(ALL, network_of())
  by_stream = jax.jit(
    lambda carry, segment: objective._replace(
      carry=carry, segment=segment
    ).by_stream(params)
  )
  # What another line left behind.
  carry = jax.tree.map(lambda leaf: leaf + 1.0, objective.carry)
  nats = 0
  for first in (0, 5):
    stretch = Lines(
      *(each[first : first + 5] for each in ALL[:3]),
      ALL.text,
      ALL.reset[first : first + 5],
    )
    actual, (carry, _) = by_stream(carry, stretch)
    nats = nats + actual
  np.testing.assert_allclose(nats, [one for one, _ in singles], rtol=1e-5)


def test_squares_are_those_of_single_lines(params, singles):
  """The squares that adaptive weight noise learns its widths from."""
  total, actual, outcome = squares(params, ALL, "exact")
  plain, expected = gradient(params, ALL)
  close(total, plain, rtol=1e-4, atol=1e-5)
  close(outcome, expected, rtol=1e-5, atol=1e-6)
  gradients = [one for _, one in singles]
  by_hand = jax.tree.map(lambda *g: sum(x * x for x in g), *gradients)
  close(actual, by_hand, rtol=1e-4, atol=1e-6)


def test_the_reduction_is_a_factor_whatever_is_clipped(step_gradient, params):
  """Limits far below the derivatives: they act before the mean is taken."""
  mean, total = (
    jax.jit(
      lambda params, reduction=reduction: step_gradient(
        objective_of(ALL, CLIPPED), params, reduction=reduction
      )[0]
    )(params)
    for reduction in ("mean", "sum")
  )
  close(
    jax.tree.map(lambda leaf: leaf * sum(LENGTHS), mean),
    total,
    rtol=1e-5,
    atol=1e-7,
  )
  free, _ = gradient(params, ALL)
  for part, name in (("head", "bias"), ("stack", "layer_0")):
    actual, before = (
      max(np.abs(leaf).max() for leaf in jax.tree.leaves(each[part][name]))
      for each in (total, free)
    )
    assert actual < 0.1 * before


def test_each_output_of_each_point_is_clipped_by_itself(params):
  """The bias of the head gets their sum, which is not clipped again."""
  network, limit = network_of(), OUTPUT_CLIP
  _, outputs = jax.jit(network.apply)(
    params, network.initial_carry(3), ALL.inputs, ALL.text
  )
  free = jax.vmap(
    jax.grad(lambda raw, point: mixtures.nats(mixtures.mixture(raw), point))
  )(outputs[ALL.mask], ALL.targets[ALL.mask])
  expected = np.clip(free, -limit, limit).sum(axis=0)
  actual, _ = gradient(params, ALL, CLIPPED)
  np.testing.assert_allclose(actual["head"]["bias"], expected, atol=1e-5)
  assert np.abs(expected).max() > limit


def test_steps_lower_the_loss():
  network, optimizer = network_of(), optax.adam(3e-2)
  segment = jax.tree.map(
    lambda leaf: np.broadcast_to(leaf, (25, *leaf.shape)), ALL
  )
  steps = step.make_train_steps(network, optimizer)
  make = functools.partial(step.create, network, optimizer)
  fresh = jax.jit(lambda: make(batch=3, seed=0))()
  after, report = steps(fresh, segment)
  metrics = report.metrics
  assert int(after.step) == 25
  assert metrics.count.tolist() == [sum(LENGTHS)] * 25
  assert metrics.nats[-1] < metrics.nats[0] - 5
  assert np.all(np.isfinite(report.gradient_norm))
