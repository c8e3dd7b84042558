"""The training state and the compiled step: K segments of BPTT a dispatch."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqmodels import errors, trees
from seqmodels.losses import Metrics
from seqmodels.training import optimizers, regularizers


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
    """The weights to evaluate: the average of `params`, where one is kept."""
    if isinstance(self.opt_state, optimizers.Averaged):
      return self.opt_state.average
    return self.params


def create(
  model: regularizers.Trainable,
  optimizer: optax.GradientTransformation,
  *,
  batch: int,
  seed: int,
  wrap: Callable[[Any], Any] = lambda params: params,
  shardings: Any = None,
) -> TrainState:
  """A fresh state; equal seeds give equal bits.

  Args:
    model: its `init` and `initial_carry` are asked.
    optimizer: what will update it.
    batch: B, the number of parallel streams.
    seed: of the weights and of every later draw.
    wrap: makes of the weights what is trained (`Regularizer.wrap`).
    shardings: the sharding of each array; on one device by default.
  """

  def build(key: jax.Array) -> TrainState:
    init_key, key = jax.random.split(key)
    params = wrap(model.init(init_key))
    return TrainState(
      step=jnp.int32(0),
      params=params,
      opt_state=optimizer.init(params),
      carry=model.initial_carry(batch),
      key=key,
    )

  return jax.jit(build, out_shardings=shardings)(
    jax.random.key(seed, impl="threefry2x32")
  )


class StepReport(NamedTuple):
  """The report of one step; arrays [K] after a dispatch of K steps."""

  metrics: Metrics  # of the segment, under the weights before the update
  gradient_norm: jax.Array  # before any clipping


TrainSteps = Callable[[TrainState, Any], tuple[TrainState, StepReport]]


def make_train_step(
  model: regularizers.Trainable,
  optimizer: optax.GradientTransformation,
  *,
  reduction: str = "mean",
  regularizer: regularizers.Regularizer | None = None,
) -> TrainSteps:
  """`(state, segment) -> (state, report)`, pure and not yet compiled.

  The gradient stops at the segment's left edge; the carry crosses it. All
  noise of a step is a function of the state's key and step alone.

  Args:
    model: the model, which brings its own loss.
    optimizer: the update rule.
    reduction: `mean` over the scored positions, or their `sum` (the paper's).
      The sum is differentiated either way, so that limits on derivatives inside
      the network mean the same.
    regularizer: what `state.params` is and how its gradient is formed; plain
      weights by default.
  """
  rule = regularizer or regularizers.Regularizer()

  def train_step(
    state: TrainState, segment: Any
  ) -> tuple[TrainState, StepReport]:
    noise_key, model_key = jax.random.split(
      jax.random.fold_in(state.key, state.step)
    )
    objective = regularizers.Objective(model, state.carry, segment, model_key)
    if rule.gradient is None:
      loss, pull, (carry, metrics) = jax.vjp(
        objective.by_stream, state.params, has_aux=True
      )
      (gradient,) = pull(jnp.ones_like(loss))
    else:
      gradient, (carry, metrics) = rule.gradient(
        objective, state.params, noise_key
      )
    if reduction == "mean":
      scale = 1.0 / objective.scored
      gradient = jax.tree.map(lambda leaf: leaf * scale, gradient)
    updates, opt_state = optimizer.update(
      gradient, state.opt_state, state.params
    )
    after = TrainState(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      opt_state=opt_state,
      carry=carry,
      key=state.key,
    )
    return after, StepReport(metrics, trees.global_norm(gradient))

  return train_step


def make_train_steps(
  model: regularizers.Trainable,
  optimizer: optax.GradientTransformation,
  *,
  reduction: str = "mean",
  regularizer: regularizers.Regularizer | None = None,
  shardings: Any = None,
  side_by_side: bool = False,
) -> TrainSteps:
  """Compiled: segments with a leading axis K in, one dispatch, state donated.

  The caller's `state` is consumed; keep the one that comes back.

  Args:
    model, optimizer, reduction, regularizer: as `make_train_step`.
    shardings: of the (state, report) that come out; by default the compiler's,
      which keeps those of the state that went in as far as it can.
    side_by_side: of several runs, states [S, ...] and segments [S, K, ...].
  """
  train_step = make_train_step(
    model, optimizer, reduction=reduction, regularizer=regularizer
  )

  def train_steps(
    state: TrainState, segments: Any
  ) -> tuple[TrainState, StepReport]:
    return jax.lax.scan(train_step, state, segments)

  return jax.jit(
    jax.vmap(train_steps) if side_by_side else train_steps,
    donate_argnums=0,
    out_shardings=shardings,
  )


def check_finite(report: StepReport, end: int) -> None:
  """Stops a run whose loss or gradient is NaN or infinite.

  Args:
    report: of one dispatch, on the host.
    end: the step after its last.

  Raises:
    RunError: naming the first such step.
  """
  nats, norm = report.metrics.nats, report.gradient_norm
  good = np.isfinite(nats) & np.isfinite(norm)
  if np.all(good):
    return
  first = int(np.argmin(good))
  step = end - len(good) + first + 1
  loss = float(nats[first])
  what = (
    f"the loss is {loss}"
    if not math.isfinite(loss)
    else f"the gradient's norm is {float(norm[first])}"
  )
  raise errors.RunError(
    f"at step {step} {what}; the last good checkpoint is kept: lower "
    "--config.training.learning_rate or clip with "
    "--config.training.clip_norm, and run again in a new workdir"
  )
