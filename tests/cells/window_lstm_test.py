"""The windowed layer's step against the paper's equations in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import window_lstm


def test_the_published_layer_has_its_number_of_weights():
  params = jax.eval_shape(
    lambda key: window_lstm.init_params(key, 3, 400, 57), jax.random.key(0)
  )
  layer = 4 * (60 * 400 + 400 * 400 + 400) + 3 * 400
  assert sum(leaf.size for leaf in params) == layer + 400 * 30 + 30


def brute_force(params, c, h, w, kappa, x, text):
  """Equations (46) to (52) for one row, number by number."""
  size = len(c)
  sigmoid = lambda value: 1 / (1 + np.exp(-value))  # noqa: E731
  kernel, recurrent = np.array(params.kernel), np.array(params.recurrent_kernel)
  net = x @ kernel + h @ recurrent[:size] + w @ recurrent[size:]
  net = net + np.array(params.bias)
  peephole = np.array(params.peephole)
  parts = [net[k * size : (k + 1) * size] for k in range(4)]
  i = sigmoid(parts[0] + peephole[0] * c)
  f = sigmoid(parts[1] + peephole[1] * c)
  c = f * c + i * np.tanh(parts[2])
  h = sigmoid(parts[3] + peephole[2] * c) * np.tanh(c)
  actual = h @ np.array(params.window_kernel) + np.array(params.window_bias)
  count = len(actual) // 3
  w, kappa = np.zeros(len(w)), kappa.copy()
  for k in range(count):
    kappa[k] += np.exp(actual[2 * count + k])
  for u, letter in enumerate(text, 1):
    phi = 0.0
    for k in range(count):
      alpha, beta = np.exp(actual[k]), np.exp(actual[count + k])
      phi += alpha * np.exp(-beta * (kappa[k] - u) ** 2)
    w[letter] += phi
  return c, h, w, kappa


def test_a_step_is_that_of_the_equations():
  with jax.enable_x64(True):
    params = window_lstm.init_params(
      jax.random.key(0), 3, 4, 5, 2, param_dtype=jnp.float64
    )
    text = np.array([1, 4, 4, 0])
    carry = jax.tree.map(
      lambda leaf: leaf.astype(jnp.float64),
      window_lstm.initial_carry(1, 4, 5, 2),
    )
    c, h, w, kappa = np.zeros(4), np.zeros(4), np.zeros(5), np.zeros(2)
    # A window that moves a letter a step meets all of this short text.
    bias = params.window_bias.at[4:].set(0.0)
    params = params._replace(window_bias=bias)
    random = np.random.default_rng(0)
    characters = window_lstm.letters(text[:, None], 5).astype(jnp.float64)
    for _ in range(5):
      x = random.normal(size=3)
      carry, both = window_lstm.step(params, carry, x[None], characters)
      c, h, w, kappa = brute_force(params, c, h, w, kappa, x, text)
      np.testing.assert_allclose(both[0], [*h, *w], rtol=1e-10)
      np.testing.assert_allclose(carry.c[0], c, rtol=1e-10)
      np.testing.assert_allclose(carry.kappa[0], kappa, rtol=1e-10)


def test_the_window_starts_at_a_letter_in_25_points():
  params = window_lstm.init_window_params(jax.random.key(0), 8, 10)
  window = window_lstm.move_window(
    params, jnp.zeros((1, 10)), jnp.zeros((1, 8))
  )
  np.testing.assert_allclose(window.kappa, 1 / 25, rtol=1e-6)
  phi = window_lstm.window_weights(
    window._replace(kappa=jnp.full((1, 10), 2.0)), window_lstm.positions(3)
  )
  np.testing.assert_allclose(phi[0, 1], 1.0, rtol=1e-6)


def test_padding_is_not_read():
  text = jnp.array([[2, 2], [1, -1]])  # "ca" and "c"
  characters = window_lstm.letters(text, 4)
  phi = jnp.full((2, 2), 0.5)
  np.testing.assert_array_equal(
    window_lstm.read_window(phi, characters), [[0, 0.5, 0.5, 0], [0, 0, 0.5, 0]]
  )


def test_logarithms_of_the_window_reach_where_it_is_zero():
  window = window_lstm.Window(
    jnp.array([[0.5, 2.0]]), jnp.array([[1.0, 3.0]]), jnp.array([[2.0, 3.5]])
  )
  places = window_lstm.positions(5)
  np.testing.assert_allclose(
    window_lstm.log_window_weights(window, places),
    jnp.log(window_lstm.window_weights(window, places)),
    rtol=1e-5,
    atol=1e-5,
  )
  gone = window._replace(kappa=jnp.full((1, 2), 90.0))
  assert not np.any(window_lstm.window_weights(gone, places))
  actual = window_lstm.log_window_weights(gone, places)[0]
  assert np.all(np.isfinite(actual))
  assert np.all(np.diff(actual) > 0)
