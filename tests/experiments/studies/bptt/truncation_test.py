"""Gradient strategies against sums over paths, enumeration and closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.bptt import truncation
from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import scan

STEPS, BATCH, WIDTH, FEATURES = 6, 2, 3, 4


@pytest.fixture(autouse=True, scope="module")
def doubles():
  with jax.enable_x64(True):
    yield


def problem(name, seed=0, steps=STEPS):
  """A cell, weights, and a loss of (sequence) that reads all outputs."""
  cell = cells.get(name)
  random = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(0.6 * random.normal(size=leaf.shape)),
    jax.eval_shape(
      lambda: cell.init_params(jax.random.key(0), WIDTH, FEATURES)
    ),
  )
  carry = cell.initial_carry((BATCH,), FEATURES, jnp.float64)
  xs = jnp.asarray(random.normal(size=(steps, BATCH, WIDTH)))
  readers = jnp.asarray(random.normal(size=(steps, BATCH, FEATURES)))

  def loss(params, sequence, inputs=xs):
    return jnp.sum(readers * sequence(params, carry, inputs)[1])

  return cell, params, carry, xs, loss


def plain(step):
  return lambda *given: scan.unroll(step, *given)


def weighted_loss(cell, loss, xs):
  """factors [T] -> gradient of the loss."""

  def gradient(params, factors):
    spread = jnp.broadcast_to(jnp.asarray(factors)[:, None], xs.shape[:2])
    sequence = plain(truncation.weighted(cell.step))
    return jax.grad(lambda p: loss(p, sequence, (xs, spread)))(params)

  return jax.jit(gradient)


def assert_same(have, want, atol=1e-12):
  for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=atol)


def unrolled_terms(direct, factors):
  """The terms of a_t = b_t + c_t a_{t-1}, a_0 = 0, by the step they come from.

  At [t, i] what b_i gives to a_t: (c_t c_{t-1} ... c_{i+1}) b_i.
  """
  steps = len(direct)
  actual = np.zeros((steps, *direct.shape))
  for t in range(steps):
    for i in range(t):
      actual[t, i] = factors[t] @ actual[t - 1, i]
    actual[t, t] = direct[t]
  return actual


@pytest.mark.parametrize("columns", [(), (2,)])
def test_the_unrolled_terms_sum_to_the_recursion(columns):
  random = np.random.default_rng(1)
  b = random.normal(size=(7, 3, *columns))
  c = random.normal(size=(7, 3, 3))
  terms = unrolled_terms(b, c)
  a = np.zeros((3, *columns))
  for t in range(7):
    a = b[t] + c[t] @ a
    np.testing.assert_allclose(terms[t].sum(axis=0), a, rtol=1e-9, atol=1e-12)
    assert not terms[t, t + 1 :].any()
  product = c[4] @ c[3] @ c[2] @ b[1]  # later factors stand further left
  np.testing.assert_allclose(terms[4, 1], product, rtol=1e-9)


def test_the_scaled_gradient_is_the_textbook_s_formula():
  xi = jnp.asarray(1.7)
  x = jnp.asarray([0.3, -2.0])

  def textbook(x):
    return xi * x + jax.lax.stop_gradient((1 - xi) * x)

  for f in (jnp.sin, jnp.square):
    have = jax.grad(lambda x, f=f: f(truncation.scale_gradient(x, xi)).sum())(x)
    want = jax.grad(lambda x, f=f: f(textbook(x)).sum())(x)
    np.testing.assert_allclose(have, want, rtol=1e-14)
  np.testing.assert_array_equal(truncation.scale_gradient(x, xi), x)


# Each test compiles all it needs as one program: many small ones take longer.
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_no_strategy_changes_a_value(name):
  cell, params, carry, xs, _ = problem(name)

  @jax.jit
  def every(params):
    factors = truncation.random_factors(
      jax.random.key(0), STEPS, BATCH, keep=0.5
    )
    weighed = plain(truncation.weighted(cell.step))
    return plain(cell.step)(params, carry, xs), [
      weighed(params, carry, (xs, factors)),
      truncation.in_windows(cell.step, 1)(params, carry, xs),
      truncation.in_windows(cell.step, 4)(params, carry, xs),
    ]

  want, actual = every(params)
  for have in actual:
    assert_same(have, want)


@pytest.mark.parametrize("name", ["elman", "lstm"])
def test_the_limits_are_the_full_gradient(name):
  cell, params, _, xs, loss = problem(name)
  weighed = weighted_loss(cell, loss, xs)
  sure = truncation.random_factors(jax.random.key(1), STEPS, BATCH, keep=1.0)
  chunks = truncation.segment_factors(STEPS, BATCH, length=STEPS)
  np.testing.assert_array_equal(sure, 1.0)
  np.testing.assert_array_equal(chunks, 1.0)

  @jax.jit
  def every(params):
    sequences = [
      plain(cell.step),
      truncation.in_windows(cell.step, STEPS),
      truncation.in_windows(cell.step, STEPS + 3),
    ]
    return [jax.grad(lambda p, s=s: loss(p, s))(params) for s in sequences]

  full, *actual = every(params)
  for have in (weighed(params, jnp.ones(STEPS)), *actual):
    assert_same(have, full)


@pytest.mark.parametrize("name", ["elman", "lstm"])
def test_a_window_of_one_step_is_the_direct_term(name):
  cell, params, carry, xs, loss = problem(name)
  _, starts = jax.lax.scan(
    lambda carry, x: (cell.step(params, carry, x)[0], carry), carry, xs
  )

  def direct(params, _, xs):
    ys = [
      cell.step(params, jax.tree.map(lambda leaf, t=t: leaf[t], starts), x)[1]
      for t, x in enumerate(xs)
    ]
    return None, jnp.stack(ys)

  @jax.jit
  def both(params):
    ways = direct, truncation.in_windows(cell.step, 1)
    return [jax.grad(lambda p, way=way: loss(p, way))(params) for way in ways]

  want, window = both(params)
  assert_same(window, want)
  chunk = truncation.segment_factors(STEPS, BATCH, length=1)[:, 0]
  assert_same(weighted_loss(cell, loss, xs)(params, chunk), want)


@pytest.mark.parametrize("window", [1, 2, 4])
def test_windows_drop_the_paths_that_are_longer(window):
  """a_t's gradient is a sum over paths: keep those of fewer than tau steps."""
  cell, params, carry, xs, _ = problem("elman", seed=1)
  _, hs = plain(cell.step)(params, carry, xs)
  before = np.concatenate([np.zeros_like(hs[:1]), hs[:-1]])
  slopes = 1 - np.asarray(hs) ** 2
  want = np.zeros((STEPS, BATCH, FEATURES, FEATURES, FEATURES))
  for row in range(BATCH):
    # b_t = dh_t/dU at fixed h_{t-1}, and c_t = dh_t/dh_{t-1}.
    direct = np.einsum(
      "tk,ti,kj->tkij", slopes[:, row], before[:, row], np.eye(FEATURES)
    )
    factors = np.einsum(
      "tk,jk->tkj", slopes[:, row], np.asarray(params.recurrent_kernel)
    )
    flat = direct.reshape(STEPS, FEATURES, -1)
    terms = unrolled_terms(flat, factors)
    for t in range(STEPS):
      near = terms[t, max(0, t - window + 1) : t + 1].sum(axis=0)
      want[t, row] = near.reshape((FEATURES,) * 3)
  run = truncation.in_windows(cell.step, window)
  have = jax.jit(jax.jacobian(lambda p: run(p, carry, xs)[1]))(params)
  np.testing.assert_allclose(have.recurrent_kernel, want, atol=1e-12)


def test_a_chunk_sees_nothing_before_itself():
  cell, params, _, xs, loss = problem("gru", seed=2)

  def pieces(params, carry, xs):
    outputs = []
    for start in range(0, STEPS, 4):
      if start:
        carry = jax.lax.stop_gradient(carry)
      carry, hs = scan.unroll(cell.step, params, carry, xs[start : start + 4])
      outputs.append(hs)
    return carry, jnp.concatenate(outputs)

  @jax.jit
  def both(params):
    ways = pieces, truncation.in_windows(cell.step, 4)
    return [jax.grad(lambda p, way=way: loss(p, way))(params) for way in ways]

  want, other = both(params)
  chunk = truncation.segment_factors(STEPS, BATCH, length=4)[:, 0]
  assert_same(weighted_loss(cell, loss, xs)(params, chunk), want)
  apart = jnp.abs(other.recurrent_kernel - want.recurrent_kernel)
  assert apart.max() > 1e-3  # the two ways to truncate are not one


@pytest.mark.parametrize("name", ["elman", "gru"])
def test_all_outcomes_together_are_the_full_gradient(name):
  cell, params, _, xs, loss = problem(name)
  full = jax.jit(jax.grad(lambda p: loss(p, plain(cell.step))))(params)
  factors, probabilities = truncation.outcomes(STEPS, keep=0.6)
  assert probabilities.sum() == pytest.approx(1.0, abs=1e-14)
  weighed = weighted_loss(cell, loss, xs)
  every = [jax.device_get(weighed(params, row)) for row in factors]
  total = jax.tree.map(
    lambda *leaves: np.tensordot(probabilities, np.stack(leaves), 1), *every
  )
  assert_same(total, full)


def test_the_outcomes_are_those_that_are_drawn():
  factors, probabilities = truncation.outcomes(4, keep=0.7)
  drawn = truncation.random_factors(jax.random.key(2), 4, 40_000, keep=0.7)
  actual = [
    np.mean(np.all(np.isclose(np.asarray(drawn).T, row), axis=1))
    for row in factors
  ]
  np.testing.assert_allclose(actual, probabilities, atol=0.01)
  assert np.all(drawn[0] == 1)


def test_uncut_runs_are_geometric():
  keep = 0.8
  factors = truncation.random_factors(jax.random.key(3), 30_000, 1, keep=keep)
  cuts = np.flatnonzero(np.asarray(factors[:, 0]) == 0)
  lengths = np.diff(cuts)
  assert lengths.mean() == pytest.approx(1 / (1 - keep), rel=0.05)
  assert np.mean(lengths == 1) == pytest.approx(1 - keep, abs=0.02)


@pytest.mark.parametrize("keep", [0.95, 0.85, 0.7])
def test_the_scalar_moments_are_those_of_every_outcome(keep):
  b, c, steps = 1.3, 0.9, 8
  factors, probabilities = truncation.outcomes(steps, keep=keep)
  z = np.zeros((len(factors), steps))
  z[:, 0] = b
  for t in range(1, steps):
    z[:, t] = b + factors[:, t] * c * z[:, t - 1]
  mean = probabilities @ z
  variance = probabilities @ (z - mean) ** 2
  actual = truncation.random_moments(b, c, keep=keep, steps=steps)
  np.testing.assert_allclose(actual[0], mean, rtol=1e-12)
  np.testing.assert_allclose(actual[1], variance, rtol=1e-9, atol=1e-12)


def test_the_variance_has_a_limit_where_keep_exceeds_the_square():
  limits = {0.95: 28.93, 0.9: 90.0, 0.85: 303.7}
  for keep, want in limits.items():
    actual = truncation.limit_variance(1.0, 0.9, keep=keep)
    assert actual == pytest.approx(want, rel=1e-3)
    mean, late = truncation.random_moments(1.0, 0.9, keep=keep, steps=4000)
    assert late[-1] == pytest.approx(actual, rel=1e-6)
    assert mean[-1] == pytest.approx(10.0)
  for keep in (0.81, 0.8, 0.5):
    assert math.isinf(truncation.limit_variance(1.0, 0.9, keep=keep))
    _, grown = truncation.random_moments(1.0, 0.9, keep=keep, steps=400)
    assert grown[-1] > 1.5 * grown[199]


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.5, math.nan])
def test_a_probability_that_is_none_is_refused(keep):
  with pytest.raises(errors.UserError, match=r"must lie in \(0, 1\]"):
    truncation.random_factors(jax.random.key(0), 3, 1, keep=keep)
