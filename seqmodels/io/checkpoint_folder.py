"""One checkpoint on disk: arrays by orbax, and a record that vouches for them.

The folder is orbax's own (`ocp.load(folder)` opens it) with `checkpoint.json`
beside orbax's files. That record is written last and holds the step, the
caller's metadata, shape, dtype and SHA-256 of every leaf and of every file, and
a SHA-256 of itself. The whole appears under its name by one rename. Nothing is
pickled. This is the only module that knows what orbax writes.
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
import pathlib
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as orbax
from orbax.checkpoint import v1 as ocp

from seqmodels.io import (
  atomic,
  checkpoint_arrays,
  checkpoint_record,
  json_file,
)

INCOMPLETE = ".incomplete"
REPLACED = ".replaced"
REMOVED = ".removed"
_ATTEMPTS = 3  # to save, where a clock jumped


def write(
  folder: pathlib.Path,
  step: int,
  leaves: Mapping[str, Any],
  meta: dict[str, Any],
  prng: dict[str, Any],
) -> None:
  """Saves leaves by name (what `checkpoint_arrays.copies` gave) as `folder`.

  An intact checkpoint of the same content is left alone; any other one there is
  replaced.

  Raises:
    errors.UserError, errors.RunError: as `atomic.write_bytes`.
  """
  arrays, descriptions = checkpoint_arrays.to_host(leaves)
  record = checkpoint_record.Record(step, meta, descriptions, {}, prng)
  if _holds(folder, record.fingerprint):
    return
  try:
    with atomic.refusals(folder):
      _commit(_stage(folder, arrays), folder, record)
  except BaseException:
    with contextlib.suppress(OSError):
      clean(folder)
    raise


def read_record(folder: pathlib.Path) -> checkpoint_record.Record:
  """The record of a checkpoint; its arrays are not looked at.

  Raises:
    checkpoint_record.CorruptError: it is missing or not what was written.
  """
  path = folder / checkpoint_record.NAME
  try:
    status = path.stat()
    # Opening a pipe would wait for somebody to write.
    if not stat.S_ISREG(status.st_mode) or status.st_size > json_file.LARGEST:
      raise ValueError("it is no regular file, or too large")
    text = path.read_text(encoding="utf-8")
  except (OSError, ValueError) as error:
    raise checkpoint_record.CorruptError(
      f"{path.name} cannot be read ({error})"
    ) from error
  record = checkpoint_record.Record.from_json(text)
  if str(record.step) != folder.name:
    raise checkpoint_record.CorruptError(f"it holds step {record.step}")
  return record


def load(
  folder: pathlib.Path, record: checkpoint_record.Record, names: Iterable[str]
) -> dict[str, np.ndarray]:
  """Host arrays of the named leaves, proven to be those that were saved.

  Raises:
    checkpoint_record.CorruptError: a file is missing, of another size or
      content, or an array differs from its fingerprint.
  """
  verify(folder, record)
  leaves = {name: record.leaves[name] for name in names}
  arrays, stored = {}, {}
  for name, leaf in leaves.items():
    try:
      shape, dtype = checkpoint_arrays.storage(leaf)
    except (TypeError, ValueError) as error:
      raise checkpoint_record.CorruptError(
        f"{name} is of no kind that can be stored ({error})"
      ) from error
    if 0 in shape:
      arrays[name] = np.empty(shape, dtype)
    else:
      # One number, seen as the whole array: orbax reads shape and dtype only.
      stored[name] = np.broadcast_to(np.empty((), dtype), shape)
  if stored:
    arrays |= _load_arrays(folder, stored)
  for name, leaf in leaves.items():
    if checkpoint_arrays.sha256(arrays[name]) != leaf.sha256:
      raise checkpoint_record.CorruptError(
        f"{name} does not match its fingerprint"
      )
  return arrays


def verify(folder: pathlib.Path, record: checkpoint_record.Record) -> None:
  """Compares every file with the record, before anything parses it.

  Raises:
    checkpoint_record.CorruptError: one is missing, of another size or content.
  """
  try:
    found = _files(folder)
  except OSError as error:
    raise checkpoint_record.CorruptError(
      f"a file cannot be read ({error})"
    ) from error
  for name, (size, digest) in record.files.items():
    if name not in found:
      raise checkpoint_record.CorruptError(f"the file {name} is missing")
    if found[name][0] != size:
      raise checkpoint_record.CorruptError(
        f"the file {name} has {found[name][0]} bytes instead of {size}"
      )
    if found[name][1] != digest:
      raise checkpoint_record.CorruptError(
        f"the file {name} does not match its checksum"
      )


def remove(folder: pathlib.Path) -> None:
  """Deletes a checkpoint; half deleted, it no longer bears its name."""
  removed = folder.with_name(folder.name + REMOVED)
  remove_tree(removed)
  os.rename(folder, removed)
  remove_tree(removed)


def clean(folder: pathlib.Path) -> None:
  """Deletes what a save or deletion of this checkpoint left half done."""
  replaced = folder.with_name(folder.name + REPLACED)
  if replaced.exists() and not folder.exists():
    os.rename(replaced, folder)  # Killed between the two renames of `write`.
  for suffix in (INCOMPLETE, REPLACED, REMOVED):
    for entry in folder.parent.glob(folder.name + suffix + "*"):
      remove_tree(entry)


def remove_tree(folder: pathlib.Path) -> None:
  """Deletes a folder with all in it, if it is there."""
  if folder.exists():
    shutil.rmtree(folder)


def randomness() -> dict[str, Any]:
  """How this process draws random numbers from a key."""
  return {
    "default": jax.config.jax_default_prng_impl,  # type: ignore[attr-defined]
    "partitionable": jax.config.jax_threefry_partitionable,  # type: ignore[attr-defined]
  }


def _commit(
  staging: pathlib.Path,
  folder: pathlib.Path,
  record: checkpoint_record.Record,
) -> None:
  """Adds the record, and makes all of it durable before it is renamed."""
  record = dataclasses.replace(record, files=_files(staging))
  atomic.write_text(staging / checkpoint_record.NAME, record.to_json())
  for parent, _, files in os.walk(staging, topdown=False):
    for name in files:
      with open(os.path.join(parent, name), "rb") as file:
        os.fsync(file.fileno())
    atomic.sync_folder(pathlib.Path(parent))
  replaced = folder.with_name(folder.name + REPLACED)
  if folder.exists():
    os.rename(folder, replaced)
  os.rename(staging, folder)
  atomic.sync_folder(folder.parent)
  remove_tree(replaced)


def _stage(folder: pathlib.Path, arrays: dict[str, np.ndarray]) -> pathlib.Path:
  """Saves arrays beside `folder`, under the name that is returned."""
  for attempt in range(_ATTEMPTS):
    staging = folder.with_name(f"{folder.name}{INCOMPLETE}{attempt or ''}")
    remove_tree(staging)
    try:
      _save_arrays(staging, arrays)
    except TimeoutError:
      # Orbax goes by the clock on the wall: a jump looks like a long wait.
      if attempt + 1 == _ATTEMPTS:
        raise
    else:
      break
  return staging


def _save_arrays(folder: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  stored = {name: array for name, array in arrays.items() if array.size}
  context = _context()
  # Writers that run ahead of the folder's creation have it removed again, with
  # what they wrote in it; this is a background thread as it is.
  context.async_options.create_directories_asynchronously = False
  # The arrays are copies already. Weights hardly shrink, and the processor
  # has better work than to try: half the time for a tenth more disk.
  context.memory_options.deepcopy_host_arrays = False
  context.array_options.saving.use_compression = False
  save = ocp.save if jax.process_count() == 1 else _save_alone
  try:
    with context:
      save(folder, _nest(stored))
  except ValueError as error:
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if not code:
      raise
    raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def _save_alone(folder: pathlib.Path, tree: dict[str, Any]) -> None:
  """As `ocp.save`, which would have all processes agree on the folder first."""
  here = jax.process_index()
  alone = orbax.options.MultiprocessingOptions(
    primary_host=here,
    active_processes={here},
    barrier_sync_key_prefix=f"process{here}",
  )
  handler = orbax.CompositeCheckpointHandler(
    state=orbax.PyTreeCheckpointHandler(
      use_compression=False, multiprocessing_options=alone
    ),
    composite_options=orbax.CompositeOptions(multiprocessing_options=alone),
  )
  with orbax.Checkpointer(handler, multiprocessing_options=alone) as writer:
    writer.save(folder, orbax.args.Composite(state=orbax.args.PyTreeSave(tree)))


def _load_arrays(
  folder: pathlib.Path, stored: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  context = _context()
  context.pytree_options.loading.partial_load = True
  try:
    with context:
      loaded = ocp.load(folder, _nest(stored))
    return {name: _at(loaded, name) for name in stored}
  except Exception as error:  # orbax and tensorstore raise any of a dozen
    # They tell of all that they were asked, by the thousand characters.
    raise checkpoint_record.CorruptError(
      f"orbax cannot read it ({error!s:.200})"
    ) from error


def _context() -> Any:
  """Settings of orbax: this process works by itself, whoever is beside it."""
  logging.getLogger("absl").addFilter(_not_raised_by_orbax)
  context = ocp.Context()
  if jax.process_count() > 1:
    here = jax.process_index()
    context.multiprocessing_options.primary_host = here
    context.multiprocessing_options.active_processes = {here}
    context.multiprocessing_options.barrier_sync_key_prefix = f"process{here}"
  return context


def _not_raised_by_orbax(entry: logging.LogRecord) -> bool:
  """False for the tracebacks that orbax logs of errors it also raises."""
  return not (entry.exc_info and "orbax" in entry.pathname)


def _nest(named: dict[str, np.ndarray]) -> dict[str, Any]:
  """{"a/b": x} as {"a": {"b": x}}, as other programs expect parameters."""
  if len({name.replace("/", ".") for name in named}) < len(named):
    raise ValueError(f"orbax cannot tell these names apart: {list(named)}")
  tree: dict[str, Any] = {}
  for name, leaf in named.items():
    *path, last = name.split("/")
    node = tree
    for part in path:
      node = node.setdefault(part, {})
    node[last] = leaf
  return tree


def _at(tree: Any, name: str) -> np.ndarray:
  for part in name.split("/"):
    tree = tree[part]
  return np.ascontiguousarray(tree).reshape(np.shape(tree))


def _files(folder: pathlib.Path) -> dict[str, tuple[int, str]]:
  """Size and SHA-256 of every file but the record, by its path inside."""
  found = {}
  for path in sorted(folder.rglob("*")):
    if path.is_file() and path != folder / checkpoint_record.NAME:
      with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
      found[path.relative_to(folder).as_posix()] = path.stat().st_size, digest
  return found


def _holds(folder: pathlib.Path, fingerprint: str) -> bool:
  try:
    record = read_record(folder)
    verify(folder, record)
  except checkpoint_record.CorruptError:
    return False
  return record.fingerprint == fingerprint
