"""One program run by several processes: who writes, what all agree on.

The first process alone reads and writes the run folder; the others are told.
Waiting, and the notice of a preemption, go through JAX's coordination service;
what is told goes through the devices.
"""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from seqmodels import errors

Tree = Any
T = TypeVar("T")

# The longest that one process may work while the others wait.
_PATIENCE_MS = 7 * 24 * 3600 * 1000
# Told lengths are rounded up to powers of two: each is compiled on its own.
_LEAST_BYTES = 1024

_meetings = itertools.count()
_alone = False
_polls = 0


def is_first() -> bool:
  """Whether this process is the one that writes files.

  >>> is_first()
  True
  """
  return jax.process_index() == 0


def several() -> bool:
  """Whether other processes take part in what is done now.

  >>> several(), from_first(several)
  (False, False)
  """
  return jax.process_count() > 1 and not _alone


def meet() -> None:
  """Waits until all processes have come here."""
  if several():
    from orbax.checkpoint import multihost

    barrier = multihost.get_barrier_sync_fn()
    barrier(
      key=f"seqmodels/{next(_meetings)}",
      timeout_ms=_PATIENCE_MS,
    )


def from_first(compute: Callable[[], T]) -> T:
  """What `compute` gives in the first process, told to all when it is done.

  All processes call this and the others wait, however long it takes; inside
  `compute` the first is on its own, so nothing in it waits for them.

  Args:
    compute: gives what JSON can hold.

  Raises:
    Interrupted: in all processes, where the first was.
    RunError: in the others, where the first failed.

  >>> from_first(lambda: {"step": 3})
  {'step': 3}
  """
  global _polls
  if not several():
    return compute()
  answer: dict[str, Any] = {"failed": True}
  try:
    if is_first():
      with _on_its_own():
        answer = {"value": compute()}
  except errors.Interrupted as error:
    answer = {"interrupted": error.signum}
    raise
  finally:
    # Also when it failed, or the others would wait for ever.
    meet()
    text = json.dumps({**answer, "polls": _polls}).encode()
    answer = json.loads(_bytes_from_first(text))
    _polls = answer["polls"]
  if "interrupted" in answer:
    raise errors.Interrupted(answer["interrupted"])
  if "failed" in answer:
    raise errors.RunError(
      "the first process of this run could not go on; it says why"
    )
  value: T = answer["value"]
  return value


def share(tree: Tree, like: Tree) -> Tree:
  """The first process's arrays on the hosts of all, one after another.

  Args:
    tree: arrays; only the first process's are looked at.
    like: their shapes and dtypes, in all processes.

  >>> share({"bias": np.ones(2)}, {"bias": np.zeros(2)})
  {'bias': array([1., 1.])}
  """
  if not several():
    return tree
  leaves, structure = jax.tree.flatten(like)
  mine = jax.tree.leaves(tree) if is_first() else leaves
  told = [
    _array_from_first(leaf if is_first() else np.zeros(leaf.shape, leaf.dtype))
    for leaf in mine
  ]
  return jax.tree.unflatten(structure, told)


def notified() -> bool:
  """Whether a preemption notice to any process stops all of them here.

  SIGTERM is that notice; JAX's coordination service passes it on and settles
  at which call all processes answer True. So all must call equally often, but
  inside `from_first`, where only the first does. False without --distributed.

  >>> notified()
  False
  """
  global _polls
  if not jax.distributed.is_initialized():
    return False
  _polls += 1
  return multihost_utils.reached_preemption_sync_point(_polls)


@contextlib.contextmanager
def _on_its_own() -> Iterator[None]:
  global _alone
  _alone = True
  try:
    yield
  finally:
    _alone = False


def _bytes_from_first(data: bytes) -> bytes:
  size = int(_array_from_first(np.array(len(data), np.int32)))
  room = max(_LEAST_BYTES, 1 << (size - 1).bit_length())
  held = np.zeros(room, np.uint8)
  if is_first():
    held[:size] = np.frombuffer(data, np.uint8)
  return _array_from_first(held)[:size].tobytes()


def _array_from_first(array: Any) -> np.ndarray:
  """Bit for bit: as bytes, since what is broadcast is a sum with zeros."""
  flat = np.ascontiguousarray(array).reshape(-1)
  with jax.transfer_guard("allow"):
    found = multihost_utils.broadcast_one_to_all(flat.view(np.uint8))
  return np.asarray(found).view(flat.dtype).reshape(np.shape(array))
