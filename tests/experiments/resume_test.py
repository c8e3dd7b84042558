"""A signal from outside; kills are in fault_injection_test."""

import json
import signal
import time

import pytest

STEPS = 150


@pytest.fixture
def arguments(corpus_file):
  return (
    "--config=configs/text.py:smoke",
    f"--config.data.path={corpus_file}",
    "--config.data.limit=0",
    f"--config.training.max_steps={STEPS}",
    "--config.training.epochs=20",
    "--config.training.batch=4",
    "--config.training.checkpoint_every=4",
    "--config.training.evaluations_per_epoch=6",
    "--config.baselines.compressors=False",
    "--config.sample.length=0",
  )


def finish(process, timeout=1700):
  out, err = process.communicate(timeout=timeout)
  assert process.returncode == 0, err
  return out


def values(workdir):
  rows = json.loads((workdir / "results.json").read_text())["rows"]
  return [(r["name"], r["split"], r["metric"], r["value"]) for r in rows]


def wait_for(workdir, seconds, process):
  """Until training has begun, and then a while."""
  while not (workdir / "metrics.jsonl").exists() and process.poll() is None:
    time.sleep(0.05)
  time.sleep(seconds)


def test_a_signal_saves_exits_and_the_same_command_resumes(
  command, arguments, tmp_path
):
  workdir = tmp_path / "run"
  process = command(*arguments, f"--workdir={workdir}")
  wait_for(workdir, 0.2, process)
  process.terminate()
  _, err = process.communicate(timeout=1700)
  assert process.returncode == 128 + signal.SIGTERM
  assert "the same command resumes" in err.splitlines()[-1]
  assert "Traceback" not in err
  assert not (workdir / "results.json").exists()
  finish(command(*arguments, f"--workdir={workdir}"))
  assert values(workdir)
