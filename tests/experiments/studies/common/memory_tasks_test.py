"""Copying and adding: what is asked, when, and what chance pays."""

import math

import numpy as np
import pytest

from experiments.studies.common import memory_tasks
from experiments.studies.exercises import exact
from seqmodels import errors


def test_what_is_copied_was_read_a_lag_before():
  task = memory_tasks.CopyTask(lag=9, batch=5, symbols=3, kinds=4, seed=1)
  segments = task.segments(2, 6)
  assert segments.inputs.shape == (6, 12, 5)
  assert task.vocabulary_size == 6
  at = np.arange(9, 12)
  np.testing.assert_array_equal(
    segments.targets[:, at], segments.inputs[:, at - 9]
  )
  np.testing.assert_array_equal(segments.mask.sum(axis=1), 3)
  assert segments.mask[:, 9:].all()
  assert (segments.inputs[:, 3:9] == 4).all()
  assert (segments.inputs[:, 9:] == 5).all()
  assert (segments.inputs[:, :3] < 4).all()
  assert segments.reset[:, 0].all()
  assert not segments.reset[:, 1:].any()
  assert task.chance == pytest.approx(math.log(4))


def test_what_is_recalled_was_the_first():
  task = memory_tasks.RecallTask(fillers=5, batch=40, kinds=3, seed=2)
  segments = task.segments(1, 3)
  assert segments.targets.shape == (3, 7, 40)
  np.testing.assert_array_equal(segments.targets[:, 0], segments.targets[:, -1])
  assert set(segments.targets[:, 0].ravel()) == {0, 1, 2}
  assert (segments.targets[:, 1:-1] == 3).all()
  assert (segments.inputs[:, 0] == -1).all()
  np.testing.assert_array_equal(
    segments.inputs[:, 1:], segments.targets[:, :-1]
  )
  assert segments.mask.all()
  assert segments.reset[:, 0].all()
  assert not segments.reset[:, 1:].any()
  words = exact.recall(3, 5)
  assert {tuple(word) for word in segments.targets[0].T.tolist()} == set(words)
  assert exact.recall_nats(3, 5) == pytest.approx(math.log(3))


def test_the_numbers_to_add_are_marked_one_in_each_half():
  task = memory_tasks.AddingTask(length=11, batch=300, seed=0)
  segment = task.segment(3)
  values, marks = segment.inputs[..., 0], segment.inputs[..., 1]
  np.testing.assert_array_equal(marks[:5].sum(axis=0), 1)
  np.testing.assert_array_equal(marks[5:].sum(axis=0), 1)
  assert set(np.argmax(marks[:5], axis=0)) == set(range(5))
  assert set(np.argmax(marks[5:], axis=0)) == set(range(6))
  np.testing.assert_allclose(
    segment.targets[-1], (values * marks).sum(axis=0), rtol=1e-6
  )
  assert not segment.targets[:-1].any()
  assert segment.mask.sum() == 300


def test_the_chance_levels_are_those_of_many_draws():
  segment = memory_tasks.AddingTask(length=20, batch=40_000, seed=2).segment(0)
  sums = segment.targets[-1]
  assert np.mean((sums - 1) ** 2) == pytest.approx(1 / 6, rel=0.03)
  values, marks = segment.inputs[..., 0], segment.inputs[..., 1]
  second = (values * marks)[10:].sum(axis=0)
  assert np.mean((sums - second - 0.5) ** 2) == pytest.approx(1 / 12, rel=0.03)
  assert memory_tasks.AddingTask.chance == pytest.approx(1 / 6)
  assert memory_tasks.AddingTask.half == pytest.approx(1 / 12)


@pytest.mark.parametrize(
  "make",
  [
    lambda seed: memory_tasks.CopyTask(lag=5, batch=2, symbols=2, seed=seed),
    lambda seed: memory_tasks.AddingTask(length=5, batch=2, seed=seed),
    lambda seed: memory_tasks.RecallTask(fillers=5, batch=9, seed=seed),
  ],
)
def test_a_minibatch_is_pure_in_seed_and_step(make):
  several = make(7).segments(3, 4)
  for place in range(4):
    one = make(7).segment(3 + place)
    for a, b in zip(one, several, strict=True):
      np.testing.assert_array_equal(a, b[place])
  assert np.any(make(8).segments(3, 4).inputs != several.inputs)
  assert np.any(several.inputs[0] != several.inputs[1])


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: memory_tasks.CopyTask(lag=2, batch=1, symbols=3), "lag is 2"),
    (lambda: memory_tasks.AddingTask(length=1, batch=1), "over 1 steps"),
    (
      lambda: memory_tasks.CopyTask(lag=2, batch=1).segments(-1, 1),
      "start must be at least 0",
    ),
    (
      lambda: memory_tasks.AddingTask(length=2, batch=1).segments(0, 0),
      "count at least 1",
    ),
  ],
)
def test_a_task_that_is_none_is_refused(make, message):
  with pytest.raises(errors.UserError, match=message):
    make()
