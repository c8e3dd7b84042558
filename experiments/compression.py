"""A file made smaller, and the same bytes again."""

import collections
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from experiments import (
  compression_files,
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
)
from seqmodels.compression import settings as settings_lib
from seqmodels.io import atomic, interruption, json_file, report

# Folders of the run folder: what only a stopped job needs, and its remains.
_UNFINISHED = "checkpoints"
_FINISHED = "checkpoints.done"


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
  fingerprint.require_repeatable()
  area, done = workdir / _UNFINISHED, workdir / _FINISHED
  begun = area.exists() or done.exists()
  compression_files.require_place(config, begun=begun)
  area.mkdir(exist_ok=True)
  with (
    interruption.Interruption() as signals,
    compression_files.opened(config.input, area / "input", signals) as source,
  ):
    do = compress if config.direction == "compress" else decompress
    made, page = do(config, workdir, source, signals)
    compression_files.publish(made, config)
    rows = page()
  # In one stroke: a folder half removed could not be gone on with.
  shutil.rmtree(done, ignore_errors=True)
  area.rename(done)
  shutil.rmtree(done, ignore_errors=True)
  return rows


def require_finished(config: config_dict.ConfigDict) -> None:
  """Refuses to call a run finished whose output is not there any more.

  Raises:
    UserError: says what to do.
  """
  gone = config.output == "-" or not pathlib.Path(config.output).exists()
  if gone:
    raise errors.UserError(
      f"this run is finished and its output {config.output!r} is no longer "
      "there; give another --workdir to make it again"
    )


# What is left to do once the output is in its place.
Page = Callable[[], list[report.Row]]


def compress(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  source: io.BufferedReader,
  signals: interruption.Interruption,
) -> tuple[pathlib.Path, Page]:
  """Codes and verifies; the result is not yet in place."""
  given = {**config.model.to_dict(), "seed": config.seed}
  settings = settings_lib.Settings.of(given)
  trained, weights = _trained(config.restore)
  sha256 = hashlib.file_digest(source, "sha256").hexdigest()
  data = compression_files.mapped(source)
  header = container.Header(
    size=len(data),
    sha256=sha256,
    settings=settings,
    fingerprint=fingerprint.current(),
    weights=weights,
    preset=config.preset,
  )
  _settle(workdir, header)
  area = workdir / _UNFINISHED
  held = data
  # A trained network knows words as they are spelled.
  if config.words and not trained:
    found = compression_files.respelled(
      config.words, source, area / "respelled", signals
    )
    if found is not None:
      held, header = found, dataclasses.replace(header, respelled=len(found))
  job = compression_job.Job(
    header,
    building.build(settings, header.held, trained=trained),
    area / "compress",
    area / "compressed.part",
    signals,
    config.save_every,
  )
  done = compression_job.code(job, held)
  decoding = None
  if config.verify:
    check = job._replace(area=area / "verify", part=area / "verified.part")
    with open(job.part, "rb") as file:
      container.read_header(file)
      decoding = compression_job.decode(check, file, "verifying").seconds
    collections.deque(compression_job.original(check), maxlen=0)
  page = functools.partial(
    compression_page.write,
    config, workdir, job, done, decoding=decoding, data=data,
  )  # fmt: skip
  return job.part, page


def decompress(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  source: io.BufferedReader,
  signals: interruption.Interruption,
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
  page = functools.partial(
    compression_page.decoded, config, workdir, header, done, size
  )
  return made, page


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


def _settle(workdir: pathlib.Path, header: container.Header) -> None:
  """Keeps which bytes these are, and where; refuses others on resuming."""
  path = workdir / "data.json"
  ours = {
    "size": header.size,
    "sha256": header.sha256,
    "weights": header.weights,
    "machine": fingerprint.current(),
  }
  if not path.is_file():
    atomic.write_json(path, ours)
    return
  theirs = json_file.read(path, sha256=str, weights=str, machine=dict)
  what = {
    "the input": theirs.get("sha256") == ours["sha256"],
    "config.restore": theirs.get("weights") == ours["weights"],
    "the machine, or a release of what predicts on it,": (
      theirs.get("machine") == ours["machine"]
    ),
  }
  for name, same in what.items():
    if not same:
      raise errors.UserError(
        f"{name} is not the one that {workdir} was begun with; give another "
        "--workdir to begin again"
      )
