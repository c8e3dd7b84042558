"""Progress lines, and an account of where a run's time goes.

Where a run's time goes: seconds by activity, and the productive share.

At any moment one activity is charged, that of the innermost block:

    with goodput.spending("evaluation"):
      ...

Compiling is heard of from JAX itself. What no block names is "startup" until
the first step or evaluation, and "other" from then on.
"""

import contextlib
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
  said += f" of {duration(whole)}"
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


class Progress:
  """Tells how far one phase is, how fast it goes and when it will end.

  In a terminal it is a tqdm bar. Where the output goes to a file or a pipe it
  is a line now and then, so that a log stays readable. Of several processes of
  one run only the first speaks.

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
      total: units of the whole phase; None where nobody knows.
      description: the phase, such as "train".
      done: units done before, by the run that is resumed.
      unit: what is counted.
      symbols: what the speed is told in.
      stream: where to write; stderr by default.
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
    self._spoken: float | None = None
    # Where time is counted from: the end of the first update, for that one
    # also waits for the compiler.
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
    """Tells the units done so far.

    Args:
      done: of the whole phase, those of earlier runs included.
      figures: what to show beside, by name.
      symbols: processed since the last update, for the speed.
      seconds: that they took; by default all since the last update.
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
    if self._spoken is None or now - self._spoken >= self._interval:
      self._speak(now)

  def say(self, text: str) -> None:
    """A line of its own, above the bar if there is one."""
    if self._bar is not None:
      self._bar.write(text, file=self._stream)
    else:
      print(text, file=self._stream, flush=True)

  def close(self) -> None:
    """Ends the phase; a log gets the last state if it has not yet."""
    if self._bar is not None:
      self._bar.close()
    elif self._pending:
      self._speak(self._clock())

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def _speak(self, now: float) -> None:
    print(self._pending, file=self._stream, flush=True)
    self._pending, self._spoken = "", now

  def _line(self, now: float, shown: list[str]) -> str:
    done, total = self._done, self._total
    text = f"{self._description}: {self._unit} {done:,}"
    if total:
      text += f"/{total:,} ({100 * done // total}%)"
    left = self._left(now)
    if left is not None:
      shown = [*shown, f"{duration(left)} left"]
    return ", ".join([text, *shown])

  def _left(self, now: float) -> float | None:
    """Seconds to the end at the pace so far, evaluations and saves included."""
    if self._origin is None or not self._total:
      return None
    since, first = self._origin
    if self._done <= first or self._done >= self._total:
      return None
    return (now - since) / (self._done - first) * (self._total - self._done)


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
