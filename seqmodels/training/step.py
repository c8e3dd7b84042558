"""The compiled training step: K segments of truncated BPTT a dispatch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqmodels import trees
from seqmodels.losses import sequence
from seqmodels.models import predictor as predictors
from seqmodels.training import state as states


class StepMetrics(NamedTuple):
  """What each step reports; arrays [K] after a dispatch of K steps."""

  nats: jax.Array  # summed over the scored symbols
  scored: jax.Array  # how many symbols that was
  errors: jax.Array  # scored symbols that were not the likeliest
  gradient_norm: jax.Array  # before any clipping


TrainSteps = Callable[
  [states.TrainState, Any], tuple[states.TrainState, StepMetrics]
]


def objective(
  predictor: predictors.Predictor,
  params: Any,
  carry: Any,
  segment: Any,
  *,
  reduction: str,
) -> tuple[jax.Array, tuple[Any, jax.Array, jax.Array, jax.Array]]:
  """The nats of one segment as a number to minimise.

  Args:
    predictor: the model.
    params: its weights.
    carry: the state at the segment's left edge.
    segment: `inputs`, `targets`, `mask`, `reset`, each [T, B].
    reduction: `mean` over the scored symbols, or their `sum` (the paper's).

  Returns:
    The objective, and (carry, nats, count, errors).
  """
  carry, logits = predictor.apply(params, carry, segment.inputs, segment.reset)
  nats, count, errors = sequence.nats(logits, segment.targets, segment.mask)
  scale = jnp.maximum(count, 1) if reduction == "mean" else 1
  return nats / scale, (carry, nats, count, errors)


def make_train_step(
  predictor: predictors.Predictor,
  optimizer: optax.GradientTransformation,
  *,
  reduction: str = "mean",
) -> TrainSteps:
  """`(state, segment) -> (state, metrics)`, pure and not yet compiled.

  The gradient stops at the segment's left edge; the carry crosses it.
  """

  def train_step(
    state: states.TrainState, segment: Any
  ) -> tuple[states.TrainState, StepMetrics]:
    gradient_of = jax.grad(
      lambda params: objective(
        predictor, params, state.carry, segment, reduction=reduction
      ),
      has_aux=True,
    )
    gradient, (carry, nats, count, errors) = gradient_of(state.params)
    updates, opt_state = optimizer.update(
      gradient, state.opt_state, state.params
    )
    after = states.TrainState(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      opt_state=opt_state,
      carry=carry,
      key=state.key,
    )
    norm = trees.global_norm(gradient)
    return after, StepMetrics(nats, count, errors, norm)

  return train_step


def make_train_steps(
  predictor: predictors.Predictor,
  optimizer: optax.GradientTransformation,
  *,
  reduction: str = "mean",
) -> TrainSteps:
  """Compiled: segments with a leading axis K in, one dispatch, state donated.

  The caller's `state` is consumed; keep the one that comes back.
  """
  train_step = make_train_step(predictor, optimizer, reduction=reduction)

  def train_steps(
    state: states.TrainState, segments: Any
  ) -> tuple[states.TrainState, StepMetrics]:
    return jax.lax.scan(train_step, state, segments)

  return jax.jit(train_steps, donate_argnums=0)
