"""Checkpoints of a run: the newest states, and the best parameters so far.

A run folder holds `checkpoints/latest/STEP`, whole training states to resume
from, and `checkpoints/best/STEP`, parameters to use. Each is orbax's own folder
(`ocp.load(folder)` opens it) with a record, `checkpoint.json`, beside orbax's
files. The record is written last and holds the step, the caller's metadata,
shape, dtype and SHA-256 of every leaf and of every file, and a SHA-256 of
itself. The whole folder appears under its name by one rename. Nothing is
pickled. This is the only module that knows what orbax writes.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as orbax
from orbax.checkpoint import v1 as ocp

from seqmodels import errors, trees
from seqmodels.io import checkpoint_integrity, distributed, files, progress
from seqmodels.io.checkpoint_integrity import CorruptError, Record

Tree = Any

INCOMPLETE = ".incomplete"
REPLACED = ".replaced"
REMOVED = ".removed"
CORRUPT = ".corrupt"
_ATTEMPTS = 3  # to save, if a clock jumped
# Saves that may wait to be written, each a copy of the state in memory.
_BACKLOG = 2


def write_folder(
  folder: pathlib.Path,
  step: int,
  leaves: Mapping[str, Any],
  meta: dict[str, Any],
  prng: dict[str, Any],
) -> None:
  """Saves leaves by name, from `checkpoint_integrity.copies`, as `folder`.

  An intact checkpoint of the same content is left alone; any other is replaced.

  Raises:
    errors.UserError, errors.RunError: as `files.write_bytes`.
  """
  arrays, descriptions = checkpoint_integrity.to_host(leaves)
  record = Record(step, meta, descriptions, {}, prng)
  if _holds(folder, record.fingerprint):
    return
  try:
    with files.os_errors_as_user_errors(folder):
      _commit(_stage(folder, arrays), folder, record)
  except BaseException:
    with contextlib.suppress(OSError):
      clean_folder(folder)
    raise


def read_record(folder: pathlib.Path) -> Record:
  """The record of a checkpoint, without its arrays.

  Raises:
    CorruptError: it is missing or not what was written.
  """
  path = folder / checkpoint_integrity.NAME
  try:
    text = files.read_bytes(path).decode("utf-8")
  except (OSError, ValueError) as error:
    raise CorruptError(f"{path.name} cannot be read ({error})") from error
  record = Record.from_json(text)
  if str(record.step) != folder.name:
    raise CorruptError(f"it holds step {record.step}")
  return record


def load_folder(
  folder: pathlib.Path,
  record: Record,
  names: Iterable[str],
) -> dict[str, np.ndarray]:
  """Host arrays of the named leaves, checked against the record.

  Raises:
    CorruptError: as of `verify`, or an array differs from its fingerprint.
  """
  verify(folder, record)
  leaves = {name: record.leaves[name] for name in names}
  arrays, stored = {}, {}
  for name, leaf in leaves.items():
    try:
      shape, dtype = checkpoint_integrity.storage(leaf)
    except (TypeError, ValueError) as error:
      raise CorruptError(
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
    if checkpoint_integrity.sha256(arrays[name]) != leaf.sha256:
      raise CorruptError(f"{name} does not match its fingerprint")
  return arrays


def verify(folder: pathlib.Path, record: Record) -> None:
  """Compares every file with the record, before anything parses it.

  Raises:
    CorruptError: one is missing, of another size or content.
  """
  try:
    present = _files(folder)
  except OSError as error:
    raise CorruptError(f"a file cannot be read ({error})") from error
  for name, (size, digest) in record.files.items():
    if name not in present:
      raise CorruptError(f"the file {name} is missing")
    if present[name][0] != size:
      raise CorruptError(
        f"the file {name} has {present[name][0]} bytes instead of {size}"
      )
    if present[name][1] != digest:
      raise CorruptError(f"the file {name} does not match its checksum")


def remove_folder(folder: pathlib.Path) -> None:
  """Deletes a checkpoint, renamed first so that none is seen half deleted."""
  removed = folder.with_name(folder.name + REMOVED)
  remove_tree(removed)
  os.rename(folder, removed)
  remove_tree(removed)


def clean_folder(folder: pathlib.Path) -> None:
  """Deletes what an unfinished save or deletion of a checkpoint left."""
  replaced = folder.with_name(folder.name + REPLACED)
  # A kill came between the two renames of `_commit`.
  if replaced.exists() and not folder.exists():
    os.rename(replaced, folder)
  for suffix in (INCOMPLETE, REPLACED, REMOVED):
    for entry in folder.parent.glob(folder.name + suffix + "*"):
      remove_tree(entry)


def remove_tree(folder: pathlib.Path) -> None:
  """Deletes a folder and its content, if it exists."""
  if folder.exists():
    shutil.rmtree(folder)


def randomness() -> dict[str, Any]:
  """Settings that decide which random numbers JAX draws from a key."""
  return {
    "default": jax.config.jax_default_prng_impl,  # type: ignore[attr-defined]
    "partitionable": jax.config.jax_threefry_partitionable,  # type: ignore[attr-defined]
  }


def _commit(
  staging: pathlib.Path,
  folder: pathlib.Path,
  record: Record,
) -> None:
  """Adds the record, and renames the folder once all of it is durable."""
  record = dataclasses.replace(record, files=_files(staging))
  files.write_text(staging / checkpoint_integrity.NAME, record.to_json())
  for parent, _, names in os.walk(staging, topdown=False):
    for name in names:
      with open(os.path.join(parent, name), "rb") as file:
        os.fsync(file.fileno())
    files.sync_folder(pathlib.Path(parent))
  replaced = folder.with_name(folder.name + REPLACED)
  if folder.exists():
    os.rename(folder, replaced)
  os.rename(staging, folder)
  files.sync_folder(folder.parent)
  remove_tree(replaced)


def _stage(folder: pathlib.Path, arrays: dict[str, np.ndarray]) -> pathlib.Path:
  """Saves arrays beside `folder`; returns where."""
  for attempt in range(_ATTEMPTS):
    staging = folder.with_name(f"{folder.name}{INCOMPLETE}{attempt or ''}")
    remove_tree(staging)
    try:
      _save_arrays(staging, arrays)
    except TimeoutError:
      # Orbax uses the wall clock, whose jumps look like a long wait.
      if attempt + 1 == _ATTEMPTS:
        raise
    else:
      break
  return staging


def _save_arrays(folder: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  stored = {name: array for name, array in arrays.items() if array.size}
  context = _context()
  # Otherwise writers ahead of the folder's creation have it removed again, with
  # what they wrote. This is a background thread anyway.
  context.async_options.create_directories_asynchronously = False
  # The arrays are copies already. Weights hardly compress: this takes half the
  # time for a tenth more disk.
  context.memory_options.deepcopy_host_arrays = False
  context.array_options.saving.use_compression = False
  save = ocp.save if jax.process_count() == 1 else _save_alone
  try:
    with context, _plainly_named(folder) as path:
      save(path, _nest(stored))
  except ValueError as error:
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if not code:
      raise
    raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def _save_alone(folder: pathlib.Path, tree: dict[str, Any]) -> None:
  """As `ocp.save`, but without synchronising all processes first."""
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
    with context, _plainly_named(folder) as path:
      loaded = ocp.load(path, _nest(stored))
    return {name: _at(loaded, name) for name in stored}
  except Exception as error:  # orbax and tensorstore raise any of a dozen
    # Their messages repeat the whole request, thousands of characters.
    raise CorruptError(f"orbax cannot read it ({error!s:.200})") from error


@contextlib.contextmanager
def _plainly_named(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder by a path that orbax takes for nothing else.

  It reads brackets and backslashes as patterns of names, and `gs:/` as an
  address. Such a path is replaced by one through a link.
  """
  path = folder.absolute()
  if not re.search(r"[\[\\]|:/", str(path)):
    yield path
    return
  with tempfile.TemporaryDirectory() as place:
    link = pathlib.Path(place) / "link"
    link.symlink_to(path.parent)
    yield link / path.name


def _context() -> Any:
  """Settings of orbax: this process works without the others."""
  logging.getLogger("absl").addFilter(_not_raised_by_orbax)
  context = ocp.Context()
  if jax.process_count() > 1:
    here = jax.process_index()
    context.multiprocessing_options.primary_host = here
    context.multiprocessing_options.active_processes = {here}
    context.multiprocessing_options.barrier_sync_key_prefix = f"process{here}"
  return context


def _not_raised_by_orbax(entry: logging.LogRecord) -> bool:
  """False for tracebacks that orbax logs of errors which it also raises."""
  return not (entry.exc_info and "orbax" in entry.pathname)


def _nest(named: dict[str, np.ndarray]) -> dict[str, Any]:
  """{"a/b": x} as {"a": {"b": x}}, as other programs expect parameters."""
  if len({name.replace("/", ".") for name in named}) < len(named):
    raise ValueError(f"orbax cannot tell these names apart: {list(named)}")
  tree: dict[str, Any] = {}
  for name, leaf in named.items():
    *path, last = name.split("/")
    node = tree
    for key in path:
      node = node.setdefault(key, {})
    node[last] = leaf
  return tree


def _at(tree: Any, name: str) -> np.ndarray:
  for key in name.split("/"):
    tree = tree[key]
  return np.ascontiguousarray(tree).reshape(np.shape(tree))


def _files(folder: pathlib.Path) -> dict[str, tuple[int, str]]:
  """Size and SHA-256 of every file but the record, by its path inside."""
  present = {}
  for path in sorted(folder.rglob("*")):
    if path.is_file() and path != folder / checkpoint_integrity.NAME:
      with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
      name = path.relative_to(folder).as_posix()
      present[name] = path.stat().st_size, digest
  return present


def _holds(folder: pathlib.Path, fingerprint: str) -> bool:
  try:
    record = read_record(folder)
    verify(folder, record)
  except CorruptError:
    return False
  return record.fingerprint == fingerprint


class Found(NamedTuple):
  """An intact checkpoint, its arrays on the host.

  Attributes:
    record: of the checkpoint.
    arrays: of the requested leaves, by name without the prefix.
    corrupt: steps of the corrupt checkpoints after it.
  """

  record: Record
  arrays: dict[str, np.ndarray]
  corrupt: list[int]


def steps_in(area: pathlib.Path) -> list[int]:
  """Steps of the complete checkpoints, oldest first, intact or not.

  Raises:
    errors.UserError: the folder exists and may not be read.
  """
  return sorted(int(name) for name in _names(area) if name.isdecimal())


def newest_in(
  area: pathlib.Path, target: Tree, prefix: str = ""
) -> Found | None:
  """The newest intact checkpoint; None if none was ever saved.

  Args:
    area: folder of checkpoints.
    target: tree of arrays or ShapeDtypeStructs to be filled.
    prefix: of the names of the leaves to read; `target` is without it.

  Raises:
    errors.UserError: the saved tree differs from `target`.
    errors.RunError: none is intact.
  """
  corrupt: list[int] = []
  reasons: list[str] = []
  aside = [name for name in _names(area) if name.endswith(CORRUPT)]
  if not steps_in(area) and not aside:
    return None
  for step in reversed(steps_in(area)):
    try:
      record, arrays = _read(area / str(step), target, prefix)
    except CorruptError as error:
      corrupt.append(step)
      reasons.append(f"step {step}: {error}")
      continue
    if corrupt:
      warnings.warn(
        f"passed over corrupt checkpoints in {area} ({'; '.join(reasons)});"
        f" step {step} is used instead",
        stacklevel=6,
      )
    return Found(record, arrays, corrupt)
  raise _all_corrupt(area, reasons or aside)


def leaves_in(
  record: Record, prefix: str = ""
) -> dict[str, checkpoint_integrity.Description]:
  """The leaves whose names begin with `prefix`, named without it."""
  return {
    name.removeprefix(prefix): leaf
    for name, leaf in record.leaves.items()
    if name.startswith(prefix)
  }


def area_meta(area: pathlib.Path) -> tuple[int, dict[str, Any]]:
  """Step and metadata of the newest checkpoint whose record is readable.

  Raises:
    errors.RunError: none is readable.
  """
  reasons = []
  for step in reversed(steps_in(area)):
    try:
      return step, read_record(area / str(step)).meta
    except CorruptError as error:
      reasons.append(f"step {step}: {error}")
  raise _all_corrupt(area, reasons)


def set_aside(area: pathlib.Path, corrupt: Collection[int]) -> None:
  """Renames corrupt checkpoints: they are no longer read or counted."""
  with files.os_errors_as_user_errors(area):
    for step in corrupt:
      aside = area / f"{step}{CORRUPT}"
      remove_tree(aside)
      os.rename(area / str(step), aside)


def keep_only(area: pathlib.Path, steps: Collection[int]) -> None:
  """Deletes the checkpoints of all steps but these."""
  with files.os_errors_as_user_errors(area):
    for step in steps_in(area):
      if step not in steps:
        remove_folder(area / str(step))


def clean_area(area: pathlib.Path) -> None:
  """Deletes what killed saves and deletions left."""
  with files.os_errors_as_user_errors(area):
    for step in {name.partition(".")[0] for name in _names(area)}:
      if step.isdecimal():
        clean_folder(area / step)


def _read(
  folder: pathlib.Path, target: Tree, prefix: str
) -> tuple[Record, dict[str, np.ndarray]]:
  record = read_record(folder)
  leaves = leaves_in(record, prefix)
  notes = trees.differences(target, leaves)
  if notes:
    raise errors.UserError(
      f"the checkpoint {folder} is of another model or optimizer:"
      f" {'; '.join(notes)}; use the configuration it was saved with or a new"
      " --workdir"
    )
  arrays = load_folder(folder, record, [prefix + name for name in leaves])
  now = randomness()
  if not prefix and record.prng != now:
    warnings.warn(
      f"{folder} was saved with random numbers drawn as {record.prng}, now"
      f" they are drawn as {now}: what follows will differ from an"
      " uninterrupted run",
      stacklevel=6,
    )
  return record, {n.removeprefix(prefix): a for n, a in arrays.items()}


def _names(area: pathlib.Path) -> list[str]:
  try:
    return [entry.name for entry in area.iterdir() if entry.is_dir()]
  except FileNotFoundError:
    return []
  except OSError as error:
    raise errors.UserError(
      f"cannot read the checkpoints in {area}: {error.strerror}; make it a"
      " folder that you may read"
    ) from error


def _all_corrupt(area: pathlib.Path, reasons: list[str]) -> errors.RunError:
  return errors.RunError(
    f"every checkpoint in {area} is corrupt ({'; '.join(reasons)}); restore"
    " the folder from a copy, or delete it to start afresh"
  )


class Restored(NamedTuple):
  """A restored tree with its step and metadata."""

  step: int
  tree: Tree
  meta: dict[str, Any]


class Checkpoints:
  """Saves in the background, keeps the newest and the best, reads them back.

  Use it as a context manager or call `close`: a process that ends without it
  may lose the unfinished save (never an earlier one). A failed write is raised
  as errors.RunError by the next call.

  With several processes all make the same calls; only the first writes, reads
  and sees failures, and the others get what it has read.

  Args:
    directory: the `checkpoints` folder of a run; made when first written to.
    keep: the number of newest states to keep.

  >>> import tempfile
  >>> import jax.numpy as jnp
  >>> state = {"params": {"bias": jnp.ones(3)}}
  >>> with Checkpoints(tempfile.mkdtemp()) as checkpoints:
  ...   checkpoints.save(12, state, {"best": 1.5})
  ...   step, tree, meta = checkpoints.restore_latest(state)
  >>> step, tree["params"]["bias"], meta
  (12, Array([1., 1., 1.], dtype=float32), {'best': 1.5})
  """

  def __init__(self, directory: str | os.PathLike, *, keep: int = 2):
    if keep < 1:
      raise errors.UserError(
        f"checkpoints to keep is {keep}; it must be at least 1"
      )
    self.directory = pathlib.Path(directory).absolute()
    self._keep = keep
    self._latest = self.directory / "latest"
    self._best = self.directory / "best"
    self._writer = concurrent.futures.ThreadPoolExecutor(
      1, thread_name_prefix="checkpoints"
    )
    self._pending: collections.deque[concurrent.futures.Future[None]] = (
      collections.deque()
    )
    self._cleaned = False

  def save(self, step: int, state: Tree, meta: dict[str, Any]) -> None:
    """Saves a whole training state; returns once copies are dispatched.

    The caller may donate the state at once. Saving a step again replaces it,
    or does nothing if state and metadata are the same.

    Args:
      step: of the state, at least 0.
      state: pytree of arrays, numbers and typed random keys.
      meta: JSON dict, copied; readable without the state.

    Raises:
      errors.RunError: an earlier write failed (each failure is raised once).
      errors.UserError: the folder may not be written.
      TypeError: a leaf or the metadata cannot be saved.
    """
    self._submit(self._latest, step, state, meta)

  def save_best(self, step: int, params: Tree, meta: dict[str, Any]) -> None:
    """Saves parameters as the best so far, as the caller has decided.

    Otherwise as `save`.
    """
    self._submit(self._best, step, params, meta)

  @progress.spending("saving")
  def wait(self) -> None:
    """Returns when all is on disk; raises errors.RunError if a write failed."""
    self._settle(0)

  def close(self) -> None:
    """Waits, as `wait` does, and ends the background thread."""
    try:
      self.wait()
    finally:
      self._writer.shutdown()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, kind: object, error: BaseException | None, _: Any) -> None:
    try:
      self.close()
    except errors.RunError as failure:
      if error is None:
        raise
      error.add_note(str(failure))  # The first error is the one to show.

  @property
  def latest_steps(self) -> list[int]:
    """Steps of the saved states, oldest first, whether intact or not."""
    return steps_in(self._latest)

  @property
  def best_steps(self) -> list[int]:
    """Steps of the saved best parameters, oldest first."""
    return steps_in(self._best)

  def restore_latest(self, target: Tree) -> Restored | None:
    """The newest intact state, or None if none was ever saved.

    Leftovers of killed saves are removed. A corrupt state is skipped with a
    warning and renamed to STEP.corrupt once an older one has been read.

    Args:
      target: tree like the saved one, of arrays or ShapeDtypeStructs; a leaf is
        restored with its sharding, if it has one.

    Raises:
      errors.UserError: the saved tree differs from `target`; every difference
        in names, shapes and dtypes is listed. Nothing is cast.
      errors.RunError: states were saved and all are corrupt.
    """
    return self._restore(self._latest, target)

  def restore_best(self, target: Tree) -> Restored | None:
    """The newest intact best parameters; otherwise as `restore_latest`."""
    return self._restore(self._best, target)

  def read_meta(self) -> tuple[int, dict[str, Any]] | None:
    """Step and metadata of the newest state with a readable record, or None."""
    self.wait()
    return area_meta(self._latest) if self.latest_steps else None

  def rewind(self, step: int) -> None:
    """Deletes states of later steps than the one at which a run resumes.

    Runs that are trained together need a step that all of them have.
    """
    self._delete_after(self._latest, step)

  def discard_after(self, step: int) -> None:
    """Deletes best parameters of later steps than the one of a resumed run.

    They would make it differ from a run that was never interrupted.
    """
    self._delete_after(self._best, step)

  def _delete_after(self, area: pathlib.Path, step: int) -> None:
    self.wait()
    if distributed.is_primary():
      keep_only(area, [saved for saved in steps_in(area) if saved <= step])

  @progress.spending("saving")
  def _submit(
    self, area: pathlib.Path, step: int, tree: Tree, meta: dict[str, Any]
  ) -> None:
    if step < 0:
      raise ValueError(f"step is {step}; it must be at least 0")
    self._settle(_BACKLOG - 1)
    leaves = checkpoint_integrity.copies(tree)
    if not distributed.is_primary():
      return
    self._clean()
    with files.os_errors_as_user_errors(area):
      area.mkdir(parents=True, exist_ok=True)
    meta, prng = json.loads(json.dumps(meta)), randomness()

    def write() -> None:
      write_folder(area / str(step), step, leaves, meta, prng)
      self._prune()

    self._pending.append(self._writer.submit(write))

  def _prune(self) -> None:
    """Deletes checkpoints that newer ones have replaced."""
    latest = self.latest_steps[-self._keep :]
    keep_only(self._latest, latest)
    # The newest best, and the one that was best at each of these states, so
    # that a run that resumes from an older state finds the best of its past.
    best = self.best_steps
    ends = [*latest, float("inf")]
    needed = {
      max(seen) for end in ends if (seen := [b for b in best if b <= end])
    }
    keep_only(self._best, needed)

  def _settle(self, allowed: int) -> None:
    """Waits until at most `allowed` writes are pending; raises failures."""
    while self._pending and (
      len(self._pending) > allowed or self._pending[0].done()
    ):
      concurrent.futures.wait([self._pending[0]])
      try:
        self._pending.popleft().result()
      except errors.UserError as error:
        raise errors.RunError(f"a checkpoint was not saved: {error}") from error
      except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise errors.RunError(
          f"a checkpoint in {self.directory} was not saved: {reason[0]};"
          " earlier ones are intact; run the command again to continue"
        ) from error

  def _clean(self) -> None:
    if not self._cleaned:
      clean_area(self._latest)
      clean_area(self._best)
      self._cleaned = True

  @progress.spending("restoring")
  def _restore(self, area: pathlib.Path, target: Tree) -> Restored | None:
    self.wait()
    arrays: dict[str, np.ndarray] = {}

    def read() -> str | None:
      self._clean()
      newest = newest_in(area, target)
      if newest is None:
        return None
      set_aside(area, newest.corrupt)
      if area == self._latest:
        self._prune()  # A kill may have come between a write and this.
      arrays.update(newest.arrays)
      return newest.record.to_json()

    text = distributed.on_primary(read)
    if text is None:
      return None
    record = Record.from_json(text)
    stored = {
      name: jax.ShapeDtypeStruct(*checkpoint_integrity.storage(leaf))
      for name, leaf in record.leaves.items()
    }
    arrays = distributed.broadcast(arrays, stored)
    tree = checkpoint_integrity.rebuild(target, arrays, record.leaves)
    return Restored(record.step, tree, record.meta)


@progress.spending("restoring")
def restore_params(run_dir: str | os.PathLike, target: Tree) -> Restored:
  """The best parameters of another run, read without changing its folder.

  Those of its newest state if none were ever saved as the best.

  Args:
    run_dir: a run folder, the `--workdir` of a training command.
    target: parameter tree of arrays or ShapeDtypeStructs.

  Raises:
    errors.UserError: no run folder, no checkpoint in it, or one that differs
      from `target`; every difference is listed.
    errors.RunError: all such checkpoints are corrupt.
  """
  area, prefix = _for_use(run_dir)
  newest = newest_in(area, target, prefix)
  if newest is None:
    raise _no_checkpoint(area.parent.parent)
  record = newest.record
  leaves = leaves_in(record, prefix)
  tree = checkpoint_integrity.rebuild(target, newest.arrays, leaves)
  return Restored(record.step, tree, record.meta)


def read_meta(run_dir: str | os.PathLike) -> tuple[int, dict[str, Any]]:
  """Step and metadata of what `restore_params` reads, without reading arrays.

  Raises:
    errors.UserError: no run folder, or no checkpoint in it.
    errors.RunError: no record there is readable.
  """
  area, _ = _for_use(run_dir)
  return area_meta(area)


def _for_use(run_dir: str | os.PathLike) -> tuple[pathlib.Path, str]:
  """The folder of the parameters to use, and the prefix of their names."""
  run = pathlib.Path(run_dir).absolute()
  if not (run / "checkpoints").is_dir():
    raise errors.UserError(
      f"{run} is no run folder: it has no folder `checkpoints`; give the"
      " --workdir of a training run"
    )
  for name, prefix in (("best", ""), ("latest", "params/")):
    if steps_in(run / "checkpoints" / name):
      return run / "checkpoints" / name, prefix
  raise _no_checkpoint(run)


def _no_checkpoint(run: pathlib.Path) -> errors.UserError:
  return errors.UserError(
    f"{run} has no complete checkpoint yet; run its command until it has"
    " saved one"
  )
