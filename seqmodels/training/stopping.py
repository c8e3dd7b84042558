"""Early stopping: the best value so far, and patience."""

import math
from typing import NamedTuple


class Stopping(NamedTuple):
  """What early stopping remembers; a value, saved with the checkpoint.

  >>> Stopping().update(2.0, step=1).update(3.0, step=2)
  Stopping(best=2.0, best_step=1, worse=1, evaluated_step=2)
  """

  best: float = math.inf  # the lowest value
  best_step: int = -1  # -1: none yet
  worse: int = 0  # evaluations since the best
  evaluated_step: int = -1  # the last evaluation; -1: none yet

  def update(self, value: float, *, step: int) -> "Stopping":
    """After an evaluation that gave `value` at `step`."""
    if value < self.best:
      return Stopping(value, step, 0, step)
    return self._replace(worse=self.worse + 1, evaluated_step=step)

  def exhausted(self, patience: int) -> bool:
    """Whether `patience` evaluations in a row brought nothing; 0 never is.

    While the weights that training started from are the best (step 0), patience
    does not run: an optimiser without its moments first makes them worse.
    """
    return patience > 0 and self.best_step != 0 and self.worse >= patience
