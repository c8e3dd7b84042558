"""The launch files, with stand-ins for the cluster's own commands."""

import os
import pathlib
import subprocess

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def launch(tmp_path):
  """Runs a launch file beside commands that only note how they were called."""

  calls = tmp_path / "calls"

  def run(name, *arguments, commands, **variables):
    calls.touch()
    for command, body in commands.items():
      path = tmp_path / command
      path.write_text(f'#!/bin/bash\necho "{command} $*" >> calls\n{body}\n')
      path.chmod(0o755)
    done = subprocess.run(
      ["bash", str(PROJECT / "launch" / name), *arguments],
      cwd=tmp_path,
      env={
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHON": "python3.11",
        **variables,
      },
      capture_output=True,
      text=True,
      timeout=60,
      check=False,
    )
    return done.returncode, calls.read_text(), done.stderr

  return run


@pytest.mark.parametrize(
  ("status", "requeued"), [(0, False), (2, False), (3, False), (143, True)]
)
def test_slurm_requeues_what_was_preempted_only(launch, status, requeued):
  code, calls, _ = launch(
    "slurm.sbatch",
    "--config=a.py",
    "--workdir=with space",
    commands={"srun": f"exit {status}", "scontrol": "exit 1"},
    SLURM_JOB_ID="7",
  )
  assert code == status
  first, *rest = calls.splitlines()
  assert first == (
    "srun --kill-on-bad-exit=1 --cpus-per-task=1 python3.11 main.py "
    "--distributed --config=a.py --workdir=with space"
  )
  assert rest == (["scontrol requeue 7"] if requeued else [])


def test_every_host_of_a_tpu_slice_gets_the_same_command(launch):
  code, calls, err = launch(
    "tpu_pod.sh",
    "--config=a.py",
    "--workdir=with space",
    commands={"gcloud": "", "git": ""},
    TPU="slice",
    ZONE="zone",
  )
  assert (code, err) == (0, "")
  assert calls.count("--zone=zone --worker=all") == 3
  assert calls.endswith(
    "exec python3.11 main.py --distributed --config=a.py "
    "--workdir=with\\ space\n"
  )


def test_a_tpu_slice_without_a_name_is_refused(launch):
  code, calls, err = launch("tpu_pod.sh", commands={"gcloud": ""}, ZONE="zone")
  assert (code, calls) == (1, "")
  assert "name the TPU slice, TPU=my-slice" in err
