"""How a run ends: sentences and exit codes instead of tracebacks."""

import errno
import os
import re
import signal
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

import jax

from seqmodels import errors
from seqmodels.io import interruption

# What the operating system refuses for reasons that the user can mend.
_MENDABLE = {
  errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
  errno.ENAMETOOLONG,
}  # fmt: skip
_FULL = {errno.ENOSPC, errno.EDQUOT}

_MEMORY = (
  "out of memory; a smaller config.training.batch, config.training.segment "
  "or config.model.features needs less"
)


_PEER = (
  "another process of this run is gone; what was saved stays, the same command "
  "in all of them resumes"
)
# How JAX tells that a process it was talking with has gone.
_LOST = re.compile("Gloo|NCCL|heartbeat|coordination service", re.IGNORECASE)


class Terminated(KeyboardInterrupt):
  """SIGTERM, where nothing had asked to be told of it."""


def guarded(action: Callable[[], Any]) -> int:
  """Runs `action`; what a user can cause becomes a sentence and an exit code.

  SIGTERM is taken like Ctrl-C: it raises at once, unless the experiment has
  put a handler of its own that saves first. Any other exception passes with
  its traceback.

  One of several processes that fails ends at once, or JAX would have it wait
  for the others, and they wait for it.

  Returns:
    0; 2 for bad input; 3 for a run that cannot go on; 128 + the signal's
    number for an interruption.
  """
  former = signal.getsignal(signal.SIGTERM)
  if former is signal.SIG_DFL:
    signal.signal(signal.SIGTERM, _terminate)
  try:
    return _sentenced(action)
  except Exception:
    if jax.distributed.is_initialized():
      traceback.print_exc()
    _leave(1)
    raise
  finally:
    signal.signal(signal.SIGTERM, former)
    interruption.remember(None)


def _leave(code: int) -> int:
  """Ends one of several processes; of one alone, gives the code back."""
  if jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code


def _sentenced(action: Callable[[], Any]) -> int:
  try:
    action()
  except errors.UserError as error:
    return _fail(f"error: {error}", error.exit_code)
  except errors.Interrupted as error:
    return _complain(
      f"{error}; the state is saved, the same command resumes",
      128 + error.signum,
    )
  except KeyboardInterrupt as error:
    signum = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
    return _fail(
      f"interrupted by {signum.name}; what was saved stays, the same command "
      "resumes",
      128 + signum,
    )
  except MemoryError:
    return _fail(f"error: {_MEMORY}", 3)
  except BrokenPipeError:
    # Whoever read the output has gone (`| head`): be as quiet as other tools,
    # also when Python flushes what is left at its exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _leave(128 + signal.SIGPIPE)
  except OSError as error:
    if error.errno in _FULL:
      return _fail(f"error: {_os_sentence(error)}; free some space", 3)
    if error.errno in _MENDABLE:
      return _fail(f"error: {_os_sentence(error)}", 2)
    raise
  except (RuntimeError, ValueError) as error:
    # jaxlib reports an exhausted device or host, or a lost peer, this way.
    if "RESOURCE_EXHAUSTED" in str(error):
      return _fail(f"error: {_MEMORY}", 3)
    if _LOST.search(str(error)) and jax.distributed.is_initialized():
      return _fail(f"error: {_PEER}", 3)
    raise
  return 0


def _terminate(signum: int, frame: types.FrameType | None) -> None:
  del frame
  # Raised inside a finalizer or a callback, Python would drop the exception;
  # the experiment then still learns of the signal when it begins.
  interruption.remember(signum)
  raise Terminated("interrupted by SIGTERM")


def _os_sentence(error: OSError) -> str:
  where = f": {error.filename}" if error.filename else ""
  return f"{(error.strerror or str(error)).lower()}{where}"


def _fail(sentence: str, code: int) -> int:
  return _leave(_complain(sentence, code))


def _complain(sentence: str, code: int) -> int:
  sys.stdout.flush()
  print(" ".join(sentence.split()), file=sys.stderr, flush=True)
  return code
