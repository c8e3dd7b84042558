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
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from seqmodels import errors
from seqmodels.io import (
  atomic,
  checkpoint_area,
  checkpoint_arrays,
  checkpoint_folder,
  checkpoint_record,
  goodput,
  processes,
)

Tree = Any

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

  With several processes every one makes the same calls; the first alone
  writes, reads and learns of failures, and the others get what it has read.

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

  @goodput.spending("saving")
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
    return checkpoint_area.steps(self._latest)

  @property
  def best_steps(self) -> list[int]:
    """Steps of the saved best parameters, oldest first."""
    return checkpoint_area.steps(self._best)

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
    return (
      checkpoint_area.read_meta(self._latest) if self.latest_steps else None
    )

  def rewind(self, step: int) -> None:
    """Deletes whole states of later steps, for a run that goes back to one.

    Several runs that go on together need a step that all of them have.
    """
    self.wait()
    if processes.is_first():
      kept = [saved for saved in self.latest_steps if saved <= step]
      checkpoint_area.keep(self._latest, kept)

  def discard_after(self, step: int) -> None:
    """Deletes best parameters of later steps.

    A run that goes on from `step` has not seen them yet: kept, they would make
    it differ from a run that was never interrupted.
    """
    self.wait()
    if processes.is_first():
      seen = [best for best in self.best_steps if best <= step]
      checkpoint_area.keep(self._best, seen)

  @goodput.spending("saving")
  def _submit(
    self, area: pathlib.Path, step: int, tree: Tree, meta: dict[str, Any]
  ) -> None:
    if step < 0:
      raise ValueError(f"step is {step}; it must be at least 0")
    self._settle(_BACKLOG - 1)
    leaves = checkpoint_arrays.copies(tree)
    if not processes.is_first():
      return
    self._clean()
    with atomic.refusals(area):
      area.mkdir(parents=True, exist_ok=True)
    write = functools.partial(
      checkpoint_folder.write,
      area / str(step),
      step,
      leaves,
      json.loads(json.dumps(meta)),
      checkpoint_folder.randomness(),
    )
    self._pending.append(self._writer.submit(self._run, write))

  def _run(self, write: Callable[[], None]) -> None:
    """Writes and deletes what is no longer kept, in the background thread."""
    write()
    self._prune()

  def _prune(self) -> None:
    """Deletes what newer checkpoints have made needless."""
    latest = self.latest_steps[-self._keep :]
    checkpoint_area.keep(self._latest, latest)
    # The newest best, and the one that was best at each state kept, so that
    # going on from an older state finds the best of its own past.
    best = self.best_steps
    ends = [*latest, float("inf")]
    needed = {
      max(seen) for end in ends if (seen := [b for b in best if b <= end])
    }
    checkpoint_area.keep(self._best, needed)

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
      checkpoint_area.clean(self._latest)
      checkpoint_area.clean(self._best)
      self._cleaned = True

  @goodput.spending("restoring")
  def _restore(self, area: pathlib.Path, target: Tree) -> Restored | None:
    self.wait()
    arrays: dict[str, np.ndarray] = {}

    def read() -> str | None:
      self._clean()
      found = checkpoint_area.newest(area, target)
      if found is None:
        return None
      checkpoint_area.set_aside(area, found.corrupt)
      if area == self._latest:
        self._prune()  # A kill may have come between a write and this.
      arrays.update(found.arrays)
      return found.record.to_json()

    told = processes.from_first(read)
    if told is None:
      return None
    record = checkpoint_record.Record.from_json(told)
    stored = {
      name: jax.ShapeDtypeStruct(*checkpoint_arrays.storage(leaf))
      for name, leaf in record.leaves.items()
    }
    arrays = processes.share(arrays, stored)
    tree = checkpoint_arrays.rebuild(target, arrays, record.leaves)
    return Restored(record.step, tree, record.meta)


@goodput.spending("restoring")
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
  found = checkpoint_area.newest(area, target, prefix)
  if found is None:
    raise _no_checkpoint(area.parent.parent)
  record = found.record
  tree = checkpoint_arrays.rebuild(
    target, found.arrays, checkpoint_area.leaves(record, prefix)
  )
  return Restored(record.step, tree, record.meta)


def read_meta(run_dir: str | os.PathLike) -> tuple[int, dict[str, Any]]:
  """Step and metadata of what `restore_params` reads, without reading arrays.

  Raises:
    errors.UserError: no run folder, or no checkpoint in it.
    errors.RunError: no record there is readable.
  """
  area, _ = _for_use(run_dir)
  return checkpoint_area.read_meta(area)


def _for_use(run_dir: str | os.PathLike) -> tuple[pathlib.Path, str]:
  """Where the parameters to use are: folder of checkpoints, prefix of names."""
  run = pathlib.Path(run_dir).absolute()
  if not (run / "checkpoints").is_dir():
    raise errors.UserError(
      f"{run} is no run folder: it has no folder `checkpoints`; give the"
      " --workdir of a training run"
    )
  for name, prefix in (("best", ""), ("latest", "params/")):
    if checkpoint_area.steps(run / "checkpoints" / name):
      return run / "checkpoints" / name, prefix
  raise _no_checkpoint(run)


def _no_checkpoint(run: pathlib.Path) -> errors.UserError:
  return errors.UserError(
    f"{run} has no complete checkpoint yet; run its command until it has"
    " saved one"
  )
