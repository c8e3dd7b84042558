"""The two pages of the Penn Treebank."""

import itertools

import pytest

from configs import checks, penn_char, penn_word
from seqmodels import errors

CHAR = [
  ",".join(filter(None, chosen))
  for chosen in itertools.product(
    ("", *penn_char.STAGES), ("", "minimum", "paper", "sentences")
  )
  if not ("minimum" in chosen and "adaptive_weight_noise" not in chosen)
  # Networks that are not the paper's have a training of their own.
  and not (chosen[0] in ("dropout", "zoneout") and chosen[1])
]
WORD = ["", "weight_noise", "weight_noise,paper", "sentences", "dropout"]


@pytest.mark.parametrize(
  ("page", "variant"),
  [(penn_char, variant) for variant in CHAR]
  + [(penn_word, variant) for variant in WORD],
)
def test_every_variant_is_valid_and_so_is_its_smoke_form(page, variant):
  config = page.get_config(variant)
  small = page.get_config(f"{variant},smoke" if variant else "smoke")
  for each in (config, small):
    checks.validate(each)
  assert dict(checks.flatten(small)).keys() == (
    dict(checks.flatten(config)).keys()
  )


@pytest.mark.parametrize(
  "variant", ["minimum", "plain,minimum", "weight_noise,minimum"]
)
def test_a_minimum_of_what_has_no_description_length_is_refused(variant):
  with pytest.raises(errors.UserError, match="name both in --config"):
    penn_char.get_config(variant)


def test_the_minimum_is_the_same_noise_chosen_otherwise():
  noise, minimum = (
    penn_char.get_config(f"adaptive_weight_noise{more}")
    for more in ("", ",minimum")
  )
  assert noise.training.select == "validation"
  assert minimum.training.select == "description_length"
  assert noise.regularization == minimum.regularization
  assert noise.reference == minimum.reference
  # Early stopping would end a run to a minimum that is not validation's.
  assert noise.training.patience == minimum.training.patience == 0


def test_weights_that_are_averaged_are_not_stopped_early():
  training = penn_word.get_config("dropout").training
  assert (training.schedule, training.patience) == ("constant", 0)
  assert training.average == pytest.approx(1 / 3, abs=0.01)


def test_adaptive_noise_takes_two_epochs_by_either_recipe():
  for more in ("", ",sentences"):
    training = penn_char.get_config(f"adaptive_weight_noise{more}").training
    assert (training.epochs, training.evaluations_per_epoch) == (2.0, 4)
    assert training.patience == 0


@pytest.mark.parametrize("stage", ["plain", "adaptive_weight_noise"])
def test_recipes_exclude_each_other(stage):
  for both in ("paper,sentences", "minimum,paper", "minimum,sentences"):
    with pytest.raises(errors.UserError, match=r"exclude|name both"):
      penn_char.get_config(f"{stage},{both}")
