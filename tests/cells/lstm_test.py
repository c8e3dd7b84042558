"""The LSTM against Graves (2013), equations 7 to 11, written out in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors, trees
from seqmodels.cells import lstm, ops, scan

STEPS, WIDTH, FEATURES = 6, 3, 4


def sigma(x):
  return 1 / (1 + np.exp(-x))


def graves_layer(weights, c, h, xs):
  """One row of the batch, unit by unit, nothing stacked.

  `weights` names each matrix as the paper does: w["xi"], w["hi"], w["ci"], ...
  """
  w, outputs = weights, []
  for x in xs:
    i, f, o, new_c, new_h = (np.zeros(FEATURES) for _ in range(5))
    for u in range(FEATURES):
      i[u] = sigma(
        w["xi"][:, u] @ x + w["hi"][:, u] @ h + w["ci"][u] * c[u] + w["bi"][u]
      )
      f[u] = sigma(
        w["xf"][:, u] @ x + w["hf"][:, u] @ h + w["cf"][u] * c[u] + w["bf"][u]
      )
      new_c[u] = f[u] * c[u] + i[u] * np.tanh(
        w["xc"][:, u] @ x + w["hc"][:, u] @ h + w["bc"][u]
      )
      o[u] = sigma(
        w["xo"][:, u] @ x
        + w["ho"][:, u] @ h
        + w["co"][u] * new_c[u]
        + w["bo"][u]
      )
      new_h[u] = o[u] * np.tanh(new_c[u])
    c, h = new_c, new_h
    outputs.append(h)
  return c, h, np.stack(outputs)


@pytest.mark.parametrize("peepholes", [True, False])
def test_values_are_those_of_equations_7_to_11(peepholes):
  random = np.random.default_rng(0)
  weights = {}
  for gate in "ifco":
    weights[f"x{gate}"] = random.normal(size=(WIDTH, FEATURES))
    weights[f"h{gate}"] = random.normal(size=(FEATURES, FEATURES))
    weights[f"b{gate}"] = random.normal(size=FEATURES)
    if gate != "c":
      weights[f"c{gate}"] = random.normal(size=FEATURES) * peepholes
  batch = 2
  c, h = random.normal(size=(2, batch, FEATURES))
  xs = random.normal(size=(STEPS, batch, WIDTH))
  rows = [graves_layer(weights, c[b], h[b], xs[:, b]) for b in range(batch)]
  # Our order of gates: i, f, g (the paper's c), o.
  peephole = np.stack([weights["ci"], weights["cf"], weights["co"]])
  with jax.enable_x64(True):
    params = lstm.LSTMParams(
      kernel=np.hstack([weights[f"x{gate}"] for gate in "ifco"]),
      recurrent_kernel=np.hstack([weights[f"h{gate}"] for gate in "ifco"]),
      bias=np.hstack([weights[f"b{gate}"] for gate in "ifco"]),
      peephole=peephole if peepholes else None,
    )
    params = jax.tree.map(jnp.asarray, params)
    carry = lstm.LSTMCarry(jnp.asarray(c), jnp.asarray(h))
    by_steps = jax.jit(functools.partial(scan.unroll, lstm.step))
    fused = jax.jit(lstm.sequence)
    for run in (by_steps, fused):
      last, hs = run(params, carry, xs)
      for b, (want_c, want_h, want_hs) in enumerate(rows):
        np.testing.assert_allclose(last.c[b], want_c, rtol=1e-12)
        np.testing.assert_allclose(last.h[b], want_h, rtol=1e-12)
        np.testing.assert_allclose(hs[:, b], want_hs, rtol=1e-12)


@pytest.mark.parametrize(
  ("symbols", "features", "count"),
  # Input, recurrent, bias and peephole weights of one layer.
  [(49, 1000, 4_203_000), (10_000, 1000, 44_007_000), (205, 700, 2_538_900)],
)
def test_weights_are_as_many_as_the_paper_has(symbols, features, count):
  shapes = jax.eval_shape(
    lambda: lstm.init_params(jax.random.key(0), symbols, features)
  )
  assert trees.count_parameters(shapes) == count


def test_fresh_weights_are_bounded_distinct_and_open_the_forget_gate():
  params = lstm.init_params(jax.random.key(0), WIDTH, 16)
  for leaf in (params.kernel, params.recurrent_kernel, params.peephole):
    assert 0.15 < np.abs(leaf).max() <= 0.25
    assert len(np.unique(leaf)) > 0.9 * leaf.size
  np.testing.assert_array_equal(
    np.split(params.bias, 4), np.eye(4)[1][:, None] * np.ones((4, 16))
  )


def test_each_initializer_fills_its_own_weights():
  fill = {
    f"{name}_init": jax.nn.initializers.constant(value)
    for value, name in enumerate(lstm.LSTMParams._fields)
  }
  params = lstm.init_params(
    jax.random.key(0), 2, 3, param_dtype=jnp.bfloat16, **fill
  )
  for value, leaf in enumerate(params):
    assert leaf.dtype == jnp.bfloat16
    assert (np.asarray(leaf, np.float32) == value).all()


def test_peepholes_do_not_change_the_other_weights():
  with_them = lstm.init_params(jax.random.key(3), 2, 3)
  without = lstm.init_params(jax.random.key(3), 2, 3, peepholes=False)
  assert without.peephole is None
  for a, b in zip(with_them[:3], without[:3], strict=True):
    np.testing.assert_array_equal(a, b)


def test_forget_bias_is_whatever_the_initializer_says():
  bias_init = ops.forget_bias(2.5)
  params = lstm.init_params(jax.random.key(0), 1, 1, bias_init=bias_init)
  np.testing.assert_array_equal(params.bias, [0, 2.5, 0, 0])


def test_a_step_takes_any_batch_shape(filled):
  params, before, xs = filled(
    lambda: (
      lstm.init_params(jax.random.key(0), WIDTH, FEATURES),
      lstm.initial_carry((2, 3), FEATURES),
      jnp.zeros((2, 3, WIDTH)),
    )
  )
  step = jax.jit(lstm.step)
  carry, h = step(params, before, xs)
  one = jax.tree.map(lambda leaf: leaf[1, 2], before)
  alone, h_alone = step(params, one, xs[1, 2])
  np.testing.assert_allclose(h[1, 2], h_alone, rtol=1e-5)
  np.testing.assert_allclose(carry.c[1, 2], alone.c, rtol=1e-5)


@pytest.mark.parametrize("peepholes", [True, False])
def test_a_clipped_cell_learns_as_if_it_were_not_clipped(peepholes, filled):
  """Straight-through, against equations 7 to 11 with `stop_gradient`."""
  bound, batch = 0.3, 2

  def plain(params, carry, xs):
    def step(carry, x):
      c, h = carry
      net = x @ params.kernel + h @ params.recurrent_kernel + params.bias[None]
      i, f, g, o = jnp.split(net, 4, axis=-1)
      w = params.peephole if peepholes else jnp.zeros((3, FEATURES))
      i = jax.nn.sigmoid(i + w[:1] * c)
      f = jax.nn.sigmoid(f + w[1:2] * c)
      free = f * c + i * jnp.tanh(g)
      c = free + jax.lax.stop_gradient(jnp.clip(free, -bound, bound) - free)
      h = jax.nn.sigmoid(o + w[2:] * c) * jnp.tanh(c)
      return (c, h), (c, h)

    return jax.lax.scan(step, tuple(carry), xs)

  with jax.enable_x64(True):
    given = filled(
      lambda: (
        lstm.init_params(
          jax.random.key(0),
          WIDTH,
          FEATURES,
          peepholes=peepholes,
          param_dtype=jnp.float64,
        ),
        lstm.initial_carry((batch,), FEATURES, jnp.float64),
        jnp.zeros((STEPS, batch, WIDTH), jnp.float64),
      )
    )

    def loss(given, run):
      (_, last), hs = run(*given)
      return jnp.sum(jnp.sin(3.0 * hs)) + jnp.sum(last**2)

    def reference(*given):
      carry, (_, hs) = plain(*given)
      return carry, hs

    want, d_want = jax.value_and_grad(loss)(given, reference)
    cs = plain(*given)[1][0]
    assert (jnp.abs(cs) > bound - 1e-12).any(axis=(1, 2)).all()
    assert (jnp.abs(cs) < bound - 1e-3).any()
    step = functools.partial(lstm.step, cell_clip=bound)
    for run in (
      functools.partial(scan.unroll, step),
      functools.partial(lstm.sequence, cell_clip=bound),
    ):
      actual, d_found = jax.value_and_grad(loss)(given, run)
      np.testing.assert_allclose(actual, want, rtol=1e-12)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
        d_found,
        d_want,
      )


def test_a_counting_cell_is_held_by_its_bound_for_100_000_steps():
  steps, bound = 100_000, 3.0
  # Input, forget and candidate wide open: c' = c + 1 but for the bound.
  open_gates = lstm.LSTMParams(
    kernel=jnp.zeros((1, 4)),
    recurrent_kernel=jnp.zeros((1, 4)),
    bias=jnp.full(4, 50.0),
    peephole=jnp.full((3, 1), 1.0),
  )
  carry, xs = lstm.initial_carry((1,), 1), jnp.zeros((steps, 1, 1))

  @functools.partial(jax.jit, static_argnames="cell_clip")
  def run(cell_clip):
    return lstm.sequence(open_gates, carry, xs, cell_clip=cell_clip)

  free, _ = run(None)
  assert free.c == steps
  held, hs = run(bound)
  assert held.c == bound
  # It never passed the bound: o is 1, so h is tanh(c).
  assert hs.max() == hs[-1]
  np.testing.assert_allclose(hs[-1], np.tanh(bound), rtol=1e-6)


def test_peepholes_are_never_dropped_in_silence(filled):
  params = filled(lambda: lstm.init_params(jax.random.key(0), 2, 3))
  with pytest.raises(errors.UserError, match="peepholes=False"):
    lstm.refuse_peepholes(params, "that format")
