import math

from seqmodels.training import stopping


def test_the_best_and_the_evaluations_since_are_remembered():
  memory = stopping.Stopping()
  for step, value in enumerate([3.0, 2.0, 2.5, 2.0], start=1):
    memory = memory.update(value, step=step)
  assert memory == stopping.Stopping(2.0, 2, 2, 4)


def test_patience_counts_evaluations_without_gain():
  memory = stopping.Stopping().update(1.0, step=1)
  assert not memory.exhausted(2)
  memory = memory.update(1.1, step=2).update(1.1, step=3)
  assert memory.exhausted(2)
  assert not memory.exhausted(3)
  assert not memory.exhausted(0)


def test_nan_is_never_the_best():
  memory = stopping.Stopping().update(math.nan, step=1)
  assert memory.best == math.inf
  assert memory.worse == 1


def test_patience_does_not_run_while_the_start_is_the_best():
  memory = stopping.Stopping().update(1.0, step=0)
  for step in range(1, 5):
    memory = memory.update(1.1, step=step)
  assert memory == stopping.Stopping(1.0, 0, 4, 4)
  assert not memory.exhausted(2)
  memory = memory.update(0.9, step=5).update(0.95, step=6)
  assert memory.exhausted(1)
