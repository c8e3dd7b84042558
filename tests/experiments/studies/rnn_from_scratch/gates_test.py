"""Gates at their ends: cells turn into the simpler ones of the page's table.

A bias of +-1,000 holds a gate at exactly 1 or 0 in float32, whatever the input.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import elman, gru, lstm

OPEN, SHUT = 1000.0, -1000.0
STEPS, ROWS, WIDTH, FEATURES = 20, 3, 4, 5
STATE = np.linspace(-0.9, 0.9, ROWS * FEATURES, dtype=np.float32).reshape(
  ROWS, FEATURES
)


@pytest.fixture
def xs():
  random = np.random.default_rng(0)
  return random.normal(size=(STEPS, ROWS, WIDTH)).astype(np.float32)


def params_of(cell, **options):
  """Normal weights, biases too; nothing is compiled for them."""
  random = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: jnp.asarray(0.5 * random.normal(size=leaf.shape), leaf.dtype),
    jax.eval_shape(
      lambda: cell.init_params(jax.random.key(0), WIDTH, FEATURES, **options)
    ),
  )


def held(params, gates, names):
  """Weights whose gates have the given biases; the others are left alone."""
  blocks = jnp.split(params.bias, len(names))
  for name, bias in gates.items():
    place = names.index(name)
    blocks[place] = jnp.full_like(blocks[place], bias)
  return params._replace(bias=jnp.concatenate(blocks))


def read(cell, params, carry, xs):
  """The last carry, and the outputs [T, B, H]."""
  step, outputs = jax.jit(cell.step), []
  for x in xs:
    carry, h = step(params, carry, x)
    outputs.append(np.asarray(h))
  return carry, np.stack(outputs)


def lstm_with(**gates):
  return held(params_of(lstm, peepholes=False), gates, "ifgo")


def gru_with(**gates):
  return held(params_of(gru), gates, "rzn")


def test_an_lstm_that_forgets_and_takes_nothing_keeps_its_memory(xs):
  carry = lstm.LSTMCarry(c=3 * STATE, h=STATE)
  after, _ = read(lstm, lstm_with(f=OPEN, i=SHUT), carry, xs)
  np.testing.assert_array_equal(after.c, carry.c)


def test_an_lstm_with_its_output_shut_is_silent(xs):
  carry = lstm.LSTMCarry(c=3 * STATE, h=STATE)
  _, outputs = read(lstm, lstm_with(o=SHUT), carry, xs)
  assert np.all(outputs == 0)


def test_the_memory_of_an_lstm_has_no_bound(xs):
  carry = lstm.initial_carry((ROWS,), FEATURES)
  after, _ = read(lstm, lstm_with(i=OPEN, f=OPEN, g=OPEN), carry, xs)
  np.testing.assert_array_equal(after.c, STEPS)


def test_a_gru_that_updates_nothing_keeps_its_state(xs):
  after, _ = read(gru, gru_with(r=0.0, z=OPEN), gru.GRUCarry(STATE), xs)
  np.testing.assert_array_equal(after.h, STATE)


def test_a_gru_that_resets_nothing_and_keeps_nothing_is_the_simple_network(xs):
  params = gru_with(r=OPEN, z=SHUT)
  simple = elman.ElmanParams(
    kernel=params.kernel[:, 2 * FEATURES :],
    recurrent_kernel=params.recurrent_kernel[:, 2 * FEATURES :],
    bias=params.bias[2 * FEATURES :] + params.recurrent_bias,
  )
  _, actual = read(gru, params, gru.GRUCarry(STATE), xs)
  _, expected = read(elman, simple, elman.ElmanCarry(STATE), xs)
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_a_gru_that_resets_all_and_keeps_nothing_sees_its_last_input_alone(xs):
  params = gru_with(r=SHUT, z=SHUT)
  _, actual = read(gru, params, gru.GRUCarry(STATE), xs)
  # Every input but the last changed, and another state to begin with.
  other = np.concatenate([xs[:-1] + 1, xs[-1:]])
  _, again = read(gru, params, gru.GRUCarry(-STATE), other)
  np.testing.assert_array_equal(actual[-1], again[-1])
