"""Learning the next value of a series by gradient descent.

The loss of a stretch is half its squared errors,

    1/2 sum_t (x^_{t+1} - x_{t+1})^2

which are the nats of a Gaussian of variance 1, but for a constant.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.studies.autoregressive import models
from seqmodels.training import loss, step


def of_values(
  model: models.Forecaster,
  params: Any,
  carry: Any,
  segment: Any,
  key: jax.Array,
) -> tuple[jax.Array, loss.Outcome]:
  """The loss of every stretch [B], summed over its scored steps.

  A stretch starts from `carry`, the cleared state, which is handed on as it
  was.

  Args:
    model: what predicts.
    params: its weights.
    carry: of `model.initial_carry`.
    segment: `inputs`, `targets` and `mask`, each [T, B].
    key: not used; nothing is dropped.
  """
  del key
  _, predictions = model.apply(params, carry, segment.inputs)
  # A select on the error, not a product, keeps what is masked out of it.
  missed = jnp.where(segment.mask, predictions - segment.targets, 0.0)
  nats = 0.5 * jnp.sum(missed**2, axis=0)
  return nats, loss.Outcome(
    carry,
    jnp.sum(nats),
    jnp.sum(segment.mask, dtype=jnp.int32),
    jnp.zeros((), jnp.int32),
  )


def fit_each(
  model: models.Forecaster,
  optimizer: optax.GradientTransformation,
  keys: jax.Array,
  segments: Any,
) -> Any:
  """One model a series, all trained side by side in one program.

  Args:
    model: what predicts.
    optimizer: the update rule; each step minimises the mean over its batch.
    keys: [R], of the first weights.
    segments: `inputs`, `targets` and `mask`, each [R, steps, T, B].

  Returns:
    The weights after the last step, leaves [R, ...].

  A constant series is learned by heart:

  >>> from collections import namedtuple
  >>> Segment = namedtuple("Segment", "inputs targets mask")
  >>> twos = jnp.full((1, 50, 1, 4), 2.0)
  >>> found = fit_each(
  ...   models.window(1),
  ...   optax.sgd(0.1),
  ...   jax.random.split(jax.random.key(0), 1),
  ...   Segment(inputs=twos, targets=twos, mask=twos > 0),
  ... )["readout"]
  >>> (2 * found["kernel"] + found["bias"][..., None]).round(3).ravel()
  Array([2.], dtype=float32)
  """
  train_step = step.make_train_step(model, optimizer, losses=of_values)
  batch = segments.mask.shape[-1]

  def fit(key: jax.Array, segments: Any) -> Any:
    init_key, key = jax.random.split(key)
    params = model.init(init_key)
    state = step.TrainState(
      step=jnp.int32(0),
      params=params,
      opt_state=optimizer.init(params),
      carry=model.initial_carry(batch),
      key=key,
    )
    return jax.lax.scan(train_step, state, segments)[0].params

  return jax.jit(jax.vmap(fit))(keys, segments)
