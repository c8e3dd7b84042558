"""A run folder's record: settings, code, machine, and one run at a time.

config.json   the settings, written once; a resumed run must agree with them
run.json      code, versions, machine, command, start, end, every resume
results.json  the outcome, written last: its presence means "finished"
run.lock      held by the process at work; the kernel frees it on death
"""

import collections
import contextlib
import dataclasses
import datetime
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax

from seqmodels import errors
from seqmodels.io import distributed, files, progress

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_LONGEST_DIFF = 200_000


def facts(source: pathlib.Path | None = None) -> dict[str, Any]:
  """Code, versions and hardware of a run, without names of host or user."""
  return {
    **_code(source),
    "versions": {"python": platform.python_version(), **_versions()},
    "backend": jax.default_backend(),
    "devices": dict(
      collections.Counter(device.device_kind for device in jax.devices())
    ),
    "processes": jax.process_count(),
    "platform": platform.platform(),
    "cpu": _cpu(),
    "cpu_count": os.cpu_count(),
  }


def _versions() -> dict[str, str | None]:
  versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
  for name in PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      versions[name] = importlib.metadata.version(name)
  return versions


def _cpu() -> str:
  with contextlib.suppress(OSError):
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    for line in text.splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  return platform.processor() or platform.machine()


def _code(source: pathlib.Path | None) -> dict[str, Any]:
  """Commit, uncommitted changes and new files of a checkout."""
  none = {"commit": None, "diff": None, "untracked": None}
  if source is None or not _git(source, "ls-files"):
    return none
  diff = _git(source, "diff", "HEAD") or ""
  if len(diff) > _LONGEST_DIFF:
    cut = len(diff) - _LONGEST_DIFF
    diff = f"{diff[:_LONGEST_DIFF]}\n[{cut} more characters]\n"
  new = _git(source, "ls-files", "--others", "--exclude-standard") or ""
  return {
    "commit": (_git(source, "rev-parse", "HEAD") or "").strip() or None,
    "diff": diff,
    "untracked": new.splitlines()[:1000],
  }


def _git(source: pathlib.Path, *arguments: str) -> str | None:
  try:
    done = subprocess.run(
      ["git", "-C", str(source), *arguments],
      capture_output=True,
      timeout=20,
      check=False,
      # Recording a run takes no lock and asks for no password.
      env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
    )
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.decode(errors="replace") if not done.returncode else None


CONFIG = "config.json"
RUN = "run.json"
RESULTS = "results.json"
LOCK = "run.lock"

# Between two records of the time spent; a kill loses no more.
NOTE_SECONDS = 15.0


@dataclasses.dataclass(kw_only=True)
class RunRecord:
  """An open run folder; made by `start`.

  Attributes:
    workdir: the folder.
    config: the settings as JSON reads them (tuples are lists).
    results: results.json of a finished run, else None.
    resumed: the folder held an earlier, unfinished start of this run.
    primary: this process writes; others of a distributed run only read.
    account: of the time, in the process that writes an unfinished run.
  """

  workdir: pathlib.Path
  config: dict[str, Any]
  results: dict[str, Any] | None
  resumed: bool
  primary: bool
  account: progress.Account | None = None

  def finish(self, results: Mapping[str, Any]) -> None:
    """Writes results.json, the last file of a run."""
    self.results = dict(results)
    if self.primary:
      files.write_json(self.workdir / RESULTS, self.results)


@contextlib.contextmanager
def start(
  workdir: pathlib.Path,
  *,
  config: Mapping[str, Any],
  command: str = "",
  source: pathlib.Path | None = None,
  free: Collection[str] = (),
  age: float = 0.0,
) -> Iterator[RunRecord]:
  """Opens a run folder for work, new or resumed, and records it.

  Of several processes only the first reads, writes and holds the lock; all
  leave together, once it has finished.

  A finished folder is returned with its `results`, unchanged. A folder with
  nothing but the record of a run that failed before its first output starts
  again, also with other settings.

  Args:
    workdir: the run folder, made if missing.
    config: plain settings that JSON can hold.
    command: the command line, for the record.
    source: root of the code's checkout, for commit and uncommitted changes.
    free: dotted names of settings that a resumed run may change.
    age: seconds that this start has taken already.

  Raises:
    UserError: the folder cannot be written, another process is at work in it,
      it was begun with other settings, or it holds outputs of a run without
      its record.
  """
  settings = canonical(config)
  account: progress.Account | None = None
  try:
    with contextlib.ExitStack() as held:

      def begin() -> tuple[bool, dict[str, Any] | None]:
        nonlocal account
        held.enter_context(_lock(workdir))
        for folder in (workdir, workdir / "figures", workdir / "samples"):
          files.sweep(folder)
        resumed = _settle(workdir, settings, free)
        if finished(workdir):
          return resumed, files.read(workdir / RESULTS, rows=list)
        account = held.enter_context(
          _session(workdir, settings, command, source, age)
        )
        return resumed, None

      resumed, results = distributed.on_primary(begin)
      yield RunRecord(
        workdir=workdir,
        config=settings,
        results=results,
        resumed=resumed,
        primary=distributed.is_primary(),
        account=account,
      )
  except errors.Interrupted:
    distributed.barrier()
    raise
  distributed.barrier()


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
  """Settings as JSON reads them, keys sorted.

  >>> canonical({"b": (1, 2), "a": 1})
  {'a': 1, 'b': [1, 2]}
  """
  plain: dict[str, Any] = json.loads(
    json.dumps(config, sort_keys=True, allow_nan=False)
  )
  return plain


def read_config(workdir: pathlib.Path, **members: type) -> dict[str, Any]:
  """The settings of an earlier run; `members` are as of `files.read`.

  Raises:
    UserError: `workdir` is no run folder, or its settings are damaged.
  """
  if not (workdir / CONFIG).is_file():
    reason = f"has no {CONFIG}" if workdir.is_dir() else "does not exist"
    raise errors.UserError(
      f"{workdir} is no run folder: it {reason}; give the --workdir of an "
      "earlier run"
    )
  return files.read(workdir / CONFIG, **members)


def begun_with(workdir: pathlib.Path) -> dict[str, Any] | None:
  """The settings that a resumed run must agree with.

  None for a new folder, and for one whose run failed before its first output.

  Raises:
    UserError: they are damaged.
  """
  path = workdir / CONFIG
  return files.read(path) if path.exists() and not _bare(workdir) else None


def finished(workdir: pathlib.Path) -> bool:
  """True if the run in this folder has finished."""
  return (workdir / RESULTS).is_file()


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Every setting in which two configs differ, by dotted name.

  >>> differing({"seed": 1, "data": {"limit": 0}}, {"seed": 2, "data": {}})
  ['data.limit was 0, now missing', 'seed was 1, now 2']
  """
  # As JSON text: to Python, true equals 1.
  old, new = (
    {name: json.dumps(value) for name, value in _leaves(tree)}
    for tree in (before, now)
  )
  return [
    f"{name} was {old.get(name, 'missing')}, now {new.get(name, 'missing')}"
    for name in sorted(old.keys() | new.keys())
    if old.get(name) != new.get(name)
  ]


@contextlib.contextmanager
def _session(
  workdir: pathlib.Path,
  config: dict[str, Any],
  command: str,
  source: pathlib.Path | None,
  age: float,
) -> Iterator[progress.Account]:
  """The work of one process, entered in run.json at its start and end."""
  path = workdir / RUN
  session: dict[str, Any] = {
    "command": command or " ".join(sys.argv),
    "start": _now(),
    "end": None,
    "outcome": "running",
    **facts(source),
  }
  if path.exists():
    run = files.read(path, resumes=list)
    if session["diff"] and session["diff"] == run.get("diff"):
      session["diff"] = "that of the first start"  # or many would fill a disk
    run["resumes"].append(session)
  else:
    run = {"seed": config.get("seed"), **session, "resumes": []}
  begun = time.monotonic()
  starts = [run, *run["resumes"]]
  entry = starts[-1]
  earlier = [start.get("goodput") or {} for start in starts[:-1]]
  account = progress.Account(earlier, age)

  def write() -> None:
    entry["goodput"] = account.seconds()
    files.write_json(path, run)

  def end(outcome: str) -> None:
    # A killed run leaves "running" and no end: it never got here.
    entry["seconds"] = round(time.monotonic() - begun, 3)
    run["end"] = entry["end"] = _now()
    run["outcome"] = entry["outcome"] = outcome
    write()

  if run["resumes"]:
    run["end"], run["outcome"] = None, "running"
  files.write_json(path, run)
  try:
    with progress.repeatedly(write, NOTE_SECONDS):
      yield account
  except (errors.Interrupted, KeyboardInterrupt) as error:
    end(str(error) or "interrupted by SIGINT")
    raise
  except BaseException as error:
    # On a full disk this write fails too, and must not hide the reason.
    with contextlib.suppress(OSError, errors.UserError):
      end(f"{type(error).__name__}: {error}")
    raise
  end("finished")


@contextlib.contextmanager
def _lock(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the folder for this process alone.

  A finished one that cannot be written is only read.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    # Opened for appending: a second process must not erase the holder's id.
    file = open(workdir / LOCK, "a+", encoding="utf-8")  # noqa: SIM115
  except OSError as error:
    if finished(workdir):
      yield
      return
    raise errors.UserError(
      f"cannot write to the run folder {workdir}: "
      f"{(error.strerror or str(error)).lower()}; choose another --workdir"
    ) from None
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      holder = file.read().strip()
      raise errors.UserError(
        f"another run{f' (process {holder})' if holder else ''} is at work in "
        f"{workdir}; wait for it or choose another --workdir"
      ) from None
    except OSError:
      pass  # Some network file systems have no locks.
    else:
      file.truncate(0)
      file.write(str(os.getpid()))
      file.flush()
    try:
      yield
    finally:
      fcntl.flock(file, fcntl.LOCK_UN)


def _settle(
  workdir: pathlib.Path, settings: dict[str, Any], free: Collection[str]
) -> bool:
  """Checks or begins the folder's record; True if it had begun before."""
  before = begun_with(workdir)
  if before is not None:
    notes = [
      note
      for note in differing(before, settings)
      if note.split(" ")[0] not in free
    ]
    if notes:
      raise errors.UserError(
        f"the run in {workdir} was begun with other settings: "
        f"{'; '.join(notes)}; restore them or choose another --workdir"
      )
    return True
  remains = [
    name
    for name in (RESULTS, "metrics.jsonl", "checkpoints")
    if (workdir / name).exists()
  ]
  if remains:
    raise errors.UserError(
      f"{workdir} holds {', '.join(remains)} but no {CONFIG}, so the run that "
      "they belong to is unknown; choose another --workdir"
    )
  (workdir / RUN).unlink(missing_ok=True)
  files.write_json(workdir / CONFIG, settings)
  return False


def _bare(workdir: pathlib.Path) -> bool:
  """True if the folder has nothing but the record of run and data."""
  return {entry.name for entry in workdir.iterdir()} <= {
    *(CONFIG, RUN, LOCK, "vocabulary.json", "pen.json", "data.json"),
  }


def _leaves(
  tree: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _leaves(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
