"""A run folder's record: settings, code, machine, and one run at a time.

config.json   the settings, written once; a resumed run must agree with it
run.json      code, versions, machine, command, start, end, every resume
results.json  the outcome, written last: its presence means "finished"
run.lock      held by the process at work; the kernel frees it on death
"""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import jax
from jax.experimental import multihost_utils

from seqmodels import errors
from seqmodels.io import atomic, json_file, provenance

CONFIG = "config.json"
RUN = "run.json"
RESULTS = "results.json"
LOCK = "run.lock"


class RunRecord:
  """An open run folder; made by `start`.

  Attributes:
    workdir: the folder.
    config: the settings as JSON reads them (tuples are lists).
    results: results.json of a finished run, else None.
    resumed: the folder held an earlier, unfinished start of this run.
    primary: this process writes; others of a distributed run only read.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    config: dict[str, Any],
    *,
    results: dict[str, Any] | None,
    resumed: bool,
    primary: bool,
  ):
    self.workdir = workdir
    self.config = config
    self.results = results
    self.resumed = resumed
    self.primary = primary

  def finish(self, results: Mapping[str, Any]) -> None:
    """Writes results.json, the last file of a run."""
    self.results = dict(results)
    if self.primary:
      atomic.write_json(self.workdir / RESULTS, self.results)


@contextlib.contextmanager
def start(
  workdir: pathlib.Path,
  *,
  config: Mapping[str, Any],
  command: str = "",
  source: pathlib.Path | None = None,
) -> Iterator[RunRecord]:
  """Opens a run folder for work, new or resumed, and records it.

  A finished folder is given back with its `results` and stays as it is. One
  that holds nothing but a record, of a run that failed before its first output,
  is begun anew, also with other settings.

  Args:
    workdir: the run folder, made if missing.
    config: plain settings that JSON can hold.
    command: the command line, for the record.
    source: root of the code's checkout, for commit and uncommitted changes.

  Raises:
    UserError: the folder cannot be written, another process is at work in it,
      it was begun with other settings, or it holds the traces of a run
      without its record.
  """
  settings = canonical(config)
  if jax.process_index() != 0:
    # Of several processes the first alone writes and holds the lock; the
    # others wait until the folder is theirs to use.
    _meet()
    results = _results(workdir)
    yield RunRecord(
      workdir, settings, results=results, resumed=False, primary=False
    )
    return
  with _lock(workdir):
    resumed = (workdir / CONFIG).exists() and not _bare(workdir)
    if resumed:
      _agree(workdir, json_file.read(workdir / CONFIG), settings)
    else:
      _refuse_remains(workdir)
      (workdir / RUN).unlink(missing_ok=True)
      atomic.write_json(workdir / CONFIG, settings)
    results = _results(workdir)
    record = RunRecord(
      workdir, settings, results=results, resumed=resumed, primary=True
    )
    if results is not None:
      _meet()
      yield record
      return
    with _session(workdir, settings, command, source):
      _meet()
      yield record


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
  """Settings as JSON gives them back, keys sorted: equal if and only if same.

  >>> canonical({"b": (1, 2), "a": 1})
  {'a': 1, 'b': [1, 2]}
  """
  plain: dict[str, Any] = json.loads(
    json.dumps(config, sort_keys=True, allow_nan=False)
  )
  return plain


def read_config(workdir: pathlib.Path, **members: type) -> dict[str, Any]:
  """The settings of an earlier run.

  Args:
    workdir: its folder.
    members: as of `json_file.read`.

  Raises:
    UserError: the folder is no run folder, or its settings are damaged.
  """
  if not (workdir / CONFIG).is_file():
    reason = f"has no {CONFIG}" if workdir.is_dir() else "does not exist"
    raise errors.UserError(
      f"{workdir} is no run folder: it {reason}; give the --workdir of an "
      "earlier run"
    )
  return json_file.read(workdir / CONFIG, **members)


def finished(workdir: pathlib.Path) -> bool:
  """Whether a run in this folder has come to its end."""
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
) -> Iterator[None]:
  """One process's work in the folder, entered in run.json at both ends."""
  path = workdir / RUN
  session: dict[str, Any] = {
    "command": command or " ".join(sys.argv),
    "start": _now(),
    "end": None,
    "outcome": "running",
    **provenance.facts(source),
  }
  if path.exists():
    run = json_file.read(path, resumes=list)
    run["resumes"].append(session)
  else:
    run = {"seed": config.get("seed"), **session, "resumes": []}
  begun = time.monotonic()

  def note(outcome: str) -> None:
    # A killed run leaves "running" and no end: it never got here.
    entry = run["resumes"][-1] if run["resumes"] else run
    entry["seconds"] = round(time.monotonic() - begun, 3)
    run["end"] = entry["end"] = _now()
    run["outcome"] = entry["outcome"] = outcome
    atomic.write_json(path, run)

  if run["resumes"]:
    run["end"], run["outcome"] = None, "running"
  atomic.write_json(path, run)
  try:
    yield
  except (errors.Interrupted, KeyboardInterrupt) as error:
    note(str(error) or "interrupted by SIGINT")
    raise
  except BaseException as error:
    # On a full disk this write fails too, and must not hide the reason.
    with contextlib.suppress(OSError, errors.UserError):
      note(f"{type(error).__name__}: {error}")
    raise
  note("finished")


@contextlib.contextmanager
def _lock(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the folder for this process alone."""
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    # Opened for appending: a second process must not wipe the holder's name.
    file = open(workdir / LOCK, "a+", encoding="utf-8")  # noqa: SIM115
  except OSError as error:
    raise errors.UserError(
      f"cannot write to the run folder {workdir}: "
      f"{(error.strerror or str(error)).lower()}; choose another --workdir"
    ) from None
  with file:
    _acquire(file, workdir)
    try:
      yield
    finally:
      fcntl.flock(file, fcntl.LOCK_UN)


def _acquire(file: TextIO, workdir: pathlib.Path) -> None:
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
    # Some network file systems know no locks; one run at a time is then the
    # user's care.
    return
  file.truncate(0)
  file.write(str(os.getpid()))
  file.flush()


def _meet() -> None:
  """Waits for the other processes of a distributed run."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices("run record")


def _agree(
  workdir: pathlib.Path, before: dict[str, Any], now: dict[str, Any]
) -> None:
  notes = differing(before, now)
  if notes:
    raise errors.UserError(
      f"the run in {workdir} was begun with other settings: "
      f"{'; '.join(notes)}; restore them or choose another --workdir"
    )


def _bare(workdir: pathlib.Path) -> bool:
  """Whether the record, with what it says of the data, is all there is."""
  return {entry.name for entry in workdir.iterdir()} <= {
    *(CONFIG, RUN, LOCK, "vocabulary.json", "pen.json", "data.json"),
  }


def _refuse_remains(workdir: pathlib.Path) -> None:
  remains = [
    name
    for name in (RESULTS, "metrics.jsonl", "checkpoints")
    if (workdir / name).exists()
  ]
  if remains:
    raise errors.UserError(
      f"{workdir} holds {', '.join(remains)} but no {CONFIG}, so it cannot be "
      "told which run they belong to; choose another --workdir"
    )


def _results(workdir: pathlib.Path) -> dict[str, Any] | None:
  """What a finished run found; None before its end."""
  if not finished(workdir):
    return None
  return json_file.read(workdir / RESULTS, rows=list)


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
