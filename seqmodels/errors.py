"""Errors that end a run with one sentence instead of a traceback."""

import contextlib
import difflib
import signal
from collections.abc import Iterable, Iterator

# Messages quote what files and settings say, and these may say anything.
LONGEST = 2000


class UserError(Exception):
  r"""Bad input that its user can mend: one sentence, exit code 2.

  The message names the value at fault, the limit it broke and the remedy. It
  is one line: what a terminal would not show is written as an escape, and of a
  very long one the middle is left out.

  >>> UserError("batch is 0; it must be at least 1").exit_code
  2
  >>> str(UserError("a name in \x1b[31mred"))
  'a name in \\x1b[31mred'
  """

  exit_code = 2

  def __init__(self, message: str):
    super().__init__(_one_line(message))


class RunError(UserError):
  """A run that cannot go on (non-finite loss, corrupt checkpoint, full disk).

  >>> RunError("the loss is nan").exit_code
  3
  """

  exit_code = 3


class Interrupted(Exception):
  """A signal asked the run to stop; its state was saved before this was raised.

  >>> Interrupted(15).signum, str(Interrupted(15))
  (15, 'interrupted by SIGTERM')
  """

  def __init__(self, signum: int):
    super().__init__(f"interrupted by {signal.Signals(signum).name}")
    self.signum = signum


def out_of_memory(error: BaseException) -> bool:
  """True for the errors of Python and of JAX that say so."""
  return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def memory_of(activity: str, less: str) -> Iterator[None]:
  """Names an activity in the error of a memory that it exhausts.

  >>> with memory_of("training", "a smaller config.training.batch"):
  ...   raise MemoryError()
  Traceback (most recent call last):
  seqmodels.errors.RunError: out of memory during training; a smaller \
config.training.batch needs less

  Args:
    activity: what is done in the block.
    less: what needs less memory.
  """
  try:
    yield
  except (MemoryError, RuntimeError, ValueError) as error:
    if not out_of_memory(error):
      raise
    raise RunError(
      f"out of memory during {activity}; {less} needs less"
    ) from error


def _one_line(text: str) -> str:
  if not text.isprintable():
    text = "".join(
      c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1]
      for c in text
    )
  if len(text) > LONGEST:
    half = LONGEST // 2 - 5
    text = f"{text[:half]} [...] {text[-half:]}"
  return text


def closest(name: str, choices: Iterable[str]) -> str:
  """A hint for an error message: the likeliest of `choices`, or all of them.

  >>> closest("lstn", ["lstm", "gru"])
  " (did you mean 'lstm'?)"
  >>> closest("zzz", ["lstm", "gru"])
  ' (known: gru, lstm)'
  """
  choices = sorted(choices)
  near = difflib.get_close_matches(name, choices, n=3, cutoff=0.6)
  if near:
    return f" (did you mean {' or '.join(map(repr, near))}?)"
  return f" (known: {', '.join(choices)})" if choices else ""
