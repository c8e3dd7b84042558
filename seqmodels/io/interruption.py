"""Signals that ask a run to stop, read between two steps."""

import contextlib
import signal
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax

from seqmodels import errors
from seqmodels.io import processes

_early: int | None = None


def remember(signum: int | None) -> None:
  """Tells the next `Interruption` of a signal before it; None forgets it.

  >>> remember(signal.SIGTERM)
  >>> with Interruption() as interruption:
  ...   interruption.requested
  True
  >>> remember(None)
  """
  global _early
  _early = signum


class Interruption:
  """Turns SIGTERM and Ctrl-C into a flag while its block runs.

  A loop reads the flag where it can save and leave. A second Ctrl-C no longer
  waits and raises KeyboardInterrupt. A signal that was ignored when the block
  began (`nohup`, background jobs) stays ignored. Python hands signals to the
  main thread only: in any other thread the flag never rises.

  Of several processes JAX takes SIGTERM and settles where all of them leave
  (`processes.notified`): the flag rises in all at the same reading. Ctrl-C in
  one of them is passed on in the same way.

  >>> with Interruption() as interruption:
  ...   interruption.requested
  ...   signal.raise_signal(signal.SIGTERM)
  ...   interruption.requested
  False
  True
  """

  signals = (signal.SIGTERM, signal.SIGINT)

  def __init__(self) -> None:
    self.signum: int | None = None
    self._asked = False
    self._held = 0
    self._impatient = False
    self._former: dict[int, Callable[..., Any] | int | None] = {}

  @property
  def requested(self) -> bool:
    """Whether a signal has come."""
    if self.signum is None and processes.notified():
      self.signum = signal.SIGTERM
    return self.signum is not None

  def receive(self, signum: int) -> None:
    """Takes note of a signal that another process was told of."""
    self.signum = signum

  def check(self) -> None:
    """Raises errors.Interrupted when a signal has come.

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
    """A block that no Ctrl-C breaks: KeyboardInterrupt comes at its end.

    >>> with Interruption() as interruption, interruption.hold():
    ...   interruption.requested
    False
    """
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
      for number in self.signals:
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
