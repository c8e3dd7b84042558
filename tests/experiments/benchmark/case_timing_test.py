"""Time and memory: fair turns, rounds for as long as wanted, peaks seen."""

import sys
import types

import numpy as np
import pytest

from experiments.benchmark import case
from seqmodels import errors


def test_every_function_runs_once_a_round_in_changing_order():
  calls = []
  names = ("a", "b", "c")
  times = case.race(
    {name: lambda name=name: calls.append(name) for name in names},
    repeats=20,
    seconds=0,
    warmup=2,
    seed=0,
    pause=0,
  )
  assert calls[:6] == ["a", "a", "b", "b", "c", "c"]
  rounds = [tuple(calls[k : k + 3]) for k in range(6, len(calls), 3)]
  assert len(rounds) == 20
  assert all(sorted(one) == list(names) for one in rounds)
  assert len(set(rounds)) > 3
  assert all(len(seconds) == 20 for seconds in times.values())


def test_rounds_go_on_for_the_time_that_was_given(monkeypatch):
  now = [0.0]

  def work():
    now[0] += 1.0

  monkeypatch.setattr(
    case, "time",
    types.SimpleNamespace(perf_counter=lambda: now[0], sleep=lambda _: None),
  )  # fmt: skip
  options = {"repeats": 2, "warmup": 1, "seed": 0}
  assert case.race({"a": work}, seconds=0, **options) == {"a": [1.0] * 2}
  assert case.race({"a": work}, seconds=5, **options) == {"a": [1.0] * 5}


def test_a_check_stops_a_race():
  def stop():
    raise errors.Interrupted(15)

  with pytest.raises(errors.Interrupted):
    case.race(
      {"a": lambda: pytest.fail("it ran")},
      repeats=1, seconds=0, warmup=1, seed=0, check=stop,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_that_a_run_takes_is_seen():
  megabytes = case.resident_growth(lambda: np.ones(8_000_000)) / 1e6
  assert 60 < megabytes < 80
  assert case.resident_growth(lambda: None) / 1e6 < 5
