import math

from experiments import train


def test_the_best_and_the_evaluations_since_are_remembered():
  memory = train.Stopping()
  for step, value in enumerate([3.0, 2.0, 2.5, 2.0], start=1):
    memory = memory.update(value, step=step)
  assert memory == train.Stopping(2.0, 2, 2, 4, 2.0)


def test_patience_counts_evaluations_without_gain():
  memory = train.Stopping().update(1.0, step=1)
  assert not memory.exhausted(2)
  memory = memory.update(1.1, step=2).update(1.1, step=3)
  assert memory.exhausted(2)
  assert not memory.exhausted(3)
  assert not memory.exhausted(0)


def test_nan_is_never_the_best():
  memory = train.Stopping().update(math.nan, step=1)
  assert memory.best == memory.trained == math.inf
  assert memory.worse == 1


def test_patience_waits_for_gains_over_what_training_has_reached():
  memory = train.Stopping().update(1.0, step=0)
  assert not memory.exhausted(1)
  for step, value in enumerate([1.4, 1.3, 1.2, 1.1], start=1):
    memory = memory.update(value, step=step)
    assert not memory.exhausted(1)
  assert memory == train.Stopping(1.0, 0, 0, 4, 1.1)
  assert memory.update(1.1, step=5).exhausted(1)
  memory = memory.update(0.9, step=5).update(0.95, step=6)
  assert memory == train.Stopping(0.9, 5, 1, 6, 0.9)


def test_a_start_without_a_value_spends_no_patience():
  memory = train.Stopping().update(math.inf, step=0)
  assert not memory.exhausted(1)
