"""Noise and dropout in whole runs: the chain, its records, its refusals."""

import json
import re

import numpy as np
import pytest

from configs import checks
from experiments import exit_codes
from seqmodels import errors


def logged(metrics, folder, name):
  return [e["value"] for e in metrics(folder) if e["name"] == name]


def test_the_chain_goes_on_from_stage_to_stage(small, run, tmp_path, metrics):
  run(small(), "plain")
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


@pytest.mark.parametrize("squares", ["signs", "exact"])
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


def test_the_first_evaluation_of_a_restored_posterior_is_the_old_weights(
  small, run, tmp_path
):
  """Means are evaluated, so widening them costs nothing before training."""
  before = run(small(), "plain")["rows"]
  after = run(
    small(
      restore=str(tmp_path / "plain"),
      regularization__adaptive=0.075,
      training__epochs=0.0,
    ),
    "adaptive",
  )["rows"]
  assert [r["value"] for r in after] == [r["value"] for r in before]


def test_a_stage_of_another_network_is_refused(small, run, tmp_path, capsys):
  run(small(), "plain")
  code = exit_codes.guarded(
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
  assert "cannot be gone on from" in said
  assert "stack/layer_0/recurrent_kernel" in said
  assert not (tmp_path / "other" / "checkpoints").exists()


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
  run(small(**base), "plain")
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
