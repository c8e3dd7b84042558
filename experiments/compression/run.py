"""Compresses and decompresses a file."""

import collections
import contextlib
import dataclasses
import filecmp
import functools
import hashlib
import io
import os
import pathlib
import select
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from experiments import restore as restore_lib
from experiments.compression import job as job_lib
from experiments.compression import report
from seqmodels import errors
from seqmodels.compression import container, model
from seqmodels.compression import dictionary as dictionary_lib
from seqmodels.compression import network as network_lib
from seqmodels.compression import settings as settings_lib
from seqmodels.io import distributed, files, results

_STANDARD = "-"
_CHUNK = 1 << 20
# Seconds after which a signal is seen by who waits for a stream.
_PATIENCE = 0.5


class Watched:
  """A file whose reader raises errors.Interrupted when a signal has come."""

  def __init__(
    self, file: io.BufferedReader, signals: distributed.Interruption
  ) -> None:
    self._file = file
    self._signals = signals

  def read(self, size: int) -> bytes:
    """At most so many bytes."""
    self._signals.check()
    return self._file.read(size)


def require_place(config: config_dict.ConfigDict, *, begun: bool) -> None:
  """Raises UserError on files that cannot or must not be used, before any work.

  If the job was begun earlier, that start may have written the output: it is
  left to `publish` to look.
  """
  if not config.input or not config.output:
    raise errors.UserError(
      "name the files: --config.input=FILE --config.output=FILE, or - for "
      "standard input and output"
    )
  if config.output == _STANDARD:
    return
  output = pathlib.Path(config.output)
  if output.is_dir() or not output.absolute().parent.is_dir():
    raise errors.UserError(
      f"config.output={config.output} is a folder, or lies in none that "
      "exists; name a file"
    )
  if output.exists() and not output.is_file():
    raise errors.UserError(
      f"config.output={config.output} is no ordinary file, which would be "
      "replaced; name a file, or - for standard output"
    )
  if config.input != _STANDARD and output.exists():
    with contextlib.suppress(OSError):
      if output.samefile(config.input):
        raise errors.UserError(
          f"config.input and config.output are both {config.output}; write to "
          "another file"
        )
  if output.exists() and not config.overwrite and not begun:
    raise errors.UserError(_exists(config.output))
  with files.os_errors_as_user_errors(output):
    tempfile.TemporaryFile(dir=os.path.realpath(output.parent)).close()


@contextlib.contextmanager
def opened(
  name: str, copy: pathlib.Path, signals: distributed.Interruption
) -> Iterator[io.BufferedReader]:
  """The input as a file that can be read twice; a stream is copied to `copy`.

  Raises:
    UserError: it cannot be read, or is a stream that brings other bytes than
      when the job was begun.
  """
  path = pathlib.Path(name)
  try:
    if name == _STANDARD or not _rereadable(path):
      _keep(name, copy, signals)
      path = copy
    with open(path, "rb") as file:
      yield file
  except OSError as error:
    if error.filename is None or pathlib.Path(error.filename) != path:
      raise
    raise errors.UserError(
      f"config.input={name} cannot be read: {(error.strerror or '').lower()}"
    ) from error


def mapped(file: io.BufferedReader) -> np.ndarray:
  """The bytes of a file, uint8, without reading them."""
  size = os.fstat(file.fileno()).st_size
  return np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)


def respelled(
  least: int,
  source: io.BufferedReader,
  path: pathlib.Path,
  signals: distributed.Interruption,
) -> np.ndarray | None:
  """The input with codes for frequent words, mapped; None if not shorter."""
  watched = Watched(source, signals)
  source.seek(0)
  dictionary = dictionary_lib.choose(watched, least=least)
  if dictionary is None:
    return None
  source.seek(0)
  with files.writer(path) as file:
    file.writelines(dictionary_lib.respell(watched, dictionary))
  with open(path, "rb") as result:
    held = mapped(result)
  return held if len(held) < os.fstat(source.fileno()).st_size else None


def publish(result: pathlib.Path, config: config_dict.ConfigDict) -> None:
  """Puts the whole result in its place; UserError if that is taken."""
  output = config.output
  with open(result, "rb") as file:
    if output == _STANDARD:
      shutil.copyfileobj(file, sys.stdout.buffer, _CHUNK)
      sys.stdout.buffer.flush()
      return
    if pathlib.Path(output).exists() and not config.overwrite:
      # What an earlier start put there before it was killed may stay.
      if filecmp.cmp(result, output, shallow=False):
        return
      raise errors.UserError(_exists(output))
    with files.writer(output) as target:
      shutil.copyfileobj(file, target, _CHUNK)


def _exists(output: str) -> str:
  return (
    f"config.output={output} exists; write to another file, or over it with "
    "--config.overwrite=True"
  )


def _rereadable(path: pathlib.Path) -> bool:
  """True if a file is ordinary and as long as it says: /proc has others."""
  status = path.stat()
  if stat.S_ISDIR(status.st_mode):
    return True  # Opening it says why not.
  return stat.S_ISREG(status.st_mode) and status.st_size > 0


def _keep(
  name: str, copy: pathlib.Path, signals: distributed.Interruption
) -> None:
  """Copies a stream, or checks that it brings what was copied before."""
  if not copy.exists():
    with files.writer(copy) as file:
      file.writelines(_stream(name, signals))
    return
  sha256 = hashlib.sha256()
  for piece in _stream(name, signals):
    sha256.update(piece)
  with open(copy, "rb") as file:
    same = hashlib.file_digest(file, "sha256").digest() == sha256.digest()
  if not same:
    raise errors.UserError(
      f"config.input={name} brings other bytes than when this job was begun; "
      "send the same again, or give another --workdir"
    )


def _stream(name: str, signals: distributed.Interruption) -> Iterator[bytes]:
  """The bytes that come through a pipe, a device or standard input."""
  standard = name == _STANDARD
  if standard and sys.stdin is None:
    raise errors.UserError("standard input is closed; name a file")
  # Without waiting for somebody to write, who may never come.
  descriptor = (
    sys.stdin.fileno()
    if standard
    else os.open(name, os.O_RDONLY | os.O_NONBLOCK)
  )
  try:
    while True:
      ready, _, _ = select.select([descriptor], [], [], _PATIENCE)
      signals.check()
      if not ready:
        continue
      try:
        piece = os.read(descriptor, _CHUNK)
      except BlockingIOError:
        continue
      if not piece:
        return
      yield piece
  finally:
    if not standard:
      os.close(descriptor)


# Folders of the run folder: only a stopped job needs them.
_UNFINISHED = "checkpoints"
_FINISHED = "checkpoints.done"


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Compresses or decompresses `config.input` to `config.output`.

  The output appears whole or not at all. A job that was stopped resumes from
  the last state saved in the run folder. `data_dir` is not used.

  Raises:
    UserError: no such file, an output that exists, bad settings, a compressed
      file that is damaged or was made elsewhere.
  """
  del data_dir
  container.require_repeatable(portable=config.portable)
  area, done = workdir / _UNFINISHED, workdir / _FINISHED
  begun = area.exists() or done.exists()
  require_place(config, begun=begun)
  area.mkdir(exist_ok=True)
  with (
    distributed.Interruption() as signals,
    opened(config.input, area / "input", signals) as source,
  ):
    do = compress if config.direction == "compress" else decompress
    result, page = do(config, workdir, source, signals)
    publish(result, config)
    rows = page()
  # In one stroke: a job could not resume from a folder half removed.
  shutil.rmtree(done, ignore_errors=True)
  area.rename(done)
  shutil.rmtree(done, ignore_errors=True)
  return rows


def require_finished(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> None:
  """Raises UserError if the output of a finished run is no longer there."""
  del workdir, data_dir
  output = config.output
  if output == _STANDARD or not pathlib.Path(output).exists():
    raise errors.UserError(
      f"this run is finished and its output {output!r} is no longer "
      "there; give another --workdir to make it again"
    )


# Writes the report once the output is in its place.
Page = Callable[[], list[results.Row]]


def compress(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  source: io.BufferedReader,
  signals: distributed.Interruption,
) -> tuple[pathlib.Path, Page]:
  """Codes and verifies; the result is not yet in place."""
  settings = settings_lib.Settings.of(
    {**config.model.to_dict(), "seed": config.seed}
  )
  trained, weights = _trained(config.restore)
  sha256 = hashlib.file_digest(source, "sha256").hexdigest()
  data = mapped(source)
  header = container.Header(
    size=len(data),
    sha256=sha256,
    settings=settings,
    fingerprint=container.current(portable=config.portable),
    weights=weights,
    preset=config.preset,
  )
  _require_same_input(workdir, header)
  area = workdir / _UNFINISHED
  held = data
  # A trained network knows words as they are spelled.
  if config.words and not trained:
    shorter = respelled(config.words, source, area / "respelled", signals)
    if shorter is not None:
      held = shorter
      header = dataclasses.replace(header, respelled=len(held))
  job = _job(config, header, trained, area, signals)
  done = job_lib.code(job, held)
  decoding = None
  if config.verify:
    check = job._replace(area=area / "verify", output=area / "verified.part")
    with open(job.output, "rb") as file:
      container.read_header(file)
      decoding = job_lib.decode(check, file, "verifying").seconds
    collections.deque(job_lib.original(check), maxlen=0)
  page = functools.partial(
    report.write,
    config, workdir, job, done, decoding=decoding, data=data,
  )  # fmt: skip
  return job.output, page


def decompress(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  source: io.BufferedReader,
  signals: distributed.Interruption,
) -> tuple[pathlib.Path, Page]:
  """Decodes; the result is not yet in place."""
  header = container.read_header(source)
  size = os.fstat(source.fileno()).st_size
  if size - source.tell() < header.blocks * container.LEAST_BLOCK:
    raise errors.UserError(
      f"{config.input} says it holds {header.size:,} bytes in "
      f"{header.blocks:,} blocks and is shorter than these can be: it is "
      "damaged, or was not copied whole"
    )
  portable = container.is_portable(header.fingerprint)
  if portable != config.portable:
    raise errors.UserError(
      f"{config.input} was compressed with config.portable={portable}; give "
      f"--config.portable={portable} here, too"
    )
  if not config.force:
    container.require_same(header.fingerprint)
  trained, weights = _trained(config.restore)
  if weights != header.weights:
    raise errors.UserError(
      f"{config.input} begins with "
      + (f"trained weights {header.weights[:12]}" if header.weights else "none")
      + f" and config.restore={config.restore!r} gives "
      + (weights[:12] or "none")
      + "; give the run it was compressed with"
    )
  _require_same_input(workdir, header)
  area = workdir / _UNFINISHED
  job = _job(config, header, trained, area, signals)
  done = job_lib.decode(job, source, "decompressing")
  result = area / "decompressed.part"
  with files.writer(result) as file:
    file.writelines(job_lib.original(job))
  page = functools.partial(report.decoded, config, workdir, header, done, size)
  return result, page


def _job(
  config: config_dict.ConfigDict,
  header: container.Header,
  trained: Any,
  area: pathlib.Path,
  signals: distributed.Interruption,
) -> job_lib.Job:
  coding = config.direction == "compress"
  direction, output = (
    ("compress", "compressed") if coding else ("decompress", "decoded")
  )
  return job_lib.Job(
    header,
    model.build(
      header.settings, header.held, trained=trained, portable=config.portable
    ),
    area / direction,
    area / f"{output}.part",
    signals,
    config.save_every,
  )


def _trained(restore: str) -> tuple[Any, str]:
  """Network and weights of an earlier run over bytes, and their SHA-256."""
  if not restore:
    return None, ""
  run = restore_lib.reload(restore)
  network = network_lib.over_bytes(run.model, run.symbols.symbols)
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(run.params):
    digest.update(np.asarray(leaf).tobytes())
  return (network, run.params), digest.hexdigest()


def _require_same_input(
  workdir: pathlib.Path, header: container.Header
) -> None:
  """Records the input, weights and machine; refuses others on resuming."""
  path = workdir / "data.json"
  ours = {
    "size": header.size,
    "sha256": header.sha256,
    "weights": header.weights,
    "machine": container.current(
      portable=container.is_portable(header.fingerprint)
    ),
  }
  if not path.is_file():
    files.write_json(path, ours)
    return
  theirs = files.read(path, sha256=str, weights=str, machine=dict)
  names = {
    "sha256": "the input",
    "weights": "config.restore",
    "machine": "the machine, or a release of what predicts on it,",
  }
  for key, name in names.items():
    if theirs[key] != ours[key]:
      raise errors.UserError(
        f"{name} is not the one that {workdir} was begun with; give another "
        "--workdir to begin again"
      )
