"""Models of the next value of a series, by a window or by a state.

    window   x^_{t+1} = f(x_{t-tau+1}, ..., x_t)
    latent   h_t = g(h_{t-1}, x_t),   x^_{t+1} = o(h_t)

The state after reading x_t predicts x_{t+1}. A window is a state, too: a shift
register of the last tau values. So one contract, `Forecaster`, holds both, and
all that `evaluation.forecasts` does with one it does with the other.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.layers import stack as stack_lib
from seqmodels.models import linear_autoregression

Tree = Any


class Forecaster(NamedTuple):
  """A next-value model as pure functions of its parameters.

  Attributes:
    apply: `(params, carry, values) -> (carry, predictions)`, both float32
      [T, B]; predictions[t] is of the value that follows values[t].
    initial_carry: `batch -> carry`, leaves [B, ...].
    init: `key -> params`.
    reach: values to be read before a prediction is meant: tau of a window, 1 of
      a latent model.
  """

  apply: Any
  initial_carry: Any
  init: Any
  reach: int


class _Window(nn.Module):
  """A shift register, and a network over what it holds."""

  tau: int
  hidden: tuple[int, ...]

  @nn.compact
  def __call__(
    self, carry: jax.Array, values: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    seen = jnp.concatenate([carry.T, values])
    steps = values.shape[0]
    # After value t the register holds the tau values up to it, oldest first.
    shifted = [seen[j + 1 : j + 1 + steps] for j in range(self.tau)]
    found = jnp.stack(shifted, axis=-1)
    xavier = nn.initializers.xavier_uniform()
    for width in self.hidden:
      found = nn.relu(nn.Dense(width, kernel_init=xavier)(found))
    last = xavier if self.hidden else nn.initializers.normal(0.01)
    found = nn.Dense(1, kernel_init=last, name="readout")(found)
    return seen[steps:].T, found[..., 0]


class _Latent(nn.Module):
  """A recurrent stack that reads one number a step, and a linear readout."""

  cell: str
  features: tuple[int, ...]

  def stack(self) -> stack_lib.DeepRecurrent:
    return stack_lib.DeepRecurrent(
      features=self.features,
      in_features=1,
      cell=self.cell,
      name="stack",
      parent=None,
    )

  @nn.compact
  def __call__(self, carry: Tree, values: jax.Array) -> tuple[Tree, jax.Array]:
    stack = self.stack().clone(parent=self)
    carry, outputs = stack(carry, values[..., None])
    found = stack_lib.Head(1, name="readout")(outputs)
    return carry, found[..., 0]


@functools.cache
def window(tau: int, hidden: tuple[int, ...] = ()) -> Forecaster:
  """A window of tau values, linear or with layers of rectifiers between.

  The linear weights begin at N(0, 0.01^2), those of a network at Xavier's
  uniform draw, biases at 0.

  Args:
    tau: at least 1.
    hidden: units of each layer; none is the linear model.

  Returns:
    The same object for the same arguments.

  Raises:
    UserError: a width below 1.

  >>> model = window(4)
  >>> params = model.init(jax.random.key(0))
  >>> params["readout"]["kernel"].shape
  (4, 1)
  >>> model.apply(params, model.initial_carry(2), jnp.ones((9, 2)))[1].shape
  (9, 2)
  """
  if min((tau, *hidden)) < 1:
    raise errors.UserError(
      f"a window of {tau} values with layers of {list(hidden)}; each must be "
      "at least 1"
    )
  return _forecaster(
    _Window(tau, tuple(hidden)),
    lambda batch: jnp.zeros((batch, tau), jnp.float32),
    reach=tau,
  )


@functools.cache
def latent(cell: str, features: tuple[int, ...]) -> Forecaster:
  """A recurrent network that keeps what it needs of the past.

  Args:
    cell: a name in `cells.cell.CELLS`.
    features: H of each layer.

  Returns:
    The same object for the same arguments.

  Raises:
    UserError: no layer, or a width below 1; no such cell.

  >>> model = latent("elman", (8,))
  >>> params = model.init(jax.random.key(0))
  >>> model.apply(params, model.initial_carry(2), jnp.ones((9, 2)))[1].shape
  (9, 2)
  """
  if not features or min(features) < 1:
    raise errors.UserError(
      f"a latent model has layers of {list(features)}; give at least one "
      "layer, of at least 1 unit"
    )
  module = _Latent(cell, tuple(features))
  return _forecaster(module, module.stack().initial_carry, reach=1)


def _forecaster(
  module: nn.Module, initial_carry: Any, reach: int
) -> Forecaster:
  def init(key: jax.Array) -> Tree:
    return module.init(key, initial_carry(1), jnp.zeros((1, 1)))["params"]

  def apply(params: Tree, carry: Tree, values: jax.Array) -> Any:
    return module.apply({"params": params}, carry, values)

  return Forecaster(apply, initial_carry, init, reach)


def of_linear(linear: linear_autoregression.Linear) -> Tree:
  """A linear model's weights as the parameters of `window(tau)`.

  >>> linear = linear_autoregression.Linear(np.array([0.5, 0.25]), 1.0)
  >>> of_linear(linear)["readout"]["kernel"].ravel()
  Array([0.5 , 0.25], dtype=float32)
  """
  kernel = jnp.asarray(linear.weights, jnp.float32)[:, None]
  return {
    "readout": {"kernel": kernel, "bias": jnp.full(1, linear.bias, jnp.float32)}
  }


def to_linear(params: Tree) -> linear_autoregression.Linear:
  """The parameters of `window(tau)` as a linear model in float64.

  >>> to_linear(window(2).init(jax.random.key(0))).weights.shape
  (2,)
  """
  readout = jax.device_get(params)["readout"]
  weights = np.asarray(readout["kernel"], np.float64)[:, 0]
  return linear_autoregression.Linear(weights, float(readout["bias"][0]))
