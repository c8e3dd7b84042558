"""Fair timing: contestants in turn, many rounds, each waited for."""

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Spread(NamedTuple):
  """A median with its quartiles."""

  low: float
  middle: float
  high: float


def race(
  runs: Mapping[str, Callable[[], Any]],
  *,
  repeats: int,
  seconds: float,
  warmup: int,
  seed: int,
  pause: float = 0.01,
  check: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
  """Times all contestants once a round, so that drift hits all alike.

  A round takes them in a new random order: nobody always follows the one who
  leaves the caches cold or the processor hot. What a run gives back is freed
  after its clock has stopped.

  Args:
    runs: by name; each does its work once and returns when it is done.
    repeats: the least number of rounds.
    seconds: rounds go on for so long, past the least number.
    warmup: untimed runs of each, first; they compile.
    seed: of the order.
    pause: seconds before each run, in which the threads that the one before
      left spinning go to sleep.
    check: called between runs; may raise to stop.

  Returns:
    Seconds by name, one a round.

  >>> times = race(
  ...   {"a": lambda: None, "b": lambda: None},
  ...   repeats=3, seconds=0, warmup=1, seed=0, pause=0,
  ... )
  >>> [len(found) for found in times.values()]
  [3, 3]
  """
  for run in runs.values():
    for _ in range(warmup):
      check()
      run()
  order, shuffle = list(runs), random.Random(seed).shuffle
  times: dict[str, list[float]] = {name: [] for name in runs}
  collecting = gc.isenabled()
  gc.collect()
  gc.disable()
  try:
    begun, rounds = time.perf_counter(), 0
    while rounds < repeats or time.perf_counter() - begun < seconds:
      shuffle(order)
      for name in order:
        check()
        time.sleep(pause)
        start = time.perf_counter()
        result = runs[name]()
        times[name].append(time.perf_counter() - start)
        del result
      rounds += 1
  finally:
    if collecting:
      gc.enable()
  return times


def spread(values: Sequence[float]) -> Spread:
  """Median and quartiles.

  >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
  Spread(low=2.0, middle=3.0, high=4.0)
  """
  return Spread(*np.percentile(values, (25, 50, 75)).tolist())


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Spread:
  """How many times faster ours is, round by round: above 1 is faster.

  >>> ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]).middle
  2.0
  """
  return spread(np.divide(peer, ours).tolist())
