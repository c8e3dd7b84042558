"""Many inputs for every parser, other ones each time, and a table of how many.

    python -m tests.fuzz.hunt --minutes=10 [--seed=1] [--rows=archive]

A parser may give a value or refuse with a `UserError` of one printable line; a
refusal must have written nothing; time and memory are bounded either way.
"""

import argparse
import contextlib
import gc
import io
import logging
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis

from experiments.benchmark import case
from seqmodels import errors
from seqmodels.io import results, run_folder
from tests.fuzz import parsers, valid_files

# Seconds of the processor an input, bytes of memory a row.
MOST_SECONDS = 10.0
MOST_BYTES = 400 << 20
LONGEST_SENTENCE = 2_000


class Stamps:
  """The contents of a folder, to see changes and to undo them."""

  def __init__(self, folder: pathlib.Path) -> None:
    self._folder = folder
    self._known = self.now()
    self._data = {path: path.read_bytes() for path in self._known}

  def now(self) -> dict[pathlib.Path, tuple[int, int]]:
    """Size and time of every file but the locks, which say who was there."""
    actual = {}
    for path in self._folder.rglob("*"):
      if path.is_file() and path.name != run_folder.LOCK:
        status = path.stat()
        actual[path] = status.st_size, status.st_mtime_ns
    return actual

  def restore(self) -> None:
    """Makes the folder what it was."""
    actual = self.now()
    for path in actual.keys() - self._known.keys():
      path.unlink()
    for path, stamp in self._known.items():
      if actual.get(path) != stamp:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._data[path])
        os.utime(path, ns=(stamp[1], stamp[1]))


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
  """Ends what takes the processor for longer than that."""

  def stop(signum: int, frame: Any) -> None:
    raise TimeoutError(f"over {seconds:g} seconds of the processor")

  former = signal.signal(signal.SIGVTALRM, stop)
  signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    signal.signal(signal.SIGVTALRM, former)


def require_sentence(refusal: errors.UserError) -> None:
  """One line that a terminal shows as it is, and no page of it."""
  sentence = str(refusal)
  assert sentence.isprintable(), f"not printable: {sentence!r:.300}"
  assert 0 < len(sentence) <= LONGEST_SENTENCE, f"too long: {sentence:.300}"


@contextlib.contextmanager
def old_objects_left_alone() -> Iterator[None]:
  """Keeps the objects of before out of garbage collection.

  Each measure of memory collects garbage first, and the objects of the
  libraries alone take a third of a second.
  """
  gc.collect()
  gc.freeze()
  try:
    yield
  finally:
    gc.unfreeze()


class Hunt:
  """One row's.

  Attributes:
    tried: inputs.
    refused: of them.
    found: what should not have happened, by kind and place, with an input.
  """

  def __init__(self, row: parsers.Row, world: pathlib.Path) -> None:
    self.tried = self.refused = 0
    self.found: dict[str, Any] = {}
    self._row, self._world, self._stamps = row, world, Stamps(world)
    self._inputs = row.inputs(world)

  def go(self, examples: int, seed: int) -> None:
    """Tries more inputs, always the same for the same seed."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
      max_examples=examples,
      database=None,
      deadline=None,
      phases=[hypothesis.Phase.generate],
      suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(self._inputs)
    def trial(given: Any) -> None:
      self.tried += 1
      try:
        self.refused += self.attempt(given)
      except Exception as error:
        self.found.setdefault(_place(error), given)

    grown = case.resident_growth(trial)
    if grown is not None and grown > MOST_BYTES:
      self.found.setdefault("memory", f"{grown:,} bytes")

  def attempt(self, given: Any) -> bool:
    """Gives one input to the parser; whether it was refused."""
    quiet = contextlib.redirect_stdout(io.StringIO())
    noise = contextlib.redirect_stderr(io.StringIO())
    try:
      action = self._row.begin(self._world, given)
      before = self._stamps.now()
      with bounded(MOST_SECONDS), quiet, noise, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        action()
      return False
    except errors.UserError as error:
      require_sentence(error)
      assert self._stamps.now() == before, "something was written"
      return True
    finally:
      self._stamps.restore()


def _place(error: Exception) -> str:
  """The exception, and the line of the project that raised it."""
  frames = traceback.extract_tb(error.__traceback__)
  ours = [f for f in frames if "site-packages" not in f.filename]
  ours = [f for f in ours if f.filename.startswith(os.getcwd())] or list(frames)
  last = ours[-1]
  name = pathlib.Path(last.filename).name
  what = str(error).partition(":")[0] if name == "hunt.py" else ""
  return f"{type(error).__name__} in {name}:{last.lineno} {what}"


def main() -> int:
  """Hunts until the time is over; 1 if anything was found."""
  options = argparse.ArgumentParser(description=__doc__)
  options.add_argument("--minutes", type=float, default=10.0)
  options.add_argument("--seed", type=int, default=0)
  options.add_argument("--rows", default="", help="part of their names")
  options.add_argument("--batch", type=int, default=50)
  chosen = options.parse_args()
  warnings.simplefilter("error")
  warnings.simplefilter("ignore", DeprecationWarning)
  logging.disable()  # Orbax tells of what it also raises.
  # Memory without end ends this process, not the machine.
  resource.setrlimit(resource.RLIMIT_AS, (16 << 30, resource.RLIM_INFINITY))
  end = time.monotonic() + 60 * chosen.minutes
  with tempfile.TemporaryDirectory() as folder, old_objects_left_alone():
    world = pathlib.Path(folder)
    valid_files.fill(world)
    hunts = {
      name: Hunt(row, world)
      for name, row in parsers.ROWS.items()
      if chosen.rows in name
    }
    seed = chosen.seed
    while time.monotonic() < end:
      for hunt in hunts.values():
        hunt.go(chosen.batch, seed)
        if time.monotonic() >= end:
          break
      seed += 1_000_003
  body = [
    [name, f"{hunt.tried:,}", f"{hunt.refused:,}", f"{len(hunt.found):,}"]
    for name, hunt in hunts.items()
  ]
  tried, refused = (
    sum(getattr(hunt, kind) for hunt in hunts.values())
    for kind in ("tried", "refused")
  )
  actual = sum(len(hunt.found) for hunt in hunts.values())
  body.append(["all", f"{tried:,}", f"{refused:,}", f"{actual:,}"])
  print(results.table(["parser", "inputs", "refused", "wrong"], body))
  for name, hunt in hunts.items():
    for what, given in hunt.found.items():
      print(f"{name}: {what}\n  {given!r:.600}", file=sys.stderr)
  return int(actual > 0)


if __name__ == "__main__":
  sys.exit(main())
