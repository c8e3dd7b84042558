"""Gated cells with weights set by hand: what gates are for.

Inputs are pairs (value, mark), as of the adding task. A saturated gate is 0 or
1 to the last bit, so these hold for any number of steps:

    latch   a GRU that takes the value at the mark and nothing else:
            r = 0, z = 0 at the mark, z = 1 before and after
    adder   an LSTM that sums the marked values: f = 1, i = the mark

With a gain a the values pass the tanh of a cell as tanh(a v) / a, which is off
by (a v)^2 / 3 of itself.
"""

import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import gru, lstm

# sigmoid(+-_SHUT) is 0 or 1 to the last bit of float64.
_SHUT = 1000.0


def latch(gain: float = 1e-2) -> gru.GRUParams:
  """One unit: after the mark h = tanh(gain * value), kept to the last bit.

  Args:
    gain: divides what is read out.

  Raises:
    UserError: a gain not above 0.

  >>> params = latch(0.5)
  >>> carry = gru.initial_carry((1,), 1)
  >>> for pair in ([0.3, 0.0], [0.8, 1.0], [0.1, 0.0]):
  ...   carry, h = gru.step(params, carry, jnp.array([pair]))
  >>> round(float(h[0, 0]), 6), round(float(jnp.tanh(0.4)), 6)
  (0.379949, 0.379949)
  """
  _check(gain)
  # Gates stand as r, z, n; columns are units.
  return gru.GRUParams(
    kernel=jnp.array([[0.0, 0.0, gain], [0.0, -2 * _SHUT, 0.0]]),
    recurrent_kernel=jnp.zeros((1, 3)),
    bias=jnp.array([-_SHUT, _SHUT, 0.0]),
    recurrent_bias=jnp.zeros(1),
  )


def adder(gain: float = 1e-2) -> lstm.LSTMParams:
  """One unit: c is the sum of tanh(gain * value) over the marked steps.

  The output gate is open, so that h = tanh(c).

  Args:
    gain: divides what is read out.

  Raises:
    UserError: a gain not above 0.

  >>> params = adder()
  >>> carry = lstm.initial_carry((1,), 1)
  >>> for pair in ([0.5, 1.0], [0.8, 0.0], [0.25, 1.0]):
  ...   carry, h = lstm.step(params, carry, jnp.array([pair]))
  >>> round(float(h[0, 0]) / 1e-2, 4)
  0.75
  """
  _check(gain)
  # Gates stand as i, f, g, o.
  return lstm.LSTMParams(
    kernel=jnp.array([[0.0, 0.0, gain, 0.0], [2 * _SHUT, 0.0, 0.0, 0.0]]),
    recurrent_kernel=jnp.zeros((1, 4)),
    bias=jnp.array([-_SHUT, _SHUT, 0.0, _SHUT]),
    peephole=None,
  )


def _check(gain: float) -> None:
  if not gain > 0:
    raise errors.UserError(f"the gain is {gain}; it must be above 0")
