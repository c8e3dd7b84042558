"""metrics.jsonl as the record, events as the view."""

import json
import math
import os
import subprocess
import sys

import pytest
from tensorboardX.proto import event_pb2

from seqmodels import errors
from seqmodels.io import metrics


def write(workdir, steps, **options):
  with metrics.MetricWriter(workdir, **options) as writer:
    for step in steps:
      writer.write(step, "train", {"loss": 1.0 / step}, unit="nats/symbol")
      if step % 2 == 0:
        writer.write(step, "valid", {"loss": 2.0 / step}, unit="nats/symbol")


def content(workdir):
  return (workdir / metrics.METRICS).read_bytes()


def test_each_value_is_one_line_with_the_five_fields(tmp_path):
  with metrics.MetricWriter(tmp_path, tensorboard=False) as writer:
    writer.write(
      3,
      "train",
      {"bits_per_byte": 2.5, "gradient_norm": 1},
      unit={"bits_per_byte": "bits/byte"},
    )
  lines = content(tmp_path).decode().splitlines()
  assert [json.loads(line) for line in lines] == [
    {
      "step": 3,
      "split": "train",
      "name": "bits_per_byte",
      "value": 2.5,
      "unit": "bits/byte",
    },
    {
      "step": 3,
      "split": "train",
      "name": "gradient_norm",
      "value": 1.0,
      "unit": "",
    },
  ]


def test_a_line_is_on_disk_before_write_returns(tmp_path):
  writer = metrics.MetricWriter(tmp_path, tensorboard=False)
  writer.write(1, "train", {"loss": 1.0})
  assert content(tmp_path).endswith(b"\n")
  writer.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null_and_strict_json(tmp_path, value):
  with metrics.MetricWriter(tmp_path) as writer:
    writer.write(1, "train", {"loss": value})
  entry = json.loads(content(tmp_path), parse_constant=pytest.fail)
  assert entry["value"] is None


@pytest.mark.parametrize("saved", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("reached", [6, 7])
def test_killed_and_resumed_leaves_the_uninterrupted_file(
  tmp_path, saved, reached
):
  whole, broken = tmp_path / "whole", tmp_path / "broken"
  whole.mkdir()
  broken.mkdir()
  write(whole, range(1, 9), tensorboard=False)
  write(broken, range(1, reached + 1), tensorboard=False)
  write(broken, range(saved + 1, 9), step=saved, tensorboard=False)
  assert content(broken) == content(whole)


def test_the_restored_step_may_be_told_again_without_a_second_line(tmp_path):
  write(tmp_path, range(1, 5), tensorboard=False)
  before = content(tmp_path)
  write(tmp_path, [4], step=4, tensorboard=False)
  assert content(tmp_path) == before


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path):
  write(tmp_path, [1, 2], tensorboard=False)
  full = content(tmp_path)
  lines = full.splitlines(keepends=True)
  for cut in range(1, len(lines[-1])):
    path = tmp_path / metrics.METRICS
    path.write_bytes(full[:-cut])
    assert len(metrics.read(path)) == len(lines) - 1
    with metrics.MetricWriter(tmp_path, step=2, tensorboard=False) as writer:
      writer.write(2, "valid", {"loss": 1.0}, unit="nats/symbol")
    assert content(tmp_path) == full


def test_a_fresh_start_drops_what_was_there(tmp_path):
  write(tmp_path, [1, 2], tensorboard=False)
  write(tmp_path, [1], tensorboard=False)
  assert len(metrics.read(tmp_path / metrics.METRICS)) == 1


def test_a_line_damaged_in_the_middle_is_not_passed_over(tmp_path):
  path = tmp_path / metrics.METRICS
  path.write_text('{"step": 1\n{"step": 2}\n')
  with pytest.raises(errors.UserError, match="is damaged"):
    metrics.read(path)


def test_a_missing_file_has_no_lines(tmp_path):
  assert metrics.read(tmp_path / "none.jsonl") == []


def test_a_series_leaves_out_other_splits_names_and_undefined_values():
  entries = [
    {"step": 1, "split": "train", "name": "loss", "value": 3.0},
    {"step": 1, "split": "valid", "name": "loss", "value": 4.0},
    {"step": 2, "split": "train", "name": "norm", "value": 5.0},
    {"step": 2, "split": "train", "name": "loss", "value": None},
    {"step": 3, "split": "train", "name": "loss", "value": 1.0},
  ]
  assert metrics.series(entries, "train", "loss") == ([1, 3], [3.0, 1.0])


def scalars(path):
  """Steps and tags of an event file, by the format's own framing."""
  data, actual, place = path.read_bytes(), [], 0
  while place < len(data):
    size = int.from_bytes(data[place : place + 8], "little")
    event = event_pb2.Event.FromString(data[place + 12 : place + 12 + size])
    actual += [(event.step, value.tag) for value in event.summary.value]
    place += 12 + size + 4
  return actual


def test_two_writers_within_a_second_lose_no_events(tmp_path):
  for start in (1, 3):
    write(tmp_path, range(start, start + 2), step=start - 1)
  files = list(tmp_path.glob("events.out.tfevents.*"))
  assert len(files) == 2
  points = sorted(point for path in files for point in scalars(path))
  assert points == sorted(
    [(step, "train/loss") for step in (1, 2, 3, 4)]
    + [(step, "valid/loss") for step in (2, 4)]
  )


FULL = """
import pathlib, resource, signal, sys
from seqmodels import errors
from seqmodels import errors
from seqmodels.io import metrics
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = pathlib.Path(sys.argv[1])
writer = metrics.MetricWriter(folder, tensorboard=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
  for step in range(100):
    writer.write(step, "train", {"loss": 1.0})
except errors.RunError as error:
  print(error)
"""


def test_a_full_disk_is_one_sentence(tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", FULL, str(tmp_path)],
    capture_output=True,
    text=True,
    cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    check=False,
  )
  assert "metrics.jsonl: file too large; free some space" in done.stdout
  assert done.stderr == ""
  # What fitted is whole, and the torn line does not count.
  assert len(content(tmp_path)) == 1000
  kept = metrics.read(tmp_path / metrics.METRICS)
  assert [entry["step"] for entry in kept] == list(range(len(kept)))


def test_a_pipe_in_place_of_the_file_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / metrics.METRICS)
  with pytest.raises(errors.UserError, match="it is no regular file"):
    metrics.MetricWriter(tmp_path, tensorboard=False)


def test_no_run_waits_for_pytorch():
  """tensorboardX would import it; who needs it still can."""
  code = "import sys; from seqmodels.io import metrics; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code],
    stdout=subprocess.PIPE,
    text=True,
    cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    check=True,
  )
  loaded = done.stdout.split()
  assert "tensorboardX" in loaded
  assert "torch" not in loaded
