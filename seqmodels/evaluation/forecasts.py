"""Predictions of a series: one step, k steps, and on and on by themselves.

Reading true values throughout gives predictions one step ahead. From any place
on, a model can read its own predictions instead: the k-th of them is k steps
ahead, and beyond the model's reach all that it reads is its own.

    x^_{t+1} = f(x_t, ...),   x^_{t+k} = f(x^_{t+k-1}, ...)
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.models import autoregressive

Tree = Any


class Forecasts(NamedTuple):
  """Predictions of values of a series.

  Attributes:
    times: int [N], the positions of the values that are predicted.
    values: float32 [N].
  """

  times: np.ndarray
  values: np.ndarray


def one_step(
  model: autoregressive.Forecaster, params: Tree, series: np.ndarray
) -> Forecasts:
  """Each value from the true ones before it: T - reach predictions.

  Raises:
    UserError: a series that is not longer than the model's reach.

  >>> from seqmodels.models.linear_autoregression import Linear
  >>> mean = autoregressive.of_linear(Linear(np.array([0.5, 0.5])))
  >>> model = autoregressive.window(2)
  >>> one_step(model, mean, np.array([1.0, 3.0, 5.0, 7.0]))
  Forecasts(times=array([2, 3]), values=array([2., 4.], dtype=float32))
  """
  _check(series, model.reach, 1)
  found = _read(model, params, _column(series))
  places = np.arange(model.reach, len(series))
  return Forecasts(places, np.asarray(found)[places - 1])


def free_run(
  model: autoregressive.Forecaster, params: Tree, seen: np.ndarray, steps: int
) -> np.ndarray:
  """What the model says once it reads its own predictions, float32 [steps].

  Args:
    model: the model.
    params: its parameters.
    seen: the true values that it reads first; the first prediction follows the
      last of them.
    steps: at least 1.

  Raises:
    UserError: no steps, or fewer true values than the model's reach.

  >>> from seqmodels.models.linear_autoregression import Linear
  >>> halve = autoregressive.of_linear(Linear(np.array([0.5])))
  >>> free_run(autoregressive.window(1), halve, np.array([8.0]), 3)
  array([4., 2., 1.], dtype=float32)
  """
  _check(seen, model.reach, steps, beyond=True)
  return np.asarray(_ahead(model, params, _column(seen), steps, 1))[:, 0]


def k_steps(
  model: autoregressive.Forecaster,
  params: Tree,
  series: np.ndarray,
  longest: int,
) -> list[Forecasts]:
  """Predictions 1, 2, ..., `longest` steps ahead, from every place there is.

  From each place of the series the model reads the true values up to it and
  then its own predictions. Each k has its own times: k steps after the place.

  Returns:
    T - reach - k + 1 predictions for k = 1, 2, ... in this order.

  Raises:
    UserError: no steps, or a series that ends before the last of them.

  >>> from seqmodels.models.linear_autoregression import Linear
  >>> halve = autoregressive.of_linear(Linear(np.array([0.5])))
  >>> k_steps(autoregressive.window(1), halve, np.array([8.0, 4.0, 2.0]), 2)[1]
  Forecasts(times=array([2]), values=array([2.], dtype=float32))
  """
  _check(series, model.reach, longest)
  values = _column(series)
  found = np.asarray(_ahead(model, params, values, longest, len(values)))
  forecasts = []
  for k, values in enumerate(found, 1):
    origins = np.arange(model.reach - 1, len(series) - k)
    forecasts.append(Forecasts(origins + k, values[origins]))
  return forecasts


def errors_by_step(
  forecasts: Sequence[Forecasts], series: np.ndarray, first: int = 0
) -> np.ndarray:
  """The mean squared error of each k over times from `first` on.

  >>> ones = Forecasts(np.array([1, 2]), np.array([1.0, 1.0]))
  >>> errors_by_step([ones], np.array([0.0, 1.0, 3.0]))
  array([2.])
  """
  return np.array(
    [
      np.mean((values - series[times])[times >= first] ** 2, dtype=np.float64)
      for times, values in forecasts
    ]
  )


@functools.partial(jax.jit, static_argnames="model")
def _read(
  model: autoregressive.Forecaster, params: Tree, values: jax.Array
) -> jax.Array:
  return model.apply(params, model.initial_carry(1), values)[1][:, 0]


@functools.partial(jax.jit, static_argnames=("model", "steps", "places"))
def _ahead(
  model: autoregressive.Forecaster,
  params: Tree,
  values: jax.Array,
  steps: int,
  places: int,
) -> jax.Array:
  """Predictions [steps, places] from the states after the last values."""

  def step(carry: Tree, value: jax.Array) -> tuple[Tree, jax.Array]:
    carry, predictions = model.apply(params, carry, value[None])
    return carry, predictions[0]

  def read(carry: Tree, value: jax.Array) -> tuple[Tree, Any]:
    carry, prediction = step(carry, value)
    return carry, (carry, prediction)

  def dream(state: tuple[Tree, jax.Array], _: None) -> tuple[Any, jax.Array]:
    carry, prediction = state
    state = step(carry, prediction)
    return state, state[1]

  _, states = jax.lax.scan(read, model.initial_carry(1), values)
  # Each place becomes a row of one batch.
  state = jax.tree.map(lambda leaf: leaf[-places:, 0], states)
  _, rest = jax.lax.scan(dream, state, length=steps - 1)
  return jnp.concatenate([state[1][None], rest])


def _column(series: np.ndarray) -> jax.Array:
  return jnp.asarray(series, jnp.float32)[:, None]


def _check(
  series: np.ndarray, reach: int, longest: int, *, beyond: bool = False
) -> None:
  if longest < 1:
    raise errors.UserError(
      f"a prediction {longest} steps ahead; it must be at least 1"
    )
  least = reach + (0 if beyond else longest)
  if len(series) < least:
    raise errors.UserError(
      f"the series has {len(series)} values, and {longest} steps ahead of a "
      f"model that reads {reach} take {least}; use a longer series or fewer "
      "steps"
    )
