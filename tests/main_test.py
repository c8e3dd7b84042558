"""`python main.py`, from outside, with a small experiment that is not ours."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from experiments import cli

PROJECT = pathlib.Path(__file__).resolve().parent.parent

PAGE = '''"""Counts to a number."""

from configs import common


def get_config(arg=""):
  variants = common.parse(arg, ("plain", "smoke"))
  config = common.base()
  config.experiment = "outside.counting"
  config.goal = 3 if "smoke" in variants else 5
  config.mood = "well"
  return config
'''

# Counts, one step a line of metrics, and saves every number it reaches. Slowly,
# and where there is a file `hold` not on from its first step before a signal.
EXPERIMENT = """
import time

import jax

from seqmodels import errors
from seqmodels.io import distributed, metrics as metrics_lib, results

DISTRIBUTED = True


def run(config, workdir, data_dir):
  if config.mood == "crash":
    raise ZeroDivisionError("a bug")
  if config.mood == "nan":
    raise errors.RunError("at step 3 the loss is nan")
  saved = workdir / f"count{jax.process_index() or ''}"
  step = int(saved.read_text()) if saved.exists() else 0
  with (
    distributed.Interruption() as signals,
    metrics_lib.MetricWriter(workdir, step=step or -1) as metrics,
  ):
    while step < config.goal:
      signals.check()
      step += 1
      metrics.write(step, "train", {"loss": 1.0 / step}, unit="nats/symbol")
      saved.write_text(str(step))
      if config.mood == "slow":
        print("step", step, flush=True)
        time.sleep(0.1)
      while (workdir.parent / "hold").exists() and not signals.requested:
        time.sleep(0.1)
  return [
    results.row("counting", split="test", evaluation="static",
               metric="perplexity", value=step, count=step, seconds=0.0)
  ]
"""


@pytest.fixture
def here(tmp_path):
  (tmp_path / "outside").mkdir()
  (tmp_path / "outside" / "counting.py").write_text(EXPERIMENT)
  (tmp_path / "page.py").write_text(PAGE)
  return tmp_path


started = []


@pytest.fixture(autouse=True)
def _none_is_left():
  yield
  while started:
    with started.pop() as process:  # closes its pipes
      process.kill()


def start(here, *arguments, **variables):
  process = subprocess.Popen(
    [sys.executable, str(PROJECT / "main.py"), *arguments],
    cwd=here,
    env={
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "PYTHONPATH": str(here),
      "XDG_CACHE_HOME": str(here / "cache"),
      **variables,
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  started.append(process)
  return process


def first_step(process):
  """The first line of a slow count; gloo says a word before it."""
  return next(line for line in process.stdout if line.startswith("step"))


def run(here, *arguments, **variables):
  process = start(here, *arguments, **variables)
  out, err = process.communicate(timeout=1700)
  return process.returncode, out, err


def read(path):
  return json.loads(path.read_text())


def test_a_run_leaves_its_folder_and_the_same_command_prints_it_again(here):
  code, table, err = run(here, "--config=page.py:smoke")
  assert (code, err) == (0, "")
  assert re.search(r"counting +test +static +perplexity +3\.000 +3", table)
  workdir = here / "runs" / "page-smoke"
  assert {path.name.split(".")[0] for path in workdir.iterdir()} == {
    *("config", "run", "metrics", "events", "results", "count"),
  }
  results = read(workdir / "results.json")
  assert list(results) == ["experiment", "config", "finished", "rows"]
  assert results["experiment"] == "outside.counting"
  assert results["finished"] is True
  assert results["config"] == read(workdir / "config.json")
  assert results["rows"][0]["value"] == 3.0
  record = read(workdir / "run.json")
  assert record["command"].endswith("main.py --config=page.py:smoke")
  before = {path: path.read_bytes() for path in workdir.iterdir()}

  code, again, err = run(here, "--config=page.py:smoke")
  assert code == 0
  assert again == table
  assert err == "already finished: runs/page-smoke\n"
  del before[workdir / "run.lock"]
  assert all(path.read_bytes() == data for path, data in before.items())


def test_a_mistyped_key_is_one_line_and_makes_no_folder(here):
  code, out, err = run(here, "--config=page.py", "--config.model.feature=3")
  assert (code, out) == (2, "")
  assert err.startswith("error: unknown config key 'model.feature' (did you")
  assert err.count("\n") == 1
  assert not (here / "runs").exists()


def test_a_bug_keeps_its_traceback(here):
  code, _, err = run(here, "--config=page.py", "--config.mood=crash")
  assert code == 1
  assert "Traceback" in err
  assert "ZeroDivisionError: a bug" in err


def test_a_signal_saves_and_the_same_command_resumes(here):
  command = (
    "--config=page.py", "--workdir=w", "--config.mood=slow",
    "--config.goal=40",
  )  # fmt: skip
  reached = 0
  (here / "hold").touch()
  for number in (signal.SIGTERM, signal.SIGINT):
    process = start(here, *command)
    assert first_step(process) == f"step {reached + 1}\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=1700)
    assert process.returncode == 128 + number
    name = signal.Signals(number).name
    assert err == (
      f"interrupted by {name}; the state is saved, the same command resumes\n"
    )
    assert int((here / "w" / "count").read_text()) > reached
    reached = int((here / "w" / "count").read_text())
    assert not (here / "w" / "results.json").exists()

  (here / "hold").unlink()
  code, out, _ = run(here, *command)
  assert code == 0
  assert out.startswith(f"step {reached + 1}\n")
  lines = (here / "w" / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == list(range(1, 41))
  record = read(here / "w" / "run.json")
  outcomes = [entry["outcome"] for entry in record["resumes"]]
  assert outcomes == ["interrupted by SIGINT", "finished"]


def free_port():
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


def start_two(here, *arguments):
  common = {
    "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
    "JAX_NUM_PROCESSES": "2",
  }
  return [
    start(here, "--distributed", *arguments, JAX_PROCESS_ID=str(n), **common)
    for n in range(2)
  ]


def test_of_two_processes_one_writes_and_both_end(here):
  processes = start_two(here, "--config=page.py:smoke")
  ends = [process.communicate(timeout=1700) for process in processes]
  assert [process.returncode for process in processes] == [0, 0], ends
  assert "counting" in ends[0][0]
  assert "counting" not in ends[1][0]
  record = read(here / "runs" / "page-smoke" / "run.json")
  assert record["processes"] == 2
  assert record["resumes"] == []


@pytest.mark.slow
def test_a_signal_to_the_second_process_stops_both_at_one_step(here):
  command = (
    *("--config=page.py", "--workdir=w"),
    *("--config.mood=slow", "--config.goal=10000"),
  )
  first, second = start_two(here, *command)
  assert first_step(second) == "step 1\n"
  second.send_signal(signal.SIGTERM)
  ends = [process.communicate(timeout=1700) for process in (first, second)]
  assert [first.returncode, second.returncode] == [143, 143], ends
  for _, err in ends:
    assert (
      "the state is saved, the same command resumes" in err.splitlines()[-1]
    )
  reached = [int((here / "w" / f"count{n}").read_text()) for n in ("", 1)]
  assert reached[0] == reached[1] < 10_000
  record = read(here / "w" / "run.json")
  assert record["outcome"] == "interrupted by SIGTERM"


@pytest.mark.slow
def test_processes_that_never_meet_give_up_with_a_sentence(here):
  code = "from experiments import runtime; runtime.join(patience=3)"
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=PROJECT,
    env={
      **os.environ,
      "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
      "JAX_NUM_PROCESSES": "2",
      "JAX_PROCESS_ID": "1",
    },
    capture_output=True,
    text=True,
    timeout=1700,
    check=False,
  )
  assert done.returncode == 3
  assert "did not all meet within 3 seconds at 127.0.0.1:" in done.stderr
  assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_one_process_does_alone_refuses_to_be_distributed(here):
  path = here / "outside" / "counting.py"
  path.write_text(EXPERIMENT.replace("DISTRIBUTED = True", ""))
  processes = start_two(here, "--config=page.py:smoke")
  ends = [process.communicate(timeout=1700) for process in processes]
  assert processes[0].returncode == 2, ends
  assert "outside.counting is one process's work, here are 2" in ends[0][1]


def code(source, **environment):
  """Runs source in a process of its own."""
  return subprocess.run(
    [sys.executable, "-c", source],
    cwd=PROJECT,
    env={**os.environ, **environment},
    capture_output=True,
    check=False,
  )


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu", "nonsense"])
def test_a_device_that_is_not_there_is_one_sentence(platform):
  done = code(
    "from experiments import cli, runtime; import sys;"
    "sys.exit(cli.run_cli(runtime.prepare))",
    JAX_PLATFORMS=platform,
  )
  lines = done.stderr.decode().splitlines()
  assert done.returncode == 2
  assert lines[-1].startswith(f"error: JAX_PLATFORMS is '{platform}', and JAX")
  assert b"Traceback" not in done.stderr


def test_half_of_a_launchers_variables_is_one_sentence():
  done = code(
    "from experiments import cli, runtime; import sys;"
    "sys.exit(cli.run_cli(runtime.join))",
    OMPI_MCA_orte_hnp_uri="1531576320.0;tcp://10.96.0.1:34911",
  )
  [line] = done.stderr.decode().splitlines()
  assert done.returncode == 2
  assert line.startswith("error: --distributed could not join the other")
  assert "OMPI_COMM_WORLD_" in line
  assert line.endswith("is not set, as others of its launcher are")


def test_runs_keep_their_own_dtypes():
  done = code(
    "from experiments import runtime; runtime.prepare();"
    "import jax.numpy as jnp;"
    "assert jnp.arange(2.0).dtype == jnp.float32;"
    "print((jnp.ones(2, jnp.bfloat16) + jnp.ones(2, jnp.float32)).dtype)",
    JAX_ENABLE_X64="1",
    JAX_NUMPY_DTYPE_PROMOTION="strict",
  )
  assert done.stdout == b"float32\n"
  assert b"JAX_ENABLE_X64=True is not used" in done.stderr
  assert b"JAX_NUMPY_DTYPE_PROMOTION=strict is not used" in done.stderr


def test_without_a_home_folder_nothing_is_cached():
  done = code(
    "import os; os.path.expanduser = lambda name: name;"
    "os.environ.pop('JAX_COMPILATION_CACHE_DIR', None);"
    "os.environ.pop('XDG_CACHE_HOME', None);"
    "from experiments import runtime; runtime.keep_compilations();"
    "import jax; print(jax.config.values['jax_compilation_cache_dir'])"
  )
  assert done.stdout == b"None\n"
  assert not (PROJECT / "~").exists()


def test_what_a_terminal_cannot_show_is_replaced():
  done = code(
    "from experiments import cli; cli.run_cli(lambda: print('na\\u00efve'))",
    PYTHONIOENCODING="ascii",
  )
  assert (done.returncode, done.stdout) == (0, b"na?ve\n")


def test_closed_streams_are_empty_ones():
  program = (
    "from experiments import cli; import sys;"
    "sys.exit(cli.run_cli(lambda: (print(1), sys.stdin.read())))"
  )
  done = subprocess.run(
    ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, program],
    cwd=PROJECT,
    check=False,
  )
  assert done.returncode == 0


BEGUN = """if True:
  import runpy, sys
  sys.argv = sys.argv[1:]
  print("begun", flush=True)
  runpy.run_path("main.py", run_name="__main__")
"""


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.9])
def test_ctrl_c_in_the_first_second_ends_with_a_sentence(tmp_path, seconds):
  with subprocess.Popen(
    [
      *(sys.executable, "-c", BEGUN, "main.py"),
      "--config=configs/quickstart.py:smoke",
      f"--workdir={tmp_path}/w",
    ],
    cwd=PROJECT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as process:
    assert process.stdout.readline() == b"begun\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    assert process.wait(1700) == 130
    errors = process.stderr.read()
  assert b"Traceback" not in errors
  assert errors.splitlines()[-1].startswith(b"interrupted by SIGINT")


class Interrupting:
  def __del__(self):
    signal.raise_signal(signal.SIGINT)


def test_an_interruption_that_python_swallows_prints_nothing(capsys):
  """An exception in a finaliser or a callback of garbage collection."""

  def action():
    del [Interrupting()][0]

  assert cli.run_cli(action) == 0
  assert capsys.readouterr().err == ""


def test_a_backend_of_another_program_does_not_stop_figures(tmp_path):
  done = code(
    "from seqmodels.plotting import style\n"
    f"with style.axes({str(tmp_path / 'a.png')!r}, 'a title'): pass",
    MPLBACKEND="module://no_such_backend",
  )
  assert done.returncode == 0, done.stderr.decode()
  assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGTERM"])
def test_every_stop_signal_has_its_sentence_and_code(name):
  done = code(
    "from experiments import cli; import os, signal, sys;"
    f"stop = lambda: os.kill(os.getpid(), signal.{name});"
    "sys.exit(cli.run_cli(stop))",
  )
  assert done.returncode == 128 + getattr(signal, name)
  assert done.stderr.decode().startswith(f"interrupted by {name}; ")
