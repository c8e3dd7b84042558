import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from seqmodels.io import checkpoint_integrity, checkpoints

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def write(folder, value):
  leaves = {"params/w": np.full(1000, value)}
  checkpoints.write_folder(folder, int(folder.name), leaves, {}, {})


def test_other_arrays_under_matching_file_checksums_are_refused(tmp_path):
  one, other = tmp_path / "1", tmp_path / "2"
  write(one, 1.0)
  write(other, 2.0)
  vouched = checkpoints.read_record(other)
  forged = dataclasses.replace(checkpoints.read_record(one), step=2)
  forged = dataclasses.replace(forged, files=vouched.files)
  (other / checkpoint_integrity.NAME).write_text(forged.to_json())
  record = checkpoints.read_record(other)
  checkpoints.verify(other, record)  # the files are what it says
  with pytest.raises(
    checkpoint_integrity.CorruptError, match="its fingerprint"
  ):
    checkpoints.load_folder(other, record, ["params/w"])


def test_some_leaves_are_read_alone(tmp_path):
  leaves = {"a/x": np.arange(3), "a/y": np.arange(4), "b": np.zeros((0, 2))}
  checkpoints.write_folder(tmp_path / "5", 5, leaves, {}, {})
  record = checkpoints.read_record(tmp_path / "5")
  actual = checkpoints.load_folder(tmp_path / "5", record, ["a/y", "b"])
  assert list(map(repr, actual["a/y"])) == list(map(repr, np.arange(4)))
  assert actual["b"].shape == (0, 2)
  assert set(actual) == {"a/y", "b"}


# Forks a process that has imported everything but started nothing, once for
# every kill, since starting Python takes ten times as long as a save.
KILLS = """
import os, pathlib, random, shutil, signal, sys, time
import numpy as np
from seqmodels.io import checkpoints

def tree(value):
  return {"w": np.full(30_000, value)}

def save(folder, steps, *, fatal=None):
  left = fatal
  def die(event, arguments):
    nonlocal left
    # A folder made inside a checkpoint that bears its name already is a moment
    # to kill at too; there should be none.
    early = event == "os.mkdir" and any(
      part.isdecimal() for part in pathlib.Path(arguments[0]).parts)
    if fatal and (early or event in ("os.rename", "shutil.rmtree")):
      left -= 1
      if not left:
        os.kill(os.getpid(), signal.SIGKILL)
  sys.addaudithook(die)
  with checkpoints.Checkpoints(folder, keep=1) as saved:
    for step, value in steps:
      saved.save_best(step, tree(value), {"value": value})
      saved.save(step, tree(value), {"value": value})

def fork(*arguments, delay=None, **keywords):
  child = os.fork()
  if not child:
    status = 1
    try:
      save(*arguments, **keywords)
      status = 0
    finally:
      os._exit(status)
  if delay:
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
  return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

root = pathlib.Path(sys.argv[1])
assert fork(root / "first", [(1, 1)]) == 0
for point in range(1, 200):
  folder = shutil.copytree(root / "first", root / f"point{point}")
  # A new step, then the same step with other content.
  code = fork(folder, [(2, 2), (2, 3)], fatal=point)
  if code == 0:
    break
  assert code == -signal.SIGKILL, code
print(point)
random.seed(0)
for number in range(4):
  folder = shutil.copytree(root / "first", root / f"time{number}")
  steps = [(step, step) for step in range(2, 1000)]
  fork(folder, steps, delay=random.uniform(0.2, 0.5))
"""


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", KILLS, tmp_path],
    env={**os.environ, "PYTHONPATH": str(PROJECT)},
    capture_output=True,
    text=True,
    timeout=1700,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert int(done.stdout) > 15  # moments, one of them after the last write
  target = {"w": np.empty(30_000, np.int64)}
  actual = set()
  for folder in sorted(tmp_path.iterdir()):
    with checkpoints.Checkpoints(folder) as saved:
      for area, restore in (
        ("latest", saved.restore_latest),
        ("best", saved.restore_best),
      ):
        # A corrupt one would warn, and warnings are errors here.
        step, tree, meta = restore(target)
        assert (tree["w"] == meta["value"]).all()
        actual.add((folder.name[:5], step, meta["value"]))
        entries = [entry.name for entry in (folder / area).iterdir()]
        assert str(step) in entries
        assert all(entry.isdecimal() for entry in entries)
    shutil.rmtree(folder)
  assert {("point", 1, 1), ("point", 2, 2), ("point", 2, 3)} <= actual


def test_a_pipe_in_place_of_a_record_is_not_waited_for(tmp_path):
  (tmp_path / "3").mkdir()
  os.mkfifo(tmp_path / "3" / checkpoint_integrity.NAME)
  with pytest.raises(
    checkpoint_integrity.CorruptError, match="no regular file"
  ):
    checkpoints.read_record(tmp_path / "3")
