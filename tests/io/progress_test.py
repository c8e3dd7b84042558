"""A bar in a terminal, plain lines in a log."""

import io
import re

from seqmodels.io import progress


class Clock:
  def __init__(self):
    self.now = 0.0

  def __call__(self):
    return self.now


class Terminal(io.StringIO):
  def isatty(self):
    return True


def log(total=100, *, interval=10.0, **options):
  clock, stream = Clock(), io.StringIO()
  bar = progress.Progress(
    total, "train", stream=stream, interval=interval, clock=clock, **options
  )
  return bar, clock, stream


def test_a_log_gets_the_first_state_then_one_line_an_interval():
  bar, clock, stream = log()
  for done in range(1, 31):
    clock.now += 1.0
    bar.update(done)
  bar.close()
  steps = re.findall(r"step (\d+)/100", stream.getvalue())
  assert steps == ["1", "11", "21", "30"]


def test_a_log_holds_no_control_characters():
  bar, _clock, stream = log()
  with bar:
    bar.update(1, {"loss": 2.0}, symbols=10)
    bar.say("step 1: valid 2.0")
  assert all(line.isprintable() for line in stream.getvalue().splitlines())


def test_the_time_left_leaves_out_compilation_and_earlier_runs():
  bar, clock, stream = log(total=100, done=50, interval=0.0)
  clock.now = 60.0  # a minute of compiling behind the first update
  bar.update(52)
  clock.now = 64.0
  bar.update(54)  # 2 s a step, 46 to go
  assert stream.getvalue().splitlines()[-1] == (
    "train: step 54/100 (54%), 1m 32s left"
  )


def test_the_speed_is_that_of_the_given_seconds():
  bar, clock, stream = log(interval=0.0)
  bar.update(1, symbols=500)
  clock.now = 100.0  # mostly an evaluation
  bar.update(2, {"bits_per_byte": 1.23456}, symbols=500, seconds=2.0)
  assert (
    stream.getvalue()
    .splitlines()[-1]
    .startswith("train: step 2/100 (2%), 250.0 tokens/s, bits_per_byte 1.235, ")
  )


def test_the_speed_is_smoothed():
  bar, clock, stream = log(interval=0.0)
  bar.update(1)
  for done, symbols in ((2, 100), (3, 200)):
    clock.now += 1.0
    bar.update(done, symbols=symbols)
  assert "110.0 tokens/s" in stream.getvalue().splitlines()[-1]


def test_an_unknown_total_has_no_share_and_no_end():
  bar, clock, stream = log(total=None, interval=0.0)
  bar.update(1)
  clock.now = 5.0
  bar.update(2000)
  assert stream.getvalue().splitlines()[-1] == "train: step 2,000"
  bar.update(2000, total=4000)
  assert "step 2,000/4,000 (50%)" in stream.getvalue().splitlines()[-1]


def test_a_phase_without_updates_says_nothing():
  bar, _, stream = log()
  bar.close()
  assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_that_ends_complete():
  stream = Terminal()
  with progress.Progress(4, "train", stream=stream) as bar:
    for done in range(1, 5):
      bar.update(done, {"loss": 2.0}, symbols=100, seconds=0.5)
    bar.say("step 4: valid 2.0")
  shown = stream.getvalue()
  assert "\r" in shown
  assert "4/4" in shown
  assert "200.0 tokens/s, loss 2" in shown
  assert "step 4: valid 2.0\n" in shown


def test_a_resumed_bar_starts_where_the_run_stood():
  stream = Terminal()
  with progress.Progress(10, "train", done=7, stream=stream) as bar:
    bar.update(8)
  assert "7/10" in stream.getvalue()
  assert "8/10" in stream.getvalue()
