"""Training by several processes that find each other on this machine.

Two of them here; `SEQMODELS_PROCESSES=4` has four do the same, for runs that
have the processors for it.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

import experiments
from configs import text as text_page

PROJECT = pathlib.Path(__file__).resolve().parents[2]
COUNT = int(os.environ.get("SEQMODELS_PROCESSES", "2"))
STEPS = 40

# Sums over the rows of a batch are taken in another order on other numbers of
# devices: float32 rounds at 6e-8, and 40 steps of training let that grow.
BOUND = 2e-5

pytestmark = pytest.mark.slow

# What each process does: trains and evaluates; is stopped by a notice to the
# last process only, and goes on; loses that process. One JSON object of what
# it saw is printed before the loss.
WORK = """
import json, os, pathlib, shutil, signal, sys, time
from experiments import cli, runtime
runtime.prepare(distributed=True)
import jax
from ml_collections import config_dict
import experiments
from seqmodels import errors
from seqmodels.training import sharding

folder = pathlib.Path(sys.argv[1])
config = config_dict.ConfigDict(json.loads((folder / "settings").read_text()))
last = jax.process_index() == jax.process_count() - 1
place = sharding.place_segments
seen = {}

def run(name, at_dispatch=lambda number: None):
  numbers = []
  def placed(mesh, segments):
    numbers.append(segments.mask.shape)
    at_dispatch(len(numbers))
    return place(mesh, segments)
  sharding.place_segments = placed
  try:
    return experiments.run(config, folder / name, folder)
  finally:
    seen[name] = len(numbers)

def preempt(number):
  time.sleep(0.5)  # notices are looked for once a second
  if number == 2 and last:
    os.kill(os.getpid(), signal.SIGTERM)

def die(number):
  if number == 3 and last:
    os.kill(os.getpid(), signal.SIGKILL)

rows = run("straight")["rows"]
seen["values"] = [row["value"] for row in rows]
try:
  run("stopped", preempt)
except errors.Interrupted as error:
  seen["signal"] = error.signum
seen["dispatches"] = seen["stopped"]
if jax.process_index() == 0:
  shutil.copytree(folder / "stopped", folder / "left")
run("stopped")
print(json.dumps(seen), flush=True)
cli.run_cli(lambda: run("killed", die))
"""

ALONE = """
import json, pathlib, sys
import jax
from ml_collections import config_dict
import experiments

assert jax.device_count() == 2
folder = pathlib.Path(sys.argv[1])
config = config_dict.ConfigDict(json.loads((folder / "settings").read_text()))
experiments.run(config, folder / "left", folder)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_corpus):
  path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
  path.write_text(tiny_corpus, encoding="utf-8")
  config = text_page.get_config("smoke")
  config.dtype = "float32"
  config.data.update(path=str(path), limit=0)
  config.training.update(epochs=3.0, max_steps=STEPS, batch=4 * COUNT)
  config.training.update(segment=5, checkpoint_every=4, evaluations_per_epoch=4)
  config.baselines.update(ngram_order=0, compressors=False)
  config.dynamic.update(rule="sgd", search=False)
  config.sample.length = 5
  return config


@pytest.fixture(scope="module")
def together(config, tmp_path_factory):
  """The folder that the processes wrote, and how each of them ended."""
  folder = tmp_path_factory.mktemp("together")
  (folder / "settings").write_text(json.dumps(config.to_dict()))
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  environment = {
    **os.environ,
    "PYTHONPATH": str(PROJECT),
    "XDG_CACHE_HOME": str(folder / "cache"),
    "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
    "JAX_NUM_PROCESSES": str(COUNT),
  }
  running = [
    subprocess.Popen(
      [sys.executable, "-c", WORK, str(folder)],
      env={**environment, "JAX_PROCESS_ID": str(index)},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(COUNT)
  ]
  try:
    said = [process.communicate(timeout=1700) for process in running]
  finally:
    for process in running:
      process.kill()
  return folder, running, said


def seen(said):
  """The JSON object that a process printed."""
  lines = [line for line in said[0].splitlines() if line.startswith("{")]
  assert lines, said
  return json.loads(lines[-1])


def metrics(workdir):
  """Values by (step, split, name), the clock's left out."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return {
    (entry["step"], entry["split"], entry["name"]): entry["value"]
    for entry in map(json.loads, lines)
    if not entry["name"].endswith("_per_second")
  }


def fingerprints(workdir):
  """SHA-256 of every array of the last training state."""
  (record,) = workdir.glob(f"checkpoints/latest/{STEPS}/checkpoint.json")
  leaves = json.loads(record.read_text())["leaves"]
  return {name: leaf["sha256"] for name, leaf in leaves.items()}


def assert_close(workdir, straight):
  actual, expected = metrics(workdir), metrics(straight)
  assert actual.keys() == expected.keys()
  assert max(step for step, _, _ in actual) == STEPS
  assert actual == pytest.approx(expected, rel=BOUND)


def test_several_processes_train_as_one_does(together, config, tmp_path):
  folder, _, said = together
  rows = experiments.run(config, tmp_path / "alone", tmp_path)["rows"]
  assert_close(folder / "straight", tmp_path / "alone")
  values = [row["value"] for row in rows]
  for text in said:
    assert seen(text)["values"] == pytest.approx(values, rel=BOUND)


def test_the_first_alone_writes_and_speaks(together):
  folder, _, said = together
  record = json.loads((folder / "straight" / "run.json").read_text())
  assert (record["processes"], record["outcome"]) == (COUNT, "finished")
  assert len(list((folder / "straight").glob("events.*"))) == 1
  assert "resumed at step" in said[0][1]
  assert "training:" in said[0][1]
  for text in said[1:]:
    assert "training:" not in text[1]


def test_a_notice_to_one_process_stops_all_at_one_step(together):
  folder, _, said = together
  ends = [seen(text) for text in said]
  assert {end["signal"] for end in ends} == {15}
  (dispatches,) = {end["dispatches"] for end in ends}
  assert 2 < dispatches < STEPS // 2
  record = json.loads((folder / "left" / "run.json").read_text())
  assert record["outcome"] == "interrupted by SIGTERM"


def test_stopped_and_resumed_the_bits_are_those_of_a_straight_run(together):
  folder, _, _ = together
  assert fingerprints(folder / "stopped") == fingerprints(folder / "straight")
  assert metrics(folder / "stopped") == metrics(folder / "straight")


def test_the_loss_of_a_process_ends_the_others_with_a_sentence(together):
  _, running, said = together
  assert running[-1].returncode == -9
  assert running[0].returncode == 3, said[0][1]
  assert "another process of this run is gone" in said[0][1].splitlines()[-1]


def test_one_process_goes_on_from_what_several_saved(
  together, config, tmp_path
):
  folder, _, _ = together
  shutil.copytree(folder / "killed", tmp_path / "killed")
  experiments.run(config, tmp_path / "killed", tmp_path)
  assert_close(tmp_path / "killed", folder / "straight")


def test_two_devices_go_on_from_what_several_processes_saved(
  together, simulated_devices
):
  folder, _, _ = together
  simulated_devices(2, ALONE, str(folder), timeout=1700)
  assert_close(folder / "left", folder / "straight")
