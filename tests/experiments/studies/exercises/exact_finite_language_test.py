"""Bounds of n-grams against counting, other libraries and enumeration."""

import itertools
import math

import numpy as np
import pytest

from experiments.studies.common import chains
from experiments.studies.exercises import exact as exact_lib
from seqmodels.models import ngram


def entropy(shares):
  return -np.sum(shares * np.log(shares))


def best_ngram(words, *, order):
  """Nats a word that the best model of order n pays, summed over contexts.

  A word begins with a boundary that a context may see; its end is not
  predicted.
  """
  counts = {}
  for word, share in words.items():
    for place, symbol in enumerate(word):
      context = (-1, *word[:place])[::-1][: order - 1]
      seen = counts.setdefault(context, {})
      seen[symbol] = seen.get(symbol, 0.0) + share
  total = 0.0
  for seen in counts.values():
    actual = np.array(list(seen.values()))
    total += actual.sum() * entropy(actual / actual.sum())
  return total


@pytest.mark.parametrize(("symbols", "fillers"), [(2, 8), (4, 4), (3, 1)])
def test_the_formulas_are_the_sums_over_contexts(symbols, fillers):
  words = exact_lib.recall(symbols, fillers)
  exact = exact_lib.recall_nats(symbols, fillers)
  assert exact == pytest.approx(
    entropy(np.array(list(words.values()))), abs=1e-12
  )
  for order in range(1, fillers + 5):
    want = best_ngram(words, order=order)
    have = exact_lib.recall_nats(symbols, fillers, order=order)
    assert have == pytest.approx(want, abs=1e-12)


def test_the_fact_sheet_s_perplexities():
  for symbols, fillers, exact, forgetful in (
    (2, 8, 1.072, 1.149),
    (4, 4, 1.260, 1.587),
  ):
    tokens = fillers + 2
    for want, order in ((exact, 0), (forgetful, fillers + 1)):
      nats = exact_lib.recall_nats(symbols, fillers, order=order)
      assert math.exp(nats / tokens) == pytest.approx(want, abs=5e-4)
    assert math.exp(
      exact_lib.recall_nats(symbols, fillers, order=fillers + 1) / tokens
    ) == pytest.approx(symbols ** (2 / tokens))


@pytest.mark.parametrize("order", [1, 2, 3, 5, 7])
def test_no_counted_ngram_beats_the_bound(order):
  nltk_lm = pytest.importorskip("nltk.lm")
  words = exact_lib.recall(3, 4)
  padded = [["<s>", *map(str, word)] for word in words]
  grams = [
    tuple(word[max(0, end - n) : end])
    for word in padded
    for end in range(2, len(word) + 1)
    for n in range(1, order + 1)
    if end - n >= 0
  ]
  model = nltk_lm.MLE(order)
  model.fit([grams], vocabulary_text=[symbol for w in padded for symbol in w])
  nats = -sum(
    math.log(
      model.score(word[end], word[max(0, end - order + 1) : end] or None)
    )
    for word in padded
    for end in range(1, len(word))
  ) / len(padded)
  bound = best_ngram(words, order=order)
  assert nats == pytest.approx(bound, abs=1e-9)


def test_kneser_ney_pays_at_least_the_bound():
  random = np.random.default_rng(0)
  words = list(exact_lib.recall(2, 3))
  drawn = [(*words[i], 3) for i in random.integers(2, size=400)]
  tokens = np.array(drawn).ravel()
  for order in (2, 4):
    model = ngram.NGram.fit(tokens, 4, order=order, sentence_end=3)
    nats = model.nats(tokens).reshape(-1, 6)[:, :5].sum(axis=1).mean()
    bound = exact_lib.recall_nats(2, 3, order=order)
    assert nats > 0.98 * bound  # the draw's own entropy is a little lower
  assert bound == pytest.approx(2 * math.log(2))


def test_the_network_of_recall_is_exact_with_a_unit_a_symbol():
  for symbols, fillers in ((2, 1), (2, 8), (4, 60)):
    exact = exact_lib.recall_network(symbols, fillers)
    assert exact.units == symbols + 1
    words = exact_lib.recall(symbols, fillers)
    ids = np.array(list(words)).T
    nats = -exact.log_shares(ids).sum(axis=0)
    want = exact_lib.recall_nats(symbols, fillers)
    np.testing.assert_allclose(nats, want, atol=1e-12)


def test_even_runs_have_no_finite_memory():
  source = exact_lib.even_runs()
  rate = chains.entropy_rate(source.transition)
  assert rate == pytest.approx(2 / 3 * math.log(2))
  actual = source.entropy_by_window(9)
  assert np.all(np.diff(actual) < 0)
  assert np.all(actual > rate + 1e-3)
  # Two states, even (0) and odd, with the next state by symbol.
  chances, onward = [[0.5, 0.5], [0.0, 1.0]], [[0, 1], [0, 0]]
  # Every string's probability, by summing over both first states.
  for order in (1, 3, 5):
    blocks = [0.0, 0.0]
    for extra in (0, 1):
      length = order - 1 + extra
      for string in itertools.product((0, 1), repeat=length):
        share = 0.0
        for state, weight in ((0, 2 / 3), (1, 1 / 3)):
          for symbol in string:
            weight *= chances[state][symbol]
            state = onward[state][symbol]
          share += weight
        blocks[extra] -= share * math.log(share) if share else 0.0
    assert actual[order - 1] == pytest.approx(blocks[1] - blocks[0])
