"""A folder of checkpoints, one a step: which are there, which is good."""

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
)

Tree = Any

CORRUPT = ".corrupt"


class Found(NamedTuple):
  """An intact checkpoint, its arrays on the host.

  Attributes:
    record: of the checkpoint.
    arrays: of the leaves that were asked for, by name without the prefix.
    corrupt: steps of the corrupt checkpoints after it.
  """

  record: checkpoint_record.Record
  arrays: dict[str, np.ndarray]
  corrupt: list[int]


def steps(area: pathlib.Path) -> list[int]:
  """Steps of the complete checkpoints, oldest first, intact or not.

  Raises:
    errors.UserError: the folder is there and may not be read.
  """
  return sorted(int(name) for name in _names(area) if name.isdecimal())


def newest(area: pathlib.Path, target: Tree, prefix: str = "") -> Found | None:
  """The newest intact checkpoint.

  Args:
    area: folder of checkpoints; None is returned where it never held one.
    target: tree of arrays or ShapeDtypeStructs that is to be filled.
    prefix: read only the leaves whose names begin so; `target` is without it.

  Raises:
    errors.UserError: the saved tree differs from `target`.
    errors.RunError: none is intact.
  """
  corrupt: list[int] = []
  reasons: list[str] = []
  aside = [name for name in _names(area) if name.endswith(CORRUPT)]
  if not steps(area) and not aside:
    return None
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
        stacklevel=6,
      )
    return Found(record, arrays, corrupt)
  raise _all_corrupt(area, reasons or aside)


def leaves(
  record: checkpoint_record.Record, prefix: str = ""
) -> dict[str, checkpoint_arrays.Description]:
  """What the leaves are whose names begin with `prefix`, named without it."""
  return {
    name.removeprefix(prefix): leaf
    for name, leaf in record.leaves.items()
    if name.startswith(prefix)
  }


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


def _read(
  folder: pathlib.Path, target: Tree, prefix: str
) -> tuple[checkpoint_record.Record, dict[str, np.ndarray]]:
  record = checkpoint_folder.read_record(folder)
  found = leaves(record, prefix)
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
      stacklevel=7,
    )
