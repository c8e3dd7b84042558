"""Several processes in one run, and signals that ask it to stop.

Only the first process reads and writes the run folder, and broadcasts what it
read. Barriers and the notice of a preemption use JAX's coordination service;
broadcasts use the devices.
"""

import contextlib
import itertools
import json
import signal
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from seqmodels import errors

Tree = Any
T = TypeVar("T")

# The longest that one process may work while the others wait.
_TIMEOUT_MS = 7 * 24 * 3600 * 1000
# Lengths are rounded up to powers of two, since each is compiled on its own.
_LEAST_BYTES = 1024

_meetings = itertools.count()
_alone = False
_polls = 0


def is_primary() -> bool:
  """True in the process that writes files."""
  return jax.process_index() == 0


def is_distributed() -> bool:
  """True if other processes take part now: not inside `on_primary`."""
  return jax.process_count() > 1 and not _alone


def barrier() -> None:
  """Waits until all processes have called it."""
  if is_distributed():
    from orbax.checkpoint import multihost

    wait = multihost.get_barrier_sync_fn()
    wait(key=f"seqmodels/{next(_meetings)}", timeout_ms=_TIMEOUT_MS)


def on_primary(compute: Callable[[], T]) -> T:
  """Computes in the first process, and broadcasts the result to all.

  All processes call this and the others wait, however long it takes; nothing
  inside `compute` waits for them.

  Args:
    compute: returns a JSON value.

  Raises:
    Interrupted: in all processes, if the first was.
    RunError: in the others, if the first failed.

  >>> on_primary(lambda: {"step": 3})
  {'step': 3}
  """
  global _alone, _polls
  if not is_distributed():
    return compute()
  answer: dict[str, Any] = {"failed": True}
  try:
    if is_primary():
      _alone = True
      answer = {"value": compute()}
  except errors.Interrupted as error:
    answer = {"interrupted": error.signum}
    raise
  finally:
    _alone = False
    # Also if it failed, or the others would wait for ever.
    barrier()
    text = json.dumps({**answer, "polls": _polls}).encode()
    answer = json.loads(_bytes_from_primary(text))
    _polls = answer["polls"]
  if "interrupted" in answer:
    raise errors.Interrupted(answer["interrupted"])
  if "failed" in answer:
    raise errors.RunError(
      "the first process of this run could not go on; it says why"
    )
  value: T = answer["value"]
  return value


def broadcast(tree: Tree, like: Tree) -> Tree:
  """Broadcasts the first process's arrays to all hosts, one after another.

  Args:
    tree: arrays; those of other processes are ignored.
    like: their shapes and dtypes, in all processes.
  """
  if not is_distributed():
    return tree
  leaves, structure = jax.tree.flatten(like)
  mine = jax.tree.leaves(tree) if is_primary() else leaves
  arrays = [
    _array_from_primary(
      leaf if is_primary() else np.zeros(leaf.shape, leaf.dtype)
    )
    for leaf in mine
  ]
  return jax.tree.unflatten(structure, arrays)


def preemption_notice() -> bool:
  """True once a preemption notice to any process has reached all of them.

  SIGTERM is that notice; JAX's coordination service passes it on and decides
  at which call all processes get True. So all must call equally often, except
  inside `on_primary`, where only the first does. False without --distributed.
  """
  global _polls
  if not jax.distributed.is_initialized():
    return False
  _polls += 1
  return multihost_utils.reached_preemption_sync_point(_polls)


def _bytes_from_primary(data: bytes) -> bytes:
  size = int(_array_from_primary(np.array(len(data), np.int32)))
  room = max(_LEAST_BYTES, 1 << (size - 1).bit_length())
  padded = np.zeros(room, np.uint8)
  if is_primary():
    padded[:size] = np.frombuffer(data, np.uint8)
  return _array_from_primary(padded)[:size].tobytes()


def _array_from_primary(array: Any) -> np.ndarray:
  """Broadcasts as bytes, bit for bit, since JAX broadcasts sums with zeros."""
  flat = np.ascontiguousarray(array).reshape(-1)
  with jax.transfer_guard("allow"):
    received = multihost_utils.broadcast_one_to_all(flat.view(np.uint8))
  return np.asarray(received).view(flat.dtype).reshape(np.shape(array))


_early: int | None = None


def remember(signum: int | None) -> None:
  """Passes a signal from before it to the next `Interruption`; None forgets.

  >>> remember(signal.SIGTERM)
  >>> with Interruption() as interruption:
  ...   interruption.requested
  True
  >>> remember(None)
  """
  global _early
  _early = signum


# Signals that ask a process to save and leave. Schedulers warn with SIGTERM or
# SIGUSR1, a terminal that closes sends SIGHUP.
STOPS = tuple(
  getattr(signal, name)
  for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
  if hasattr(signal, name)
)


class Interruption:
  """Turns the signals of `STOPS` into a flag while its block runs.

  A loop reads the flag where it can save and leave. A second Ctrl-C raises
  KeyboardInterrupt at once. A signal that was ignored when the block began
  (`nohup`, background jobs) stays ignored. Python delivers signals to the main
  thread only: in other threads the flag is never set.

  With several processes the flag is set in all at the same reading, by
  `preemption_notice`; Ctrl-C in one of them is passed on in the same way.

  >>> with Interruption() as interruption:
  ...   interruption.requested
  ...   signal.raise_signal(signal.SIGTERM)
  ...   interruption.requested
  False
  True
  """

  def __init__(self) -> None:
    self.signum: int | None = None
    self._asked = False
    self._held = 0
    self._impatient = False
    self._former: dict[int, Callable[..., Any] | int | None] = {}

  @property
  def requested(self) -> bool:
    """True once a signal has come."""
    if self.signum is None and preemption_notice():
      self.signum = signal.SIGTERM
    return self.signum is not None

  def receive(self, signum: int) -> None:
    """Sets the flag for a signal that another process received."""
    self.signum = signum

  def check(self) -> None:
    """Raises errors.Interrupted once a signal has come.

    >>> with Interruption() as interruption:
    ...   interruption.check()
    ...   signal.raise_signal(signal.SIGINT)
    ...   interruption.check()
    Traceback (most recent call last):
    seqmodels.errors.Interrupted: interrupted by SIGINT
    """
    if self.requested:
      assert self.signum is not None
      raise errors.Interrupted(self.signum)

  @contextlib.contextmanager
  def hold(self) -> Iterator[None]:
    """A block that no Ctrl-C breaks: KeyboardInterrupt comes at its end."""
    self._held += 1
    try:
      yield
    finally:
      self._held -= 1
    if self._impatient and not self._held:
      self._impatient = False
      raise KeyboardInterrupt

  def __enter__(self) -> "Interruption":
    self.signum, self._asked = _early, False
    if threading.current_thread() is threading.main_thread():
      for number in STOPS:
        if number == signal.SIGTERM and jax.distributed.is_initialized():
          continue
        if signal.getsignal(number) is not signal.SIG_IGN:
          self._former[number] = signal.signal(number, self._on_signal)
    return self

  def __exit__(self, *exception: object) -> None:
    while self._former:
      number, handler = self._former.popitem()
      # None: a handler that Python did not set and cannot set again.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)

  def _on_signal(self, signum: int, frame: types.FrameType | None) -> None:
    del frame
    if self.signum is None and not self._asked:
      self._asked = True
      if jax.distributed.is_initialized():
        signal.raise_signal(signal.SIGTERM)
      else:
        self.signum = signum
    elif signum == signal.SIGINT:
      if not self._held:
        raise KeyboardInterrupt
      self._impatient = True
