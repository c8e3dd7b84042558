"""SIGTERM in every phase: exit code 143, nothing half done, no bit lost.

Compressing and writing with a pen are stopped in compression_test and
handwriting_test.
"""

import os
import signal

import pytest

import experiments
from experiments import cli
from experiments.language_model import evaluate, sample, task
from seqmodels import losses
from seqmodels.data.text import batching
from seqmodels.evaluation import dynamic, static
from seqmodels.io import checkpoints
from tests import fault_injection

# In the order in which a run comes to them: what is called there, and which
# call of this start the signal comes with.
PHASES = {
  "reading the data": (task, "load_tokens", 1),
  "compiling": (losses, "cross_entropy", 1),
  "training": (batching.SequentialStream, "segments", 2),
  "evaluating": (static, "score", 1),
  "saving": (checkpoints.Checkpoints, "save", 2),
  "saving in the background": (checkpoints, "write_folder", 2),
  "scoring": (static, "score", 2),
  "collecting": (dynamic, "statistics_steps", 1),
  "searching": (dynamic, "search", 1),
  "learning on": (evaluate.dynamic, "steps", 1),
  "counting": (evaluate.ngram.NGram, "fit", 1),
  "sampling": (sample, "sampled_text", 1),
}


@pytest.fixture
def signalled(monkeypatch, capsys):
  """Runs an action that a signal comes to; gives what it said last."""

  def go(action, place, name, call):
    calls, real = [], getattr(place, name)

    def told(*arguments, **options):
      calls.append(name)
      if len(calls) == call:
        os.kill(os.getpid(), signal.SIGTERM)
      return real(*arguments, **options)

    with monkeypatch.context() as patch:
      patch.setattr(place, name, told)
      code = cli.run_cli(action)
    err = capsys.readouterr().err
    assert len(calls) >= call
    assert code == 128 + signal.SIGTERM
    assert "Traceback" not in err
    return err.splitlines()[-1]

  return go


@pytest.mark.slow
def test_a_run_is_stopped_in_every_phase_and_ends_like_any_other(
  small, run, tmp_path, signalled
):
  config = small(
    dynamic__rule="rms",
    dynamic__search=True,
    dynamic__search_rates=(1e-4,),
    dynamic__search_decays=(1e-2,),
    baselines__ngram_order=2,
    sample__length=5,
    training__steps_per_dispatch=2,
  )
  expected = run(config, "straight")["rows"]
  workdir = tmp_path / "stopped"
  for phase, place in PHASES.items():
    said = signalled(lambda: run(config, "stopped"), *place)
    assert said.endswith("the same command resumes"), phase
    assert not (workdir / "results.json").exists(), phase
    assert not fault_injection.leftovers(workdir), phase
    assert not fault_injection.torn(workdir), phase
  actual = run(config, "stopped")["rows"]
  assert [row["value"] for row in actual] == [row["value"] for row in expected]
  straight, stopped = (
    fault_injection.content(tmp_path / name) for name in ("straight", "stopped")
  )
  assert stopped == straight


def test_a_sample_is_stopped_and_drawn_again(
  finished, run, tmp_path, signalled, capsys
):
  finished("trained")
  config = cli.load("configs/text_sampling.py:smoke").config
  config.restore = str(tmp_path / "trained")
  signalled(
    lambda: run(config, "sample"),
    *(sample.text, "sample", 1),
  )
  assert not (tmp_path / "sample" / "samples").exists()
  assert run(config, "sample")["finished"]


def test_a_signal_before_the_run_began_stops_it(
  small, run, tmp_path, signalled
):
  signalled(lambda: run(small()), *(experiments.checks, "validate", 1))
  assert not (tmp_path / "run").exists()
