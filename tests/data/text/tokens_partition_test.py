"""Partitions: sizes, and that they cover a text once."""

import hypothesis
import hypothesis.strategies as st
import pytest

from seqmodels import errors
from seqmodels.data.text import tokens


@pytest.mark.parametrize(
  ("name", "sizes"),
  [
    ("graves", {"train": 96_000_000, "valid": 4_000_000}),
    (
      "standard",
      {"train": 90_000_000, "valid": 5_000_000, "test": 5_000_000},
    ),
  ],
)
def test_enwik8_is_cut_at_the_published_bytes(name, sizes):
  actual = tokens.ranges(name, 100_000_000)
  assert {k: r.stop - r.start for k, r in actual.items()} == sizes
  tokens.check_sizes(sizes, source="enwik8", tokenizer="bytes", partition=name)


@hypothesis.given(
  st.sampled_from(["graves", "standard", "fractions"]),
  st.integers(100, 10**9),
)
def test_splits_cover_every_symbol_once_in_order(name, length):
  actual = tokens.ranges(name, length)
  edges = [edge for r in actual.values() for edge in r]
  assert edges[0] == 0
  assert edges[-1] == length
  assert edges[1:-1:2] == edges[2::2]
  assert list(actual) == list(tokens.SPLITS)[: len(actual)]


def test_a_prefix_is_cut_by_the_same_fractions():
  actual = tokens.ranges("graves", 4_154_400)
  assert actual["valid"] == (3_988_224, 4_154_400)


def test_fractions_are_taken_as_told():
  actual = tokens.ranges("fractions", 1000, fractions=(0.7, 0.2, 0.1))
  assert actual == {"train": (0, 700), "valid": (700, 900), "test": (900, 1000)}


@pytest.mark.parametrize(
  "fractions",
  [(), (0.5,), (0.5, 0.6), (1.2, -0.2), (0.25, 0.25, 0.25, 0.25), (1.0, 0.0)],
)
def test_fractions_that_are_none_are_refused(fractions):
  with pytest.raises(errors.UserError, match="add up to 1"):
    tokens.ranges("fractions", 1000, fractions=fractions)


def test_a_text_too_short_to_cut_is_refused():
  with pytest.raises(
    errors.UserError, match=r"9 symbols are too few.*test would be empty"
  ):
    tokens.ranges("standard", 9)


def test_three_files_cannot_be_made_of_one_sequence():
  with pytest.raises(errors.UserError, match="three files"):
    tokens.ranges("mikolov", 100)


def test_an_unknown_name_is_refused_with_the_closest():
  with pytest.raises(errors.UserError, match="did you mean 'graves'"):
    tokens.ranges("grave", 100)


def test_a_published_data_set_of_another_size_is_refused():
  sizes = {"train": 929_589, "valid": 73_760, "test": 82_431}
  with pytest.raises(errors.UserError, match=r"82,431 symbols .* 82,430"):
    tokens.check_sizes(
      sizes, source="ptb", tokenizer="words", partition="mikolov"
    )
