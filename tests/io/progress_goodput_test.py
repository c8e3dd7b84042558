"""Seconds by activity: none lost, none counted twice."""

import json
import threading
import time

import jax
import jax.numpy as jnp
import pytest

from seqmodels import errors
from seqmodels.io import checkpoints, progress, run_folder


class Clock:
  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now


@pytest.fixture
def clock():
  return Clock()


@pytest.fixture
def ledger(clock):
  return progress.Ledger(clock)


@pytest.fixture
def stopped(clock, monkeypatch):
  """The clock of the whole process, which only the test moves."""
  monkeypatch.setattr(time, "perf_counter", clock)
  return clock


def wait_for(condition):
  """Until another thread has come to it."""
  for _ in range(2000):
    if condition():
      return
    time.sleep(0.005)
  pytest.fail("nothing happened for 10 seconds")


def spent(ledger):
  return {name: value for name, value in ledger.seconds().items() if value}


def test_the_innermost_block_is_charged(ledger, clock):
  clock.now += 1
  with ledger.spending("steps"):
    clock.now += 2
    with ledger.spending("evaluation"):
      clock.now += 4
      with ledger.spending("saving"):
        clock.now += 8
    clock.now += 16
    assert ledger.seconds()["steps"] == 18  # told within the block, too
  clock.now += 32
  assert spent(ledger) == {
    "startup": 1, "steps": 18, "evaluation": 4, "saving": 8, "other": 32,
  }  # fmt: skip


def test_what_comes_before_the_first_step_is_starting(ledger, clock):
  with ledger.spending("restoring"):
    clock.now += 1
  clock.now += 2
  with ledger.spending("evaluation"):
    pass
  clock.now += 4
  ledger.begin()
  clock.now += 8
  assert spent(ledger) == {"restoring": 1, "startup": 10, "other": 4}


@pytest.mark.parametrize("busy", [True, False])
def test_only_what_the_device_waited_for_is_charged(ledger, clock, busy):
  with ledger.spending("steps"):
    clock.now += 1
    with ledger.spending("data", hidden=lambda: busy):
      clock.now += 2
      with ledger.spending("compilation"):
        clock.now += 4
  assert spent(ledger) == (
    {"steps": 3, "compilation": 4}
    if busy
    else {"steps": 1, "data": 2, "compilation": 4}
  )


def test_a_block_that_raises_ends_as_well(ledger, clock):
  @ledger.spending("data")
  def fail():
    clock.now += 1
    raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    fail()
  clock.now += 2
  assert spent(ledger) == {"data": 1, "startup": 2}


def test_the_rest_of_a_block_may_be_something_else(ledger, clock):
  with ledger.spending("lost"):
    clock.now += 1
    ledger.turn_to("steps")
    clock.now += 2
  assert spent(ledger) == {"lost": 1, "steps": 2}


def test_a_function_may_be_a_block_each_time_it_is_called(ledger, clock):
  @ledger.spending("saving")
  def save(seconds):
    clock.now += seconds
    return seconds

  assert save(1) + save(2) == 3
  assert spent(ledger) == {"saving": 3}


def test_a_clock_that_goes_back_takes_nothing_away(ledger, clock):
  with ledger.spending("steps"):
    clock.now -= 50
    ledger.seconds()
    clock.now += 1
  assert spent(ledger) == {"steps": 1}


def test_other_threads_are_not_charged(ledger, clock):
  def work():
    with ledger.spending("saving"):
      ledger.turn_to("restoring")
      clock.now += 5

  with ledger.spending("steps"):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
  assert spent(ledger) == {"steps": 5}


def test_compiling_is_heard_of_and_nothing_is_counted_twice(stopped):
  account = progress.Account()

  @jax.jit
  def inner(x):
    stopped.now += 1  # while it is traced
    return x + 1

  @jax.jit
  def outer(x):
    stopped.now += 2
    return inner(x) * 2

  with progress.spending("steps"):
    outer(jnp.zeros(3)).block_until_ready()
    stopped.now += 4
    outer(jnp.zeros(3)).block_until_ready()  # compiled already
  assert account.seconds() == {"steps": 4, "compilation": 3}


def test_a_trace_that_fails_leaves_its_activity():
  progress.Account()

  @jax.jit
  def broken(x):
    raise ZeroDivisionError

  with progress.spending("evaluation"):
    with pytest.raises(ZeroDivisionError):
      broken(jnp.zeros(3))
    assert progress.activity() == "evaluation"


def test_a_run_without_work_has_no_line():
  assert progress.line([{"startup": 3.0, "other": 1.0}]) == ""
  assert progress.line([{}, {}]) == ""


def test_a_run_that_only_did_lost_work_again_says_so():
  assert progress.line([{"lost": 1.0, "startup": 1.0}]) == (
    "time: 0.0% productive, lost 50.0%, startup 50.0% of 2s"
  )


def test_every_start_keeps_its_seconds_and_the_line_has_them_all(
  tmp_path, stopped
):
  told = []

  def start():
    with run_folder.start(tmp_path, config={"seed": 1}, age=10.0) as record:
      (tmp_path / "metrics.jsonl").touch()
      with progress.spending("steps"):
        stopped.now += 30
      told.append(record.account.line())
      raise errors.Interrupted(15)

  for _ in range(3):
    with pytest.raises(errors.Interrupted):
      start()
  assert told[0] == "time: 75.0% productive (steps 75.0%), startup 25.0% of 40s"
  assert told[2].endswith("startup 25.0% of 2m 00s in 3 starts")
  run = read(tmp_path)
  assert [s["goodput"] for s in (run, *run["resumes"])] == [
    {"startup": 10, "steps": 30}
  ] * 3


def read(workdir):
  return json.loads((workdir / "run.json").read_text())


def test_a_killed_start_has_told_of_its_time_before(tmp_path, monkeypatch):
  monkeypatch.setattr(run_folder, "NOTE_SECONDS", 0.02)
  with run_folder.start(tmp_path, config={}), progress.spending("steps"):
    wait_for(lambda: "steps" in read(tmp_path).get("goodput", {}))
    killed = read(tmp_path)
  assert killed["outcome"] == "running"
  assert killed["end"] is None
  assert 0 < killed["goodput"]["steps"] < read(tmp_path)["goodput"]["steps"]


def test_what_fails_in_the_background_ends_no_run():
  calls = []

  def fail():
    calls.append(threading.current_thread())
    raise OSError("no space left on device")

  with progress.repeatedly(fail, 0.005):
    wait_for(lambda: len(calls) > 1)
  assert not calls[0].is_alive()


def test_saving_and_restoring_say_so_themselves(tmp_path):
  account = progress.Account()
  tree = {"w": jnp.ones(1000)}
  with checkpoints.Checkpoints(tmp_path / "checkpoints") as saved:
    saved.save_best(1, tree, {})
    saved.wait()
  checkpoints.restore_params(tmp_path, tree)
  actual = account.seconds()
  assert actual["saving"] > 0
  assert actual["restoring"] > 0


def test_this_process_is_older_than_its_tests():
  age = progress.process_age()
  assert 0.0 <= age < 1e6
  time.sleep(0.05)
  assert progress.process_age() >= age
