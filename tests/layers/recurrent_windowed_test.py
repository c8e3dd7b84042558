"""The stack under the soft window against equations (46) to (53) in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import cell as cells
from seqmodels.layers import recurrent

FEATURES, INPUTS, SYMBOLS, GAUSSIANS = (4, 3, 5), 3, 6, 2
STEPS, BATCH = 8, 2
TEXT = np.array([[1, 4], [2, 0], [5, 4], [1, -1]])  # [U, B]
XS = np.random.default_rng(0).normal(size=(STEPS, BATCH, INPUTS))
XS = XS.astype(np.float32)


def make(**settings):
  return recurrent.WindowedRecurrent(
    recurrent.StackOptions(**{"features": FEATURES, **settings}),
    in_features=INPUTS,
    symbols=SYMBOLS,
    window=GAUSSIANS,
  )


@functools.partial(jax.jit, static_argnames="stack")
def run(stack, params, carry, inputs, text, key=None, reset=None):
  rngs = {} if key is None else {"dropout": key}
  return stack.apply({"params": params}, carry, inputs, text, reset, rngs=rngs)


def from_zero(stack, params, inputs, text, key=None):
  carry = stack.initial_carry(inputs.shape[1])
  return run(stack, params, carry, inputs, text, key)


@pytest.fixture(scope="module")
def params():
  stack = make()
  actual = jax.jit(stack.init)(
    jax.random.key(0), stack.initial_carry(BATCH), XS, TEXT
  )["params"]
  # Letters as loud as the rest, and a window quick enough to cross its text.
  layer = actual["layer_0"]
  layer["recurrent_kernel"] = layer["recurrent_kernel"] * 2.0
  layer["window_bias"] = layer["window_bias"].at[2 * GAUSSIANS :].set(-0.7)
  return actual


@pytest.fixture(scope="module")
def plain(params):
  """Carry and outputs of both lines."""
  return from_zero(make(), params, XS, TEXT)


def sigma(x):
  return 1 / (1 + np.exp(-x))


def lstm(weights, net, c):
  """Equations (7) to (11) of one cell, net inputs in the order i, f, g, o."""
  i, f, g, o = np.split(net + weights["bias"], 4)
  i = sigma(i + weights["peephole"][0] * c)
  f = sigma(f + weights["peephole"][1] * c)
  c = f * c + i * np.tanh(g)
  return sigma(o + weights["peephole"][2] * c) * np.tanh(c), c


def by_hand(params, line, text):
  """One line step by step, float64; the outputs of each layer, and w."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  layers = [params[f"layer_{n}"] for n in range(len(params))]
  h, c = ([np.zeros(len(layer["bias"]) // 4) for layer in layers] for _ in "hc")
  kappa, w = np.zeros(GAUSSIANS), np.zeros(SYMBOLS)
  outputs, seen = [[] for _ in layers], []
  for x in np.asarray(line, np.float64):
    low = layers[0]
    before = np.concatenate([h[0], w])  # w of the step before (52)
    net = x @ low["kernel"] + before @ low["recurrent_kernel"]
    h[0], c[0] = lstm(low, net, c[0])
    hats = h[0] @ low["window_kernel"] + low["window_bias"]
    alpha, beta, forward = np.split(np.exp(hats), 3)
    kappa = kappa + forward
    w = np.zeros(SYMBOLS)
    for u, letter in enumerate(text, start=1):
      w[letter] += np.sum(alpha * np.exp(-beta * (kappa - u) ** 2))
    for n in range(1, len(layers)):  # which see w of this very step (53)
      feeds = np.concatenate([x, h[n - 1], w])
      net = feeds @ layers[n]["kernel"] + h[n] @ layers[n]["recurrent_kernel"]
      h[n], c[n] = lstm(layers[n], net, c[n])
    seen.append(w)
    for n, output in enumerate(h):
      outputs[n].append(output)
  return [np.array(each) for each in outputs], np.array(seen)


def close(actual, expected, **tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected
  )


def line(outputs, b):
  return [hs[:, b] for hs in outputs]


def test_the_stack_is_that_of_the_equations(params, plain):
  carry, outputs = plain
  for b in range(BATCH):
    text = [letter for letter in TEXT[:, b] if letter >= 0]
    expected, w = by_hand(params, XS[:, b], text)
    close(line(outputs, b), expected, atol=2e-6)
    close(carry[0].h[b, FEATURES[0] :], w[-1], atol=2e-6)
    assert np.ptp(w.argmax(axis=1)) > 0  # the window did move


def test_one_layer_is_a_stack_as_well(params, plain):
  stack = make(features=FEATURES[:1])
  _, outputs = from_zero(stack, {"layer_0": params["layer_0"]}, XS, TEXT)
  close(outputs, plain[1][:1], atol=1e-6)


def test_the_lowest_layer_reads_the_text_a_step_late(params, plain):
  other = np.where(TEXT == 1, 3, TEXT)
  one, two = plain[1], from_zero(make(), params, XS, other)[1]
  differs = [
    np.any(a != b, axis=-1)
    for a, b in zip(line(one, 0), line(two, 0), strict=True)
  ]
  assert [bool(each[0]) for each in differs] == [False, True, True]
  assert all(each[1] for each in differs)
  # The other line has no such letter.
  close(line(one, 1), line(two, 1), rtol=0)


def test_text_beyond_its_end_is_no_text(params, plain):
  longer = np.pad(TEXT, ((0, 7), (0, 0)), constant_values=-1)
  close(from_zero(make(), params, XS, longer), plain, rtol=1e-6, atol=1e-6)


def test_a_line_does_not_know_of_the_line_beside_it(params, plain):
  text = np.pad(TEXT, ((0, 2), (0, 0)), constant_values=-1)
  text[3:, 0], noise = 5, XS.copy()
  noise[:, 0] = 9.0
  carry, outputs = from_zero(make(), params, noise, text)
  close(line(outputs, 1), line(plain[1], 1), rtol=1e-6, atol=1e-6)
  second = jax.tree.map(lambda leaf: leaf[1], (carry, plain[0]))
  close(*second, rtol=1e-6, atol=1e-6)


def test_no_text_at_all_is_nothing_seen(params):
  nothing = np.zeros((0, BATCH), np.int32)
  carry, outputs = from_zero(make(), params, XS, nothing)
  expected, _ = by_hand(params, XS[:, 0], [])
  close(line(outputs, 0), expected, atol=2e-6)
  assert not np.any(carry[0].h[:, FEATURES[0] :])


def test_continuing_is_running_at_once(params, plain):
  half = STEPS // 2
  middle, first = from_zero(make(), params, XS[:half], TEXT)
  last, second = run(make(), params, middle, XS[half:], TEXT)
  joined = jax.tree.map(lambda *parts: np.concatenate(parts), first, second)
  close((last, joined), plain, rtol=1e-6, atol=1e-6)


def test_a_reset_begins_the_line_anew_window_and_all(params, plain):
  """A second line after the first one's end, as if nothing had been."""
  carry, _ = plain
  middle, reset = STEPS // 2, np.zeros((STEPS, BATCH), bool)
  reset[0, 0], reset[middle, 1] = True, True
  last, actual = run(make(), params, carry, XS, TEXT, reset=reset)
  close(line(actual, 0), line(plain[1], 0), rtol=1e-6, atol=1e-6)
  expected, w = by_hand(params, XS[middle:, 1], TEXT[:3, 1])
  close([hs[middle:, 1] for hs in actual], expected, atol=2e-6)
  close(last[0].h[1, FEATURES[0] :], w[-1], atol=2e-6)
  # Up to there, the other line goes on from what it was given.
  assert np.any(actual[0][0, 1] != plain[1][0][0, 1])


@pytest.mark.parametrize("rate", ["hidden", "output"])
def test_units_are_dropped_under_a_key_alone(params, plain, rate):
  stack = make(noise=recurrent.Noise(**{rate: 0.5}))
  close(from_zero(stack, params, XS, TEXT), plain, rtol=0)
  one, again, other = (
    from_zero(stack, params, XS, TEXT, jax.random.key(seed))[1]
    for seed in (3, 3, 4)
  )
  close(one, again, rtol=0)
  assert any(np.any(a != b) for a, b in zip(one, other, strict=True))
  # Between layers: the lowest layer itself is read whole.
  changed = [np.any(a != b) for a, b in zip(one, plain[1], strict=True)]
  assert changed == [rate == "output", True, True]


@pytest.mark.parametrize("variational", [True, False])
def test_a_mask_is_one_a_sequence_or_one_a_step(params, variational):
  stack = make(noise=recurrent.Noise(output=0.5, variational=variational))
  _, outputs = from_zero(stack, params, XS, TEXT, jax.random.key(3))
  zero = np.concatenate([hs == 0 for hs in outputs], axis=-1)
  assert np.array_equal(zero.any(axis=0), zero.all(axis=0)) == variational


def test_the_cell_state_is_bounded_in_every_layer(params, plain):
  bound = 0.1
  cell = cells.get("lstm", cell_clip=bound)
  carry, _ = from_zero(make(cell=cell), params, XS, TEXT)
  for held, free in zip(carry, plain[0], strict=True):
    assert np.abs(free.c).max() > bound
    assert np.abs(held.c).max() == np.float32(bound)


def test_derivatives_are_clipped_in_every_layer(params):
  """Each of a bias' derivatives is a sum of so many clipped ones."""

  @functools.partial(jax.jit, static_argnums=1)
  def gradient(params, clip):
    def loss(params):
      _, outputs = from_zero(make(gradient_clip=clip), params, XS, TEXT)
      return sum(jnp.sum(jnp.square(hs)) for hs in outputs)

    return jax.grad(loss)(params)

  limit = 1e-3
  most = STEPS * BATCH * limit * (1 + 1e-6)
  free, clipped = gradient(params, None), gradient(params, limit)
  for name in params:
    assert np.abs(clipped[name]["bias"]).max() <= most
    assert np.abs(free[name]["bias"]).max() > most
  # The window's own are left alone: its bias is not a net input of the LSTM.
  assert np.abs(clipped["layer_0"]["window_bias"]).max() > most
