"""Two processes stopped in the phases of a run; four that train as one.

One phase here; `SEQMODELS_PHASES=all` goes through every one, for runs that
have the time for it.

All are forks of one process that has imported everything and computed nothing,
so only the runs themselves take time.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import experiments
from configs import text as text_page
from tests import fault_injection

pytestmark = pytest.mark.slow

PROJECT = pathlib.Path(__file__).resolve().parents[2]

# Sums over the rows of a batch are taken in another order on four devices:
# float32 rounds at 6e-8, and 16 steps of training let that grow.
BOUND = 2e-5
STEPS = 16

# In the order in which a run comes to them: what the first process calls there,
# which call of this start a signal comes with, and to which process. But for
# the steps of training the second one waits for the first.
EVERY_PHASE = (
  ("compiling", "seqmodels.losses", "cross_entropy", 1, 1),
  (
    "training",
    "seqmodels.data.text.batching:SequentialStream",
    "segments",
    2,
    0,
  ),
  ("saving", "seqmodels.io.checkpoints:Checkpoints", "save", 1, 0),
  ("evaluating", "seqmodels.evaluation.static", "evaluate", 1, 1),
  ("searching", "seqmodels.evaluation.dynamic", "search", 1, 0),
  ("learning on", "experiments.language_model.evaluate:dynamic", "steps", 1, 1),
  ("sampling", "experiments.language_model.sample:text", "sample", 1, 1),
)
EVERY = os.environ.get("SEQMODELS_PHASES") == "all"
PHASES = [p for p in EVERY_PHASE if EVERY or p[0] == "learning on"]

# Prints how each start ended: its phase, and the exit code of each process.
WORK = """
import functools, importlib, json, operator, os, pathlib, signal, socket, sys
import time
from ml_collections import config_dict
from experiments import cli, runtime
import experiments

folder = pathlib.Path(sys.argv[1])

def settings(name):
  global config
  text = (folder / f"{name}.json").read_text()
  config = config_dict.ConfigDict(json.loads(text))

def strike(place, name, call, victim):
  module, _, inner = place.partition(":")
  found = importlib.import_module(module)
  holder = operator.attrgetter(inner)(found) if inner else found
  real, calls = getattr(holder, name), []
  @functools.wraps(real)
  def told(*arguments, **options):
    calls.append(name)
    if len(calls) == call:
      os.kill(victim or os.getpid(), signal.SIGTERM)
      time.sleep(2.5)  # JAX looks for notices once a second.
    return real(*arguments, **options)
  setattr(holder, name, told)

def live(index, count, port, workdir, log, blow):
  file = (folder / f"{log}.{index}").open("ab", buffering=0)
  os.dup2(file.fileno(), 1)
  os.dup2(file.fileno(), 2)
  os.environ.update(
    JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}", JAX_NUM_PROCESSES=str(count),
    JAX_PROCESS_ID=str(index))
  if blow:
    strike(*blow)
  def main():
    runtime.prepare(distributed=True)
    experiments.run(config, folder / workdir, folder)
  sys.exit(cli.run_cli(main))

def together(count, workdir, log, blow=()):
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  children = {}
  for index in reversed(range(count)):
    if blow and not index:
      blow = (*blow[:3], children[blow[3]] if blow[3] else 0)
    children[index] = os.fork()
    if not children[index]:
      live(index, count, port, workdir, log, () if index else blow)
  codes = [
    os.waitstatus_to_exitcode(os.waitpid(children[index], 0)[1])
    for index in range(count)]
  print(json.dumps([log, codes]), flush=True)

settings("two")
together(2, "straight", "straight")
for phase, *blow in json.loads(sys.argv[2]):
  together(2, "stopped", phase, blow)
together(2, "stopped", "finished")
settings("four")
together(4, "four", "four")
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_corpus):
  path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
  path.write_text(tiny_corpus, encoding="utf-8")
  config = text_page.get_config("smoke")
  config.dtype = "float32"
  config.model.features = (6,)
  config.data.update(path=str(path), limit=400)
  config.training.update(
    epochs=100.0, max_steps=STEPS, batch=4, segment=5, checkpoint_every=4,
    evaluations_per_epoch=1, steps_per_dispatch=2,
  )  # fmt: skip
  config.baselines.update(ngram_order=0, compressors=False)
  config.dynamic.update(rule="sgd", search=EVERY, search_rates=(1e-2,))
  config.sample.length = 5
  return config


def without_rest(config):
  """Training and static evaluation: the work of all processes."""
  config = config.copy_and_resolve_references()
  config.dynamic.rule = ""
  config.sample.length = 0
  return config


@pytest.fixture(scope="module")
def ended(config, tmp_path_factory):
  """The folder of all runs, and the exit codes of every start by its name."""
  folder = tmp_path_factory.mktemp("joined")
  for name, settings in (("two", config), ("four", without_rest(config))):
    (folder / f"{name}.json").write_text(json.dumps(settings.to_dict()))
  with subprocess.Popen(
    [sys.executable, "-c", WORK, str(folder), json.dumps(PHASES)],
    env={
      **os.environ,
      "PYTHONPATH": str(PROJECT),
      "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
      # All starts compile the same, and each program is a small one.
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    },
    stdout=subprocess.PIPE,
    text=True,
    start_new_session=True,
  ) as process:
    try:
      out, _ = process.communicate(timeout=1700)
    except BaseException:
      os.killpg(process.pid, 9)  # and its forks
      raise
  codes = dict(map(json.loads, out.splitlines()))
  print({path.name: path.read_text()[-500:] for path in folder.glob("*.[0-3]")})
  return folder, codes


def test_two_processes_are_stopped_in_any_phase_and_lose_no_bit(ended):
  folder, codes = ended
  for phase, *_ in PHASES:
    assert codes[phase] == [143, 143], phase
    for index in range(2):
      said = (folder / f"{phase}.{index}").read_text().splitlines()
      assert said[-1].endswith("the same command resumes"), (phase, index)
  assert codes["straight"] == codes["finished"] == [0, 0]
  straight, stopped = (ends(folder / name) for name in ("straight", "stopped"))
  assert f"checkpoints/latest/{STEPS}" in straight
  assert stopped == straight
  record = json.loads((folder / "stopped" / "run.json").read_text())
  outcomes = [start["outcome"] for start in record["resumes"]]
  # The first start's is that of the whole run, once it is finished.
  expected = ["interrupted by SIGTERM"] * (len(PHASES) - 1)
  assert outcomes == [*expected, "finished"]


def test_four_processes_train_as_one(ended, config, tmp_path):
  folder, codes = ended
  assert codes["four"] == [0, 0, 0, 0]
  experiments.run(without_rest(config), tmp_path / "alone", tmp_path)
  actual, expected = (
    fault_injection.content(workdir)
    for workdir in (folder / "four", tmp_path / "alone")
  )
  assert actual.keys() == expected.keys()
  for name in ("metrics.jsonl", "results.json"):
    values = [
      [entry["value"] for entry in entries(content[name])]
      for content in (actual, expected)
    ]
    assert len(values[0]) > 5
    assert values[0] == pytest.approx(values[1], rel=BOUND)
  record = json.loads((folder / "four" / "run.json").read_text())
  assert record["processes"] == 4


def ends(workdir):
  """All that a run leaves but earlier states, which were saved at its stops."""
  return {
    name: content
    for name, content in fault_injection.content(workdir).items()
    if name.endswith(f"/{STEPS}") or "/latest/" not in name
  }


def entries(content):
  """Those with values, of metrics or of results."""
  rows = content if isinstance(content, list) else content["rows"]
  return [row for row in rows if row]
