"""Early stopping: the best value so far, and patience."""

import math
from typing import NamedTuple


class Stopping(NamedTuple):
  """What early stopping remembers; a value, saved with the checkpoint.

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
    """Whether `patience` evaluations in a row brought nothing; 0 never is."""
    return patience > 0 and self.worse >= patience
