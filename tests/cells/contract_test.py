"""Every cell and every way to run it: step by step, fused and recomputed agree.

In float64, where right programs agree to a dozen digits and a wrong derivative
has no rounding to hide in.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import cell as cells
from seqmodels.cells import scan

STEPS, BATCH, WIDTH, SYMBOLS, FEATURES = 7, 4, 3, 6, 5

CELLS = {
  "lstm": cells.get("lstm"),
  "lstm_plain": cells.get("lstm", peepholes=False, forget_bias=0.5),
  "gru": cells.get("gru"),
  "elman": cells.get("elman"),
  "elman_relu": cells.get("elman_relu"),
  "layer_norm_lstm": cells.get("layer_norm_lstm"),
  "layer_norm_lstm_peepholes": cells.get("layer_norm_lstm", peepholes=True),
  "mogrifier_lstm": cells.get("mogrifier_lstm", rounds=3, peepholes=True),
  "mogrifier_lstm_rank": cells.get("mogrifier_lstm", rounds=4, rank=2),
  "mogrifier_lstm_query_only": cells.get("mogrifier_lstm", rounds=1),
  "lstm_clipped": cells.get("lstm", cell_clip=0.5),
  "layer_norm_lstm_clipped": cells.get("layer_norm_lstm", cell_clip=0.5),
  "mogrifier_lstm_clipped": cells.get("mogrifier_lstm", cell_clip=0.5),
}
# Cells whose derivative is, on purpose, not that of their values.
STRAIGHT_THROUGH = tuple(name for name in CELLS if name.endswith("clipped"))
# Cells that take dense inputs alone.
DENSE_ONLY = tuple(name for name in CELLS if name.startswith("mogrifier"))


class Setting(NamedTuple):
  """One way to run a sequence."""

  inputs: str = "dense"  # or "ids", or "several"
  reset: bool = False
  learned: bool = False  # what a reset puts in has a gradient
  lengths: bool = False  # with NaN wherever a row has ended
  reverse: bool = False
  clip: float | None = None


PLAIN = Setting()
LEARNED = Setting(reset=True, learned=True)
ALL = Setting("several", True, True, True, clip=0.1)
ALL_IN_REVERSE = Setting("dense", True, True, True, True, clip=0.1)
SETTINGS = {
  "plain": PLAIN,
  "learned_reset": LEARNED,
  "clip": Setting(reset=True, clip=0.1),
  "ids": Setting("ids", reset=True, lengths=True),
  "several_in_reverse": Setting("several", learned=True, reverse=True),
  "all": ALL,
  "all_in_reverse": ALL_IN_REVERSE,
}


class Case(NamedTuple):
  """Arguments of one run: differentiated, not differentiated, cotangents."""

  moving: tuple  # params, carry, dense inputs, reset carry
  fixed: dict
  cotangents: tuple


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


def make_case(name, setting, *, dtype=np.float64, seed=0):
  cell, random = CELLS[name], np.random.default_rng(seed)

  def normal(*shape):
    return random.normal(size=shape).astype(dtype)

  width = {"dense": WIDTH, "ids": SYMBOLS, "several": SYMBOLS + 2 * WIDTH}
  dense = {"dense": 1, "ids": 0, "several": 2}[setting.inputs]
  xs = [normal(STEPS, BATCH, WIDTH) for _ in range(dense)]
  fixed = {"reset": None, "lengths": None, "ids": None}
  if setting.inputs != "dense":
    ids = random.integers(-1, SYMBOLS, (STEPS, BATCH))
    fixed["ids"] = ids.astype(np.int32)
  shapes = jax.eval_shape(
    lambda: (
      cell.init_params(jax.random.key(0), width[setting.inputs], FEATURES),
      cell.initial_carry((BATCH,), FEATURES),
    )
  )
  # No weight is zero, where a forgotten term would not show.
  params = jax.tree.map(lambda leaf: 0.5 * normal(*leaf.shape), shapes[0])
  carry = jax.tree.map(lambda leaf: normal(*leaf.shape), shapes[1])
  # One for all rows, so it is spread over the batch as well.
  reset_carry = jax.tree.map(lambda leaf: normal(FEATURES), shapes[1])
  d_carry = jax.tree.map(lambda leaf: normal(*leaf.shape), shapes[1])
  d_hs = normal(STEPS, BATCH, FEATURES)
  if setting.reset:
    fixed["reset"] = random.uniform(size=(STEPS, BATCH)) < 0.3
  if setting.lengths:
    fixed["lengths"] = np.array([0, 1, STEPS, STEPS - 3])
    padding = np.arange(STEPS)[:, None] >= fixed["lengths"][None]
    for array in (*xs, d_hs):
      array[padding] = np.nan
  moving = (params, carry, xs, reset_carry if setting.learned else None)
  return Case(moving, fixed, (d_carry, d_hs))


def stepwise(name, **options):
  step = functools.partial(CELLS[name].step, **options)
  return functools.partial(scan.unroll, step)


def fused(name, **options):
  return functools.partial(CELLS[name].sequence, **options)


def recomputed(name, **options):
  # 7 steps in chunks of 3 leave a shorter one.
  return scan.checkpointed(fused(name, **options), 3)


def call(function, moving, fixed, reverse=False):
  params, carry, xs, reset_carry = moving
  # Dense inputs around the ids: the order of the kernel's rows counts.
  ids = [] if fixed["ids"] is None else [fixed["ids"]]
  inputs = (*xs[:1], *ids, *xs[1:])
  return function(
    params,
    carry,
    inputs if len(inputs) > 1 else inputs[0],
    reset=fixed["reset"],
    lengths=fixed["lengths"],
    reverse=reverse,
    reset_carry=reset_carry,
  )


def pulled(function, reverse=False):
  """A run's results with the derivatives of all that moves, uncompiled."""

  def both(moving, fixed, cotangents):
    results, pullback = jax.vjp(
      lambda *moving: call(function, moving, fixed, reverse), *moving
    )
    return results, pullback(cotangents)

  return both


def compiled(function):
  # Most of these tests' time is compilation: as little of it as XLA offers.
  options = {"xla_backend_optimization_level": 0}
  return jax.jit(function, compiler_options=options)


@functools.cache
def compiled_run(way, name, setting, dtype=None):
  function = way(name, gradient_clip=setting.clip, dtype=dtype)
  return compiled(pulled(function, setting.reverse))


def assert_close(actual, expected, *, tolerance=1e-11):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
  for a, b in pairs:
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_every_cell_of_the_table_is_held_to_the_contract():
  assert set(cells.CELLS) <= set(CELLS)


@pytest.mark.parametrize(
  ("name", "setting"),
  [
    pytest.param(name, setting, id=f"{name}-{label}")
    for name in CELLS
    for label, setting in SETTINGS.items()
    # The variants differ from their cells in the gates alone.
    if (
      name in ("lstm", "gru", "elman") or setting in (LEARNED, ALL_IN_REVERSE)
    )
    and not (name in DENSE_ONLY and setting.inputs != "dense")
  ],
)
def test_fused_equals_step_by_step_in_values_and_gradients(name, setting):
  case = make_case(name, setting)
  actual = compiled_run(fused, name, setting)(*case)
  assert_close(actual, compiled_run(stepwise, name, setting)(*case))
  # What the padding held is in neither; that both have a NaN is no excuse.
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(actual))


@pytest.mark.parametrize(
  ("name", "setting"),
  [
    *((name, ALL) for name in ("lstm", "gru", "elman")),
    *((name, ALL_IN_REVERSE) for name in cells.CELLS),
  ],
)
def test_recomputed_equals_fused_in_values_and_gradients(name, setting):
  case = make_case(name, setting)
  actual = compiled_run(recomputed, name, setting)(*case)
  assert_close(actual, compiled_run(fused, name, setting)(*case))


@pytest.mark.parametrize("way", [stepwise, fused])
@pytest.mark.parametrize(
  "name", [name for name in CELLS if name not in STRAIGHT_THROUGH]
)
def test_derivatives_agree_with_finite_differences(name, way):
  case = make_case(name, LEARNED)
  run = compiled_run(way, name, LEARNED)
  _, gradient = run(*case)
  for seed in range(3):
    direction = make_case(name, LEARNED, seed=100 + seed).moving
    slope = inner(gradient, direction)
    size = 1e-6

    def value(offset, direction=direction):
      moved = jax.tree.map(lambda x, d: x + offset * d, case.moving, direction)
      return inner(run(*case._replace(moving=moved))[0], case.cotangents)

    difference = (value(size) - value(-size)) / (2 * size)
    np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", STRAIGHT_THROUGH)
def test_the_bound_of_a_clipped_cell_is_reached_and_not_passed(name):
  case = make_case(name, PLAIN)
  (last, _), _ = compiled_run(fused, name, PLAIN)(*case)
  assert np.abs(last.c).max() == 0.5
  assert np.abs(last.c).min() < 0.5


def inner(a, b):
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return sum(np.vdot(x, y) for x, y in pairs)


@pytest.mark.parametrize("name", CELLS)
def test_a_run_split_in_two_is_the_whole_run(name):
  case, cut = make_case(name, LEARNED), 3

  def in_two(params, carry, xs, *, reset, reset_carry, **others):
    assert not any(others.values())
    hs = []
    for part in (slice(None, cut), slice(cut, None)):
      carry, h = CELLS[name].sequence(
        params, carry, xs[part], reset=reset[part], reset_carry=reset_carry
      )
      hs.append(h)
    return carry, jnp.concatenate(hs)

  actual = compiled(pulled(in_two))(*case)
  assert_close(actual, compiled_run(fused, name, LEARNED)(*case))


@pytest.mark.parametrize("way", [stepwise, fused])
@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_no_net_input_derivative_passes_the_clip(name, way):
  width, limit = len(CELLS[name].gates) * FEATURES, 0.05
  params, carry, _, _ = make_case(name, PLAIN).moving
  # Through the identity each input's derivative is that of one net input.
  params = params._replace(kernel=np.eye(width))
  xs = np.random.default_rng(1).normal(size=(STEPS, BATCH, width))

  @compiled
  def derivatives(xs):
    def loss(xs, clip):
      hs = way(name, gradient_clip=clip)(params, carry, xs)[1]
      return jnp.sum(jnp.square(hs))

    return tuple(jnp.abs(jax.grad(loss)(xs, clip)) for clip in (None, limit))

  free, clipped = map(np.asarray, derivatives(xs))
  # At every step some derivative is beyond the limit, and is put on it.
  assert (free.max(axis=(1, 2)) > limit).all()
  assert clipped.max() == limit
  assert (clipped == limit).any(axis=(1, 2)).all()
  assert (clipped < limit).any()


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_forward_mode_goes_through_the_steps(name):
  case = make_case(name, LEARNED)
  tangents = make_case(name, LEARNED, seed=9).moving

  @compiled
  def slope(moving, tangents):
    def run(*moving):
      return call(stepwise(name), moving, case.fixed)

    return jax.jvp(run, moving, tangents)[1]

  _, gradient = compiled_run(stepwise, name, LEARNED)(*case)
  np.testing.assert_allclose(
    inner(slope(case.moving, tangents), case.cotangents),
    inner(gradient, tangents),
  )


@pytest.mark.parametrize(
  "name", ["lstm", "gru", "elman", "layer_norm_lstm", "mogrifier_lstm_rank"]
)
def test_a_batch_of_kernels_is_run_by_vmap(name):
  several = [make_case(name, LEARNED, seed=seed) for seed in (0, 1)]
  shared = several[0]

  def gradient(params):
    moving = (params, *shared.moving[1:])
    return pulled(fused(name))(moving, shared.fixed, shared.cotangents)

  stacked = jax.tree.map(
    lambda *leaves: np.stack(leaves), *(case.moving[0] for case in several)
  )
  together = compiled(jax.vmap(gradient))(stacked)
  for index, case in enumerate(several):
    moving = (case.moving[0], *shared.moving[1:])
    alone = compiled_run(fused, name, LEARNED)(*shared._replace(moving=moving))
    assert_close(jax.tree.map(lambda x, i=index: x[i], together), alone)


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_bfloat16_operands_keep_float32_results_and_lose_little(name):
  setting = Setting("several", reset=True, learned=True)
  case = make_case(name, setting, dtype=np.float32)
  single, mixed, by_steps = (
    jax.tree.leaves(compiled_run(way, name, setting, dtype)(*case))
    for way, dtype in (
      (fused, None),
      (fused, jnp.bfloat16),
      (stepwise, jnp.bfloat16),
    )
  )
  for a, b, c in zip(single, mixed, by_steps, strict=True):
    assert a.dtype == b.dtype == c.dtype == np.float32
    # bfloat16 has 8 bits: some difference is seen, and no more than a little.
    assert 0 < relative(b, a) < 0.03
    assert relative(c, b) < 0.03


def relative(actual, expected):
  difference = np.asarray(actual) - np.asarray(expected)
  return np.linalg.norm(difference) / np.linalg.norm(expected)


@pytest.mark.parametrize("way", [stepwise, fused, recomputed])
@pytest.mark.parametrize("name", [*cells.CELLS, "mogrifier_lstm_rank"])
def test_every_bfloat16_product_is_summed_in_float32(name, way):
  setting = PLAIN if name in DENSE_ONLY else Setting("several")
  case = make_case(name, setting, dtype=np.float32)
  both = pulled(way(name, dtype=jnp.bfloat16))
  actual = list(products_in(jax.make_jaxpr(both)(*case).jaxpr))
  # Forward: two inputs and the state; backward: three kernels, two inputs, the
  # state. The ids' gradient is one of them.
  assert len(actual) >= (6 if name in DENSE_ONLY else 8)
  for equation in actual:
    assert {str(v.aval.dtype) for v in equation.invars} == {"bfloat16"}
    assert {str(v.aval.dtype) for v in equation.outvars} == {"float32"}


def products_in(jaxpr):
  for equation in jaxpr.eqns:
    if equation.primitive.name == "dot_general":
      yield equation
    for value in equation.params.values():
      for inside in value if isinstance(value, tuple | list) else [value]:
        inside = getattr(inside, "jaxpr", inside)
        if hasattr(inside, "eqns"):
          yield from products_in(inside)
