"""A folder of checkpoints, one folder a step: which are there, which is good.

With several processes the first one looks and all read what it chose.
"""

import os
import pathlib
import warnings
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from seqmodels import errors, trees
from seqmodels.io import (
  atomic,
  checkpoint_arrays,
  checkpoint_folder,
  checkpoint_record,
  processes,
)

Tree = Any

CORRUPT = ".corrupt"
# What the first process tells the others instead of a step.
_NONE, _FAILED = -1, -2


class Restored(NamedTuple):
  """A tree read back, the step it was saved at and what was saved with it."""

  step: int
  tree: Tree
  meta: dict[str, Any]


def steps(area: pathlib.Path) -> list[int]:
  """Steps of the complete checkpoints, oldest first, intact or not.

  Raises:
    errors.UserError: the folder is there and may not be read.
  """
  return sorted(int(name) for name in _names(area) if name.isdecimal())


def newest(
  area: pathlib.Path, target: Tree, prefix: str = ""
) -> tuple[Restored | None, list[int]]:
  """The newest intact checkpoint, and the steps of corrupt ones after it.

  Args:
    area: folder of checkpoints; None is returned where it never held one.
    target: tree of arrays or ShapeDtypeStructs to fill.
    prefix: read only the leaves whose names begin so; `target` is without it.

  Raises:
    errors.UserError: the saved tree differs from `target`.
    errors.RunError: none is intact.
  """
  chosen = _FAILED
  corrupt: list[int] = []
  record: checkpoint_record.Record | None = None
  arrays: dict[str, np.ndarray] = {}
  try:
    if processes.is_first():
      record, arrays, corrupt = _newest_arrays(area, target, prefix)
      chosen = record.step if record else _NONE
  finally:
    # Also when this one fails, or the others would wait for ever.
    chosen = processes.agreed(chosen)
  if chosen == _NONE:
    return None, []
  if chosen == _FAILED:
    raise errors.RunError(
      f"the first process could not restore from {area}; it says why"
    )
  if record is None:
    record, arrays = _read(area / str(chosen), target, prefix)
  tree = checkpoint_arrays.rebuild(target, arrays, _leaves(record, prefix))
  return Restored(record.step, tree, record.meta), corrupt


def read_meta(area: pathlib.Path) -> tuple[int, dict[str, Any]]:
  """Step and metadata of the newest checkpoint whose record is readable.

  Raises:
    errors.RunError: none is readable.
  """
  reasons = []
  for step in reversed(steps(area)):
    try:
      return step, checkpoint_folder.read_record(area / str(step)).meta
    except checkpoint_record.CorruptError as error:
      reasons.append(f"step {step}: {error}")
  raise _all_corrupt(area, reasons)


def set_aside(area: pathlib.Path, corrupt: Collection[int]) -> None:
  """Renames corrupt checkpoints, so that they are neither read nor counted."""
  with atomic.refusals(area):
    for step in corrupt:
      aside = area / f"{step}{CORRUPT}"
      checkpoint_folder.remove_tree(aside)
      os.rename(area / str(step), aside)


def keep(area: pathlib.Path, kept: Collection[int]) -> None:
  """Deletes the checkpoints of all steps but those of `kept`."""
  with atomic.refusals(area):
    for step in steps(area):
      if step not in kept:
        checkpoint_folder.remove(area / str(step))


def clean(area: pathlib.Path) -> None:
  """Deletes what killed saves and deletions left behind."""
  with atomic.refusals(area):
    for step in {name.partition(".")[0] for name in _names(area)}:
      if step.isdecimal():
        checkpoint_folder.clean(area / step)


def _newest_arrays(
  area: pathlib.Path, target: Tree, prefix: str
) -> tuple[checkpoint_record.Record | None, dict[str, np.ndarray], list[int]]:
  corrupt: list[int] = []
  reasons: list[str] = []
  aside = [name for name in _names(area) if name.endswith(CORRUPT)]
  if not steps(area) and not aside:
    return None, {}, []
  for step in reversed(steps(area)):
    try:
      record, arrays = _read(area / str(step), target, prefix)
    except checkpoint_record.CorruptError as error:
      corrupt.append(step)
      reasons.append(f"step {step}: {error}")
      continue
    if corrupt:
      warnings.warn(
        f"passed over corrupt checkpoints in {area} ({'; '.join(reasons)});"
        f" step {step} is used instead",
        stacklevel=5,
      )
    return record, arrays, corrupt
  raise _all_corrupt(area, reasons or aside)


def _read(
  folder: pathlib.Path, target: Tree, prefix: str
) -> tuple[checkpoint_record.Record, dict[str, np.ndarray]]:
  record = checkpoint_folder.read_record(folder)
  found = _leaves(record, prefix)
  notes = trees.differences(target, found)
  if notes:
    raise errors.UserError(
      f"the checkpoint {folder} is of another model or optimizer:"
      f" {'; '.join(notes)}; use the configuration it was saved with or a new"
      " --workdir"
    )
  arrays = checkpoint_folder.load(folder, record, [prefix + n for n in found])
  if not prefix:
    _warn_of_other_randomness(folder, record)
  return record, {n.removeprefix(prefix): a for n, a in arrays.items()}


def _leaves(
  record: checkpoint_record.Record, prefix: str
) -> dict[str, checkpoint_arrays.Description]:
  return {
    name.removeprefix(prefix): leaf
    for name, leaf in record.leaves.items()
    if name.startswith(prefix)
  }


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


def _warn_of_other_randomness(
  folder: pathlib.Path, record: checkpoint_record.Record
) -> None:
  now = checkpoint_folder.randomness()
  if record.prng != now:
    warnings.warn(
      f"{folder} was saved with random numbers drawn as {record.prng}, now"
      f" they are drawn as {now}: what follows will differ from an"
      " uninterrupted run",
      stacklevel=6,
    )
