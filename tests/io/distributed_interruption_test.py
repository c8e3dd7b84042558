import signal
import subprocess
import sys
import threading

import pytest

from seqmodels import errors
from seqmodels.io import distributed


@pytest.mark.parametrize("number", distributed.STOPS)
def test_signal_raises_the_flag_and_check_names_it(number):
  with distributed.Interruption() as stop:
    stop.check()
    assert not stop.requested
    signal.raise_signal(number)
    assert stop.requested
    with pytest.raises(errors.Interrupted) as caught:
      stop.check()
  assert caught.value.signum == number


def test_a_signal_that_another_process_was_told_of_raises_the_flag():
  with distributed.Interruption() as stop:
    stop.receive(signal.SIGTERM)
    with pytest.raises(errors.Interrupted, match="interrupted by SIGTERM"):
      stop.check()


def test_second_ctrl_c_does_not_wait():
  with distributed.Interruption() as stop:
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)
    assert stop.requested


def test_repeated_sigterm_only_asks():
  with distributed.Interruption() as stop:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert stop.signum == signal.SIGTERM


def test_held_block_ends_before_the_second_ctrl_c_counts():
  with distributed.Interruption() as stop:
    signal.raise_signal(signal.SIGINT)
    done = []

    def save():
      with stop.hold():
        with stop.hold():
          signal.raise_signal(signal.SIGINT)
          done.append("inner")
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
      save()
    assert done == ["inner", "outer"]
    with stop.hold():
      pass  # It counted once.


def test_former_handlers_come_back_also_after_an_error():
  former = [signal.getsignal(n) for n in distributed.STOPS]
  with pytest.raises(ValueError, match="x"), distributed.Interruption():
    raise ValueError("x")
  assert former == [signal.getsignal(n) for n in distributed.STOPS]


def test_inner_interruption_hands_back_to_the_outer():
  with distributed.Interruption() as outer:
    with distributed.Interruption() as inner:
      signal.raise_signal(signal.SIGTERM)
    assert (inner.requested, outer.requested) == (True, False)
    signal.raise_signal(signal.SIGTERM)
    assert outer.requested


def test_ignored_signal_stays_ignored():
  former = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    with distributed.Interruption() as stop:
      signal.raise_signal(signal.SIGINT)
      assert not stop.requested
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
  finally:
    signal.signal(signal.SIGINT, former)


def test_other_threads_are_left_alone():
  former = signal.getsignal(signal.SIGTERM)
  seen = []

  def run():
    with distributed.Interruption() as stop, stop.hold():
      seen.append(signal.getsignal(signal.SIGTERM))
      stop.check()
      seen.append(stop.requested)

  thread = threading.Thread(target=run)
  thread.start()
  thread.join()
  assert seen == [former, False]


def test_sigterm_from_outside_reaches_a_loop_at_work():
  code = """
import sys
from seqmodels import errors
from seqmodels.io import distributed
with distributed.Interruption() as stop:
  print("ready", flush=True)
  try:
    while True:
      stop.check()
  except errors.Interrupted as error:
    sys.exit(128 + error.signum)
"""
  with subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
  ) as process:
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(timeout=1700) == 143
