"""The training loop: dispatch, report, evaluate, save, stop.

Every boundary is a function of the step number alone, so that a run which was
killed and restored makes the same dispatches as one that was not, and the same
bits come out.

Several seeds of one recipe can be trained side by side (`fit_together`). Their
states lie along a new leading axis and one compiled program advances them all,
so that small networks fill a machine that one of them would leave idle. Each
run has reports, evaluations and checkpoints of its own, as if it were alone.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.training import step as step_lib


class Stopping(NamedTuple):
  """The memory of early stopping; a value, saved with the checkpoint.

  >>> Stopping().update(2.0, step=1).update(3.0, step=2)
  Stopping(best=2.0, best_step=1, worse=1, evaluated_step=2, trained=2.0)
  """

  best: float = math.inf  # the lowest value
  best_step: int = -1  # -1: none yet
  worse: int = 0  # evaluations since `trained`
  evaluated_step: int = -1  # the last evaluation; -1: none yet
  trained: float = math.inf  # the lowest value after step 0

  def update(self, value: float, *, step: int) -> "Stopping":
    """After an evaluation that gave `value` at `step`.

    The weights that training started from (step 0) may be the best without
    spending patience: an optimiser without its moments first makes them worse,
    so patience waits for gains over what training itself has reached.
    """
    best, best_step = self.best, self.best_step
    if value < best:
      best, best_step = value, step
    if step == 0:
      return Stopping(best, best_step, self.worse, step, self.trained)
    if value < self.trained:
      return Stopping(best, best_step, 0, step, value)
    return Stopping(best, best_step, self.worse + 1, step, self.trained)

  def exhausted(self, patience: int) -> bool:
    """True after `patience` evaluations without gain; never for 0."""
    return patience > 0 and self.worse >= patience


class Plan(NamedTuple):
  """The schedule of a training, in steps."""

  total: int  # the last step
  dispatch: int  # K, segments a dispatch
  evaluate: int  # between evaluations on the validation split
  checkpoint: int  # between checkpoints
  patience: int = 0  # evaluations without gain before stopping; 0 never stops
  initial: bool = False  # evaluate before the first step as well

  def next_boundary(self, step: int) -> int:
    """The step at which the dispatch that starts at `step` ends."""
    ends = (_after(step, every) for every in (self.dispatch, self.evaluate))
    return min(*ends, self.total)

  def evaluates(self, step: int) -> bool:
    """True if an evaluation is due after `step` steps."""
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
  """The functions that the loop calls, each with its step."""

  segments: Callable[[int, int], Any]  # (start, count) -> segments on device
  report: Callable[[Report], None]
  # (params, step) -> a number, the lower the better; None when interrupted
  evaluate: Callable[[Any, int], float | None]
  improved: Callable[[Any, int], None]  # (params, step): keep as the best
  checkpoint: Callable[[step_lib.TrainState, Stopping], None]
  interrupted: Callable[[], bool]  # asked once a dispatch


class Outcome(NamedTuple):
  """The end of a training."""

  state: step_lib.TrainState
  stopping: Stopping
  interrupted: bool


def fit(
  state: step_lib.TrainState,
  stopping: Stopping,
  train_steps: step_lib.TrainSteps,
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
  pending: list[tuple[int, step_lib.StepMetrics]] = []
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
  pending: list[tuple[int, step_lib.StepMetrics]],
  callbacks: Callbacks,
  clock: Clock,
) -> None:
  while pending:
    end, metrics = pending.pop(0)
    host = jax.device_get(metrics)
    check_finite(host, end)
    callbacks.report(report(host, end, clock.lap()))


def report(metrics: step_lib.StepMetrics, end: int, seconds: float) -> Report:
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


def check_finite(metrics: step_lib.StepMetrics, end: int) -> None:
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


class Member(NamedTuple):
  """One run among several."""

  state: step_lib.TrainState
  stopping: Stopping
  callbacks: Callbacks


# `step.make_train_steps` of several runs: states and segments [S, K, ...].
make_joint_train_steps = functools.partial(
  step_lib.make_train_steps, side_by_side=True
)


def fit_together(
  members: Sequence[Member], train_steps: step_lib.TrainSteps, plan: Plan
) -> list[Outcome]:
  """Trains all members to the plan's end, or to an interruption.

  Dispatches, evaluations and checkpoints fall where `loop.fit` has them; there
  is no early stopping, since all go on together.

  Args:
    members: at one and the same step.
    train_steps: of `make_joint_train_steps`.
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
  clock = Clock()

  def alone() -> list[step_lib.TrainState]:
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
        Outcome(state, memory, step < plan.total)
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
      check_finite(own, end)
      calls.report(report(own, end, seconds))
    step = end
    if step - saved >= plan.checkpoint and not plan.evaluates(step):
      save()
      saved = step
