"""Progress lines, and the time that a run spends on each activity.

At any moment one activity is charged, that of the innermost block:

    with progress.spending("evaluation"):
      ...

JAX itself reports when it compiles. Time in no block is "startup" until the
first step or evaluation, and "other" from then on.
"""

import contextlib
import functools
import io
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import jax
import tqdm

from seqmodels.io import results

# In the order of the report.
PRODUCTIVE = ("steps", "evaluation")
WORK = (
  *PRODUCTIVE,
  "lost",  # steps and evaluations repeated after a kill
)
ACTIVITIES = (
  *WORK,
  "compilation",
  "data",  # the device waited for segments
  "saving",  # the blocking part: most is written in the background
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
    """Charges "startup" again, until the first step or evaluation."""
    with self._lock:
      self._charge()
      self._blocks[0][0] = "startup"

  @property
  def activity(self) -> str:
    """The activity that is charged now."""
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
      hidden: called at the end; True if the device was busy all the time.
        Nothing waited for the block then, so its seconds are charged to the
        block around it.
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
    """Ends the innermost block; see `spending` for hidden ones."""
    with self._lock:
      self._charge()
      activity, own = self._blocks.pop()
      if hidden:
        self._seconds[activity] -= own
        self._seconds[self._blocks[-1][0]] += own

  def _charge(self) -> None:
    """Charges the time up to now to the innermost block."""
    now = self._clock()
    passed, self._since = max(now - self._since, 0.0), now
    block = self._blocks[-1]
    block[1] += passed
    self._seconds[block[0]] += passed


def _is_main() -> bool:
  return threading.current_thread() is threading.main_thread()


_ledger = Ledger(lambda: time.perf_counter())  # tests replace the clock
spending = _ledger.spending
turn_to = _ledger.turn_to


def activity() -> str:
  """The activity that this process is charged for now."""
  return _ledger.activity


class Account:
  """The seconds of one start of a run, beside those of earlier starts.

  Args:
    earlier: seconds by activity of each earlier start.
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
    """Seconds of this start by activity, without those that took none."""
    now = _ledger.seconds()
    spent = {name: round(now[name] - self._before[name], 3) for name in now}
    return {name: value for name, value in spent.items() if value > 0}

  def line(self) -> str:
    """The `line` of all starts."""
    return line([*self._earlier, self.seconds()])


def line(starts: Sequence[Mapping[str, float]]) -> str:
  """The productive share of all starts of a run, and the rest by activity.

  Empty if no step or evaluation was done.

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

  def shares(names: Iterable[str]) -> str:
    percent = {name: f"{100 * total[name] / whole:.1f}%" for name in names}
    return ", ".join(f"{n} {p}" for n, p in percent.items() if p != "0.0%")

  share = 100 * sum(total[name] for name in PRODUCTIVE) / whole
  text = f"time: {share:.1f}% productive"
  productive = shares(PRODUCTIVE)
  text += f" ({productive})" if productive else ""
  rest = shares(name for name in ACTIVITIES if name not in PRODUCTIVE)
  text += f", {rest}" if rest else ""
  text += f" of {duration(whole)}"
  return text + (f" in {len(starts)} starts" if len(starts) > 1 else "")


@contextlib.contextmanager
def repeatedly(action: Callable[[], None], every: float) -> Iterator[None]:
  """Calls `action` every so many seconds, in the background of the block.

  Its errors are dropped: they must not end a run.
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
  """Seconds since this process was started; 0 where that is unknown."""
  try:
    fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2]
    ticks = int(fields.split()[19])
    since = ticks / os.sysconf("SC_CLK_TCK")
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - since, 0.0)
  except (OSError, ValueError, IndexError, AttributeError):
    return 0.0


@functools.cache
def _listen() -> None:
  """Charges compilations from now on, once in a process."""
  jax.monitoring.register_scalar_listener(_begun)
  jax.monitoring.register_event_duration_secs_listener(_ended)


def _begun(event: str, value: float, **facts: Any) -> None:
  del value, facts
  if event.startswith(_COMPILATION) and _is_main():
    _ledger.enter("compilation")


def _ended(event: str, duration_secs: float, **facts: Any) -> None:
  del duration_secs, facts
  # One that began before `_listen` has no block to end.
  here = _ledger.activity == "compilation"
  if event.startswith(_COMPILATION) and here and _is_main():
    _ledger.leave()


class Progress:
  """Shows how far one phase is, its speed and the time left.

  In a terminal it is a tqdm bar. In a file or a pipe it is a line now and then,
  so that a log stays readable. Of several processes only the first writes.

  >>> with Progress(4, "train", stream=sys.stdout, interval=0) as progress:
  ...   progress.update(2, {"bits/character": 2.5})
  train: step 2/4 (50%), bits/character 2.5
  """

  def __init__(
    self,
    total: int | None,
    description: str,
    *,
    done: int = 0,
    unit: str = "step",
    symbols: str = "tokens",
    stream: TextIO | None = None,
    interval: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Begins a phase.

    Args:
      total: units of the whole phase; None if unknown.
      description: the phase, such as "train".
      done: units done before, by the run that is resumed.
      unit: the name of a unit.
      symbols: the unit of the speed.
      stream: the output; stderr by default.
      interval: seconds between two lines of a log.
      clock: in seconds.
    """
    self._total, self._done, self._unit = total, done, unit
    self._description, self._symbols = description, symbols
    self._stream = sys.stderr if stream is None else stream
    if jax.process_index() != 0:
      self._stream = io.StringIO()
    self._interval, self._clock = interval, clock
    self._updated = self._clock()
    self._printed: float | None = None
    # Time is counted from the end of the first update, since that one also
    # waits for the compiler.
    self._origin: tuple[float, int] | None = None
    self._speed: float | None = None
    self._pending = ""
    self._bar: Any = None
    if self._stream.isatty():
      self._bar = tqdm.tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        file=self._stream,
        dynamic_ncols=True,
      )

  def update(
    self,
    done: int,
    figures: Mapping[str, float] | None = None,
    *,
    symbols: int = 0,
    seconds: float | None = None,
    total: int | None = None,
  ) -> None:
    """Shows the units done so far.

    Args:
      done: of the whole phase, those of earlier runs included.
      figures: shown beside, by name.
      symbols: processed since the last update, for the speed.
      seconds: of these symbols; by default all since the last update.
      total: units of the whole phase, if that is known only now.
    """
    now = self._clock()
    passed = now - self._updated if seconds is None else seconds
    self._updated = now
    if self._origin is None:
      self._origin = (now, done)
    elif symbols and passed > 0:
      speed = symbols / passed
      before = self._speed if self._speed is not None else speed
      self._speed = before + 0.1 * (speed - before)
    self._total = self._total if total is None else total
    self._done = done
    shown = [f"{name} {value:.4g}" for name, value in (figures or {}).items()]
    if self._speed is not None:
      shown.insert(0, f"{results.figure(self._speed)} {self._symbols}/s")
    if self._bar is not None:
      self._bar.total = self._total
      self._bar.set_postfix_str(", ".join(shown), refresh=False)
      self._bar.update(done - self._bar.n)
      return
    self._pending = self._line(now, shown)
    if self._printed is None or now - self._printed >= self._interval:
      self._print(now)

  def say(self, text: str) -> None:
    """Prints a line of its own, above the bar if there is one."""
    if self._bar is not None:
      self._bar.write(text, file=self._stream)
    else:
      print(text, file=self._stream, flush=True)

  def close(self) -> None:
    """Ends the phase; a log gets its last state."""
    if self._bar is not None:
      self._bar.close()
    elif self._pending:
      self._print(self._clock())

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def _print(self, now: float) -> None:
    print(self._pending, file=self._stream, flush=True)
    self._pending, self._printed = "", now

  def _line(self, now: float, shown: list[str]) -> str:
    done, total = self._done, self._total
    text = f"{self._description}: {self._unit} {done:,}"
    if total:
      text += f"/{total:,} ({100 * done // total}%)"
    since, first = self._origin or (now, done)
    if total and first < done < total:
      # At the pace so far, evaluations and saves included.
      left = (now - since) / (done - first) * (total - done)
      shown = [*shown, f"{duration(left)} left"]
    return ", ".join([text, *shown])


def duration(seconds: float) -> str:
  """A time span, in its two largest units.

  >>> duration(42.4), duration(200), duration(3661), duration(200000)
  ('42s', '3m 20s', '1h 01m', '2d 07h')
  """
  whole = round(seconds)
  if whole < 60:
    return f"{whole}s"
  if whole < 3600:
    return f"{whole // 60}m {whole % 60:02d}s"
  if whole < 86400:
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
  return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"
