"""Backpropagation through time by hand, and powers of a symmetric matrix."""

from typing import NamedTuple

import numpy as np


class Weights(NamedTuple):
  """Of a network without biases."""

  inputs: np.ndarray  # W_x [D, H]
  recurrent: np.ndarray  # W_h [H, H]
  outputs: np.ndarray  # W_o [H, Q]


class Gradients(NamedTuple):
  """The derivatives of the loss."""

  states: np.ndarray  # dL/dh_t [T, H], of everything after h_t
  weights: Weights  # dL/dW_x, dL/dW_h, dL/dW_o


def backward(
  weights: Weights,
  xs: np.ndarray,
  hs: np.ndarray,
  slopes: np.ndarray,
  d_outputs: np.ndarray,
) -> Gradients:
  """All derivatives of a loss from those of the outputs, dL/do_t [T, Q].

  Args:
    weights: of the network.
    xs: inputs [T, D].
    hs: states [T, H].
    slopes: D_t [T, H], of phi.
    d_outputs: [T, Q].
  """
  d_states, from_later = np.zeros_like(hs), np.zeros(hs.shape[1])
  for t in reversed(range(len(hs))):
    d_states[t] = from_later + d_outputs[t] @ weights.outputs.T
    from_later = (d_states[t] * slopes[t]) @ weights.recurrent.T
  d_nets = d_states * slopes
  before = np.concatenate([np.zeros_like(hs[:1]), hs[:-1]])
  return Gradients(
    d_states, Weights(xs.T @ d_nets, before.T @ d_nets, hs.T @ d_outputs)
  )


def turning(
  matrix: np.ndarray, start: np.ndarray, *, powers: int
) -> np.ndarray:
  """The angle of M^k x to the leading eigenvector of a symmetric M, its bound.

  For k = 0, 1, ..., in float64 [3, powers + 1]: the tangent of the angle, the
  bound of the tangent, and the growth |M^k x| / (|lambda_1|^k |x|).

  >>> found = turning(np.diag([2.0, 1.0]), np.array([1.0, 1.0]), powers=2)
  >>> found[:2].round(6).tolist()
  [[1.0, 0.5, 0.25], [1.0, 0.5, 0.25]]
  """
  values, vectors = np.linalg.eigh(matrix)
  order = np.argsort(-np.abs(values))
  values, leading = values[order], vectors[:, order[0]]
  x, tangents, growth = start, [], []
  for _ in range(powers + 1):
    along = leading @ x
    tangents.append(np.linalg.norm(x - along * leading) / abs(along))
    growth.append(np.linalg.norm(x) / np.linalg.norm(start))
    # Scaled as it goes: lambda_1^k alone would overflow.
    x = matrix @ x / abs(values[0])
  ratio = abs(values[1] / values[0])
  bounds = tangents[0] * ratio ** np.arange(powers + 1)
  return np.array([tangents, bounds, growth])
