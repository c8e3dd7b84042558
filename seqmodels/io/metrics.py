"""Metrics of a run: metrics.jsonl is the record, TensorBoard events the view.

One JSON object a line: {"step", "split", "name", "value", "unit"}. A run that
is killed and resumed leaves the same file as one that was not, except timings:
lines written after the checkpoint are dropped and written again.
"""

import functools
import io
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from seqmodels.io import files

# tensorboardX imports PyTorch where it is installed, which takes longer than
# all else at the start of a run, and is never given a tensor of it here.
_torch = sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
from tensorboardX import event_file_writer, summary  # noqa: E402
from tensorboardX.proto import event_pb2  # noqa: E402

if _torch is None:
  del sys.modules["torch"]

METRICS = "metrics.jsonl"


class MetricWriter:
  """Appends metrics to a run folder.

  Every line reaches the operating system before `write` returns, so a process
  killed right after a checkpoint has lost none of the metrics before it. Only
  the first process of a run writes.

  >>> import tempfile
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> with MetricWriter(folder, tensorboard=False) as writer:
  ...   writer.write(10, "train", {"loss": 2.5}, unit="nats/symbol")
  >>> read(folder / "metrics.jsonl")[0]["value"]
  2.5

  Attributes:
    reached: the last step in the file of earlier starts, by split, dropped or
      not.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    step: int = -1,
    tensorboard: bool = True,
  ):
    """Opens the files of a run that begins at `step`.

    Args:
      workdir: the run folder.
      step: the restored step; later lines and an incomplete last one are
        dropped. -1, the default, drops all: a fresh start.
      tensorboard: also write event files.

    Raises:
      UserError, RunError: the folder cannot be written, or is full.
    """
    self._path = pathlib.Path(workdir) / METRICS
    self._events: Any = None
    # Made by the first metric: a start without one leaves no file behind.
    self._new_events: Callable[[], Any] | None = None
    self._file: io.FileIO | None = None
    self.reached: dict[str, int] = {}
    if jax.process_index() != 0:
      return
    entries = read(self._path)
    for entry in entries:
      before = self.reached.get(entry["split"], 0)
      self.reached[entry["split"]] = max(before, entry["step"])
    entries = [entry for entry in entries if entry["step"] <= step]
    # Only lines of the restored step itself can come again, if they were
    # written before the checkpoint.
    self._seen = {_key(entry) for entry in entries if entry["step"] == step}
    files.write_text(self._path, "".join(map(_line, entries)))
    with files.os_errors_as_user_errors(self._path):
      # No buffer: a failed write must not come back when the file is closed.
      self._file = io.FileIO(self._path, "ab")
    if tensorboard:
      purge = step + 1 if step >= 0 else None
      self._new_events = functools.partial(_events, self._path.parent, purge)

  def write(
    self,
    step: int,
    split: str,
    values: Mapping[str, float],
    *,
    unit: str | Mapping[str, str] = "",
  ) -> None:
    """Writes one line for each value.

    Args:
      step: training steps done.
      split: of the data, such as "train".
      values: by name; infinite and undefined ones are stored as null.
      unit: of all of them, or of each by name.

    Raises:
      RunError: the disk is full.
    """
    if self._file is None:
      return
    for name, value in values.items():
      value = float(value)
      entry = {
        "step": int(step),
        "split": split,
        "name": name,
        "value": value if math.isfinite(value) else None,
        "unit": unit if isinstance(unit, str) else unit.get(name, ""),
      }
      if _key(entry) in self._seen:
        continue
      rest = _line(entry).encode()
      with files.os_errors_as_user_errors(self._path):
        while rest:
          rest = rest[self._file.write(rest) :]
      if self._new_events is not None and math.isfinite(value):
        if self._events is None:
          self._events = self._new_events()
        scalar = summary.scalar(f"{split}/{name}", value)
        self._events.write_event(_event(step=int(step), summary=scalar))

  def close(self) -> None:
    """Finishes the files."""
    if self._file is not None:
      self._file.close()
    if self._events is not None:
      self._events.close()

  def __enter__(self) -> "MetricWriter":
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()


def read(path: str | os.PathLike) -> list[dict[str, Any]]:
  """The lines of a metrics file; none if it is missing.

  An incomplete last line, left by a kill, is ignored.

  Raises:
    UserError: a line before the last is no metric.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  try:
    # Text after the last newline is incomplete, even if it happens to parse.
    lines = files.read_bytes(path, math.inf).split(b"\n")[:-1]
    entries = [json.loads(line) for line in lines]
  except (OSError, ValueError, RecursionError) as error:
    raise files.damaged(path, error) from error
  for number, entry in enumerate(entries, start=1):
    if not _is_metric(entry):
      raise files.damaged(path, f"line {number:,} is no metric")
  return entries


def _is_metric(entry: Any) -> bool:
  return (
    isinstance(entry, dict)
    and files.is_whole(entry.get("step"))
    and all(isinstance(entry.get(key), str) for key in ("split", "name"))
    and "value" in entry
    and (entry["value"] is None or files.is_number(entry["value"]))
  )


def series(
  entries: Iterable[Mapping[str, Any]], split: str, name: str
) -> tuple[list[int], list[float]]:
  """Steps and values of one metric, undefined values left out."""
  chosen = [
    entry
    for entry in entries
    if (entry["split"], entry["name"]) == (split, name)
    and entry["value"] is not None
  ]
  return [e["step"] for e in chosen], [e["value"] for e in chosen]


def _events(folder: pathlib.Path, purge: int | None) -> Any:
  """A new file of TensorBoard events.

  Written without tensorboardX's thread and queue: set back by a month, the
  clock ends that thread, and closing the queue then waits for ever.

  Args:
    folder: of the file.
    purge: TensorBoard ignores earlier files from this step on.
  """
  # Event files are named by second and host: two within a second would share
  # one name, and one of them would lose its points.
  suffix = f".{time.time_ns()}"
  events = event_file_writer.EventsWriter(str(folder / "events"), suffix)
  if purge is not None:
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    events.write_event(_event(step=purge, session_log=start))
  return events


def _event(**content: Any) -> Any:
  return event_pb2.Event(wall_time=time.time(), **content)


def _line(entry: Mapping[str, Any]) -> str:
  return json.dumps(entry) + "\n"


def _key(entry: Mapping[str, Any]) -> tuple[int, str, str]:
  return entry["step"], entry["split"], entry["name"]
