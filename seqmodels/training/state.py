"""All that training carries from step to step, and nothing beside it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqmodels.training import optimizers


class TrainState(NamedTuple):
  """A value: saved, restored, donated and compared as one tree.

  The position in the data is `step` itself, since a stream's segments are a
  pure function of seed and step; so are the keys of a step (`fold_in`).
  """

  step: jax.Array  # int32, segments learned from so far
  params: Any  # the weights, or what a regularizer trains in their place
  opt_state: optax.OptState
  carry: Any  # of every stream of the batch, at the edge of the last segment
  key: jax.Array

  @property
  def evaluated(self) -> Any:
    """What to evaluate: the average of `params`, where one is kept."""
    if isinstance(self.opt_state, optimizers.Averaged):
      return self.opt_state.average
    return self.params


def create(
  predictor: Any,
  optimizer: optax.GradientTransformation,
  *,
  batch: int,
  seed: int,
  wrap: Callable[[Any], Any] = lambda params: params,
  shardings: Any = None,
) -> TrainState:
  """A fresh state; equal seeds give equal bits.

  Args:
    predictor: the model: its `init` and `initial_carry` are asked.
    optimizer: what will update it.
    batch: B, the number of parallel streams.
    seed: of the weights and of every later draw.
    wrap: makes of the weights what is trained (`Regularizer.wrap`).
    shardings: where each array shall lie; on one device by default.
  """

  def build(key: jax.Array) -> TrainState:
    init_key, key = jax.random.split(key)
    params = wrap(predictor.init(init_key))
    return TrainState(
      step=jnp.int32(0),
      params=params,
      opt_state=optimizer.init(params),
      carry=predictor.initial_carry(batch),
      key=key,
    )

  return jax.jit(build, out_shardings=shardings)(
    jax.random.key(seed, impl="threefry2x32")
  )
