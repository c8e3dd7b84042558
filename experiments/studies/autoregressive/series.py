"""Series of numbers, and models of their next value.

A window model reads the last tau values and a latent model keeps a state,

    window   x^_{t+1} = f(x_{t-tau+1}, ..., x_t)
    latent   h_t = g(h_{t-1}, x_t),   x^_{t+1} = o(h_t)

Both are a `Forecaster`: the state of a window is a shift register. Any place of
the series may be followed by the model's own predictions, the k-th of which is
k steps ahead.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import linalg

from experiments.studies.common import training
from seqmodels.cells import cell as cells
from seqmodels.layers import embedding, recurrent
from seqmodels.training import optimizers, step


def noisy_sine(
  length: int,
  *,
  random: np.random.Generator,
  noise: float = 0.2,
  rate: float = 0.01,
  phase: float = 0.0,
  drift: float = 0.0,
) -> np.ndarray:
  """x_t = sin(rate t + phase_t) + noise e_t, t = 1 to T, float64 [length].

  The phase moves by drift d_t in a step; e_t and d_t are N(0, 1). `noise` and
  `drift` are standard deviations, `rate` radians a step, and
  `phase` radians at t = 0.
  """
  angles = rate * np.arange(1, length + 1) + phase
  values = noise * random.standard_normal(length)
  if drift:
    angles += drift * np.cumsum(random.standard_normal(length))
  return np.sin(angles) + values


def random_walks(
  count: int, steps: int, *, random: np.random.Generator, scale: float = 1.0
) -> np.ndarray:
  """Walks without drift from 0, float64 [count, steps + 1]."""
  moves = scale * random.standard_normal((count, steps))
  return np.pad(np.cumsum(moves, axis=1), ((0, 0), (1, 0)))


def cubic(
  length: int, *, random: np.random.Generator, noise: float = 0.4
) -> np.ndarray:
  """x_t = 3/2 x_{t-1} - 1/4 x_{t-1}^3 + noise e_t, float64 [length].

  From a random start. The turning points are +-sqrt(2), which stay in place: a
  state rests near one of them until the noise throws it over to the other.
  """
  settling = 50
  moves = noise * random.standard_normal(length + settling)
  value, values = random.standard_normal(), []
  for move in moves:
    # Beyond sqrt(10) the recursion would run away; no noise leads there in
    # practice, and a draw that did is put back to the edge.
    value = float(np.clip(1.5 * value - 0.25 * value**3 + move, -3, 3))
    values.append(value)
  return np.array(values[settling:])


class Pairs(NamedTuple):
  """Features [N, tau] and labels [N], in the order of the labels' times [N]."""

  features: np.ndarray
  labels: np.ndarray
  times: np.ndarray

  def split(self, count: int) -> tuple["Pairs", "Pairs"]:
    """The first `count` pairs, and those after them: past and future."""
    return (
      Pairs(*(array[:count] for array in self)),
      Pairs(*(array[count:] for array in self)),
    )


def neighbours(
  series: np.ndarray, positions: Sequence[int] | np.ndarray
) -> Pairs:
  """Each value with those at some distances from it: -1 is the one before it.

  >>> neighbours(np.arange(5.0), [-1, 2]).features
  array([[0., 3.], [1., 4.]])
  """
  before, after = -min(*positions, 0), max(*positions, 0)
  times = np.arange(before, len(series) - after)
  features = series[times[:, None] + np.array(positions)]
  return Pairs(features, series[times], times)


def windows(series: np.ndarray, tau: int, *, ahead: int = 1) -> Pairs:
  """Every tau values in a row with the value `ahead` steps after the last."""
  return neighbours(series, range(1 - ahead - tau, 1 - ahead))


class Minibatch(NamedTuple):
  """The segments of one step, [T, B], in the form of `training.step`."""

  inputs: Any
  targets: Any
  mask: Any  # true where the target is scored


def minibatches(
  series: np.ndarray,
  *,
  length: int,
  scored: int,
  batch: int,
  epochs: int,
  random: np.random.Generator,
) -> Minibatch:
  """All segments of a series in a new order each epoch, [steps, length, batch].

  Of each segment the last `scored` targets count: 1 where a window model sees
  its whole window only then. Masked segments fill the last step of an epoch.
  """
  count, steps = len(series) - length, np.arange(length)
  starts = np.full((epochs, -(-count // batch) * batch), -1)
  for order in starts:
    order[:count] = random.permutation(count)
  begun = starts.reshape(-1, 1, batch)
  places = np.maximum(begun, 0) + steps[:, None]
  mask = (begun >= 0) & (steps >= length - scored)[:, None]
  values = np.asarray(series, np.float32)
  return Minibatch(values[places], values[places + 1], mask)


class Linear(NamedTuple):
  """The linear window model: x^_t = w . [x_{t-tau}, ..., x_{t-1}] + b."""

  weights: np.ndarray
  bias: float = 0.0

  def predict(self, features: np.ndarray) -> np.ndarray:
    """Predictions [...] from windows [..., tau]."""
    return features @ self.weights + self.bias

  @property
  def companion(self) -> np.ndarray:
    """C of the recursion z_{t+1} = C z_t, float64 [tau + 1, tau + 1].

    The state is z_t = [x_{t-tau+1}, ..., x_t, 1], oldest value first.
    """
    tau = len(self.weights)
    matrix = np.eye(tau + 1, k=1)
    matrix[tau - 1] = [*self.weights, self.bias]
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
    """The model that predicts `steps` ahead: one row of C^steps.

    >>> Linear(np.array([0.5]), 1.0).ahead(2)
    Linear(weights=array([0.25]), bias=1.5)
    """
    tau = len(self.weights)
    row = np.linalg.matrix_power(self.companion, steps)[tau - 1]
    return Linear(row[:tau], float(row[tau]))


def least_squares(features: np.ndarray, labels: np.ndarray) -> Linear:
  """The weights and bias of least mean squared error over N pairs.

  The shortest such weights where the pairs do not settle them.
  """
  # Around the mean, so that the bias does not count as a weight to be short.
  middle, level = features.mean(axis=0), labels.mean()
  weights = np.linalg.lstsq(features - middle, labels - level)[0]
  return Linear(weights, float(level - middle @ weights))


Autocovariance = Callable[[np.ndarray], np.ndarray]


def sine_autocovariance(
  *, rate: float = 0.01, noise: float = 0.2, drift: float = 0.0
) -> Autocovariance:
  """That of a noisy sine whose phase may be any, arguments as `noisy_sine`.

  g(h) = 1/2 cos(rate h) exp(-drift^2 |h| / 2) + noise^2 [h = 0]
  """

  def at(lags: np.ndarray) -> np.ndarray:
    lasting = np.exp(-(drift**2) * np.abs(lags) / 2)
    return 0.5 * np.cos(rate * lags) * lasting + noise**2 * (lags == 0)

  return at


def optimum(
  autocovariance: Autocovariance,
  positions: Sequence[int] | np.ndarray,
  mixing: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
  """The best linear prediction of a stationary series of mean 0.

      w = G^-1 c,   error = g(0) - c . w,   G_ij = g(o_i - o_j),  c_i = g(o_i)

  with the positions o of the values relative to the one sought. Rows of
  `mixing` [n, positions] make features of these values, such as means. Returns
  the weights [n] and their mean squared error.

  >>> round(optimum(sine_autocovariance(), [-4, -3, -2, -1])[1], 4)
  0.0501
  """
  places = np.asarray(positions)
  between, to = autocovariance(places[:, None] - places), autocovariance(places)
  if mixing is not None:
    between, to = mixing @ between @ mixing.T, mixing @ to
  # Without noise many weights are best; these are the shortest.
  weights = np.linalg.lstsq(between, to)[0]
  here = float(autocovariance(np.zeros(1))[0])
  return weights, here - float(to @ weights)


def error_of(
  autocovariance: Autocovariance,
  positions: Sequence[int] | np.ndarray,
  weights: np.ndarray,
) -> float:
  """The mean squared error of any weights, good or not."""
  places, signed = np.append(positions, 0), np.append(weights, -1.0)
  return float(signed @ autocovariance(places[:, None] - places) @ signed)


def gain(weights: np.ndarray, rate: float) -> float:
  """The share of a sine's height let through: |sum_j w_j e^(i rate j)|."""
  return float(np.abs(weights @ np.exp(1j * rate * np.arange(len(weights)))))


def accumulated_error(
  error: float, factor: float, steps: np.ndarray
) -> np.ndarray:
  """An error that each step hands on, multiplied by c, and adds to.

  eps_1 = e,  eps_k = e + c eps_{k-1}  =>  eps_k = e (1 - c^k) / (1 - c)
  """
  if factor == 1:
    return error * steps.astype(float)
  return error * (1 - factor**steps) / (1 - factor)


class StateSpace(NamedTuple):
  """A known linear state-space model, begun from a state of mean 0.

      z_{t+1} = F z_t + w_t,  w_t ~ N(0, Q)
      x_t     = c . z_t + v_t,  v_t ~ N(0, r)

  The filter of Kalman (1960) keeps the state's mean m and its covariance P
  given all values so far; no prediction of the next value is better than its:

      x^_t = c . m,   s = c P c + r                 (before x_t is read)
      m <- F (m + k (x_t - x^_t)),   k = P c / s
      P <- F (P - k c P) F' + Q

  Of a series that only has the same autocovariance it is the best linear one.
  """

  transition: np.ndarray  # F, [K, K]
  drive: np.ndarray  # Q, [K, K]
  readout: np.ndarray  # c, [K]
  variance: float  # r of the noise on what is read, above 0
  start: np.ndarray  # covariance of the first state, [K, K]

  def predictions(self, values: np.ndarray) -> np.ndarray:
    """x^_t of every value from those before it, float64 [T]."""
    mean, covariance = np.zeros(len(self.readout)), self.start
    result = np.empty(len(values))
    for t, value in enumerate(values):
      result[t] = self.readout @ mean
      seen = covariance @ self.readout
      gain = seen / (self.readout @ seen + self.variance)
      mean = self.transition @ (mean + gain * (value - result[t]))
      left = covariance - np.outer(gain, seen)
      covariance = self.transition @ left @ self.transition.T + self.drive
    return result

  @property
  def error(self) -> float:
    """s once it has settled: the mean squared error of the best prediction."""
    settled = linalg.solve_discrete_are(
      self.transition.T, self.readout[:, None], self.drive, [[self.variance]]
    )
    return float(self.readout @ settled @ self.readout) + self.variance


def rotation(*, rate: float, noise: float, drift: float) -> StateSpace:
  """A point that turns, grows smaller and is pushed; one coordinate is read.

      F = rho [cos a, -sin a; sin a, cos a],   rho = exp(-drift^2 / 2),
      Q = (1 - rho^2) / 2 I,   c = [1, 0],   r = noise^2

  It has the autocovariance of a sine whose phase drifts, so its filter is the
  best linear prediction of one, from two numbers. Arguments as `noisy_sine`.
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
  """The best prediction of each value of a sine whose phase drifts, [T].

      b(a) -> b(a) exp(-(x_t - sin a)^2 / (2 noise^2)), to sum 1,   x_t is read
      b(a) -> sum_a' b(a') N(a - a' - rate; drift^2)                one step on
      x^_t = sum_a b(a) sin a

  over equally spaced phases a, all alike at first. Two of them are at most the
  drift apart.
  """
  angles = 2 * np.pi / points * np.arange(points)
  # From a' to a, the shorter way round.
  turned = angles[:, None] - angles - rate
  turned = (turned + np.pi) % (2 * np.pi) - np.pi
  moves = np.exp(-0.5 * (turned / drift) ** 2)
  moves /= moves.sum(axis=0)
  heights, belief = np.sin(angles), np.full(points, 1 / points)
  result = np.empty(len(values))
  for t, value in enumerate(values):
    result[t] = belief @ heights
    likely = -0.5 * ((value - heights) / noise) ** 2
    belief = belief * np.exp(likely - likely.max())
    belief = moves @ (belief / belief.sum())
  return result


class Forecaster(NamedTuple):
  """A next-value model as pure functions of its parameters."""

  # (params, carry, values) -> (carry, predictions), both float32 [T, B];
  # predictions[t] is of the value that follows values[t]
  apply: Any
  initial_carry: Any  # batch -> carry, leaves [B, ...]
  init: Any  # key -> params
  reach: int  # values to be read before a prediction: tau of a window, or 1

  def score(
    self, params: Any, carry: Any, segment: Minibatch, key: Any = None
  ) -> Any:
    """Half the squared errors of every segment, each from the cleared carry."""
    del key
    _, predictions = self.apply(params, carry, segment.inputs)
    halves, metrics = training.squared(predictions, segment)
    return halves, (carry, metrics)


class _Window(nn.Module):
  """A shift register, and a network over what it holds."""

  tau: int
  hidden: tuple[int, ...]

  def initial_carry(self, batch: int) -> jax.Array:
    return jnp.zeros((batch, self.tau), jnp.float32)

  @nn.compact
  def __call__(
    self, carry: jax.Array, values: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    seen = jnp.concatenate([carry.T, values])
    steps = values.shape[0]
    # After value t the register holds the tau values up to it, oldest first.
    shifted = [seen[j + 1 : j + 1 + steps] for j in range(self.tau)]
    result = jnp.stack(shifted, axis=-1)
    xavier = nn.initializers.xavier_uniform()
    for width in self.hidden:
      result = nn.relu(nn.Dense(width, kernel_init=xavier)(result))
    last = xavier if self.hidden else nn.initializers.normal(0.01)
    result = nn.Dense(1, kernel_init=last, name="readout")(result)
    return seen[steps:].T, result[..., 0]


class _Latent(nn.Module):
  """A recurrent stack that reads one number a step, and a linear readout."""

  stack: recurrent.DeepRecurrent

  def initial_carry(self, batch: int) -> Any:
    return self.stack.initial_carry(batch)

  @nn.compact
  def __call__(self, carry: Any, values: jax.Array) -> tuple[Any, jax.Array]:
    carry, outputs = self.stack(carry, values[..., None])
    return carry, embedding.Head(1, name="readout")(outputs)[..., 0]


def _forecaster(module: Any, reach: int) -> Forecaster:
  def init(key: jax.Array) -> Any:
    carry = module.initial_carry(1)
    return module.init(key, carry, jnp.zeros((1, 1)))["params"]

  def apply(params: Any, carry: Any, values: jax.Array) -> Any:
    return module.apply({"params": params}, carry, values)

  return Forecaster(apply, module.initial_carry, init, reach)


# Equal arguments give one object, for which things are compiled once.
@functools.cache
def window(tau: int, hidden: tuple[int, ...] = ()) -> Forecaster:
  """A window of tau values, linear or with layers of rectifiers between.

  The linear weights begin at N(0, 0.01^2), those of a network at Xavier's
  uniform draw, biases at 0.
  """
  return _forecaster(_Window(tau, hidden), tau)


@functools.cache
def latent(cell: str, features: tuple[int, ...]) -> Forecaster:
  """A recurrent network, with a cell of `cells.cell.CELLS`."""
  core = recurrent.DeepRecurrent(
    recurrent.StackOptions(features=features, cell=cells.get(cell)),
    in_features=1,
  )
  return _forecaster(_Latent(core), 1)


def of_linear(linear: Linear) -> Any:
  """A linear model's weights as the parameters of `window(tau)`."""
  kernel = jnp.asarray(linear.weights, jnp.float32)[:, None]
  return {
    "readout": {"kernel": kernel, "bias": jnp.full(1, linear.bias, jnp.float32)}
  }


def to_linear(params: Any) -> Linear:
  """The parameters of `window(tau)` as a linear model in float64."""
  readout = jax.device_get(params)["readout"]
  weights = np.asarray(readout["kernel"], np.float64)[:, 0]
  return Linear(weights, float(readout["bias"][0]))


def adam(rate: float, steps: int) -> optax.GradientTransformation:
  """Adam with a learning rate that falls along a cosine over so many steps."""
  return optimizers.build(
    "adam", learning_rate=rate, schedule="cosine", steps=steps, clip_norm=1.0
  )


def fit_each(
  model: Any,
  optimizer: optax.GradientTransformation,
  seed: int,
  parts: Sequence[Minibatch],
) -> list[Any]:
  """The weights of one model a series, all trained side by side.

  Each step minimises the mean over its minibatch, of [steps, T, B] a series.
  The model has `init`, `initial_carry` and `score`, as `SequenceModel` has.
  """
  train_step = step.make_train_step(model, optimizer)
  carry = model.initial_carry(parts[0].mask.shape[-1])

  def fit(key: jax.Array, minibatches: Minibatch) -> Any:
    init_key, key = jax.random.split(key)
    params = model.init(init_key)
    state = step.TrainState(
      jnp.int32(0), params, optimizer.init(params), carry, key
    )
    return jax.lax.scan(train_step, state, minibatches)[0].params

  keys = jax.random.split(jax.random.key(seed), len(parts))
  minibatches = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
  params = jax.device_get(jax.jit(jax.vmap(fit))(keys, minibatches))
  return [
    jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(len(parts))
  ]


def k_steps(
  model: Forecaster, params: Any, series: np.ndarray, longest: int
) -> np.ndarray:
  """Predictions 1, 2, ..., `longest` steps ahead, from every place there is.

  From each place of the series the model reads the true values up to it and
  then its own predictions. Row k - 1 of [longest, T] at t predicts x_t from
  what is known k steps before; NaN where the series does not reach back so far.

  >>> halve = of_linear(Linear(np.array([0.5])))
  >>> k_steps(window(1), halve, np.array([8.0, 4.0, 2.0]), 2)
  array([[nan,  4.,  2.],
         [nan, nan,  2.]], dtype=float32)
  """
  made = np.asarray(_ahead(model, params, series, longest, len(series)))
  # From the time that a prediction was made at to the time it is about.
  result, first = np.full_like(made, np.nan), model.reach - 1
  for k in range(1, longest + 1):
    result[k - 1, first + k :] = made[k - 1, first : len(series) - k]
  return result


def free_run(
  model: Forecaster, params: Any, seen: np.ndarray, steps: int
) -> np.ndarray:
  """Predictions of what follows `seen`, made of one another, float32 [steps].

  >>> halve = of_linear(Linear(np.array([0.5])))
  >>> free_run(window(1), halve, np.array([8.0]), 3)
  array([4., 2., 1.], dtype=float32)
  """
  return np.asarray(_ahead(model, params, seen, steps, 1))[:, 0]


@functools.partial(jax.jit, static_argnames=("model", "steps", "places"))
def _ahead(
  model: Forecaster, params: Any, values: Any, steps: int, places: int
) -> jax.Array:
  """Predictions [steps, places] from the states after the last values."""

  def step(carry: Any, value: jax.Array) -> tuple[Any, jax.Array]:
    carry, predictions = model.apply(params, carry, value[None])
    return carry, predictions[0]

  def read(carry: Any, value: jax.Array) -> tuple[Any, Any]:
    carry, prediction = step(carry, value)
    return carry, (carry, prediction)

  def dream(state: tuple[Any, jax.Array], _: None) -> tuple[Any, jax.Array]:
    state = step(*state)
    return state, state[1]

  column = jnp.asarray(values, jnp.float32)[:, None]
  _, states = jax.lax.scan(read, model.initial_carry(1), column)
  # Each place becomes a row of one batch.
  state = jax.tree.map(lambda leaf: leaf[-places:, 0], states)
  _, rest = jax.lax.scan(dream, state, length=steps - 1)
  return jnp.concatenate([state[1][None], rest])
