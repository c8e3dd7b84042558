"""Counts against dictionaries, tables against sorting them."""

import collections

import numpy as np
import pytest

from experiments.studies.common import ngram_counts
from seqmodels import errors

Counts = ngram_counts.NGramCounts


def sequences(tokens, end):
  parts = [[]]
  for token in tokens:
    parts[-1].append(token)
    if token == end:
      parts.append([])
  return [part for part in parts if part]


def counted(tokens, length, end=None):
  actual = collections.Counter()
  for part in sequences(tokens, end):
    for i in range(len(part) - length + 1):
      actual[tuple(part[i : i + length])] += 1
  return actual


@pytest.fixture
def tokens():
  return np.random.default_rng(0).choice(
    5, p=[0.4, 0.3, 0.2, 0.05, 0.05], size=90
  )


@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_tables_are_the_dictionary_sorted(tokens, length, end):
  counts = Counts.of(tokens, 6, order=4, sentence_end=end)
  grams, times = counts.table(length)
  expected = counted(tokens.tolist(), length, end)
  # `most_common` keeps the order of first occurrence among equals.
  ranked = [(list(gram), n) for gram, n in expected.most_common()]
  assert list(zip(grams.tolist(), times.tolist(), strict=True)) == ranked


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_text_of_n_symbols_has_n_minus_length_plus_one(tokens, length):
  times = Counts.of(tokens, 6, order=3).table(length)[1]
  assert times.sum() == len(tokens) - length + 1
  assert len(times) <= min(6**length, len(tokens) - length + 1)


def test_pairs_summed_over_the_second_are_the_singles_but_the_last(tokens):
  counts = Counts.of(tokens, 6, order=2)
  singles = dict(zip(counts.table(1)[0][:, 0], counts.table(1)[1], strict=True))
  grams, times = counts.table(2)
  for symbol, number in singles.items():
    total = times[grams[:, 0] == symbol].sum()
    assert total == number - (symbol == tokens[-1])


def test_contexts_are_counted_by_what_follows_them():
  """The last symbol is a context of nothing."""
  level = Counts.of(np.array([0, 1, 0]), 2, order=2).levels[1]
  assert level.context_counts.tolist() == [1, 1, 1]  # 0, 1, and the boundary


@pytest.mark.parametrize("end", [None, 1])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_share_of_unseen_ngrams(tokens, length, end):
  other = np.random.default_rng(1).integers(0, 6, 50)
  counts = Counts.of(tokens, 6, order=3, sentence_end=end)
  known = counted(tokens.tolist(), length, end)
  theirs = counted(other.tolist(), length, end)
  missing = sum(n for gram, n in theirs.items() if gram not in known)
  share = counts.unseen(other, length)
  assert share == pytest.approx(missing / sum(theirs.values()))
  assert counts.unseen(tokens, length) == 0


def test_of_too_short_a_text_no_ngram_is_unseen():
  assert Counts.of(np.arange(4), 4, order=3).unseen(np.array([0]), 3) == 0


def test_long_ngrams_over_large_vocabularies_do_not_overflow():
  tokens = np.tile(np.random.default_rng(0).integers(0, 10_000, 500), 2)
  grams, times = Counts.of(tokens, 10_000, order=8).table(8)
  np.testing.assert_array_equal(grams[0], tokens[:8])
  assert times[0] == 2


@pytest.mark.parametrize(
  ("tokens", "order", "message"),
  [
    ([], 1, "empty text"),
    ([0, 1], 0, "order is 0 and the text has 2 symbols; give an order from 1"),
    ([0, 1], 3, "order is 3 and the text has 2 symbols"),
    ([0, 7], 1, "given the id 7"),
  ],
)
def test_bad_input_is_named(tokens, order, message):
  with pytest.raises(errors.UserError, match=message):
    Counts.of(np.array(tokens, int), 5, order=order)
