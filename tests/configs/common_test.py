"""Variants, the shared tree, and its checks."""

import pytest

from configs import common
from seqmodels import errors


def test_variants_keep_their_order_and_lose_their_blanks():
  assert common.parse("smoke, plain", ("plain", "smoke")) == ["smoke", "plain"]
  assert common.parse("", ("plain",)) == []


@pytest.mark.parametrize(
  ("arg", "words"),
  [
    ("smok", ["'smok'", "did you mean 'smoke'?", "plain, smoke"]),
    ("plain,,smoke", ["unknown variant ''"]),
    ("zzz", ["'zzz'", "this config has plain, smoke"]),
    ("smoke,smoke", ["'smoke' is given twice"]),
  ],
)
def test_a_faulty_variant_is_named_with_the_known_ones(arg, words):
  with pytest.raises(errors.UserError) as caught:
    common.parse(arg, ("plain", "smoke"))
  for word in words:
    assert word in str(caught.value)


def test_contradicting_variants_are_refused():
  common.exclusive(["graves", "smoke"], ("graves", "standard"))
  with pytest.raises(errors.UserError, match="graves and standard exclude"):
    common.exclusive(["standard", "graves"], ("graves", "standard"))


def test_the_shared_tree_is_valid_and_so_is_its_smoke_form():
  config = common.base()
  common.validate(config)
  common.smoke(config)
  common.validate(config)
  config.lock()  # the smoke form adds no key that a lock would have refused
  assert dict(common.flatten(config)).keys() == (
    dict(common.flatten(common.base())).keys()
  )


def test_every_number_of_the_shared_tree_has_a_rule():
  numbers = {
    name
    for name, value in common.flatten(common.base())
    if isinstance(value, int | float | tuple) and not isinstance(value, bool)
  }
  assert numbers - common.RULES.keys() == set()


def test_every_rule_is_about_a_setting_that_exists():
  known = dict(common.flatten(common.base())).keys()
  assert common.RULES.keys() - known == set()


def test_no_setting_is_of_a_kind_that_flags_cannot_override():
  kinds = {type(value) for _, value in common.flatten(common.base())}
  assert kinds <= {bool, int, float, str, tuple}


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
    ("seed", -1, "-1; it must be a whole number, at least 0"),
    ("dtype", "bfloat", "'bfloat' (did you mean 'bfloat16'?)"),
    ("dynamic.search_rates", (0.1, -1.0), "(0.1, -1.0); it must be"),
  ],
)
def test_a_fault_names_setting_value_and_limit(name, value, words):
  config = common.base()
  with config.ignore_type():
    config.update_from_flattened_dict({name: value})
  with pytest.raises(errors.UserError) as caught:
    common.validate(config)
  assert str(caught.value).startswith(f"config.{name} is {words}")


def test_all_faults_are_told_at_once():
  config = common.base()
  config.training.batch = 0
  config.sample.length = -1
  with pytest.raises(errors.UserError) as caught:
    common.validate(config)
  assert "training.batch is 0" in str(caught.value)
  assert "sample.length is -1" in str(caught.value)


def test_a_page_may_add_rules_and_replace_them():
  config = common.base()
  config.data.tokenizer = "syllables"
  more = {"data.tokenizer": common.one_of("characters", "words")}
  with pytest.raises(errors.UserError, match=r"data\.tokenizer is 'syllables'"):
    common.validate(config, more)
  config.data.tokenizer = "words"
  config.training.batch = 0
  common.validate(config, {**more, "training.batch": common.whole(0)})
