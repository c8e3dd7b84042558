"""Noise and dropout in whole runs: the chain, its records, its errors."""

import json
import re

import numpy as np
import pytest

import experiments
from configs import checks
from experiments import cli, train
from seqmodels import errors
from seqmodels.evaluation import static
from seqmodels.io import checkpoints
from tests import fault_injection
from tests.experiments.conftest import settings_of


def logged(metrics, folder, name):
  return [e["value"] for e in metrics(folder) if e["name"] == name]


def test_the_chain_goes_on_from_stage_to_stage(
  finished, small, run, tmp_path, metrics
):
  finished("plain")
  rows = run(
    small(restore=str(tmp_path / "plain"), regularization__weight_noise=0.05),
    "noise",
  )["rows"]
  assert all("weight noise 0.05" in row["name"] for row in rows)
  rows = run(
    small(restore=str(tmp_path / "noise"), regularization__adaptive=0.05),
    "adaptive",
  )["rows"]
  assert all("adaptive weight noise from 0.05" in r["name"] for r in rows)
  first, second = (
    logged(metrics, tmp_path / name, "bits_per_character")
    for name in ("plain", "noise")
  )
  assert second[0] < first[0]  # not from scratch
  folder = tmp_path / "adaptive"
  lengths = logged(metrics, folder, "description_length")
  parts = zip(
    logged(metrics, folder, "error_nats"),
    logged(metrics, folder, "complexity_nats"),
    strict=True,
  )
  np.testing.assert_allclose(lengths, [sum(pair) for pair in parts])
  assert len(lengths) == 2
  assert (folder / "figures" / "posterior.png").stat().st_size > 10_000
  assert "](figures/posterior.png)" in (folder / "report.md").read_text()
  phases = json.loads((folder / "evaluations.json").read_text())["phases"]
  study = phases["posterior"]
  assert sum(study["counts"]) == study["weights"]
  assert len(study["shares"]) == len(study["scores"])
  assert len(set(study["scores"])) > 5  # each share is another network


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
  "squares", ["signs", pytest.param("exact", marks=pytest.mark.slow)]
)
def test_an_adaptive_run_learns_its_widths(
  small, run, metrics, tmp_path, squares
):
  changes = {
    "regularization__adaptive": 0.1,
    "regularization__squares": squares,
    "training__learning_rate": 0.02,
  }
  run(small(**changes))
  complexity = logged(metrics, tmp_path / "run", "complexity_nats")
  assert complexity[-1] != complexity[0]


@pytest.mark.usefixtures("undrawn")
def test_the_first_evaluation_of_a_restored_posterior_is_the_old_weights(
  finished, small, run, tmp_path
):
  """Means are evaluated, so widening them costs nothing before training."""
  before = finished("plain")["rows"]
  after = run(
    small(
      restore=str(tmp_path / "plain"),
      regularization__adaptive=0.075,
      training__epochs=0.0,
    ),
    "adaptive",
  )["rows"]
  assert [r["value"] for r in after] == [r["value"] for r in before]


def best_step(folder):
  return checkpoints.read_meta(folder)[0]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
  "noise",
  [
    {"regularization__weight_noise": 0.05},
    {"regularization__adaptive": 0.05},
    {"regularization__dropout_output": 0.2, "training__average": 0.5},
  ],
)
@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stage_never_ends_below_where_it_began(
  finished, small, run, tmp_path, metrics, noise, seeds
):
  before = finished("plain")["rows"]
  ruin = {"training__optimizer": "sgd", "training__learning_rate": 100.0}
  after = run(
    small(restore=str(tmp_path / "plain"), seeds=seeds, **ruin, **noise), "next"
  )["rows"]
  folder = tmp_path / "next"
  folder = folder / "seed-0" if seeds > 1 else folder
  assert [r["value"] for r in after] == [r["value"] for r in before]
  assert best_step(folder) == 0
  valid = [e for e in metrics(folder) if e["split"] == "valid"]
  first = [e["value"] for e in valid if e["step"] == 0]
  assert len(first) == 4  # bits, errors, constant cells, the largest |c|
  assert first[0] < min(
    e["value"] for e in valid if e["step"] and e["name"] == valid[0]["name"]
  )


@pytest.fixture(scope="module")
def uninterrupted(first_run, tmp_path_factory):
  """The settings of a second stage, and its folder."""
  folder = tmp_path_factory.mktemp("uninterrupted")
  config = settings_of(
    first_run[0].parent / "corpus.txt",
    restore=str(first_run[0]),
    regularization__adaptive=0.05,
    training__average=0.9,
  )
  experiments.run(config, folder / "run", folder)
  return config, folder / "run"


@pytest.mark.parametrize(
  ("owner", "name", "call"),
  [
    (static, "score", 1),  # in the evaluation of step 0
    pytest.param(
      checkpoints.Checkpoints, "save_best", 1, marks=pytest.mark.slow
    ),
    # Of step 0, evaluated.
    pytest.param(checkpoints.Checkpoints, "save", 2, marks=pytest.mark.slow),
    (checkpoints.Checkpoints, "save", 3),
    pytest.param(
      checkpoints.Checkpoints, "save_best", 2, marks=pytest.mark.slow
    ),
  ],
)
def test_a_kill_around_the_first_evaluation_costs_no_bit(
  uninterrupted, run, tmp_path, monkeypatch, owner, name, call
):
  config, expected = uninterrupted
  calls, real = [], getattr(owner, name)

  def killed(*arguments, **options):
    calls.append(name)
    if len(calls) == call:
      raise KeyboardInterrupt
    return real(*arguments, **options)

  monkeypatch.setattr(owner, name, killed)
  with pytest.raises(KeyboardInterrupt):
    run(config, "killed")
  monkeypatch.undo()
  run(config, "killed")
  straight, resumed = (
    fault_injection.content(path) for path in (expected, tmp_path / "killed")
  )
  assert resumed == straight
  steps = [e["step"] for e in straight["metrics.jsonl"]]
  assert steps.count(0) == 4  # the four figures of one validation


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_kept_weights_are_those_that_were_asked_for(
  small, run, tmp_path, metrics
):
  noisy = {"regularization__adaptive": 0.1, "training__learning_rate": 0.02}
  steps = {}
  for select, words in (
    ("validation", ""),
    ("description_length", "weights of the shortest description length"),
    ("last", "weights of the last step"),
  ):
    rows = run(small(**noisy, training__select=select), select)["rows"]
    assert all(words in row["name"] for row in rows)
    assert words in (tmp_path / select / "report.md").read_text()
    steps[select] = best_step(tmp_path / select)
  entries = metrics(tmp_path / "last")  # the same in all three

  def least(split, name):
    actual = [e for e in entries if (e["split"], e["name"]) == (split, name)]
    return min(actual, key=lambda entry: entry["value"])["step"]

  assert steps == {
    "validation": least("valid", "bits_per_character"),
    "description_length": least("train", "description_length"),
    "last": 24,
  }


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_complexity_is_weighted_in_the_description_length(
  small, run, tmp_path, metrics
):
  ends = {}
  for weight in (1.0, 0.0):
    rows = run(
      small(
        regularization__adaptive=0.1,
        regularization__complexity=weight,
        training__learning_rate=0.02,
      ),
      f"{weight}",
    )["rows"]
    said = "complexity times 0" in rows[0]["name"]
    assert said == (weight == 0.0)
    actual = [
      logged(metrics, tmp_path / f"{weight}", name)
      for name in ("description_length", "error_nats", "complexity_nats")
    ]
    length, error, complexity = np.array(actual)
    np.testing.assert_allclose(length, error + weight * complexity)
    ends[weight] = complexity[-1]
  assert ends[1.0] < ends[0.0]  # what costs nothing is not saved


def test_a_description_length_needs_adaptive_noise(small, run):
  with pytest.raises(errors.UserError, match="only adaptive weight noise has"):
    run(small(training__select="description_length"))
  assert set(train.SELECT) == {"validation", "description_length", "last"}


def test_a_stage_of_another_network_is_refused(
  finished, small, run, tmp_path, capsys
):
  finished("plain")
  code = cli.run_cli(
    lambda: run(
      small(
        restore=str(tmp_path / "plain"),
        regularization__weight_noise=0.05,
        model__features=(9,),
      ),
      "other",
    )
  )
  said = capsys.readouterr().err.splitlines()[-1]
  assert code == 2
  assert "cannot be continued" in said
  assert "stack/layer_0/recurrent_kernel" in said
  assert not (tmp_path / "other" / "checkpoints").exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    # Weights of the same shapes and names, but not of the same network.
    ({"model__cell": "elman_relu"}, "model.cell 'elman' and this run has"),
    ({"model__output_skips": True}, "model.output_skips False"),
    # What the earlier run was trained on would be validated on.
    ({"data__partition": "fractions"}, "the partition 'standard', parts of"),
  ],
)
def test_a_stage_of_what_fits_but_is_not_the_same_is_refused(
  small, run, tmp_path, changes, sentence
):
  base = {"model__cell": "elman", "model__output_skips": False}
  run(small(**base, training__max_steps=2), "plain")
  stage = small(**{**base, **changes}, restore=str(tmp_path / "plain"))
  with pytest.raises(errors.UserError, match=re.escape(sentence)):
    run(stage, "next")


def test_dropout_between_layers_wants_two(small, run):
  with pytest.raises(errors.UserError, match="there is one layer"):
    run(small(regularization__dropout_hidden=0.5))


def test_two_kinds_of_weight_noise_at_once_are_refused(small, run):
  with pytest.raises(errors.UserError, match="fixed or adaptive"):
    run(small(regularization__weight_noise=0.1, regularization__adaptive=0.1))


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("weight_noise", -0.01),
    ("adaptive", -0.01),
    ("dropout_input", 1.0),
    ("dropout_hidden", 1.5),
    ("dropout_output", -0.1),
    ("dropout_embedding", 1.0),
    ("drop_connect", 1.0),
    ("zoneout_cell", 1.0),
    ("zoneout_state", -0.1),
  ],
)
def test_what_is_no_level_of_noise_is_refused(small, key, value):
  config = small(**{f"regularization__{key}": value})
  with pytest.raises(
    errors.UserError, match=rf"config.regularization.{key} is"
  ):
    checks.validate(config)
