"""Runs in processes of their own, killed with SIGKILL, and what they leave.

This process imports everything and computes nothing; each start of a run is a
fork of it, so that only the run itself takes time. Linux and macOS.
"""

import contextlib
import json
import mmap
import os
import pathlib
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

from ml_collections import config_dict

import experiments
from experiments import stages
from seqmodels.io import checkpoint_integrity, checkpoints, files, progress

# What names of files and folders change by; opening for writing is another.
_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}
_TOLD = struct.Struct("32sq")  # the activity, changes of files so far
_SPEED = "_per_second"
_POLL = 0.005  # seconds
# Written with the time in them, or by the process that is at work.
_OF_THE_CLOCK = ("run.json", "run.lock", "events.out.tfevents")


class Kill(NamedTuple):
  """When to kill: so many seconds after the start, or at a change of a file."""

  seconds: float = 0.0
  change: int = 0  # the so many-th; 0: never


class Ending(NamedTuple):
  """How one start of a run ended."""

  code: int  # negative: the signal's number
  activity: str  # of `goodput`, at the end
  changes: int  # of files
  seconds: float


def start(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  log: pathlib.Path,
  kill: Kill | None = None,
) -> Ending:
  """Starts a run, or goes on with it, in a fork of this process.

  Args:
    config: of any experiment.
    workdir: the run folder.
    log: gets what the run prints.
    kill: when to kill it; by default it comes to its end.
  """
  shared = mmap.mmap(-1, _TOLD.size)
  begun = time.monotonic()
  child = os.fork()
  if not child:
    _be_the_run(config, workdir, log, shared, kill.change if kill else 0)
  try:
    if kill and kill.seconds and not _ends(child, begun + kill.seconds):
      os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  except BaseException:
    os.kill(child, signal.SIGKILL)  # Nobody would be left to wait for it.
    raise
  activity, changes = _TOLD.unpack(shared[:])
  return Ending(
    code,
    activity.rstrip(b"\0").decode() or "startup",
    changes,
    time.monotonic() - begun,
  )


def _ends(child: int, deadline: float) -> bool:
  """Whether a process comes to its end by itself before `deadline`."""
  while time.monotonic() < deadline:
    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
      return True
    time.sleep(_POLL)
  return False


def _be_the_run(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  log: pathlib.Path,
  shared: mmap.mmap,
  fatal: int,
) -> None:
  """The life of the child, which never returns."""
  code = 1
  try:
    with log.open("ab", buffering=0) as file:
      os.dup2(file.fileno(), 1)
      os.dup2(file.fileno(), 2)
    changes = 0

    def tell() -> None:
      shared[:] = _TOLD.pack(progress.activity().encode(), changes)

    def watch() -> None:
      while True:
        tell()
        time.sleep(_POLL)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
      nonlocal changes
      if event in _CHANGES or (event == "open" and _writes(arguments)):
        changes += 1
        if changes == fatal:
          tell()
          os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    threading.Thread(target=watch, daemon=True).start()
    experiments.run(config, workdir, workdir.parent)
    tell()
    code = 0
  except BaseException:
    traceback.print_exc()
  finally:
    with contextlib.suppress(OSError, ValueError):
      sys.stdout.flush()
      sys.stderr.flush()
    os._exit(code)


def _writes(arguments: tuple[Any, ...]) -> bool:
  flags = arguments[2]
  return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def torn(workdir: pathlib.Path) -> list[pathlib.Path]:
  """Checkpoints that bear their name and are not what their record says."""
  found = []
  for folder in _checkpoints(workdir):
    try:
      checkpoints.verify(folder, checkpoints.read_record(folder))
    except checkpoint_integrity.CorruptError:
      found.append(folder)
  return found


def leftovers(workdir: pathlib.Path) -> list[pathlib.Path]:
  """What a kill within a write left half done."""
  marks = (
    *(checkpoints.INCOMPLETE, checkpoints.REPLACED),
    checkpoints.REMOVED,
  )
  return [
    path
    for path in workdir.rglob("*")
    if path.name.startswith(".incomplete-")
    or any(mark in path.name for mark in marks)
  ]


def content(workdir: pathlib.Path) -> dict[str, Any]:
  """What a finished run leaves that does not depend on the clock, by file.

  Checkpoints are told by step, metadata and the fingerprint of every leaf.
  """
  found: dict[str, Any] = {}
  for folder in _checkpoints(workdir):
    record = checkpoints.read_record(folder)
    checkpoints.verify(folder, record)
    name = folder.relative_to(workdir).as_posix()
    found[name] = record.step, record.meta, record.leaves
  for path in sorted(workdir.rglob("*")):
    place = path.relative_to(workdir)
    known = place.parts[0] == "checkpoints"
    if known or path.is_dir() or path.name.startswith(_OF_THE_CLOCK):
      continue
    found[place.as_posix()] = _read(path)
  return found


def _checkpoints(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
  for area in ("latest", "best"):
    for folder in sorted((workdir / "checkpoints" / area).glob("*")):
      if folder.name.isdecimal():
        yield folder


def _read(path: pathlib.Path) -> Any:
  if path.name == stages.PHASES:
    # Its checksum is of the seconds, too: proved, and left out.
    return _timeless(files.read_sealed(path))
  if path.suffix == ".json":
    return _timeless(json.loads(path.read_text(encoding="utf-8")))
  if path.suffix == ".jsonl":
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = [_timeless(json.loads(line)) for line in lines]
    return [entry for entry in entries if entry]
  if path.suffix == ".md":
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if _SPEED not in line]
  return path.read_bytes()


def _timeless(value: Any) -> Any:
  """JSON without seconds, and without what was divided by them."""
  if isinstance(value, list):
    return [_timeless(part) for part in value]
  if not isinstance(value, dict):
    return value
  if any(str(value.get(key)).endswith(_SPEED) for key in ("name", "metric")):
    return None
  return {k: _timeless(v) for k, v in value.items() if k != "seconds"}
