"""The time of training by activity, as a run records it."""

import json
import time

import numpy as np
import pytest

from experiments import train
from seqmodels import errors, losses
from seqmodels.io import checkpoints, distributed, progress
from seqmodels.training import step

PLAN = train.Plan(total=6, dispatch=1, evaluate=3, checkpoint=100)
BUILD, EVALUATE = 2.0, 64.0  # seconds


class Simulated:
  """A clock that moves when it is told, and a device that works beside it."""

  def __init__(self):
    self.now = self.free = time.perf_counter()

  def pass_by(self, seconds):
    self.now += seconds

  def dispatch(self, seconds):
    self.free = max(self.now, self.free) + seconds
    return Flying(self, self.free)


class Flying:
  """The result of a dispatch, which reading waits for."""

  def __init__(self, world, end):
    self.world, self.end = world, end

  def is_ready(self):
    return self.world.now >= self.end

  def __array__(self, dtype=None, copy=None):
    self.world.now = max(self.world.now, self.end)
    return np.ones(1, np.float32)


@pytest.fixture
def trained(monkeypatch):
  """The seconds of a loop, by how long its device takes for a step."""

  def go(seconds, *, start=0, reached=None, plan=PLAN):
    world = Simulated()
    monkeypatch.setattr(time, "perf_counter", lambda: world.now)
    ones = np.ones(1)

    def steps(now, segments):
      del segments
      metrics = losses.Metrics(world.dispatch(seconds), ones, ones)
      return now._replace(step=now.step + 1), step.StepReport(metrics, ones)

    class Run:
      stopping = train.Stopping()

      def __init__(self):
        self.reached = reached or {}

      def batches(self, first, count):
        world.pass_by(BUILD)

      def log(self, at, report, seconds):
        pass

      def evaluated(self, at):
        return self.stopping.evaluated_step == at

      def evaluate(self, state, at):
        world.pass_by(EVALUATE)
        self.stopping = self.stopping.update(1.0, step=at)
        return True

      def save(self, state):
        pass

    class Signals:
      requested = False

    account = progress.Account()
    state = step.TrainState(np.int32(start), None, (), None, None)
    train.train_loop([Run()], state, steps, plan, Signals())
    return account.seconds()

  return go


def test_data_built_while_the_device_works_cost_nothing(trained):
  # At the start and after the evaluation in the middle the device stands idle.
  assert trained(10.0) == {
    "data": 2 * BUILD, "steps": 6 * 10.0, "evaluation": 2 * EVALUATE
  }  # fmt: skip


def test_data_that_the_device_waits_for_are_told(trained):
  actual = trained(0.5)
  assert actual["data"] == 6 * BUILD
  assert actual["steps"] == 2 * 0.5  # those before an evaluation are waited for


def test_an_evaluation_before_the_first_step_is_lost_the_second_time_only(
  trained,
):
  plan = PLAN._replace(initial=True)
  assert trained(10.0, plan=plan)["evaluation"] == 3 * EVALUATE
  again = trained(10.0, plan=plan, reached={"valid": 0})
  assert (again["lost"], again["evaluation"]) == (EVALUATE, 2 * EVALUATE)


def test_what_is_done_again_is_lost(trained):
  actual = trained(10.0, start=2, reached={"train": 5, "valid": 3})
  # Steps 3 to 5 and the first evaluation; step 6 and its evaluation are new.
  assert actual == {
    "data": 2 * BUILD,
    "lost": 3 * 10.0 + EVALUATE,
    "steps": 10.0,
    "evaluation": EVALUATE,
  }


def test_a_run_tells_what_a_kill_cost(
  small, run, tmp_path, monkeypatch, capsys
):
  saves, real = [], checkpoints.Checkpoints.save

  def save(self, number, now, meta):
    saves.append(number)
    if len(saves) == 4:
      raise KeyboardInterrupt
    real(self, number, now, meta)

  config = small(training__steps_per_dispatch=2)
  monkeypatch.setattr(checkpoints.Checkpoints, "save", save)
  with pytest.raises(KeyboardInterrupt):
    run(config)
  monkeypatch.undo()
  capsys.readouterr()
  run(config)
  told = capsys.readouterr().err.splitlines()[-1]
  assert told.startswith("time: ")
  assert told.endswith("in 2 starts")
  assert "lost" in told
  record = json.loads((tmp_path / "run" / "run.json").read_text())
  first, second = record["goodput"], record["resumes"][0]["goodput"]
  assert "lost" not in first
  assert second["lost"] > 0
  assert second["evaluation"] > 0
  for actual in (first, second):
    assert {"steps", "compilation", "saving"} <= actual.keys()
    assert actual.keys() <= set(progress.ACTIVITIES)


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_is_stopped_loses_nothing(small, run, tmp_path, monkeypatch):
  asked = []

  def requested(self):
    asked.append(self)
    if len(asked) == 3:
      self.signum = 15
    return self.signum is not None

  monkeypatch.setattr(
    distributed.Interruption, "requested", property(requested)
  )
  with pytest.raises(errors.Interrupted):
    run(small())
  monkeypatch.undo()
  run(small())
  record = json.loads((tmp_path / "run" / "run.json").read_text())
  assert "lost" not in record["resumes"][0]["goodput"]
