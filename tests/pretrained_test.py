"""Trained weights that come with the package: each keeps its score."""

import pytest

from seqmodels import portable, pretrained, trained

# Where none is in the checkout, pytest itself skips the tests.
SHIPPED = pretrained.shipped()
# Nats a symbol: products rounded to bfloat16 differ between machines.
CLOSE = 2e-3


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_keep_their_score(name):
  model = trained.load(name)
  sample = model.card["sample"]
  actual = model.check()
  assert actual["count"] == sample["count"]
  assert abs(actual["nats"] - sample["nats"]) < CLOSE * actual["count"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_say_where_they_come_from(name):
  assert name in pretrained.COMMANDS
  card = portable.read(pretrained.path(name)).card
  for key in ("terms", "command", "commit", "rows", "data"):
    assert card[key], key
  page = pretrained.path(name).with_suffix(".md").read_text(encoding="utf-8")
  for words in (card["terms"], card["command"], card["commit"]):
    assert words in page


def test_the_fixed_text_is_of_the_penn_treebanks_characters():
  """Lower case, N for numbers, <unk>: every character counts there."""
  assert set(pretrained.SAMPLE) <= set("abcdefghijklmnopqrstuvwxyz N<>'.\n")
  assert 250 < len(pretrained.SAMPLE) < 400
