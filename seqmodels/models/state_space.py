"""Linear state-space models: a state that nobody sees, read through noise.

    z_{t+1} = F z_t + w_t,  w_t ~ N(0, Q)
    x_t     = c . z_t + v_t,  v_t ~ N(0, r)

the counterpart for numbers of a hidden Markov model. The filter of Kalman
(1960) keeps what is known of the state, its mean m and its covariance P given
all values so far. No prediction of the next value is better than its own:

    x^_t = c . m,   s = c P c + r                 (before x_t is read)
    m <- F (m + k (x_t - x^_t)),   k = P c / s
    P <- F (P - k c P) F' + Q

P does not depend on the values; it settles, and s with it: the floor under the
mean squared error of any model of such a series. The memory is K numbers,
however far back the series reaches.

Of a series that only has the same autocovariance the filter gives the best
linear prediction. A sine whose phase drifts is one: it turns on a circle, which
no linear filter knows. Its best prediction of all keeps a distribution over the
circle, here over points of it.
"""

import dataclasses
import math

import numpy as np

from seqmodels import errors

# P is taken for settled when a step changes s by less.
_SETTLED = 1e-13
_MOST_STEPS = 50_000


@dataclasses.dataclass(frozen=True)
class StateSpace:
  """A known model, begun from a state of mean 0.

  Attributes:
    transition: F, [K, K].
    drive: Q, [K, K].
    readout: c, [K].
    variance: r of the noise on what is read, above 0.
    start: [K, K], covariance of the first state.

  Raises:
    UserError: shapes that do not fit, or a variance that is not above 0.

  A level that never changes is the mean of what was seen, as soon as the noise
  is small beside what is not known of it:

  >>> one = np.eye(1)
  >>> level = StateSpace(one, 0 * one, np.ones(1), 1.0, 1e9 * one)
  >>> level.predictions(np.array([2.0, 4.0, 9.0])).round(6)
  array([0., 2., 3.])
  """

  transition: np.ndarray
  drive: np.ndarray
  readout: np.ndarray
  variance: float
  start: np.ndarray

  def __post_init__(self) -> None:
    """Refuses what is no such model."""
    size = len(self.readout)
    for name in ("transition", "drive", "start"):
      shape = getattr(self, name).shape
      if shape != (size, size):
        raise errors.UserError(
          f"a state read by {size} weights with {name} {list(shape)}; give "
          f"[{size}, {size}]"
        )
    if not self.variance > 0:
      raise errors.UserError(
        f"the variance of the noise is {self.variance}; it must be above 0"
      )

  def predictions(self, values: np.ndarray) -> np.ndarray:
    """x^_t of every value from those before it, float64 [T]."""
    mean, covariance = np.zeros(len(self.readout)), self.start
    found = np.empty(len(values))
    for step, value in enumerate(values):
      found[step] = self.readout @ mean
      gain, covariance = self._read(covariance)
      mean = self.transition @ (mean + gain * (value - found[step]))
    return found

  @property
  def error(self) -> float:
    """s once it has settled: the mean squared error of the best prediction.

    Raises:
      UserError: it does not settle.
    """
    covariance, before = self.start, np.inf
    for _ in range(_MOST_STEPS):
      error = float(self.readout @ covariance @ self.readout) + self.variance
      if abs(error - before) < _SETTLED * error:
        return error
      _, covariance = self._read(covariance)
      before = error
    raise errors.UserError(
      f"the error of the filter is {before:.4g} after {_MOST_STEPS:,} steps "
      "and does not settle; give every state a drive, so that old values are "
      "forgotten"
    )

  def _read(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k, and P of the next state."""
    seen = covariance @ self.readout
    gain = seen / (self.readout @ seen + self.variance)
    left = covariance - np.outer(gain, seen)
    return gain, self.transition @ left @ self.transition.T + self.drive


def rotation(*, rate: float, noise: float, drift: float) -> StateSpace:
  """A point that turns, grows smaller and is pushed; one coordinate is read.

      F = rho [cos a, -sin a; sin a, cos a],   rho = exp(-drift^2 / 2),
      Q = (1 - rho^2) / 2 I,   c = [1, 0],   r = noise^2

  The stationary series has the autocovariance of a sine whose phase drifts
  (`linear_autoregression.sine_autocovariance`), so its filter is the best
  linear prediction of one, from two numbers.

  Args:
    rate: a, radians a step.
    noise: standard deviation of what is read, above 0.
    drift: standard deviation of what is added to the phase, radians a step.

  Raises:
    UserError: no noise.

  >>> round(rotation(rate=0.1, noise=0.5, drift=0.05).error, 4)
  0.2749
  """
  rho = np.exp(-(drift**2) / 2)
  cos, sin = np.cos(rate), np.sin(rate)
  return StateSpace(
    rho * np.array([[cos, -sin], [sin, cos]]),
    (1 - rho**2) / 2 * np.eye(2),
    np.array([1.0, 0.0]),
    noise**2,
    np.eye(2) / 2,
  )


def phase_predictions(
  values: np.ndarray,
  *,
  rate: float,
  noise: float,
  drift: float,
  points: int = 128,
) -> np.ndarray:
  """The best prediction of each value of a sine whose phase drifts.

      b(a) -> b(a) exp(-(x_t - sin a)^2 / (2 noise^2)), to sum 1,   x_t is read
      b(a) -> sum_a' b(a') N(a - a' - rate; drift^2)                one step on
      x^_t = sum_a b(a) sin a

  over equally spaced phases a, all alike at first.

  Args:
    values: [T], as `data.series.noisy_sine` makes them.
    rate: radians a step.
    noise: standard deviation of what is added to the sine, above 0.
    drift: standard deviation of what is added to the phase in a step, at least
      the distance of two points: 2 pi / `points`.
    points: phases that are told apart.

  Returns:
    float64 [T].

  Raises:
    UserError: no noise or no drift, or too few points for the drift.

  >>> xs = np.sin(0.2 * np.arange(1, 60))
  >>> found = phase_predictions(xs, rate=0.2, noise=0.1, drift=0.05)
  >>> bool(np.abs(found - xs)[10:].max() < 0.02)
  True
  """
  if not min(noise, drift) > 0:
    raise errors.UserError(
      f"the noise is {noise} and the drift {drift}; both must be above 0"
    )
  apart = 2 * np.pi / points
  if apart > drift:
    raise errors.UserError(
      f"{points} phases are {apart:.3g} apart and the drift is {drift:g}; tell "
      f"at least {math.ceil(2 * np.pi / drift)} apart"
    )
  angles = apart * np.arange(points)
  # From a' to a, the shorter way round.
  turned = angles[:, None] - angles - rate
  turned = (turned + np.pi) % (2 * np.pi) - np.pi
  moves = np.exp(-0.5 * (turned / drift) ** 2)
  moves /= moves.sum(axis=0)
  heights, belief = np.sin(angles), np.full(points, 1 / points)
  found = np.empty(len(values))
  for step, value in enumerate(values):
    found[step] = belief @ heights
    likely = -0.5 * ((value - heights) / noise) ** 2
    belief = belief * np.exp(likely - likely.max())
    belief = moves @ (belief / belief.sum())
  return found
