"""Errors that end a run with one sentence instead of a traceback."""

import difflib
import signal
from collections.abc import Iterable


class UserError(Exception):
  """Bad input that its user can mend: one sentence, exit code 2.

  The message names the value at fault, the limit it broke and the remedy.

  >>> UserError("batch is 0; it must be at least 1").exit_code
  2
  """

  exit_code = 2


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
