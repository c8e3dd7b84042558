"""Where a run's time goes: seconds by activity, and the productive share.

At any moment one activity is charged, that of the innermost block:

    with goodput.spending("evaluation"):
      ...

Compiling is heard of from JAX itself. What no block names is "startup" until
the first step or evaluation, and "other" from then on.
"""

import contextlib
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax

from seqmodels.io import progress

# In the order in which they are told; what a run is for comes first.
PRODUCTIVE = ("steps", "evaluation")
WORK = (
  *PRODUCTIVE,
  "lost",  # steps and evaluations done again, because a kill lost them
)
ACTIVITIES = (
  *WORK,
  "compilation",
  "data",  # the device waited for segments
  "saving",  # blocked by it: most of a save is written in the background
  "restoring",
  "startup",
  "other",
)
_COMPILATION = "/jax/core/compile/"


class Ledger:
  """Seconds by activity, on the main thread alone.

  >>> now = 0.0
  >>> ledger = Ledger(lambda: now)
  >>> with ledger.spending("steps"):
  ...   now = 3.0
  ...   with ledger.spending("saving"):
  ...     now = 4.0
  >>> ledger.seconds()["steps"], ledger.seconds()["saving"]
  (3.0, 1.0)
  """

  def __init__(self, clock: Callable[[], float] = time.perf_counter):
    self._clock = clock
    self._lock = threading.Lock()
    self._seconds = dict.fromkeys(ACTIVITIES, 0.0)
    # Blocks from the outside in: activity, and the seconds charged to it.
    self._blocks: list[list[Any]] = [["startup", 0.0]]
    self._since = clock()

  def seconds(self) -> dict[str, float]:
    """Charged so far, by activity."""
    with self._lock:
      self._charge()
      return dict(self._seconds)

  def begin(self) -> None:
    """From here to the first step or evaluation, a run is starting."""
    with self._lock:
      self._charge()
      self._blocks[0][0] = "startup"

  @property
  def activity(self) -> str:
    """What is charged now."""
    return self._blocks[-1][0]

  def turn_to(self, activity: str) -> None:
    """Charges another activity for the rest of the innermost block."""
    if _is_main():
      with self._lock:
        self._charge()
        self._blocks[-1][0] = activity

  @contextlib.contextmanager
  def spending(
    self, activity: str, *, hidden: Callable[[], bool] | None = None
  ) -> Iterator[None]:
    """A block, or a function, that is charged to `activity`.

    Args:
      activity: one of `ACTIVITIES`.
      hidden: asked at the end: whether the device was at work all the while. If
        so nothing waited for the block, and its seconds are those of the block
        around it.
    """
    if not _is_main():
      yield
      return
    self.enter(activity)
    try:
      yield
    finally:
      self.leave(bool(hidden and hidden()))

  def enter(self, activity: str) -> None:
    """Begins a block."""
    with self._lock:
      self._charge()
      if activity in WORK:
        self._blocks[0][0] = "other"
      self._blocks.append([activity, 0.0])

  def leave(self, hidden: bool = False) -> None:
    """Ends the innermost block; a hidden one is charged to that around it."""
    with self._lock:
      self._charge()
      activity, own = self._blocks.pop()
      if hidden:
        self._seconds[activity] -= own
        self._seconds[self._blocks[-1][0]] += own

  def _charge(self) -> None:
    """Up to now, to the innermost block."""
    now = self._clock()
    passed, self._since = max(now - self._since, 0.0), now
    block = self._blocks[-1]
    block[1] += passed
    self._seconds[block[0]] += passed


def _is_main() -> bool:
  return threading.current_thread() is threading.main_thread()


_ledger = Ledger(lambda: time.perf_counter())  # what it is then
spending = _ledger.spending
turn_to = _ledger.turn_to


def activity() -> str:
  """What this process is charged for now.

  >>> with spending("data"):
  ...   activity()
  'data'
  """
  return _ledger.activity


class Account:
  """The seconds of one start of a run, beside those of the starts before it.

  Args:
    earlier: seconds by activity of each start before this one.
    age: seconds that this start has taken already, as `process_age`.
  """

  def __init__(
    self, earlier: Iterable[Mapping[str, float]] = (), age: float = 0.0
  ):
    _listen()
    _ledger.begin()
    self._before = _ledger.seconds()
    self._before["startup"] -= age
    self._earlier = list(earlier)

  def seconds(self) -> dict[str, float]:
    """Of this start, by activity; what took none is left out."""
    now = _ledger.seconds()
    spent = {name: round(now[name] - self._before[name], 3) for name in now}
    return {name: value for name, value in spent.items() if value > 0}

  def line(self) -> str:
    """All starts in one line; empty where no step or evaluation was done."""
    return line([*self._earlier, self.seconds()])


def line(starts: Sequence[Mapping[str, float]]) -> str:
  """The productive share of all starts of a run, and where the rest went.

  Args:
    starts: seconds by activity of each.

  >>> print(line([{"steps": 60.0}, {"steps": 25.0, "saving": 10.0, "data": 5}]))
  time: 85.0% productive (steps 85.0%), data 5.0%, saving 10.0% of 1m 40s in 2
  starts
  """
  total = {n: sum(s.get(n, 0.0) for s in starts) for n in ACTIVITIES}
  whole = sum(total.values())
  if not any(total[name] for name in WORK):
    return ""

  def told(names: Iterable[str]) -> str:
    shares = {name: f"{100 * total[name] / whole:.1f}%" for name in names}
    return ", ".join(f"{n} {s}" for n, s in shares.items() if s != "0.0%")

  share = 100 * sum(total[name] for name in PRODUCTIVE) / whole
  said = f"time: {share:.1f}% productive"
  parts = told(PRODUCTIVE)
  said += f" ({parts})" if parts else ""
  rest = told(name for name in ACTIVITIES if name not in PRODUCTIVE)
  said += f", {rest}" if rest else ""
  said += f" of {progress.duration(whole)}"
  return said + (f" in {len(starts)} starts" if len(starts) > 1 else "")


@contextlib.contextmanager
def repeatedly(action: Callable[[], None], every: float) -> Iterator[None]:
  """Does something every so many seconds, in the background of the block.

  Its errors are dropped: a run must not end for them.
  """
  ended = threading.Event()

  def work() -> None:
    while not ended.wait(every):
      with contextlib.suppress(Exception):
        action()

  thread = threading.Thread(target=work, name="goodput", daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()


def process_age() -> float:
  """Seconds since this process was started; 0 where no system tells."""
  try:
    fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2]
    ticks = int(fields.split()[19])
    since = ticks / os.sysconf("SC_CLK_TCK")
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - since, 0.0)
  except (OSError, ValueError, IndexError, AttributeError):
    return 0.0


def _listen() -> None:
  """Hears of compilations from now on; once is enough for a process."""
  global _listening
  if _listening:
    return
  _listening = True
  jax.monitoring.register_scalar_listener(_begun)
  jax.monitoring.register_event_duration_secs_listener(_ended)


_listening = False


def _begun(event: str, value: float, **facts: Any) -> None:
  del value, facts
  if event.startswith(_COMPILATION) and _is_main():
    _ledger.enter("compilation")


def _ended(event: str, duration_secs: float, **facts: Any) -> None:
  del duration_secs, facts
  # One that began before anyone listened has no block to end.
  here = _ledger.activity == "compilation"
  if event.startswith(_COMPILATION) and here and _is_main():
    _ledger.leave()
