"""Checkpoints of a run: the newest states, and the best parameters so far.

A run folder holds `checkpoints/latest/STEP`, whole training states to go on
from, and `checkpoints/best/STEP`, parameters to use. Every one of them is
complete or not there, and proves itself when read (`checkpoint_folder`).
"""

import collections
import concurrent.futures
import functools
import json
import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from seqmodels import errors, trees
from seqmodels.io import atomic, checkpoint_arrays, checkpoint_folder

Tree = Any

CORRUPT = ".corrupt"
# Saves that may wait to be written, each a copy of the state in memory.
_BACKLOG = 2


class Restored(NamedTuple):
  """A tree read back, the step it was saved at and what was saved with it."""

  step: int
  tree: Tree
  meta: dict[str, Any]


class Checkpoints:
  """Saves in the background, keeps the newest and the best, reads them back.

  Use it as a context manager or call `close`: a process that ends without it
  may lose the save under way (never an earlier one). Failed writes surface as
  errors.RunError from the next call.

  Args:
    directory: the `checkpoints` folder of a run; made when first written to.
    keep: how many of the newest states to keep.

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
    """Saves a whole training state; returns once copies are under way.

    The caller may donate the state at once. Saving a step again replaces it,
    or does nothing where state and metadata are the same.

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
    """Saves parameters as the best so far; otherwise as `save`.

    The caller decides what is best; no metric is compared here, so none that
    is not finite can do harm.
    """
    self._submit(self._best, step, params, meta)

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
    return _steps(self._latest)

  @property
  def best_steps(self) -> list[int]:
    """Steps of the saved best parameters, oldest first."""
    return _steps(self._best)

  def restore_latest(self, target: Tree) -> Restored | None:
    """The newest intact state, or None where none was ever saved.

    Leftovers of killed saves are removed. A corrupt state is passed over with
    a warning and set aside as STEP.corrupt once an older one has been read.

    Args:
      target: tree like the saved one, of arrays or ShapeDtypeStructs; where a
        leaf names a sharding, the restored leaf has it.

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
    for step in reversed(self.latest_steps):
      try:
        record = checkpoint_folder.read_record(self._latest / str(step))
      except checkpoint_folder.CorruptError:
        continue
      return step, record.meta
    return None

  def discard_after(self, step: int) -> None:
    """Deletes best parameters of later steps.

    A run that goes on from `step` has not seen them yet: kept, they would make
    it differ from a run that was never interrupted.
    """
    self.wait()
    with atomic.refusals(self._best):
      for later in self.best_steps:
        if later > step:
          checkpoint_folder.remove(self._best / str(later))

  def _submit(
    self, area: pathlib.Path, step: int, tree: Tree, meta: dict[str, Any]
  ) -> None:
    if step < 0:
      raise ValueError(f"step is {step}; it must be at least 0")
    self._settle(_BACKLOG - 1)
    self._clean()
    with atomic.refusals(area):
      area.mkdir(parents=True, exist_ok=True)
    write = functools.partial(
      checkpoint_folder.write,
      area / str(step),
      step,
      checkpoint_arrays.copies(tree),
      json.loads(json.dumps(meta)),
      checkpoint_folder.randomness(),
    )
    self._pending.append(self._writer.submit(self._run, write))

  def _run(self, write: Callable[[], None]) -> None:
    """Writes and deletes what is no longer kept, in the background thread."""
    write()
    kept = self.latest_steps[-self._keep :]
    for old in self.latest_steps:
      if old not in kept:
        checkpoint_folder.remove(self._latest / str(old))
    # The newest best, and the one that was best at each state kept, so that
    # going on from an older state finds the best of its own past.
    best = self.best_steps
    needed = {
      max((b for b in best if b <= limit), default=None)
      for limit in (*kept, float("inf"))
    }
    for old in best:
      if old not in needed:
        checkpoint_folder.remove(self._best / str(old))

  def _settle(self, allowed: int) -> None:
    """Waits until at most `allowed` writes are under way; raises failures."""
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
          " earlier ones are intact, run the command again to go on from them"
        ) from error

  def _clean(self) -> None:
    if not self._cleaned:
      for area in (self._latest, self._best):
        with atomic.refusals(area):
          checkpoint_folder.clean(area)
      self._cleaned = True

  def _restore(self, area: pathlib.Path, target: Tree) -> Restored | None:
    self.wait()
    self._clean()
    if not _steps(area):
      return None
    restored, corrupt = _newest(area, target)
    with atomic.refusals(area):
      for step in corrupt:
        aside = area / f"{step}{CORRUPT}"
        checkpoint_folder.remove_tree(aside)
        os.rename(area / str(step), aside)
    return restored


def restore_params(run_dir: str | os.PathLike, target: Tree) -> Restored:
  """Parameters of another run, read from its folder alone; nothing is changed.

  The best parameters of the run; those of its newest state where none were
  ever marked best.

  Args:
    run_dir: a run folder, the `--workdir` of a training command.
    target: parameter tree of arrays or ShapeDtypeStructs.

  Raises:
    errors.UserError: no run folder, no checkpoint in it, or one that differs
      from `target`; every difference is listed.
    errors.RunError: all checkpoints that would serve are corrupt.
  """
  area, prefix = _for_use(run_dir)
  restored, _ = _newest(area, target, prefix)
  return restored


def read_meta(run_dir: str | os.PathLike) -> tuple[int, dict[str, Any]]:
  """Step and metadata of what `restore_params` reads, without reading arrays.

  Raises:
    errors.UserError: no run folder, or no checkpoint in it.
    errors.RunError: no record there is readable.
  """
  area, _ = _for_use(run_dir)
  reasons = []
  for step in reversed(_steps(area)):
    try:
      return step, checkpoint_folder.read_record(area / str(step)).meta
    except checkpoint_folder.CorruptError as error:
      reasons.append(f"step {step}: {error}")
  raise _all_corrupt(area, reasons)


def _for_use(run_dir: str | os.PathLike) -> tuple[pathlib.Path, str]:
  """Where the parameters to use are: folder of checkpoints, prefix of names."""
  run = pathlib.Path(run_dir).absolute()
  if not (run / "checkpoints").is_dir():
    raise errors.UserError(
      f"{run} is no run folder: it has no folder `checkpoints`; give the"
      " --workdir of a training run"
    )
  if _steps(run / "checkpoints" / "best"):
    return run / "checkpoints" / "best", ""
  if _steps(run / "checkpoints" / "latest"):
    return run / "checkpoints" / "latest", "params/"
  raise errors.UserError(
    f"{run} has no complete checkpoint yet; run its command until it has"
    " saved one"
  )


def _newest(
  area: pathlib.Path, target: Tree, prefix: str = ""
) -> tuple[Restored, list[int]]:
  """The newest intact checkpoint, and the steps of corrupt ones after it."""
  corrupt: list[int] = []
  reasons: list[str] = []
  for step in reversed(_steps(area)):
    try:
      restored = _read(area / str(step), target, prefix)
    except checkpoint_folder.CorruptError as error:
      corrupt.append(step)
      reasons.append(f"step {step}: {error}")
      continue
    if corrupt:
      warnings.warn(
        f"passed over corrupt checkpoints in {area} ({'; '.join(reasons)});"
        f" step {step} is used instead",
        stacklevel=3,
      )
    return restored, corrupt
  raise _all_corrupt(area, reasons)


def _read(folder: pathlib.Path, target: Tree, prefix: str) -> Restored:
  record = checkpoint_folder.read_record(folder)
  names = [name for name in record.leaves if name.startswith(prefix)]
  found = {name.removeprefix(prefix): record.leaves[name] for name in names}
  notes = trees.differences(target, found)
  if notes:
    raise errors.UserError(
      f"the checkpoint {folder} is of another model or optimizer:"
      f" {'; '.join(notes)}; use the configuration it was saved with or a new"
      " --workdir"
    )
  if not prefix:
    _warn_of_other_randomness(folder, record.prng)
  arrays = checkpoint_folder.load(folder, record, names)
  tree = checkpoint_arrays.rebuild(
    target,
    {name.removeprefix(prefix): array for name, array in arrays.items()},
    found,
  )
  return Restored(record.step, tree, record.meta)


def _all_corrupt(area: pathlib.Path, reasons: list[str]) -> errors.RunError:
  return errors.RunError(
    f"every checkpoint in {area} is corrupt ({'; '.join(reasons)}); restore"
    " the folder from a copy, or delete it to start afresh"
  )


def _steps(area: pathlib.Path) -> list[int]:
  if not area.is_dir():
    return []
  names = [entry.name for entry in area.iterdir() if entry.is_dir()]
  return sorted(int(name) for name in names if name.isdecimal())


def _warn_of_other_randomness(folder: pathlib.Path, saved: Any) -> None:
  now = checkpoint_folder.randomness()
  if saved != now:
    warnings.warn(
      f"{folder} was saved with random numbers drawn as {saved}, now they are"
      f" drawn as {now}: what follows will differ from an uninterrupted run",
      stacklevel=4,
    )
