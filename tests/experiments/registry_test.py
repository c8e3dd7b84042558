"""The frame of every experiment, `experiments.run`."""

import json
import sys
import types

import pytest

import experiments
from configs import common
from seqmodels import errors
from seqmodels.io import results as results_lib


@pytest.fixture
def counting(monkeypatch):
  """A registered experiment that notes its calls; its rows can be replaced."""
  module = types.ModuleType("outside_counting")
  module.calls = []

  def run(config, workdir, data_dir):
    module.calls.append((config, workdir, data_dir))
    return [
      results_lib.row(
        "counting",
        split="test",
        evaluation="static",
        metric="perplexity",
        value=5,
        count=5,
        seconds=0.0,
      )
    ]

  module.run = run
  monkeypatch.setitem(sys.modules, "outside_counting", module)
  monkeypatch.setitem(experiments.MODULES, "counting", "outside_counting")
  return module


def settings(**changes):
  config = common.base()
  config.experiment = "counting"
  config.update(changes)
  return config.lock()


def test_an_experiment_runs_once_and_is_then_read(counting, tmp_path, capsys):
  workdir = tmp_path / "w"
  first = experiments.run(settings(), workdir, tmp_path / "data")
  assert counting.calls == [(settings(), workdir, tmp_path / "data")]
  assert json.loads((workdir / "results.json").read_text()) == first
  table = capsys.readouterr().out
  assert "counting" in table

  second = experiments.run(settings(), workdir, tmp_path / "data")
  assert second == first
  assert len(counting.calls) == 1
  shown = capsys.readouterr()
  assert shown.out == table
  assert shown.err == f"already finished: {workdir}\n"


def test_results_hold_settings_and_rows(counting, tmp_path):
  results = experiments.run(settings(seed=3), str(tmp_path), str(tmp_path))
  assert list(results) == ["experiment", "config", "finished", "rows"]
  assert results["config"]["seed"] == 3
  assert results["config"]["model"]["features"] == [128]
  assert results["rows"][0]["value"] == 5.0


def test_a_run_that_fails_leaves_no_results(counting, tmp_path):
  def fail(config, workdir, data_dir):
    raise errors.RunError("at step 3 the loss is nan")

  counting.run = fail
  with pytest.raises(errors.RunError):
    experiments.run(settings(), tmp_path, tmp_path)
  assert not (tmp_path / "results.json").exists()
  record = json.loads((tmp_path / "run.json").read_text())
  assert record["outcome"] == "RunError: at step 3 the loss is nan"


def test_settings_are_checked_without_a_command_line_too(counting, tmp_path):
  config = common.base()
  config.experiment = "counting"
  config.training.batch = 0
  with pytest.raises(errors.UserError, match=r"training\.batch is 0"):
    experiments.run(config, tmp_path / "w", tmp_path)
  assert not (tmp_path / "w").exists()


def test_other_settings_in_the_same_folder_are_refused(counting, tmp_path):
  experiments.run(settings(), tmp_path, tmp_path)
  with pytest.raises(errors.UserError, match="seed was 0, now 1"):
    experiments.run(settings(seed=1), tmp_path, tmp_path)


def test_auto_is_what_suits_the_hardware(counting, tmp_path, monkeypatch):
  monkeypatch.setattr(experiments.runtime, "fast_dtype", lambda: "bfloat16")
  config = settings(dtype="auto")
  results = experiments.run(config, tmp_path, tmp_path)
  assert counting.calls[0][0].dtype == results["config"]["dtype"] == "bfloat16"
  assert config.dtype == "auto"


def test_auto_leaves_a_dtype_that_was_asked_for(
  counting, tmp_path, monkeypatch
):
  monkeypatch.setattr(experiments.runtime, "fast_dtype", lambda: "bfloat16")
  experiments.run(settings(dtype="float32"), tmp_path, tmp_path)
  assert counting.calls[0][0].dtype == "float32"


@pytest.mark.parametrize("first", ["auto", "bfloat16"])
def test_a_run_keeps_its_dtype_on_another_machine(
  counting, tmp_path, monkeypatch, first
):
  def stop(config, workdir, data_dir):
    (workdir / "metrics.jsonl").touch()
    raise errors.Interrupted(15)

  finish, counting.run = counting.run, stop
  monkeypatch.setattr(experiments.runtime, "fast_dtype", lambda: "bfloat16")
  with pytest.raises(errors.Interrupted):
    experiments.run(settings(dtype=first), tmp_path, tmp_path)
  monkeypatch.setattr(experiments.runtime, "fast_dtype", lambda: "float32")
  counting.run = finish
  with pytest.raises(errors.UserError, match='dtype was "bfloat16", now'):
    experiments.run(settings(dtype="float32"), tmp_path, tmp_path)
  experiments.run(settings(dtype="auto"), tmp_path, tmp_path)
  assert counting.calls[0][0].dtype == "bfloat16"


def test_a_run_that_failed_at_once_takes_another_machines_dtype(
  counting, tmp_path, monkeypatch
):
  def fail(config, workdir, data_dir):
    raise errors.UserError("no data")

  works, counting.run = counting.run, fail
  monkeypatch.setattr(experiments.runtime, "fast_dtype", lambda: "bfloat16")
  with pytest.raises(errors.UserError, match="no data"):
    experiments.run(settings(dtype="auto"), tmp_path, tmp_path)
  monkeypatch.setattr(experiments.runtime, "fast_dtype", lambda: "float32")
  counting.run = works
  experiments.run(settings(dtype="auto"), tmp_path, tmp_path)
  assert counting.calls[0][0].dtype == "float32"


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("countin", "did you mean 'counting'?"),
    ("", "config.experiment is ''"),
    ("no.such.module", "config.experiment is 'no.such.module'"),
    ("json.nothing", "config.experiment is 'json.nothing'"),
  ],
)
def test_an_unknown_experiment_is_one_sentence(counting, tmp_path, name, words):
  config = common.base()
  config.experiment = name
  with pytest.raises(errors.UserError) as caught:
    experiments.run(config, tmp_path / "w", tmp_path)
  assert words in str(caught.value)
  assert not (tmp_path / "w").exists()


def test_a_module_that_an_experiment_lacks_is_not_hidden(tmp_path, monkeypatch):
  (tmp_path / "lacking.py").write_text("import not_installed_anywhere\n")
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setitem(experiments.MODULES, "lacking", "lacking")
  with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
    experiments.module("lacking")


@pytest.mark.parametrize("name", sorted(experiments.MODULES))
def test_every_registered_experiment_can_be_run(name):
  assert callable(experiments.module(name).run)
