"""Zoneout: the fused form against the steps, finite differences and NumPy."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import scan, zoneout

STEPS, BATCH, WIDTH, FEATURES = 7, 4, 3, 5
CELLS = {
  "lstm": cells.get("lstm"),
  "lstm_plain": cells.get("lstm", peepholes=False),
  "layer_norm_lstm": cells.get("layer_norm_lstm", peepholes=True),
}
RESET = np.random.default_rng(5).uniform(size=(STEPS, BATCH)) < 0.3
LENGTHS = np.array([0, 1, STEPS, STEPS - 3])
ALL = {"reset": RESET, "lengths": LENGTHS}
each_cell = pytest.mark.parametrize("name", CELLS)


class Case(NamedTuple):
  """A run: what is differentiated, masks, and cotangents."""

  moving: tuple  # params, carry, xs, reset carry
  kept: zoneout.Kept
  cotangents: tuple


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


def make_case(name, seed=0):
  cell, random = CELLS[name], np.random.default_rng(seed)
  shapes = jax.eval_shape(
    lambda: (
      cell.init_params(jax.random.key(0), WIDTH, FEATURES),
      cell.initial_carry((BATCH,), FEATURES),
    )
  )
  params, carry, d_carry = jax.tree.map(
    lambda leaf: random.normal(size=leaf.shape), (*shapes, shapes[1])
  )
  reset_carry = jax.tree.map(lambda _: random.normal(size=FEATURES), carry)
  xs = random.normal(size=(STEPS, BATCH, WIDTH))
  shape = (STEPS, BATCH, FEATURES)
  kept = zoneout.Kept(
    random.uniform(size=shape) < 0.5, random.uniform(size=shape) < 0.3
  )
  moving = (params, carry, xs, reset_carry)
  return Case(moving, kept, (d_carry, random.normal(size=shape)))


def fused(name, kept, chunk=0, **options):
  sequence = CELLS[name].sequence
  if chunk:
    sequence = scan.checkpointed(sequence, chunk)
  return functools.partial(sequence, zoneout=kept, **options)


def stepwise(name, kept, *, gradient_clip=None, **options):
  # Numbers in place of booleans: a product where the fused form selects.
  kept = jax.tree.map(lambda leaf: leaf.astype(float), kept)
  step = functools.partial(CELLS[name].step, gradient_clip=gradient_clip)
  step = zoneout.stepwise(step)

  def run(params, carry, xs, reset_carry):
    return scan.unroll(
      step, params, carry, (xs, kept), reset_carry=reset_carry, **options
    )

  return run


def pulled(run, case):
  def both(*moving):
    params, carry, xs, reset_carry = moving
    return run(params, carry, xs, reset_carry=reset_carry)

  @functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
  )
  def compiled(moving, cotangents):
    results, pullback = jax.vjp(both, *moving)
    return results, pullback(cotangents)

  return compiled(case.moving, case.cotangents)


def assert_close(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
  for a, b in pairs:
    assert a.dtype == b.dtype
    assert np.isfinite(a).all()
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def assert_equal(actual, expected):
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def mixed(keep, old, new):
  return keep * old + (1 - keep) * new


@pytest.mark.parametrize(
  ("name", "options", "chunk"),
  [
    ("lstm", {}, 0),
    ("lstm", ALL, 0),
    *(
      (name, {**ALL, "reverse": True, "gradient_clip": 0.3}, 3)
      for name in CELLS
    ),
  ],
)
def test_fused_equals_step_by_step_in_values_and_gradients(
  name, options, chunk
):
  case = make_case(name)
  assert_close(
    pulled(fused(name, case.kept, chunk, **options), case),
    pulled(stepwise(name, case.kept, **options), case),
  )


@pytest.mark.parametrize(
  ("name", "rates"),
  [
    ("lstm", (0.5, 0.05)),
    ("lstm_plain", (0.5, 0.0)),
    ("layer_norm_lstm", (0.0, 0.3)),
  ],
)
def test_the_expectation_equals_step_by_step_in_values_and_gradients(
  name, rates
):
  case = make_case(name)
  case = case._replace(kept=zoneout.Rates(*rates).expected(STEPS))
  assert [leaf is None for leaf in case.kept] == [not rate for rate in rates]
  assert_close(
    pulled(fused(name, case.kept, 3, **ALL), case),
    pulled(stepwise(name, case.kept, **ALL), case),
  )


@each_cell
def test_derivatives_agree_with_finite_differences(name):
  case = make_case(name)
  run = fused(name, case.kept, **ALL)
  _, gradient = pulled(run, case)
  direction = make_case(name, seed=1).moving

  @jax.jit
  def value(offset):
    params, carry, xs, reset_carry = jax.tree.map(
      lambda x, d: x + offset * d, case.moving, direction
    )
    results = run(params, carry, xs, reset_carry=reset_carry)
    return inner(results, case.cotangents)

  size = 1e-6
  np.testing.assert_allclose(
    inner(gradient, direction),
    (value(size) - value(-size)) / (2 * size),
    rtol=1e-7,
  )


def inner(a, b):
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return sum(jnp.vdot(x, y) for x, y in pairs)


@pytest.mark.parametrize(
  ("name", "masks"), [("lstm", True), ("lstm", False), ("lstm_plain", True)]
)
def test_it_is_the_equations_in_numpy(name, masks):
  """Unit by unit; a reset first, so that what is kept is the cleared carry."""
  case = make_case(name)
  kept = case.kept if masks else zoneout.Rates(0.5, 0.05).expected(STEPS)
  params, carry, xs, reset_carry = case.moving
  (last, hs) = fused(name, kept, **ALL)(
    params, carry, xs, reset_carry=reset_carry
  )
  shape = (STEPS, BATCH, FEATURES)
  d_c, d_h = (np.broadcast_to(leaf, shape).astype(float) for leaf in kept)
  peephole = np.zeros((3, FEATURES))
  if params.peephole is not None:
    peephole = params.peephole

  def sigmoid(x):
    return 1 / (1 + np.exp(-x))

  for b in range(BATCH):
    c, h = carry.c[b], carry.h[b]
    for t in range(STEPS):
      if t >= LENGTHS[b]:
        np.testing.assert_array_equal(hs[t, b], 0)
        continue
      if RESET[t, b]:
        c, h = reset_carry.c, reset_carry.h
      net = xs[t, b] @ params.kernel + h @ params.recurrent_kernel + params.bias
      net_i, net_f, net_g, net_o = net.reshape(4, FEATURES)
      i = sigmoid(net_i + peephole[0] * c)
      f = sigmoid(net_f + peephole[1] * c)
      new = f * c + i * np.tanh(net_g)
      o = sigmoid(net_o + peephole[2] * new)
      h = mixed(d_h[t, b], h, o * np.tanh(new))
      c = mixed(d_c[t, b], c, new)
      np.testing.assert_allclose(hs[t, b], h, rtol=1e-12)
    np.testing.assert_allclose(last.c[b], c, rtol=1e-12)
    np.testing.assert_allclose(last.h[b], h, rtol=1e-12)


def test_rates_of_zero_are_the_plain_cell_bit_for_bit():
  case, rates = make_case("lstm"), zoneout.Rates()
  kept = rates.draw(jax.random.key(0), (STEPS, BATCH, FEATURES))
  assert kept == rates.expected(STEPS)
  plain = pulled(functools.partial(CELLS["lstm"].sequence, **ALL), case)
  assert_equal(pulled(fused("lstm", kept, **ALL), case), plain)


def test_a_unit_that_is_always_kept_never_changes_and_learns_nothing():
  case, name = make_case("lstm"), "lstm"
  every = np.ones((STEPS, BATCH, FEATURES), bool)
  kept = zoneout.Kept(every, every)
  (last, hs), (d_params, d_carry, d_xs, _) = pulled(fused(name, kept), case)
  carry = case.moving[1]
  assert_equal(last, carry)
  assert_equal(hs, np.broadcast_to(carry.h, hs.shape))
  for leaf in jax.tree.leaves((d_params, d_xs)):
    np.testing.assert_array_equal(leaf, 0)
  d_last, d_hs = case.cotangents
  np.testing.assert_allclose(d_carry.c, d_last.c)
  np.testing.assert_allclose(d_carry.h, d_last.h + d_hs.sum(axis=0))


def test_masks_have_their_rates_and_units_are_independent():
  shape = (50, 20, 101)
  count = np.prod(shape)
  rates = zoneout.Rates(0.5, 0.05)
  kept = rates.draw(jax.random.key(3), shape)
  for mask, rate in zip(kept, rates, strict=True):
    assert mask.shape == shape
    assert mask.dtype == bool
    deviation = np.sqrt(rate * (1 - rate) / count)
    assert abs(np.mean(mask) - rate) < 4 * deviation
    # By step, by row and by unit alike.
    for axes in ((1, 2), (0, 2), (0, 1)):
      means = np.mean(mask, axis=axes)
      spread = np.sqrt(rate * (1 - rate) / np.prod([shape[a] for a in axes]))
      assert np.abs(means - rate).max() < 5 * spread
    # Two numbers come of one random word: neighbours, too, are independent.
    pairs = (
      (mask[:-1], mask[1:]),
      (mask[:, :-1], mask[:, 1:]),
      (mask[..., :-1:2], mask[..., 1::2]),
    )
    for one, other in pairs:
      assert abs(correlation(one, other)) < 5 / np.sqrt(np.size(one))
  assert abs(correlation(*kept)) < 5 / np.sqrt(count)
  again = rates.draw(jax.random.key(3), shape)
  jax.tree.map(np.testing.assert_array_equal, again, kept)
  other = rates.draw(jax.random.key(4), shape)
  assert not np.array_equal(other.cell, kept.cell)


def correlation(one, other):
  return np.corrcoef(np.ravel(one), np.ravel(other))[0, 1]


@pytest.mark.parametrize("rate", [2**-16, 1 - 2**-16, 1 - 1e-9])
def test_rates_near_the_ends_are_drawn(rate):
  mask = zoneout.Rates(cell=rate).draw(jax.random.key(0), (100, 10, 100)).cell
  assert abs(np.mean(mask) - rate) < 1e-4


def test_one_step_averages_to_the_expectation():
  case = make_case("lstm")
  params, carry, xs, _ = case.moving
  rates = zoneout.Rates(0.5, 0.2)

  def after(kept):
    return CELLS["lstm"].sequence(params, carry, xs[:1], zoneout=kept)[0]

  def drawn(key):
    return after(rates.draw(key, (1, BATCH, FEATURES)))

  keys = jax.random.split(jax.random.key(0), 4_000)
  mean = jax.tree.map(lambda x: x.mean(axis=0), jax.jit(jax.vmap(drawn))(keys))
  for a, b in zip(mean, after(rates.expected(1)), strict=True):
    np.testing.assert_allclose(a, b, atol=0.06)


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan")])
def test_a_rate_at_which_nothing_would_change_is_refused(rate):
  with pytest.raises(errors.UserError, match=r"zoneout rate is .* below 1"):
    zoneout.Rates(state=rate).check()


@pytest.mark.parametrize("name", cells.CELLS)
def test_the_table_says_which_sequences_take_it(name):
  cell = cells.get(name)

  def run():
    params = cell.init_params(jax.random.key(0), 1, 1)
    kept, xs = zoneout.Rates(0.5).expected(1), jnp.ones((1, 1, 1))
    carry = cell.initial_carry((1,), 1)
    return cell.sequence(params, carry, xs, zoneout=kept)[1]

  if cell.zoneout:
    assert jax.eval_shape(run).shape == (1, 1, 1)
  else:
    with pytest.raises(TypeError, match="zoneout"):
      jax.eval_shape(run)
