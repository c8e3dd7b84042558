"""Kills runs at random; checks that they match an uninterrupted run.

    python tests/fault_injection.py --kills=200 --workdir=runs/faults

Each run is a tiny one. It is killed with SIGKILL again and again, half of the
times after a random while and half at a random change of a file, and resumed
until it is done. Weights, optimiser state, metrics, rows and figures must then
be, bit for bit, those of the same run without a kill. Runs follow each other
until the kills are used up; a table of all counts is printed and saved in the
folder. The exit code is 1 if anything differed.

This process imports everything and computes nothing; each start of a run is a
fork of it, so that only the run itself takes time. Linux and macOS.
"""

import argparse
import collections
import contextlib
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import struct
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import config_dict

if __name__ == "__main__":  # as a script: this folder is no place of imports
  sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

import experiments
from configs import common, handwriting_synthesis
from configs import compression as compression_page
from experiments import cli, stages
from seqmodels import errors
from seqmodels.io import (
  checkpoint_integrity,
  checkpoints,
  files,
  metrics,
  progress,
  results,
)

PAGE = "faults.md"
# Kills of one run, so that those that start quickly get no more than others.
_MOST = 10
# Counts that must be 0.
_FAULTS = ("failed starts", "torn checkpoints", "differing files")
# What names of files and folders change by; opening for writing is another.
_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}
_STATUS = struct.Struct("32sq")  # the activity, changes of files so far
_SPEED = "_per_second"
_POLL = 0.005  # seconds
# Written with the time in them, or by the process that is at work.
_OF_THE_CLOCK = ("run.json", "run.lock", "events.out.tfevents")


# The runs.


def text() -> config_dict.ConfigDict:
  """An LSTM over characters, then evaluated statically and dynamically."""
  config = _small(common.base())
  config.training.update(random_offset=True)
  config.dynamic.update(search=True, search_segments=(20,))
  return config


def noise() -> config_dict.ConfigDict:
  """Adaptive weight noise and every dropout, over whole lines."""
  config = _small(common.base())
  config.data.update(sentences=True)
  config.model.update(features=(6, 6), embedding=5, cell="gru")
  config.training.update(sampling="sentences", optimizer="sgd")
  config.regularization.update(
    adaptive=0.05, dropout_embedding=0.1, dropout_input=0.1,
    dropout_hidden=0.1, dropout_output=0.1, drop_connect=0.1,
  )  # fmt: skip
  config.dynamic.rule = ""
  return config


def ink() -> config_dict.ConfigDict:
  """Handwriting synthesis on synthetic strokes."""
  config = handwriting_synthesis.get_config("quickstart,smoke")
  config.data.limit = 8
  config.training.update(
    epochs=100.0, max_steps=48, checkpoint_every=4, evaluations_per_epoch=1
  )
  config.regularization.weight_noise = 0.05
  config.sample.update(biases=(0.5,), statistics=0)
  return config


def compression() -> config_dict.ConfigDict:
  """A file coded and decoded block by block, its state saved at each."""
  config = compression_page.get_config("compress,fast,smoke")
  config.update(baselines=False, save_every=0.0, overwrite=True)
  return config


TRAININGS: dict[str, Callable[[], config_dict.ConfigDict]] = {
  "text": text,
  "noise": noise,
  "ink": ink,
  "compression": compression,
}


def _small(config: config_dict.ConfigDict) -> config_dict.ConfigDict:
  common.smoke(config)
  config.data.update(limit=3_000)
  config.training.update(
    epochs=100.0, max_steps=160, batch=4, segment=10, steps_per_dispatch=4,
    checkpoint_every=12, evaluations_per_epoch=2,
  )  # fmt: skip
  config.evaluation.update(train_symbols=500)
  config.baselines.update(ngram_order=3, compressors=False)
  return config


# One start of a run, perhaps killed.


class Kill(NamedTuple):
  """When to kill: so many seconds after the start, or at a change of a file."""

  seconds: float = 0.0
  change: int = 0  # the so many-th; 0: never


class Ending(NamedTuple):
  """The end of one start of a run."""

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
  """Starts or resumes a run in a fork of this process; `log` has its output."""
  shared = mmap.mmap(-1, _STATUS.size)
  begun = time.monotonic()
  child = os.fork()
  if not child:
    _run_in_child(config, workdir, log, shared, kill.change if kill else 0)
  try:
    if kill and kill.seconds and not _ends(child, begun + kill.seconds):
      os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  except BaseException:
    os.kill(child, signal.SIGKILL)  # Nobody would be left to wait for it.
    raise
  activity, changes = _STATUS.unpack(shared[:])
  activity = activity.rstrip(b"\0").decode() or "startup"
  return Ending(code, activity, changes, time.monotonic() - begun)


def _ends(child: int, deadline: float) -> bool:
  """True if a process ends by itself before `deadline`."""
  while time.monotonic() < deadline:
    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
      return True
    time.sleep(_POLL)
  return False


def _run_in_child(
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

    def report() -> None:
      shared[:] = _STATUS.pack(progress.activity().encode(), changes)

    def watch() -> None:
      while True:
        report()
        time.sleep(_POLL)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
      nonlocal changes
      if event in _CHANGES or (event == "open" and _writes(arguments[2])):
        changes += 1
        if changes == fatal:
          report()
          os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    threading.Thread(target=watch, daemon=True).start()
    experiments.run(config, workdir, workdir.parent)
    report()
    code = 0
  except BaseException:
    traceback.print_exc()
  finally:
    with contextlib.suppress(OSError, ValueError):
      sys.stdout.flush()
      sys.stderr.flush()
    os._exit(code)


def _writes(flags: Any) -> bool:
  return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


# The contents of a run folder.


def torn(workdir: pathlib.Path) -> list[pathlib.Path]:
  """Checkpoints that bear their name and are not what their record says."""
  folders = []
  for folder in _checkpoints(workdir):
    try:
      checkpoints.verify(folder, checkpoints.read_record(folder))
    except checkpoint_integrity.CorruptError:
      folders.append(folder)
  return folders


def leftovers(workdir: pathlib.Path) -> list[pathlib.Path]:
  """Half-written files and folders that a kill within a write left."""
  marks = (checkpoints.INCOMPLETE, checkpoints.REPLACED, checkpoints.REMOVED)
  return [
    path
    for path in workdir.rglob("*")
    if path.name.startswith(".incomplete-")
    or any(mark in path.name for mark in marks)
  ]


def content(workdir: pathlib.Path) -> dict[str, Any]:
  """Everything in a run folder that does not depend on the clock, by file.

  A checkpoint is its step, metadata and the fingerprint of every leaf.
  """
  contents: dict[str, Any] = {}
  for folder in _checkpoints(workdir):
    record = checkpoints.read_record(folder)
    checkpoints.verify(folder, record)
    name = folder.relative_to(workdir).as_posix()
    contents[name] = record.step, record.meta, record.leaves
  for path in sorted(workdir.rglob("*")):
    place = path.relative_to(workdir)
    if not (
      place.parts[0] == "checkpoints"
      or path.is_dir()
      or path.name.startswith(_OF_THE_CLOCK)
    ):
      contents[place.as_posix()] = _read(path)
  return contents


def _checkpoints(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
  for area in ("latest", "best"):
    for folder in sorted((workdir / "checkpoints" / area).glob("*")):
      if folder.name.isdecimal():
        yield folder


def _read(path: pathlib.Path) -> Any:
  if path.name == stages.PHASES:
    # Its checksum is of the seconds, too: checked, and left out.
    return _timeless(files.read_sealed(path))
  if path.suffix not in (".json", ".jsonl", ".md"):
    return path.read_bytes()
  content = path.read_text(encoding="utf-8")
  if path.suffix == ".json":
    return _timeless(json.loads(content))
  if path.suffix == ".jsonl":
    entries = [_timeless(json.loads(line)) for line in content.splitlines()]
    return [entry for entry in entries if entry]
  return [line for line in content.splitlines() if _SPEED not in line]


def _timeless(value: Any) -> Any:
  """JSON without seconds, and without what was divided by them."""
  if isinstance(value, list):
    return [_timeless(item) for item in value]
  if not isinstance(value, dict):
    return value
  if any(str(value.get(key)).endswith(_SPEED) for key in ("name", "metric")):
    return None
  return {k: _timeless(v) for k, v in value.items() if k != "seconds"}


# The campaign.


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the campaign; 0 if nothing was lost."""
  parser = argparse.ArgumentParser(
    prog="python tests/fault_injection.py",
    description="Kills runs at random and compares what they end in.",
  )
  parser.add_argument("--kills", type=int, default=200)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument(
    "--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS)
  )
  options = parser.parse_args(arguments)
  campaign = Campaign(options.workdir.absolute(), random.Random(options.seed))
  while campaign.kills < options.kills:
    for name in options.trainings:
      if campaign.kills < options.kills:
        campaign.train(name, min(_MOST, options.kills - campaign.kills))
        print(campaign.table(), flush=True)
        files.write_text(campaign.folder / PAGE, campaign.table() + "\n")
  return 1 if campaign.lost else 0


class Campaign:
  """Runs one after the other, and the counts over all of them.

  Args:
    folder: for run folders, programs and logs; new or empty.
    generator: of the moments to kill at.

  Raises:
    UserError: the folder holds something.
  """

  def __init__(self, folder: pathlib.Path, generator: random.Random):
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
      raise errors.UserError(f"{folder} is not empty; give a new --workdir")
    folder.mkdir(parents=True, exist_ok=True)
    # Its own, so that a start takes a moment and no kill harms another's.
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    self.folder = folder
    self._generator = generator
    self._counts: dict[str, collections.Counter[str]] = {}
    self._straight: dict[str, tuple[dict[str, Any], Ending]] = {}
    self._begun = time.monotonic()

  @property
  def kills(self) -> int:
    """Kills so far."""
    return sum(counts["kills"] for counts in self._counts.values())

  @property
  def lost(self) -> int:
    """Faults so far."""
    return sum(
      counts[name] for counts in self._counts.values() for name in _FAULTS
    )

  def train(self, name: str, most: int) -> None:
    """Runs one training, killed at most so many times, and compares its end."""
    counts = self._counts.setdefault(name, collections.Counter())
    if name not in self._straight:
      self._straight[name] = self._uninterrupted(name)
    expected, straight = self._straight[name]
    workdir = self._fresh(name)
    counts["trainings"] += 1
    ending, struck, killed = None, False, 0
    before: set[pathlib.Path] = set()  # half done by the kills so far
    while ending is None or struck:
      # A resumed start has less to do.
      share = 0.5 if killed else 1.0
      kill = self._moment(straight, share) if killed < most else None
      ending = self._start(name, workdir, kill)
      # Any other end by a signal is a failure of the run's own.
      struck = kill is not None and ending.code == -signal.SIGKILL
      if struck:
        killed += 1
        self._count_kill(counts, workdir, ending)
        after = set(leftovers(workdir))
        counts["kills within a write"] += bool(after - before)
        before = after
    counts["starts"] += killed + 1
    if ending.code:
      counts["failed starts"] += 1
      return
    ended = content(workdir)
    for file in sorted(expected.keys() | ended.keys()):
      if expected.get(file) != ended.get(file):
        print(f"{name}: {file} differs", file=sys.stderr)
        counts["differing files"] += 1
    counts["compared files"] += len(expected)

  def _uninterrupted(self, name: str) -> tuple[dict[str, Any], Ending]:
    """The content and the end of a run without a kill, its second.

    The first compiles the programs, which the killed runs find compiled.
    """
    for _ in range(2):
      workdir = self._fresh(name)
      ending = self._start(name, workdir, None)
      if ending.code:
        raise SystemExit(f"{name} fails without a kill; see {self.folder}")
    return content(workdir), ending

  def _fresh(self, name: str) -> pathlib.Path:
    """One folder for all ends of a training: its settings name it."""
    workdir = self.folder / name
    shutil.rmtree(workdir, ignore_errors=True)
    return workdir

  def _start(
    self, name: str, workdir: pathlib.Path, kill: Kill | None
  ) -> Ending:
    config = TRAININGS[name]()
    if "input" in config:
      source = self.folder / "input.txt"
      files.write_text(source, str(__doc__))
      config.input = str(source)
      # Inside the run folder, so that it is compared like all else.
      config.output = str(workdir / "compressed.seq")
    return start(config, workdir, self.folder / f"{name}.log", kill)

  def _moment(self, straight: Ending, share: float) -> Kill:
    """Within that share of an uninterrupted run."""
    if self._generator.random() < 0.5:
      seconds = self._generator.uniform(0.05, share) * straight.seconds
      return Kill(seconds=seconds)
    changes = max(int(share * straight.changes), 1)
    return Kill(change=self._generator.randint(1, changes))

  def _count_kill(
    self,
    counts: collections.Counter[str],
    workdir: pathlib.Path,
    ending: Ending,
  ) -> None:
    counts["kills"] += 1
    counts[f"kills in {ending.activity}"] += 1
    counts["torn checkpoints"] += len(torn(workdir))
    saved = workdir / "checkpoints" / "latest"
    steps = [int(p.name) for p in saved.glob("*") if p.name.isdecimal()]
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      entries = metrics.read(workdir / metrics.METRICS)
    reached = max((entry["step"] for entry in entries), default=0)
    counts["steps done again"] += max(0, reached - max(steps, default=0))

  def table(self) -> str:
    """All counts in Markdown, a column a training."""
    names = [
      *("trainings", "starts", "kills"),
      *(f"kills in {activity}" for activity in progress.ACTIVITIES),
      *("kills within a write", "steps done again", "failed starts"),
      *("torn checkpoints", "compared files", "differing files"),
    ]
    rows = []
    for name in names:
      numbers = [counts[name] for counts in self._counts.values()]
      if any(numbers) or name in _FAULTS:
        rows.append([name, *map(str, numbers), str(sum(numbers))])
    seconds = time.monotonic() - self._begun
    text = results.table(["", *self._counts, "all"], rows)
    return f"{text}\n\n{self.kills} kills in {seconds:,.0f} s."


if __name__ == "__main__":
  sys.exit(cli.run_cli(lambda: sys.exit(main())))
