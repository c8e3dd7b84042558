"""The readings of the paper's network, and its recipe."""

import itertools

import jax
import pytest

from configs import checks, enwik8
from experiments.language_model import task
from seqmodels import errors, trees

SYMBOLS = 205


def weights(config):
  config.dtype = "float32"  # in place of "auto", as a run's beginning does
  network = task.build_predictor(config, SYMBOLS)
  return trees.count_parameters(jax.eval_shape(network.init, jax.random.key(0)))


@pytest.mark.parametrize(
  ("variant", "count"),
  [
    ("five", 21_252_205),
    ("seven", 27_093_005),
    ("seven_dense", 30_537_005),
    ("paper", 30_537_005),
    ("paper,five", 21_252_205),
    ("standard,seven", 27_093_005),
  ],
)
def test_a_reading_has_the_weights_it_is_known_by(variant, count):
  config = enwik8.get_config(variant)
  # 4 gates over all inputs, the recurrence and a bias; 3 peepholes a cell.
  layers, width = len(config.model.features), 700
  expected, skips = 0, config.model.input_skips
  for layer in range(layers):
    inputs = SYMBOLS * (layer == 0 or skips) + width * (layer > 0)
    expected += 4 * width * (inputs + width + 1) + 3 * width
  expected += layers * width * SYMBOLS + SYMBOLS
  assert weights(config) == expected == count


def test_the_default_network_stays_small():
  config = enwik8.get_config()
  assert tuple(config.model.features) == (400, 400)
  assert config == enwik8.get_config("graves")


def test_the_paper_is_trained_to_the_letter():
  config = enwik8.get_config("paper")
  training = config.training
  assert (training.batch, training.segment) == (1, 100)
  assert (training.optimizer, training.learning_rate) == ("sgd", 1e-4)
  assert (training.momentum, training.schedule) == (0.9, "constant")
  assert (training.warmup_steps, training.clip_norm) == (0, 0.0)
  assert (training.reduction, training.sampling) == ("sum", "sequential")
  assert (training.epochs, training.patience) == (4.0, 0)
  assert (config.model.gradient_clip, config.dtype) == (1.0, "float32")
  assert training.reset_every == 100
  assert config.data.partition == "graves"


@pytest.mark.parametrize("variant", ["", "five", "seven", "paper,seven"])
def test_the_papers_state_is_cleared_every_ten_thousand_bytes(variant):
  training = enwik8.get_config(variant).training
  assert training.reset_every * training.segment == 10_000


def test_later_work_carries_the_state_through_and_has_no_reference():
  config = enwik8.get_config("standard")
  assert config.training.reset_every == 0
  assert "reference" not in config
  assert enwik8.get_config().reference.train_static == 1.42


@pytest.mark.parametrize(
  "variants",
  itertools.product(
    ("", "graves", "standard"), ("", *enwik8.READINGS), ("", "paper")
  ),
)
def test_every_sensible_combination_is_valid_and_has_a_smoke_form(variants):
  arg = ",".join(filter(None, variants))
  if "standard" in variants and "paper" in variants:
    with pytest.raises(errors.UserError, match="standard and paper exclude"):
      enwik8.get_config(arg)
    return
  checks.validate(enwik8.get_config(arg))
  small = enwik8.get_config(f"{arg},smoke" if arg else "smoke")
  checks.validate(small)
  assert weights(small) < 100_000
  assert len(small.model.features) == len(enwik8.get_config(arg).model.features)


def test_two_readings_at_once_are_refused():
  with pytest.raises(errors.UserError, match="five and seven exclude"):
    enwik8.get_config("five,seven")
