"""One checkpoint on disk: arrays by orbax, and a record that vouches for them.

The folder is orbax's own (`ocp.load(folder)` opens it) with `checkpoint.json`
beside orbax's files. That record is written last and holds the step, the
caller's metadata, shape, dtype and SHA-256 of every leaf and of every file, and
a SHA-256 of itself. The whole appears under its name by one rename. Nothing is
pickled. This is the only module that knows orbax.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from seqmodels import errors
from seqmodels.io import atomic, checkpoint_arrays

FORMAT = 1
RECORD = "checkpoint.json"
INCOMPLETE = ".incomplete"
REPLACED = ".replaced"
REMOVED = ".removed"


class CorruptError(Exception):
  """A checkpoint that is not what was saved; the message says in what."""


@dataclasses.dataclass(frozen=True)
class Record:
  """The content of `checkpoint.json`.

  Attributes:
    step: training step of the state.
    meta: the caller's own JSON dict.
    leaves: description of every leaf by name.
    files: size and SHA-256 of every other file, by its path in the folder.
    prng: how random numbers were drawn (JAX's default implementation, and
      whether threefry is partitionable).
  """

  step: int
  meta: dict[str, Any]
  leaves: dict[str, checkpoint_arrays.Description]
  files: dict[str, tuple[int, str]]
  prng: dict[str, Any]

  @property
  def fingerprint(self) -> str:
    """SHA-256 of all that was saved, whatever the files are called."""
    return _sha256_json(self._document(with_files=False))

  def to_json(self) -> str:
    """The text of `checkpoint.json`."""
    document = self._document(with_files=True)
    document["sha256"] = _sha256_json(document)
    return json.dumps(document, indent=1) + "\n"

  @classmethod
  def from_json(cls, text: str) -> "Record":
    """Reads `checkpoint.json`.

    Raises:
      CorruptError: it is not what `to_json` wrote.
      errors.UserError: it is of a later format than this code knows.
    """
    try:
      document = json.loads(text)
      digest = document.pop("sha256")
      if digest != _sha256_json(document):
        raise CorruptError(f"{RECORD} does not match its own checksum")
      if document["format"] > FORMAT:
        raise errors.UserError(
          f"a checkpoint has format {document['format']}; this version reads"
          f" up to {FORMAT}: use the version of the code that wrote it"
        )
      return cls(
        step=document["step"],
        meta=document["meta"],
        leaves={
          name: checkpoint_arrays.Description(
            tuple(leaf["shape"]), leaf["dtype"], leaf["prng"], leaf["sha256"]
          )
          for name, leaf in document["leaves"].items()
        },
        files={
          name: (size, digest)
          for name, (size, digest) in document["files"].items()
        },
        prng=document["prng"],
      )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise CorruptError(f"{RECORD} is unreadable ({error})") from error
    except RecursionError as error:
      raise CorruptError(f"{RECORD} is nested too deeply") from error

  def _document(self, *, with_files: bool) -> dict[str, Any]:
    document = dataclasses.asdict(self) | {"format": FORMAT}
    if not with_files:
      del document["files"]
    return document


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
  record = Record(step, meta, descriptions, {}, prng)
  if _holds(folder, record.fingerprint):
    return
  staging = folder.with_name(folder.name + INCOMPLETE)
  with atomic.refusals(folder):
    remove_tree(staging)
    _save_arrays(staging, arrays)
    record = dataclasses.replace(record, files=_files(staging))
    atomic.write_text(staging / RECORD, record.to_json())
    _sync(staging)
    replaced = folder.with_name(folder.name + REPLACED)
    if folder.exists():
      remove_tree(replaced)
      os.rename(folder, replaced)
    os.rename(staging, folder)
    atomic.sync_folder(folder.parent)
    remove_tree(replaced)


def read_record(folder: pathlib.Path) -> Record:
  """The record of a checkpoint; its arrays are not looked at.

  Raises:
    CorruptError: the record is missing or not what was written.
  """
  try:
    text = (folder / RECORD).read_text(encoding="utf-8")
  except (OSError, ValueError) as error:
    raise CorruptError(f"{RECORD} cannot be read ({error})") from error
  return Record.from_json(text)


def load(
  folder: pathlib.Path, record: Record, names: Iterable[str]
) -> dict[str, np.ndarray]:
  """Host arrays of the named leaves, proven to be those that were saved.

  Raises:
    CorruptError: a file is missing, of another size or content, or an array
      differs from its fingerprint.
  """
  verify(folder, record)
  leaves = {name: record.leaves[name] for name in names}
  arrays, stored = {}, {}
  for name, leaf in leaves.items():
    shape, dtype = checkpoint_arrays.storage(leaf)
    if 0 in shape:
      arrays[name] = np.empty(shape, dtype)
    else:
      # One number, seen as the whole array: orbax reads shape and dtype only.
      stored[name] = np.broadcast_to(np.empty((), dtype), shape)
  if stored:
    arrays |= _load_arrays(folder, stored)
  for name, leaf in leaves.items():
    if checkpoint_arrays.sha256(arrays[name]) != leaf.sha256:
      raise CorruptError(f"{name} does not match its fingerprint")
  return arrays


def verify(folder: pathlib.Path, record: Record) -> None:
  """Compares every file with the record, before anything parses it.

  Raises:
    CorruptError: a file is missing, of another size or content.
  """
  try:
    found = _files(folder)
  except OSError as error:
    raise CorruptError(f"a file cannot be read ({error})") from error
  for name, (size, digest) in record.files.items():
    if name not in found:
      raise CorruptError(f"the file {name} is missing")
    if found[name][0] != size:
      raise CorruptError(
        f"the file {name} has {found[name][0]} bytes instead of {size}"
      )
    if found[name][1] != digest:
      raise CorruptError(f"the file {name} does not match its checksum")


def remove(folder: pathlib.Path) -> None:
  """Deletes a checkpoint; half deleted, it no longer bears its name."""
  removed = folder.with_name(folder.name + REMOVED)
  remove_tree(removed)
  os.rename(folder, removed)
  remove_tree(removed)


def clean(area: pathlib.Path) -> None:
  """Deletes from a folder of checkpoints what killed saves left behind."""
  for entry in sorted(area.iterdir()) if area.is_dir() else ():
    original, dot, _ = entry.name.partition(".")
    if not (original.isdecimal() and dot):
      continue
    if entry.name == original + REPLACED and not (area / original).exists():
      os.rename(entry, area / original)  # Killed between two renames.
    elif (
      entry.suffix in (INCOMPLETE, REPLACED, REMOVED) or "-tmp" in entry.name
    ):
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


def _save_arrays(folder: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  stored = {name: array for name, array in arrays.items() if array.size}
  context = ocp.Context()
  # The arrays are copies already. Weights hardly shrink, and the processor
  # has better work than to try: half the time for a tenth more disk.
  context.memory_options.deepcopy_host_arrays = False
  context.array_options.saving.use_compression = False
  with context:
    ocp.save(folder, _nest(stored))


def _load_arrays(
  folder: pathlib.Path, stored: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  context = ocp.Context()
  context.pytree_options.loading.partial_load = True
  try:
    with context:
      loaded = ocp.load(folder, _nest(stored))
    return {name: _at(loaded, name) for name in stored}
  except Exception as error:  # orbax and tensorstore raise any of a dozen
    raise CorruptError(f"orbax cannot read it ({error})") from error


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
    if path.is_file() and path != folder / RECORD:
      with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
      found[path.relative_to(folder).as_posix()] = path.stat().st_size, digest
  return found


def _holds(folder: pathlib.Path, fingerprint: str) -> bool:
  try:
    record = read_record(folder)
    verify(folder, record)
  except CorruptError:
    return False
  return record.fingerprint == fingerprint


def _sync(folder: pathlib.Path) -> None:
  """Makes all files and names below durable before the rename does."""
  for parent, _, files in os.walk(folder, topdown=False):
    for name in files:
      with open(os.path.join(parent, name), "rb") as file:
        os.fsync(file.fileno())
    atomic.sync_folder(pathlib.Path(parent))


def _sha256_json(document: Any) -> str:
  text = json.dumps(document, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()
