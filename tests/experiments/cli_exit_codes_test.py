"""Sentences and exit codes instead of tracebacks."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from experiments import cli
from seqmodels import errors


def ending(capsys, error):
  def action():
    raise error

  code = cli.run_cli(action)
  return code, capsys.readouterr().err


def test_an_action_that_ends_well_is_zero():
  assert cli.run_cli(lambda: 5) == 0


@pytest.mark.parametrize(
  ("error", "code", "words"),
  [
    (errors.UserError("seed is -1"), 2, "error: seed is -1\n"),
    (errors.RunError("the loss\nis nan"), 3, "error: the loss is nan\n"),
    (errors.Interrupted(15), 143, "interrupted by SIGTERM; the state is saved"),
    (errors.Interrupted(2), 130, "interrupted by SIGINT; the state is saved"),
    (KeyboardInterrupt(), 130, "interrupted by SIGINT; what was saved stays"),
    (MemoryError(), 3, "error: out of memory; a smaller "),
    (RuntimeError("RESOURCE_EXHAUSTED: 9G"), 3, "error: out of memory; a "),
    (
      OSError(errno.ENOSPC, "No space left on device", "a/b"),
      3,
      "error: no space left on device: a/b; free some space\n",
    ),
    (
      PermissionError(errno.EACCES, "Permission denied", "a/b"),
      2,
      "error: permission denied: a/b\n",
    ),
  ],
)
def test_what_a_user_can_cause_is_one_line(capsys, error, code, words):
  actual, shown = ending(capsys, error)
  assert actual == code
  assert shown.startswith(words)
  assert shown.count("\n") == 1


@pytest.mark.parametrize(
  "error",
  [
    ZeroDivisionError("1/0"),
    RuntimeError("INTERNAL: a bug"),
    OSError(errno.EBADF, "Bad file descriptor"),
    SystemExit(4),
  ],
)
def test_anything_else_keeps_its_traceback(error):
  def action():
    raise error

  with pytest.raises(type(error)):
    cli.run_cli(action)


@pytest.mark.parametrize(
  "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 9G")]
)
def test_memory_that_runs_out_is_told_with_what_was_done(capsys, error):
  def action():
    with (
      errors.memory_of("training", "a smaller batch"),
      errors.memory_of("validation", "a smaller segment"),
    ):
      raise error

  assert cli.run_cli(action) == 3
  assert capsys.readouterr().err == (
    "error: out of memory during validation; a smaller segment needs less\n"
  )
  with (
    pytest.raises(ValueError, match="a bug"),
    errors.memory_of("training", "nothing"),
  ):
    raise ValueError("a bug")


def test_sigterm_ends_a_run_that_takes_no_heed(capsys):
  def action():
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()

  assert cli.run_cli(action) == 128 + signal.SIGTERM
  shown = capsys.readouterr().err
  assert shown.startswith("interrupted by SIGTERM; what was saved stays")
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_ignored_sigterm_stays_ignored():
  former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
  try:
    done = []

    def action():
      os.kill(os.getpid(), signal.SIGTERM)
      done.append(True)

    assert cli.run_cli(action) == 0
    assert done
  finally:
    signal.signal(signal.SIGTERM, former)


def test_a_reader_that_leaves_ends_the_run_quietly():
  code = (
    "import sys\n"
    "from experiments import cli\n"
    "def action():\n"
    "  while True: print('x' * 1000)\n"
    "sys.exit(cli.run_cli(action))\n"
  )
  with subprocess.Popen(
    [sys.executable, "-c", code],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    cwd=cli.__file__.rsplit(os.sep, 2)[0],
  ) as process:
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert process.stderr.read() == b""
