"""The compiled training step: K segments of truncated BPTT a dispatch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from seqmodels import trees
from seqmodels.training import objective as objectives
from seqmodels.training import regularizers
from seqmodels.training import state as states


class StepMetrics(NamedTuple):
  """What each step reports; arrays [K] after a dispatch of K steps."""

  nats: jax.Array  # summed over the scored positions
  scored: jax.Array  # how many positions that was
  errors: jax.Array  # scored positions where the likeliest symbol was wrong
  gradient_norm: jax.Array  # before any clipping


TrainSteps = Callable[
  [states.TrainState, Any], tuple[states.TrainState, StepMetrics]
]


def make_train_step(
  predictor: Any,
  optimizer: optax.GradientTransformation,
  *,
  reduction: str = "mean",
  regularizer: regularizers.Regularizer | None = None,
  losses: objectives.Losses = objectives.of_symbols,
) -> TrainSteps:
  """`(state, segment) -> (state, metrics)`, pure and not yet compiled.

  The gradient stops at the segment's left edge; the carry crosses it. All
  noise of a step is a function of the state's key and step alone.

  Args:
    predictor: the model, as `losses` takes it.
    optimizer: the update rule.
    reduction: see `objective.Objective`.
    regularizer: what `state.params` is and how its gradient is formed; plain
      weights by default.
    losses: what is minimised; symbols' nats by default.
  """
  rule = regularizer or regularizers.plain()

  def train_step(
    state: states.TrainState, segment: Any
  ) -> tuple[states.TrainState, StepMetrics]:
    noise_key, model_key = jax.random.split(
      jax.random.fold_in(state.key, state.step)
    )
    objective = objectives.Objective(
      predictor, state.carry, segment, model_key, reduction, losses
    )
    gradient, outcome = rule.gradient(objective, state.params, noise_key)
    updates, opt_state = optimizer.update(
      gradient, state.opt_state, state.params
    )
    after = states.TrainState(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      opt_state=opt_state,
      carry=outcome.carry,
      key=state.key,
    )
    norm = trees.global_norm(gradient)
    return after, StepMetrics(
      outcome.nats, outcome.scored, outcome.errors, norm
    )

  return train_step


def make_train_steps(
  predictor: Any,
  optimizer: optax.GradientTransformation,
  *,
  reduction: str = "mean",
  regularizer: regularizers.Regularizer | None = None,
  losses: objectives.Losses = objectives.of_symbols,
  shardings: Any = None,
) -> TrainSteps:
  """Compiled: segments with a leading axis K in, one dispatch, state donated.

  The caller's `state` is consumed; keep the one that comes back.

  Args:
    predictor, optimizer, reduction, regularizer, losses: as `make_train_step`.
    shardings: where the (state, metrics) that come out shall lie; where the
      state that went in does, as far as the compiler sees to it, by default.
  """
  train_step = make_train_step(
    predictor,
    optimizer,
    reduction=reduction,
    regularizer=regularizer,
    losses=losses,
  )

  def train_steps(
    state: states.TrainState, segments: Any
  ) -> tuple[states.TrainState, StepMetrics]:
    return jax.lax.scan(train_step, state, segments)

  return jax.jit(train_steps, donate_argnums=0, out_shardings=shardings)
