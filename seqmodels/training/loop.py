"""The schedule of a training: dispatches, evaluations, saves and stopping."""

import math
from typing import NamedTuple

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


def check_finite(report: step_lib.StepReport, end: int) -> None:
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
