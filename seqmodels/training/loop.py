"""The training loop: dispatch, report, evaluate, save, stop.

Every boundary is a function of the step number alone, so that a run which was
killed and restored makes the same dispatches as one that was not, and the same
bits come out.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from seqmodels import errors
from seqmodels.training import state as states
from seqmodels.training import step as steps
from seqmodels.training import stopping as stoppings


class Plan(NamedTuple):
  """When things happen, in steps."""

  total: int  # the last step
  dispatch: int  # K, segments a dispatch
  evaluate: int  # between evaluations on the validation split
  checkpoint: int  # between checkpoints
  patience: int = 0  # evaluations without gain before stopping; 0 never stops
  initial: bool = False  # evaluate before the first step as well

  def next_boundary(self, step: int) -> int:
    """Where the dispatch that starts at `step` ends."""
    ends = (_after(step, every) for every in (self.dispatch, self.evaluate))
    return min(*ends, self.total)

  def evaluates(self, step: int) -> bool:
    """Whether an evaluation is due after `step` steps."""
    if step == 0:
      return self.initial
    return step % self.evaluate == 0 or step == self.total


def _after(step: int, every: int) -> int:
  return (step // every + 1) * every


class Report(NamedTuple):
  """One dispatch, as numbers on the host."""

  step: int  # the step it ended at
  nats: float
  scored: int
  errors: int
  gradient_norm: float  # of its last step
  seconds: float


class Callbacks(NamedTuple):
  """What the loop calls back; each is told the step it stands at."""

  segments: Callable[[int, int], Any]  # (start, count) -> segments on device
  report: Callable[[Report], None]
  # (params, step) -> a number, the lower the better; None when interrupted
  evaluate: Callable[[Any, int], float | None]
  improved: Callable[[Any, int], None]  # (params, step): keep as the best
  checkpoint: Callable[[states.TrainState, stoppings.Stopping], None]
  interrupted: Callable[[], bool]  # asked once a dispatch


class Outcome(NamedTuple):
  """How training ended."""

  state: states.TrainState
  stopping: stoppings.Stopping
  interrupted: bool


def fit(
  state: states.TrainState,
  stopping: stoppings.Stopping,
  train_steps: steps.TrainSteps,
  plan: Plan,
  callbacks: Callbacks,
) -> Outcome:
  """Trains until the plan's end, early stopping or an interruption.

  Args:
    state: where to start from; donated.
    stopping: early stopping's memory at that point.
    train_steps: of `step.make_train_steps`.
    plan: when to do what.
    callbacks: data in, reports and checkpoints out.

  Returns:
    The last state. An interrupted run has been checkpointed.

  Raises:
    RunError: if a loss or gradient is not finite; nothing is saved then.
  """
  step = saved = int(state.step)
  pending: list[tuple[int, steps.StepMetrics]] = []
  clock = Clock()
  while True:
    if plan.evaluates(step) and stopping.evaluated_step != step:
      _drain(pending, callbacks, clock)
      value = callbacks.evaluate(state.evaluated, step)
      if value is not None:
        stopping = stopping.update(value, step=step)
        if stopping.best_step == step:
          callbacks.improved(state.evaluated, step)
      # An evaluation cut short is saved as not done, and done on resumption.
      callbacks.checkpoint(state, stopping)
      saved = step
      clock.restart()
    if step >= plan.total or stopping.exhausted(plan.patience):
      return Outcome(state, stopping, False)
    if callbacks.interrupted():
      _drain(pending, callbacks, clock)
      if saved != step:
        callbacks.checkpoint(state, stopping)
      return Outcome(state, stopping, True)
    end = plan.next_boundary(step)
    state, metrics = train_steps(state, callbacks.segments(step, end - step))
    # The device works on this dispatch while the one before is read.
    _drain(pending, callbacks, clock)
    pending.append((end, metrics))
    step = end
    if step - saved >= plan.checkpoint and not plan.evaluates(step):
      _drain(pending, callbacks, clock)
      callbacks.checkpoint(state, stopping)
      saved = step


class Clock:
  """Seconds between one drained dispatch and the next."""

  def __init__(self) -> None:
    self.restart()

  def restart(self) -> None:
    """Begins the lap anew."""
    self._last = time.perf_counter()

  def lap(self) -> float:
    """Seconds since the last lap."""
    now = time.perf_counter()
    # Above zero, or a coarse clock would make rates infinite.
    seconds, self._last = max(now - self._last, 1e-9), now
    return seconds


def _drain(
  pending: list[tuple[int, steps.StepMetrics]],
  callbacks: Callbacks,
  clock: Clock,
) -> None:
  while pending:
    end, metrics = pending.pop(0)
    host = jax.device_get(metrics)
    check_finite(host, end)
    callbacks.report(report(host, end, clock.lap()))


def report(metrics: steps.StepMetrics, end: int, seconds: float) -> Report:
  """One dispatch, summed up.

  Args:
    metrics: of its steps, on the host.
    end: the step after its last.
    seconds: what it took.
  """
  return Report(
    step=end,
    nats=float(np.sum(metrics.nats, dtype=np.float64)),
    scored=int(np.sum(metrics.scored)),
    errors=int(np.sum(metrics.errors)),
    gradient_norm=float(metrics.gradient_norm[-1]),
    seconds=seconds,
  )


def check_finite(metrics: steps.StepMetrics, end: int) -> None:
  """Stops a run whose loss or gradient is NaN or infinite.

  Args:
    metrics: of one dispatch, on the host.
    end: the step after its last.

  Raises:
    RunError: naming the first such step.
  """
  good = np.isfinite(metrics.nats) & np.isfinite(metrics.gradient_norm)
  if np.all(good):
    return
  first = int(np.argmin(good))
  step = end - len(good) + first + 1
  loss = float(metrics.nats[first])
  what = (
    f"the loss is {loss}"
    if not math.isfinite(loss)
    else f"the gradient's norm is {float(metrics.gradient_norm[first])}"
  )
  raise errors.RunError(
    f"at step {step} {what}; the last good checkpoint is kept: lower "
    "--config.training.learning_rate or clip with "
    "--config.training.clip_norm, and run again in a new workdir"
  )
