"""Backpropagation through time written out by hand, for a network of one layer.

    h_t = phi(x_t W_x + h_{t-1} W_h),   o_t = h_t W_o,   L = (1/T) sum_t l(o_t)

with phi the identity or tanh, h_0 = 0, and no biases. Given the T derivatives
dL/do_t, four more follow, with D_t = 1 or 1 - h_t^2:

    dL/dW_o = sum_t h_t' dL/do_t
    dL/dh_t = (dL/dh_{t+1} * D_{t+1}) W_h' + dL/do_t W_o'
    dL/dW_x = sum_t x_t' (dL/dh_t * D_t)
    dL/dW_h = sum_t h_{t-1}' (dL/dh_t * D_t)

where dL/dh_{T+1} = 0 (Zhang et al., Dive into Deep Learning, section 9.7, with
rows in place of columns). dL/dh_t is stored once and used for both weights;
that store is the memory that grows with T. Without phi the recursion unrolls
into powers of W_h,

    dL/dh_t = sum_{i=t}^T dL/do_i W_o' (W_h')^(i-t).

Plain NumPy, to be read and compared with; `recurrence` is the fast form for all
cells.
"""

from typing import Literal, NamedTuple

import numpy as np

from seqmodels import errors

Activation = Literal["identity", "tanh"]


class Weights(NamedTuple):
  """Of a network without biases."""

  inputs: np.ndarray  # W_x [D, H]
  recurrent: np.ndarray  # W_h [H, H]
  outputs: np.ndarray  # W_o [H, Q]


class Gradients(NamedTuple):
  """The five derivatives of the loss."""

  d_outputs: np.ndarray  # dL/do_t [T, Q]
  d_states: np.ndarray  # dL/dh_t [T, H], of everything after h_t
  weights: Weights  # dL/dW_x, dL/dW_h, dL/dW_o


def states(
  weights: Weights, xs: np.ndarray, *, activation: Activation = "identity"
) -> np.ndarray:
  """h_1 to h_T, [T, H].

  Args:
    weights: of the network.
    xs: [T, D].
    activation: "identity" or "tanh".

  Raises:
    UserError: another activation.

  >>> one = np.ones((1, 1))
  >>> states(Weights(one, 0.5 * one, one), np.ones((3, 1))).ravel().tolist()
  [1.0, 1.5, 1.75]
  """
  if activation not in ("identity", "tanh"):
    raise errors.UserError(
      f"no derivative is written out for the activation {activation!r}; use "
      "identity or tanh"
    )
  phi = np.tanh if activation == "tanh" else np.asarray
  h, found = np.zeros(weights.recurrent.shape[0]), []
  for x in xs:
    h = phi(x @ weights.inputs + h @ weights.recurrent)
    found.append(h)
  return np.array(found)


def backward(
  weights: Weights,
  xs: np.ndarray,
  d_outputs: np.ndarray,
  *,
  activation: Activation = "identity",
) -> Gradients:
  """All derivatives of a loss from those of its outputs.

  Args:
    weights: of the network.
    xs: [T, D].
    d_outputs: dL/do_t, [T, Q].
    activation: "identity" or "tanh".

  Raises:
    UserError: another activation.

  >>> one = np.ones((1, 1))
  >>> found = backward(Weights(one, 0.5 * one, one), np.ones((3, 1)),
  ...                  np.array([[0.0], [0.0], [1.0]]))
  >>> found.d_states.ravel().tolist()
  [0.25, 0.5, 1.0]
  """
  hs = states(weights, xs, activation=activation)
  slopes = 1 - hs**2 if activation == "tanh" else np.ones_like(hs)
  d_states = np.zeros_like(hs)
  from_later = np.zeros(hs.shape[1])
  for t in reversed(range(len(xs))):
    d_states[t] = from_later + d_outputs[t] @ weights.outputs.T
    from_later = (d_states[t] * slopes[t]) @ weights.recurrent.T
  d_nets = d_states * slopes
  before = np.concatenate([np.zeros_like(hs[:1]), hs[:-1]])
  return Gradients(
    d_outputs,
    d_states,
    Weights(xs.T @ d_nets, before.T @ d_nets, hs.T @ d_outputs),
  )


def linear_states(weights: Weights, d_outputs: np.ndarray) -> np.ndarray:
  """dL/dh_t of the linear network by powers of W_h, [T, H].

  >>> one = np.ones((1, 1))
  >>> linear_states(Weights(one, 0.5 * one, one), np.ones((3, 1))).ravel()
  array([1.75, 1.5 , 1.  ])
  """
  steps = len(d_outputs)
  powers = [
    np.linalg.matrix_power(weights.recurrent.T, k) for k in range(steps)
  ]
  injected = d_outputs @ weights.outputs.T
  return np.array(
    [
      sum(injected[i] @ powers[i - t] for i in range(t, steps))
      for t in range(steps)
    ]
  )


def unrolled(direct: np.ndarray, factors: np.ndarray) -> np.ndarray:
  """The terms of a_t = b_t + c_t a_{t-1}, a_0 = 0, by the step they come from.

      a_t = b_t + sum_{i < t} (c_t c_{t-1} ... c_{i+1}) b_i

  Args:
    direct: b, [T, N], or [T, N, M] columns.
    factors: c, [T, N, N]; the first is never used.

  Returns:
    [T, T, N, ...]: at [t, i] what b_i gives to a_t, zero for i > t.

  >>> unrolled(np.ones((3, 1)), np.full((3, 1, 1), 0.5))[2].ravel().tolist()
  [0.25, 0.5, 1.0]
  """
  steps = len(direct)
  found = np.zeros((steps, *direct.shape))
  for t in range(steps):
    for i in range(t):
      found[t, i] = factors[t] @ found[t - 1, i]
    found[t, t] = direct[t]
  return found
