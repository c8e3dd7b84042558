"""Time and memory of functions, measured fairly: in turn, over many rounds."""

import contextlib
import ctypes
import gc
import pathlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_STATUS = pathlib.Path("/proc/self/status")
_RESET = pathlib.Path("/proc/self/clear_refs")


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
  """Times all functions once a round, so that drift hits all alike.

  Each round takes them in a new random order: none always follows the one that
  leaves the caches cold or the processor hot. A run's result is freed after its
  clock has stopped.

  Args:
    runs: by name; each does its work once and returns when it is done.
    repeats: the least number of rounds.
    seconds: rounds continue for this long, beyond the least number.
    warmup: untimed runs of each, first; they compile.
    seed: of the order.
    pause: seconds before each run, in which threads that the previous run left
      spinning go to sleep.
    check: called between runs; may raise to stop.

  Returns:
    Seconds by name, one a round.
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
    begin, rounds = time.perf_counter(), 0
    while rounds < repeats or time.perf_counter() - begin < seconds:
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
  """The ratio of their time to ours, round by round: above 1 ours is faster.

  >>> ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]).middle
  2.0
  """
  return spread(np.divide(peer, ours).tolist())


def resident_growth(run: Callable[[], Any]) -> int | None:
  """Bytes by which the resident size peaks above its start while `run` runs.

  Linux only: the kernel keeps the highest resident size and can restart it. It
  counts all libraries alike, whatever allocator they have. The results of `run`
  are counted, for they are alive at the end. Memory that the process freed but
  did not return to the kernel may be reused unseen, so the heap is trimmed
  first; figures are good to some megabytes.

  Returns:
    Bytes, or None if the kernel does not say.
  """
  gc.collect()
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).malloc_trim(0)
  try:
    _RESET.write_text("5")  # resets VmHWM, the peak
    before = _kilobytes("VmRSS")
  except (OSError, KeyError):
    return None
  result = run()
  peak = _kilobytes("VmHWM")
  del result
  return max(0, peak - before) * 1024


def _kilobytes(name: str) -> int:
  for line in _STATUS.read_text(encoding="utf-8").splitlines():
    key, _, value = line.partition(":")
    if key == name:
      return int(value.split()[0])
  raise KeyError(name)
