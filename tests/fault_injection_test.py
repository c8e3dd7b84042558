"""Faults of machines: none changes the results of a run."""

import contextlib
import datetime
import errno
import itertools
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from configs import common
from experiments import cli
from seqmodels import errors, losses
from seqmodels.io import checkpoints, distributed, run_folder
from tests import fault_injection

PROJECT = pathlib.Path(__file__).resolve().parents[1]


def campaign(*arguments):
  return subprocess.run(
    [sys.executable, "tests/fault_injection.py", *map(str, arguments)],
    cwd=PROJECT,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.slow
def test_a_dozen_kills_lose_nothing(tmp_path):
  """The scheduled campaign of two hundred, in small."""
  workdir = tmp_path / "faults"
  done = campaign("--kills=12", f"--workdir={workdir}", "--trainings", "text")
  assert done.returncode == 0, done.stdout + done.stderr
  table = (workdir / "faults.md").read_text()
  counted = {
    cells[1].strip(): int(cells[-2])
    for cells in (line.split("|") for line in table.splitlines()[2:-2])
  }
  assert counted["kills"] == 12
  assert counted["starts"] == 12 + counted["trainings"]
  assert counted["compared files"] > 10
  for name in ("torn checkpoints", "failed starts", "differing files"):
    assert counted[name] == 0, table


def test_a_folder_that_holds_something_is_not_emptied(tmp_path):
  (tmp_path / "mine").touch()
  done = campaign("--kills=1", f"--workdir={tmp_path}")
  assert done.returncode == 2
  assert "is not empty; give a new --workdir" in done.stderr
  assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# One run left in peace, and one that was stopped in the middle: tests go on
# with copies of it.


def settings():
  config = common.base()
  common.smoke(config)
  config.model.features = (6,)
  config.training.update(
    epochs=100.0, max_steps=12, batch=4, segment=10, checkpoint_every=3
  )
  config.baselines.update(ngram_order=0, compressors=False)
  config.dynamic.update(search=True, search_rates=(1e-2,))
  config.sample.length = 5
  return config


@contextlib.contextmanager
def stopped_after(asked):
  """Within it a run is stopped when it has asked so often."""
  left = [asked]

  def requested(self):
    left[0] -= 1
    if left[0] == 0:
      self.signum = 15
    return self.signum is not None

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(distributed.Interruption, "requested", property(requested))
    yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """A folder with the runs `straight` and `stopped`."""
  folder = tmp_path_factory.mktemp("runs")
  experiments.run(settings(), folder / "straight", folder)
  with stopped_after(5), pytest.raises(errors.Interrupted):
    experiments.run(settings(), folder / "stopped", folder)
  steps = checkpoints.Checkpoints(folder / "stopped/checkpoints").latest_steps
  assert steps == [4, 8]
  return folder


@pytest.fixture
def moved(runs, tmp_path):
  """The stopped run, in another place than it was begun in."""
  return pathlib.Path(shutil.copytree(runs / "stopped", tmp_path / "moved"))


def go_on(workdir):
  return experiments.run(settings(), workdir, workdir.parent)


def same(workdir, runs):
  assert fault_injection.content(workdir) == fault_injection.content(
    runs / "straight"
  )


@pytest.fixture
def refused(capsys):
  """The one sentence that a start ends with, and its exit code."""

  def go(workdir):
    capsys.readouterr()
    code = cli.run_cli(lambda: go_on(workdir))
    err = capsys.readouterr().err
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, err
    assert "Traceback" not in err
    assert not (workdir / "results.json").exists()
    assert not fault_injection.leftovers(workdir)
    return told[0], code

  return go


def flip(path):
  """One bit, in the middle."""
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 4
  path.write_bytes(data)


def largest(folder):
  return max(
    (path for path in folder.rglob("*") if path.is_file()),
    key=lambda path: path.stat().st_size,
  )


def test_a_run_that_was_moved_goes_on_where_it_lies(moved, runs):
  go_on(moved)
  same(moved, runs)
  # And what it learnt is read there, too.
  config = cli.load("configs/dynamic_evaluation.py:sgd,smoke").config
  config.restore = str(moved)
  rows = experiments.run(config, moved.parent / "again", runs)["rows"]
  static = [r["value"] for r in rows if r["evaluation"] == "static"]
  assert all(np.isfinite(static))


def test_a_flipped_bit_costs_the_steps_since_the_older_checkpoint(moved, runs):
  flip(largest(moved / "checkpoints" / "latest" / "8"))
  with pytest.warns(UserWarning, match="step 4 is used instead"):
    go_on(moved)
  same(moved, runs)


def test_no_intact_checkpoint_is_no_fresh_start(moved, refused):
  for step in (4, 8):
    flip(largest(moved / "checkpoints" / "latest" / str(step)))
  before = fault_injection.torn(moved)
  assert len(before) == 2
  for _ in range(2):
    sentence, code = refused(moved)
    assert code == 3
    assert "every checkpoint in" in sentence
    assert "restore the folder from a copy, or delete it" in sentence
  assert fault_injection.torn(moved) == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_damaged_records_are_told_or_do_no_harm(moved, runs, refused, damage):
  names = ("config.json", "run.json", "vocabulary.json", "data.json")
  for name in (*names, "metrics.jsonl"):
    path = moved / name
    whole = path.read_bytes()
    if damage == "truncated":
      path.write_bytes(whole[: len(whole) // 2])
    elif damage == "emptied":
      path.write_bytes(b"")
    else:
      # Within a key or a number, where most of a record is.
      path.write_bytes(whole.replace(b'"', b"#", 1))
    if name == "metrics.jsonl" and damage != "flipped":
      path.write_bytes(whole)  # torn as a kill would: tested with its writer
      continue
    sentence, code = refused(moved)
    assert code == 2, (name, sentence)
    assert name in sentence
    path.write_bytes(whole)
  go_on(moved)
  same(moved, runs)


# In the order in which a run writes them.
WRITTEN = (
  *("config.json", "run.json", "vocabulary.json", "data.json"),
  *("checkpoint.json", "metrics.jsonl", "evaluations.json"),
  *("dynamic_search.json", "learning_curves.png", "sample.txt"),
  *("report.md", "results.json"),
)


def test_a_full_disk_and_a_read_only_folder_cost_one_start(
  tmp_path, runs, refused, monkeypatch
):
  """Whichever file they come with, one after the other."""
  workdir, real = tmp_path / "full", os.replace
  for name, number in zip(
    WRITTEN, itertools.cycle((errno.ENOSPC, errno.EROFS)), strict=False
  ):

    def replace(source, target, name=name, number=number):
      if pathlib.Path(target).name == name:
        raise OSError(number, os.strerror(number))
      real(source, target)

    with monkeypatch.context() as patch:
      patch.setattr(os, "replace", replace)
      sentence, code = refused(workdir)
    reason = os.strerror(number).lower()
    assert reason in sentence.lower(), (name, sentence)
    # What a checkpoint's failure is in the background, a run's is at once.
    ends = number == errno.ENOSPC or name == "checkpoint.json"
    assert code == (3 if ends else 2), (name, sentence)
  go_on(workdir)
  same(workdir, runs)


def test_a_folder_that_cannot_be_entered_is_one_sentence(
  tmp_path, refused, monkeypatch
):
  def refuse(*arguments, **options):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))

  # Not by its mode: the superuser of a container writes everywhere.
  monkeypatch.setattr(run_folder, "open", refuse, raising=False)
  sentence, code = refused(tmp_path / "run")
  assert code == 2
  assert "read-only file system; choose another --workdir" in sentence


def test_a_gradient_that_is_not_finite_is_never_saved(
  moved, runs, refused, monkeypatch
):
  real = losses.cross_entropy

  def poisoned(*arguments):
    nats, wrong = real(*arguments)
    # Nothing is added to the loss, and something undefined to its gradient.
    return nats + jnp.sqrt(0.0 * nats), wrong

  with monkeypatch.context() as patch:
    patch.setattr(losses, "cross_entropy", poisoned)
    sentence, code = refused(moved)
  assert code == 3
  assert "at step 9 the gradient's norm is nan; the last good" in sentence
  go_on(moved)
  same(moved, runs)


def test_a_clock_that_jumps_changes_nothing(moved, runs, monkeypatch):
  # Back by years, on by years, and by an hour: every so many readings.
  jumps = itertools.cycle(
    offset for offset in (0.0, -1e8, 1e8, -3600.0) for _ in range(150)
  )
  wall = time.time

  def jumping():
    return wall() + next(jumps)

  class Jumping(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
      return cls.fromtimestamp(jumping(), tz)

  class Module:
    UTC, datetime = datetime.UTC, Jumping

  with monkeypatch.context() as patch:
    patch.setattr(time, "time", jumping)
    patch.setattr(time, "time_ns", lambda: int(1e9 * jumping()))
    patch.setattr(run_folder, "datetime", Module)
    go_on(moved)
  same(moved, runs)
  lines = (moved / "metrics.jsonl").read_text().splitlines()
  for entry in map(json.loads, lines):
    assert entry["value"] is not None
    assert math.isfinite(entry["value"])
    assert entry["value"] >= 0
  record = json.loads((moved / "run.json").read_text())
  assert record["outcome"] == "finished"
  assert record["seconds"] >= 0
  assert all(value >= 0 for value in record["goodput"].values())


def test_a_restart_storm_leaves_nothing_behind(moved, runs):
  before = set(moved.rglob("*"))
  for number in range(6):
    # As kills within a write leave it.
    (moved / f".incomplete-{number:016x}").touch()
    (moved / "checkpoints" / "latest" / f"{number}.incomplete").mkdir()
    with stopped_after(1), pytest.raises(errors.Interrupted):
      go_on(moved)
    assert set(moved.rglob("*")) == before
  record = json.loads((moved / "run.json").read_text())
  assert len(record["resumes"]) == 6
  go_on(moved)
  same(moved, runs)


def test_a_second_run_in_the_folder_is_refused(moved, runs, refused):
  with run_folder.start(moved, config=settings().to_dict()):
    sentence, code = refused(moved)
  assert code == 2
  assert "another run" in sentence
  go_on(moved)
  same(moved, runs)
