"""The limits of each setting."""

import pytest

from configs import (
  checks,
  common,
  export,
  handwriting_prediction,
  handwriting_synthesis,
  text_sampling,
)
from seqmodels import errors


def settings():
  """Every setting of the shared trees by its name."""
  trees = (
    common.base(),
    handwriting_prediction.base(),
    handwriting_synthesis.writing(),
    text_sampling.get_config(),
    export.get_config(),
  )
  return {name: value for tree in trees for name, value in checks.flatten(tree)}


def test_every_number_of_the_shared_trees_has_a_rule():
  numbers = {
    name
    for name, value in settings().items()
    if isinstance(value, int | float | tuple) and not isinstance(value, bool)
  }
  assert numbers - checks.RULES.keys() == set()


def test_every_rule_is_about_a_setting_that_exists():
  assert checks.RULES.keys() - settings().keys() == set()


@pytest.mark.parametrize(
  ("name", "value", "words"),
  [
    ("model.features", ("abc",), "('abc',); it must be a comma-separated"),
    ("model.features", (), "(); it must be a comma-separated list"),
    ("model.features", (8, 0), "(8, 0); it must be"),
    ("model.features", (8.5,), "(8.5,); it must be"),
    ("model.features", (True,), "(True,); it must be"),
    ("training.learning_rate", 0.0, "0.0; it must be a number above 0"),
    ("training.learning_rate", float("nan"), "nan; it must be a number"),
    ("training.learning_rate", float("inf"), "inf; it must be a number"),
    ("training.momentum", 1.0, "1.0; it must be a number from 0 up to"),
    ("training.batch", 0, "0; it must be a whole number, at least 1"),
    ("seed", -1, "-1; it must be a whole number from 0 to 4294967295"),
    ("seed", 2**32, "4294967296; it must be a whole number from 0"),
    ("dtype", "bfloat", "'bfloat' (did you mean 'bfloat16'?)"),
    ("dynamic.search_rates", (0.1, -1.0), "(0.1, -1.0); it must be"),
    ("dynamic.search_epsilons", (1e-4, 0.0), "(0.0001, 0.0); it must be"),
    ("dynamic.statistics_segments", -1, "-1; it must be"),
  ],
)
def test_a_fault_names_setting_value_and_limit(name, value, words):
  config = common.base()
  with config.ignore_type():
    config.update_from_flattened_dict({name: value})
  with pytest.raises(errors.UserError) as caught:
    checks.validate(config)
  assert str(caught.value).startswith(f"config.{name} is {words}")


@pytest.mark.parametrize(
  ("name", "value", "words"),
  [
    ("top_k", -1, "-1; it must be a whole number, at least 0"),
    ("top_k", 2.5, "2.5; it must be a whole number, at least 0"),
    ("nucleus", 0.0, "0.0; it must be a number above 0, up to 1"),
    ("nucleus", 1.01, "1.01; it must be a number above 0, up to 1"),
    ("nucleus", float("nan"), "nan; it must be a number above 0, up to 1"),
    ("beam", -4, "-4; it must be a whole number, at least 0"),
    ("length_penalty", -0.5, "-0.5; it must be a number at least 0"),
    ("length_penalty", float("inf"), "inf; it must be a number at least 0"),
  ],
)
def test_a_way_to_choose_text_that_there_is_not_is_named(name, value, words):
  config = text_sampling.get_config()
  checks.validate(config)
  with config.ignore_type():
    config.sample[name] = value
  with pytest.raises(errors.UserError) as caught:
    checks.validate(config)
  assert str(caught.value) == f"config.sample.{name} is {words}"


@pytest.mark.parametrize("value", [1, 1.0, 0.5, 1e-9])
def test_any_share_of_the_probability_may_be_kept(value):
  assert checks.share().holds(value)


def test_all_faults_are_told_at_once():
  config = common.base()
  config.training.batch = 0
  config.sample.length = -1
  with pytest.raises(errors.UserError) as caught:
    checks.validate(config)
  assert "training.batch is 0" in str(caught.value)
  assert "sample.length is -1" in str(caught.value)


def test_a_page_may_add_rules_and_replace_them():
  config = common.base()
  config.data.tokenizer = "syllables"
  more = {"data.tokenizer": checks.one_of("characters", "words")}
  with pytest.raises(errors.UserError, match=r"data\.tokenizer is 'syllables'"):
    checks.validate(config, more)
  config.data.tokenizer = "words"
  config.training.batch = 0
  checks.validate(config, {**more, "training.batch": checks.whole(0)})
