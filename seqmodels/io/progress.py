"""How far a run is: a bar in a terminal, plain lines in a log."""

import io
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import jax
import tqdm

from seqmodels.io import report


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
      shown.insert(0, f"{report.figure(self._speed)} {self._symbols}/s")
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
