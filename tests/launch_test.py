"""The launch files, with stand-ins for the cluster's own commands."""

import os
import pathlib
import re
import shlex
import subprocess

import pytest
from absl import flags

from configs import checks
from experiments import cli, restore

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
      timeout=1700,
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


def tables(*arguments, **variables):
  return subprocess.run(
    ["bash", str(PROJECT / "launch" / "tables.sh"), *arguments],
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    timeout=1700,
    check=False,
  )


def listed(*arguments):
  """Commands of `tables.sh --list`, each as a list of arguments."""
  lines = tables("--list", *arguments).stdout.splitlines()
  actual = [
    re.fullmatch(r" *[\d.]+ h  python (main.py .+)", line)[1] for line in lines
  ]
  return [shlex.split(line) for line in actual]


def same_network(config, source):
  """True if a page that trains continues the network of its source."""
  ours, theirs = dict(checks.flatten(config)), dict(checks.flatten(source))
  return "training.epochs" not in ours or (
    restore.of_network(config) == restore.of_network(source)
    and ours.get("data.sentences") == theirs.get("data.sentences")
  )


@pytest.mark.parametrize("order", [(), ("--quick-first",)])
def test_every_command_of_the_tables_is_understood_and_comes_after_its_source(
  order,
):
  before = {}
  for command in listed(*order):
    request = cli.parse(command, flags.FlagValues())
    assert request.config
    folder = command[-1].removeprefix("--workdir=")
    sources = [
      argument.partition("=")[2]
      for argument in command
      if argument.startswith("--config.restore=")
    ]
    assert set(sources) <= before.keys()
    for source in sources:
      # A stage goes on with the network, and with the text as it was cut.
      assert same_network(request.config, before[source])
    assert folder not in before
    before[folder] = request.config
  assert {"runs/penn_char", "runs/penn_word", "runs/synthesis"} <= before.keys()


@pytest.fixture
def stub(tmp_path):
  """A stand-in for Python that notes its workdir and may fail at one run."""
  path = tmp_path / "python"
  path.write_text(
    """#!/bin/bash
folder=${*: -1}; folder=${folder#--workdir=}
echo "$(basename "$folder")" >> "$CALLS"
[ "$(basename "$folder")" != "$BAD" ] || exit "$STATUS"
mkdir -p "$folder" && touch "$folder/results.json"
"""
  )
  path.chmod(0o755)

  def run(*arguments, bad="", status=0):
    calls = tmp_path / "calls"
    calls.write_text("")
    done = tables(
      *arguments,
      PYTHON=str(path),
      RUNS=str(tmp_path / "runs"),
      CALLS=str(calls),
      BAD=bad,
      STATUS=str(status),
    )
    return done, calls.read_text().split()

  return run


def test_tables_leave_out_what_starts_from_a_run_that_failed(stub):
  done, calls = stub("penn_word", bad="penn_word", status=3)
  assert calls == ["penn_word_dropout", "penn_word_dropout_rms", "penn_word"]
  assert done.returncode == 1
  assert "starts from penn_word, which has not finished" in done.stderr
  assert "not finished: penn_word penn_word_weight_noise" in done.stderr
  again, calls = stub("penn_word")
  assert calls[-3:] == [
    "penn_word",
    "penn_word_weight_noise",
    "penn_word_weight_noise_rms",
  ]
  assert again.returncode == 0


def test_a_stopped_run_stops_the_tables(stub):
  done, calls = stub("penn_word", bad="penn_word_dropout", status=143)
  assert (done.returncode, calls) == (143, ["penn_word_dropout"])


def test_tables_refuse_what_names_no_run(stub):
  for argument, words in (("nothing", "no run begins"), ("-x", "no option -x")):
    done, calls = stub(argument)
    assert (done.returncode, calls) == (2, [])
    assert words in done.stderr
