"""The linear autoregressive model: fitted, iterated, and at its very best.

    x^_t = w . [x_{t-tau}, ..., x_{t-1}] + b

Fed with its own predictions it is a linear recursion. With the state
z_t = [x_{t-tau+1}, ..., x_t, 1], oldest value first,

    z_{t+1} = C z_t,    C = | 0  I_{tau-1}  0 |
                            |     w         b |
                            |     0         1 |

so that the prediction k steps ahead is one row of C^k: a linear model again.
Where all roots of C (but the 1 of the constant) lie inside the unit circle, the
predictions decay to the fixed point b / (1 - sum w).

For a stationary series of mean 0 and autocovariance g the best weights of any
chosen values, past or future, follow from g alone:

    w = G^-1 c,   error = g(0) - c . w,   G_ij = g(o_i - o_j),  c_i = g(o_i)

with o_i the values' positions relative to the one that is sought.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from seqmodels import errors

Autocovariance = Callable[[np.ndarray], np.ndarray]


class Linear(NamedTuple):
  """Weights of a window, float64.

  Attributes:
    weights: [tau], that of the oldest value first.
    bias: b.
  """

  weights: np.ndarray
  bias: float = 0.0

  def predict(self, features: np.ndarray) -> np.ndarray:
    """Predictions [...] from windows [..., tau]."""
    return features @ self.weights + self.bias

  @property
  def companion(self) -> np.ndarray:
    """C, float64 [tau + 1, tau + 1]."""
    tau = len(self.weights)
    matrix = np.zeros((tau + 1, tau + 1))
    matrix[: tau - 1, 1:tau] = np.eye(tau - 1)
    matrix[tau - 1, :tau] = self.weights
    matrix[tau - 1, tau] = self.bias
    matrix[tau, tau] = 1.0
    return matrix

  @property
  def radius(self) -> float:
    """The largest |root| of C without the constant: below 1, it forgets."""
    return float(np.abs(np.linalg.eigvals(self.companion[:-1, :-1])).max())

  @property
  def fixed_point(self) -> float:
    """The value it predicts after itself for ever; infinite if sum w is 1."""
    rest = 1 - float(self.weights.sum())
    return self.bias / rest if rest else float("inf")

  def ahead(self, steps: int) -> "Linear":
    """The model that predicts `steps` ahead by feeding predictions back.

    Raises:
      UserError: less than one step.

    >>> Linear(np.array([0.5]), 1.0).ahead(2)
    Linear(weights=array([0.25]), bias=1.5)
    """
    if steps < 1:
      raise errors.UserError(
        f"a prediction {steps} steps ahead; it must be at least 1"
      )
    tau = len(self.weights)
    row = np.linalg.matrix_power(self.companion, steps)[tau - 1]
    return Linear(row[:tau], float(row[tau]))

  def free_run(self, window: np.ndarray, steps: int) -> np.ndarray:
    """All predictions 1 to `steps` ahead of a window, by powers of C.

    Raises:
      UserError: a window of another length.

    >>> Linear(np.array([0.5])).free_run(np.array([8.0]), 3)
    array([4., 2., 1.])
    """
    if window.shape != self.weights.shape:
      raise errors.UserError(
        f"a window of {len(window)} values for {len(self.weights)} weights; "
        "give as many values as weights"
      )
    return np.array(
      [self.ahead(step).predict(window) for step in range(1, steps + 1)]
    )


class Optimum(NamedTuple):
  """The best linear prediction of a stationary series of mean 0.

  Attributes:
    weights: [n], in the order of the positions.
    error: its mean squared error.
  """

  weights: np.ndarray
  error: float


def least_squares(features: np.ndarray, labels: np.ndarray) -> Linear:
  """The weights and bias of least mean squared error over N pairs.

  The shortest such weights where the pairs do not settle them.

  Args:
    features: [N, tau].
    labels: [N].

  Raises:
    UserError: no pairs.

  >>> xs = np.array([[0.0], [1.0], [2.0]])
  >>> model = least_squares(xs, 3 * xs[:, 0] + 1)
  >>> model.weights.round(6), round(model.bias, 6)
  (array([3.]), 1.0)
  """
  if not len(labels):
    raise errors.UserError(
      "least squares was given 0 pairs; give at least 1, better many more than "
      "weights"
    )
  # Around the mean, so that the bias does not count as a weight to be short.
  middle, level = features.mean(axis=0), labels.mean()
  weights = np.linalg.lstsq(features - middle, labels - level)[0]
  return Linear(weights, float(level - middle @ weights))


def sine_autocovariance(
  *, rate: float = 0.01, noise: float = 0.2, drift: float = 0.0
) -> Autocovariance:
  """That of sin(rate t + phase) + noise e_t with a phase that may be any.

      g(h) = 1/2 cos(rate h) exp(-drift^2 |h| / 2) + noise^2 [h = 0]

  Args:
    rate: radians a step.
    noise: standard deviation of what is added to the sine.
    drift: standard deviation of what is added to the phase, radians a step.

  >>> sine_autocovariance()(np.array([0, 1])).round(5)
  array([0.54   , 0.49998])
  """

  def at(lags: np.ndarray) -> np.ndarray:
    lasting = np.exp(-(drift**2) * np.abs(lags) / 2)
    return 0.5 * np.cos(rate * lags) * lasting + noise**2 * (lags == 0)

  return at


def optimum(
  autocovariance: Autocovariance,
  positions: Sequence[int] | np.ndarray,
  *,
  mixing: np.ndarray | None = None,
) -> Optimum:
  """The best weights of values at some positions.

  Args:
    autocovariance: g, of whole numbers.
    positions: of the values relative to the one sought: -1 is the value before
      it, 1 the one after it.
    mixing: [n, positions]: features that are sums of these values, such as
      means; each value is its own feature if left out.

  Raises:
    UserError: no positions, or the sought value among them.

  Four values before, or two on either side:

  >>> g = sine_autocovariance()
  >>> round(optimum(g, [-4, -3, -2, -1]).error, 4)
  0.0501
  >>> round(optimum(g, [-2, -1, 1, 2]).error, 4)
  0.0498
  """
  places = np.asarray(positions)
  if not len(places) or 0 in places:
    raise errors.UserError(
      f"{len(places)} positions to predict from, 0 being the value sought; "
      "give at least 1, and none of them 0"
    )
  between, to = autocovariance(places[:, None] - places), autocovariance(places)
  if mixing is not None:
    between, to = mixing @ between @ mixing.T, mixing @ to
  # Without noise many weights are best; these are the shortest.
  weights = np.linalg.lstsq(between, to)[0]
  here = float(autocovariance(np.zeros(1))[0])
  return Optimum(weights, here - float(to @ weights))


def error_of(
  autocovariance: Autocovariance,
  positions: Sequence[int] | np.ndarray,
  weights: np.ndarray,
) -> float:
  """The mean squared error of any weights, good or not.

  >>> g = sine_autocovariance()
  >>> round(error_of(g, [-1], np.array([0.0])), 2)
  0.54
  """
  places = np.append(np.asarray(positions), 0)
  signed = np.append(weights, -1.0)
  return float(signed @ autocovariance(places[:, None] - places) @ signed)


def gain(weights: np.ndarray, rate: float) -> float:
  """How much of a sine's height a window's weights let through, w >= 0.

      |sum_j w_j exp(i rate j)|

  >>> gain(np.array([0.5, 0.5]), 0.0)
  1.0
  """
  turns = np.exp(1j * rate * np.arange(len(weights)))
  return float(np.abs(weights @ turns))


def accumulated_error(
  error: float, factor: float, steps: int | np.ndarray
) -> np.ndarray:
  """What becomes of an error that each step hands on and adds to.

      eps_1 = e,  eps_k = e + c eps_{k-1}  =>  eps_k = e (1 - c^k) / (1 - c)

  It grows like k at c = 1, geometrically above, and levels out at e / (1 - c)
  below.

  Args:
    error: e, of one step.
    factor: c, at least 0.
    steps: k.

  >>> accumulated_error(1.0, 2.0, np.array([1, 2, 3]))
  array([1., 3., 7.])
  >>> accumulated_error(1.0, 1.0, np.array([1, 2, 3]))
  array([1., 2., 3.])
  """
  ks = np.asarray(steps, np.float64)
  if factor == 1:
    return error * ks
  return error * (1 - factor**ks) / (1 - factor)
