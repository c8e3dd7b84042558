"""A file made smaller, and the same bytes again."""

import collections
import contextlib
import dataclasses
import filecmp
import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from experiments import (
  compression_job,
  compression_page,
  earlier_runs,
)
from seqmodels import errors
from seqmodels.compression import (
  building,
  byte_predictor,
  container,
  fingerprint,
  words,
)
from seqmodels.compression import settings as settings_lib
from seqmodels.io import atomic, interruption, report

_STANDARD = "-"
# A folder of the run folder for what only a stopped job needs, and files there.
_UNFINISHED = "checkpoints"
_INPUT = "input"
_RESPELLED = "respelled"
_CHUNK = 1 << 20


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[report.Row]:
  """Compresses or decompresses `config.input` to `config.output`.

  The output appears whole or not at all. A job that was stopped goes on from
  the last state saved in the run folder.

  Args:
    config: direction, files and settings.
    workdir: the run folder.
    data_dir: unused.

  Raises:
    UserError: no such file, an output that exists, bad settings, a compressed
      file that is damaged or was made elsewhere.
  """
  del data_dir
  if jax.process_count() > 1:
    raise errors.UserError(
      f"compression is one process's work, here are {jax.process_count()}; run "
      "it without --distributed"
    )
  fingerprint.require_repeatable()
  _require_place(config, workdir)
  area = workdir / _UNFINISHED
  area.mkdir(exist_ok=True)
  with (
    interruption.Interruption() as signals,
    _input(config.input, area) as source,
  ):
    do = compress if config.direction == "compress" else decompress
    rows, made = do(config, workdir, source, signals)
    _publish(made, config)
  shutil.rmtree(workdir / _UNFINISHED, ignore_errors=True)
  return rows


def require_finished(config: config_dict.ConfigDict) -> None:
  """Refuses to call a run finished whose output is not there any more.

  Raises:
    UserError: says what to do.
  """
  gone = config.output == _STANDARD or not pathlib.Path(config.output).exists()
  if gone:
    raise errors.UserError(
      f"this run is finished and its output {config.output!r} is no longer "
      "there; give another --workdir to make it again"
    )


def compress(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  source: io.BufferedReader,
  signals: interruption.Interruption,
) -> tuple[list[report.Row], pathlib.Path]:
  """Codes, verifies, and writes the page; the result is not yet in place."""
  given = {**config.model.to_dict(), "seed": config.seed}
  settings = settings_lib.Settings.of(given)
  trained, weights = _trained(config.restore)
  sha256 = hashlib.file_digest(source, "sha256").hexdigest()
  data = _mapped(source)
  header = container.Header(
    size=len(data),
    sha256=sha256,
    settings=settings,
    fingerprint=fingerprint.current(),
    weights=weights,
    preset=config.preset,
  )
  _settle(workdir, header)
  held = data
  # A trained network knows words as they are spelled.
  area = workdir / _UNFINISHED
  if config.words and not trained and _respell(config.words, source, area):
    with open(area / _RESPELLED, "rb") as file:
      held = _mapped(file)
    header = dataclasses.replace(header, respelled=len(held))
  model = building.build(settings, header.held, trained=trained)
  part = area / "compressed.part"
  job = compression_job.Job(
    header,
    model,
    area / "compress",
    part,
    signals,
    config.save_every,
  )
  done = compression_job.code(job, held)
  decoding = None
  if config.verify:
    check = job._replace(area=area / "verify", part=area / "verified.part")
    with open(part, "rb") as file:
      container.read_header(file)
      decoding = compression_job.decode(check, file, "verifying").seconds
    collections.deque(compression_job.original(check), maxlen=0)
  rows = compression_page.write(
    config, workdir, job, done, decoding=decoding, data=data
  )
  return rows, part


def decompress(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  source: io.BufferedReader,
  signals: interruption.Interruption,
) -> tuple[list[report.Row], pathlib.Path]:
  """Decodes; the result is not yet in place."""
  header = container.read_header(source)
  least = header.blocks * container.LEAST_BLOCK
  if os.fstat(source.fileno()).st_size - source.tell() < least:
    raise errors.UserError(
      f"{config.input} says it holds {header.size:,} bytes in "
      f"{header.blocks:,} blocks and is shorter than these can be: it is "
      "damaged, or was not copied whole"
    )
  if not config.force:
    fingerprint.require_same(header.fingerprint)
  trained, weights = _trained(config.restore)
  if weights != header.weights:
    raise errors.UserError(
      f"{config.input} begins with "
      + (f"trained weights {header.weights[:12]}" if header.weights else "none")
      + f" and config.restore={config.restore!r} gives "
      + (weights[:12] or "none")
      + "; give the run it was compressed with"
    )
  _settle(workdir, header)
  area = workdir / _UNFINISHED
  job = compression_job.Job(
    header,
    building.build(header.settings, header.held, trained=trained),
    area / "decompress",
    area / "decoded.part",
    signals,
    config.save_every,
  )
  done = compression_job.decode(job, source, "decompressing")
  made = area / "decompressed.part"
  with atomic.writer(made) as file:
    file.writelines(compression_job.original(job))
  return compression_page.decoded(config, workdir, job, done), made


def _mapped(file: io.BufferedReader) -> np.ndarray:
  """The bytes of a file, uint8, without reading them."""
  size = os.fstat(file.fileno()).st_size
  return np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)


def _respell(least: int, source: io.BufferedReader, area: pathlib.Path) -> bool:
  """Writes the file with codes for words, where that makes it shorter."""
  source.seek(0)
  dictionary = words.choose(source, least=least)
  if dictionary is None:
    return False
  source.seek(0)
  with atomic.writer(area / _RESPELLED) as file:
    file.writelines(words.respell(source, dictionary))
    return file.tell() < os.fstat(source.fileno()).st_size


def _trained(restore: str) -> tuple[Any, str]:
  """Network and weights of an earlier run over bytes, and their SHA-256."""
  if not restore:
    return None, ""
  found = earlier_runs.reload(restore)
  network = byte_predictor.over_bytes(found.predictor, found.vocabulary.symbols)
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(found.params):
    digest.update(np.asarray(leaf).tobytes())
  return (network, found.params), digest.hexdigest()


def _require_place(
  config: config_dict.ConfigDict, workdir: pathlib.Path
) -> None:
  """Refuses an output that cannot or must not be written."""
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
  if config.input != _STANDARD and output.exists():
    with contextlib.suppress(OSError):
      if output.samefile(config.input):
        raise errors.UserError(
          f"config.input and config.output are both {config.output}; write to "
          "another file"
        )
  # A job that was stopped may have come as far as this: `_publish` looks.
  begun = (workdir / _UNFINISHED).exists()
  if output.exists() and not config.overwrite and not begun:
    raise errors.UserError(_exists(config.output))


@contextlib.contextmanager
def _input(name: str, area: pathlib.Path) -> Iterator[io.BufferedReader]:
  """The input as a file that can be read twice; a stream is kept first."""
  path = pathlib.Path(name)
  if name == _STANDARD or path.is_fifo():
    path = area / _INPUT
    if not path.exists():
      stream = sys.stdin.buffer if name == _STANDARD else open(name, "rb")  # noqa: SIM115
      with atomic.writer(path) as file:
        shutil.copyfileobj(stream, file, _CHUNK)
  try:
    with open(path, "rb") as file:
      yield file
  except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
    if error.filename != str(path):
      raise
    raise errors.UserError(
      f"config.input={name} cannot be read: {(error.strerror or '').lower()}"
    ) from error


def _settle(workdir: pathlib.Path, header: container.Header) -> None:
  """Keeps which bytes these are; refuses others on resuming."""
  path = workdir / "data.json"
  ours = {"size": header.size, "sha256": header.sha256}
  if path.is_file():
    theirs = json.loads(path.read_text(encoding="utf-8"))
    if theirs != ours:
      raise errors.UserError(
        f"the input is not the one that {workdir} was begun with "
        f"({theirs['size']:,} bytes, now {header.size:,}, or others); give "
        "another --workdir"
      )
  else:
    atomic.write_json(path, ours)


def _publish(made: pathlib.Path, config: config_dict.ConfigDict) -> None:
  """Puts the result in its place, whole."""
  output = config.output
  with open(made, "rb") as file:
    if output == _STANDARD:
      shutil.copyfileobj(file, sys.stdout.buffer, _CHUNK)
      sys.stdout.buffer.flush()
      return
    if pathlib.Path(output).exists() and not config.overwrite:
      # What an earlier start put there before it was killed may stay.
      if filecmp.cmp(made, output, shallow=False):
        return
      raise errors.UserError(_exists(output))
    with atomic.writer(output) as target:
      shutil.copyfileobj(file, target, _CHUNK)


def _exists(output: str) -> str:
  return (
    f"config.output={output} exists; write to another file, or over it with "
    "--config.overwrite=True"
  )
