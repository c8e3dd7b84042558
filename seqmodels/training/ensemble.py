"""Several runs of one recipe trained side by side, a seed each.

The states stand along a new leading axis and one compiled program advances them
all, so that small networks fill a machine that one of them would leave idle.
Everything else is told to each run as if it were alone: its own reports,
evaluations and checkpoints.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqmodels.training import loop, regularizers
from seqmodels.training import objective as objectives
from seqmodels.training import state as states
from seqmodels.training import step as steps
from seqmodels.training import stopping as stoppings


class Member(NamedTuple):
  """One run among several."""

  state: states.TrainState
  stopping: stoppings.Stopping
  callbacks: loop.Callbacks


def make_train_steps(
  predictor: Any,
  optimizer: optax.GradientTransformation,
  *,
  reduction: str = "mean",
  regularizer: regularizers.Regularizer | None = None,
  losses: objectives.Losses = objectives.of_symbols,
) -> steps.TrainSteps:
  """As `step.make_train_steps`, of states and segments [S, K, ...]."""
  train_step = steps.make_train_step(
    predictor,
    optimizer,
    reduction=reduction,
    regularizer=regularizer,
    losses=losses,
  )

  def train_steps(
    state: states.TrainState, segments: Any
  ) -> tuple[states.TrainState, steps.StepMetrics]:
    return jax.lax.scan(train_step, state, segments)

  return jax.jit(jax.vmap(train_steps), donate_argnums=0)


def fit(
  members: Sequence[Member], train_steps: steps.TrainSteps, plan: loop.Plan
) -> list[loop.Outcome]:
  """Trains all members to the plan's end, or to an interruption.

  Dispatches, evaluations and checkpoints fall where `loop.fit` has them; there
  is no early stopping, since all go on together.

  Args:
    members: at one and the same step.
    train_steps: of `make_train_steps`.
    plan: when to do what; its patience must be 0.

  Raises:
    RunError: a loss or gradient is not finite.
    ValueError: members at different steps, or a plan with patience.
  """
  started = {int(member.state.step) for member in members}
  if len(started) != 1 or plan.patience:
    raise ValueError("members start at one step and never stop early")
  step = saved = started.pop()
  callbacks = [member.callbacks for member in members]
  stopping = [member.stopping for member in members]
  together = jax.tree.map(
    lambda *leaves: jnp.stack(leaves), *(member.state for member in members)
  )
  clock = loop.Clock()

  def alone() -> list[states.TrainState]:
    return [
      jax.tree.map(lambda leaf, n=n: leaf[n], together)
      for n in range(len(members))
    ]

  def save() -> None:
    for state, memory, calls in zip(alone(), stopping, callbacks, strict=True):
      calls.checkpoint(state, memory)

  while True:
    waiting = [
      n
      for n, memory in enumerate(stopping)
      if plan.evaluates(step) and memory.evaluated_step != step
    ]
    if waiting:
      now = alone()
      for n in waiting:
        value = callbacks[n].evaluate(now[n].evaluated, step)
        if value is None:  # interrupted: this one and the rest come later
          break
        stopping[n] = stopping[n].update(value, step=step)
        if stopping[n].best_step == step:
          callbacks[n].improved(now[n].evaluated, step)
      save()
      saved = step
      clock.restart()
    if step >= plan.total or callbacks[0].interrupted():
      if saved != step:
        save()
      return [
        loop.Outcome(state, memory, step < plan.total)
        for state, memory in zip(alone(), stopping, strict=True)
      ]
    end = plan.next_boundary(step)
    segments = jax.tree.map(
      lambda *leaves: jnp.stack(leaves),
      *(calls.segments(step, end - step) for calls in callbacks),
    )
    together, metrics = train_steps(together, segments)
    host = jax.device_get(metrics)
    seconds = clock.lap()
    for n, calls in enumerate(callbacks):
      own = jax.tree.map(lambda leaf, n=n: leaf[n], host)
      loop.check_finite(own, end)
      calls.report(loop.report(own, end, seconds))
    step = end
    if step - saved >= plan.checkpoint and not plan.evaluates(step):
      save()
      saved = step
