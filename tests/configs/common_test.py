"""Variants and the shared tree."""

import pytest

from configs import (
  checks,
  common,
  enwik8,
  penn_char,
  penn_word,
  quickstart,
  text,
)
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
  checks.validate(config)
  common.smoke(config)
  checks.validate(config)
  config.lock()  # the smoke form adds no key that a lock would have refused
  assert dict(checks.flatten(config)).keys() == (
    dict(checks.flatten(common.base())).keys()
  )


@pytest.mark.parametrize(
  ("page", "arg"),
  [
    (quickstart, ""), (text, ""), (penn_char, ""), (penn_char, "weight_noise"),
    (penn_char, "adaptive_weight_noise"), (penn_char, "dropout"),
    (penn_word, ""), (penn_word, "weight_noise"), (penn_word, "dropout"),
    (enwik8, ""), (enwik8, "standard"), (enwik8, "five"), (enwik8, "seven"),
  ],
)  # fmt: skip
def test_cell_states_are_bounded_where_the_carry_is_kept(page, arg):
  assert page.get_config(arg).model.cell_clip == 10.0


@pytest.mark.parametrize(
  ("page", "arg"),
  [
    (penn_char, "paper"), (penn_char, "weight_noise,paper"),
    (penn_word, "paper"), (enwik8, "paper"), (enwik8, "paper,seven"),
  ],
)  # fmt: skip
def test_the_papers_have_no_bound_on_the_cell_state(page, arg):
  assert page.get_config(arg).model.cell_clip == 0.0


def test_no_setting_is_of_a_kind_that_flags_cannot_override():
  kinds = {type(value) for _, value in checks.flatten(common.base())}
  assert kinds <= {bool, int, float, str, tuple}


@pytest.mark.parametrize("page", [enwik8, penn_char, penn_word, text])
def test_pages_leave_the_dtype_to_the_hardware(page):
  assert page.get_config("").dtype == "auto"
