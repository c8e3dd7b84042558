"""Models of one text with a fixed number added to every count, as chains."""

import collections
import itertools
import math

import numpy as np
import pytest

from experiments.studies.common import chains, ngram_counts


def text(length=300, size=3, seed=0):
  return np.random.default_rng(seed).integers(size, size=length)


def fit(tokens, size, *, order, epsilon=0.0):
  """A model whose contexts have up to `order` symbols."""
  counts = ngram_counts.NGramCounts.of(tokens, size, order=order + 1)
  return ngram_counts.LaplaceNGram.add_k(counts, epsilon, order=order + 1)


def by_hand(tokens, size, order, epsilon):
  """P(symbol | context) from dictionaries of tuples; "^" is the beginning."""
  counts, tokens = collections.Counter(), ["^", *tokens]
  for length in range(1, order + 2):
    for start in range(len(tokens) - length + 1):
      counts[tuple(tokens[start : start + length])] += 1

  def share(context, symbol):
    context = ("^", *context)[max(0, len(context) + 1 - order) :]
    seen = [counts[(*context, other)] + epsilon for other in range(size)]
    return seen[symbol] / sum(seen) if sum(seen) else 1 / size

  return share


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_every_symbol_has_the_share_that_was_counted(order, epsilon):
  tokens = text(60)
  model = fit(tokens, 3, order=order, epsilon=epsilon)
  share = by_hand(tokens, 3, order, epsilon)
  for length in range(order + 1):
    for history in itertools.product(range(3), repeat=length):
      expected = [share(history, symbol) for symbol in range(3)]
      np.testing.assert_allclose(model.distribution(history), expected)
  other = text(40, seed=1)
  with np.errstate(divide="ignore"):
    expected = [-np.log(share(other[:i], other[i])) for i in range(40)]
  np.testing.assert_allclose(model.nats(other), expected, rtol=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_all_strings_together_have_probability_one(order, epsilon):
  model = fit(text(30), 3, order=order, epsilon=epsilon)
  for length in (1, 2, 4):
    total = sum(
      math.exp(-model.nats(np.array(string)).sum())
      for string in itertools.product(range(3), repeat=length)
    )
    assert total == pytest.approx(1, abs=1e-12)


def test_the_exact_likelihood_of_a_worked_example():
  """0 1 0 1 1: P(1 | 0) = 1, P(0 | 1) = P(1 | 1) = 1/2; it begins with 0."""
  model = fit(np.array([0, 1, 0, 1, 1]), 2, order=1)
  actual = math.exp(-model.nats(np.array([0, 1, 1, 0])).sum())
  assert actual == pytest.approx(1 * 1 * 1 / 2 * 1 / 2)


def test_what_was_never_seen_is_impossible_without_epsilon():
  tokens = np.array([0, 1, 0, 1, 0])
  plain = fit(tokens, 3, order=1)
  assert plain.nats(np.array([0, 0]))[1] == math.inf
  # A context never seen says nothing.
  np.testing.assert_allclose(plain.distribution([2]), 1 / 3)
  smooth = fit(tokens, 3, order=1, epsilon=0.5)
  assert smooth.nats(np.array([0, 0]))[1] == pytest.approx(-math.log(0.5 / 3.5))


def test_scores_stop_falling_at_the_true_order_and_creep_up():
  random = np.random.default_rng(0)
  kernel = random.dirichlet(np.full(4, 0.7), size=(4, 4))
  start = chains.stationary(kernel)
  train, test = (
    chains.markov_chain(kernel, 100_000, random=random, initial=start)
    for _ in range(2)
  )
  models = [fit(train, 4, order=k, epsilon=0.5) for k in range(6)]
  scores = {
    part: [model.nats(xs).mean() for model in models]
    for part, xs in (("train", train), ("test", test))
  }
  rates = [chains.entropy_rate(kernel, k) for k in (0, 1, 2, 2, 2, 2)]
  # Three standard errors of a mean of 100,000 nats are about 0.008.
  np.testing.assert_allclose(scores["test"][:4], rates[:4], atol=0.008)
  assert np.all(np.diff(scores["train"]) < 0)
  assert np.argmin(scores["test"]) == 2
  assert np.all(np.diff(scores["test"])[2:] > 0)
  assert 0.003 < scores["test"][5] - scores["test"][2] < 0.02


def test_a_fitted_kernel_can_be_sampled():
  random = np.random.default_rng(0)
  kernel = random.dirichlet(np.ones(3), size=(3, 3))

  def fitted(xs):
    model = fit(xs, 3, order=2)
    return np.array(
      [[model.distribution([a, b]) for b in range(3)] for a in range(3)]
    )

  xs = chains.markov_chain(kernel, 50_000, random=random)
  again = chains.markov_chain(fitted(xs), 50_000, random=random)
  np.testing.assert_allclose(fitted(again), kernel, atol=0.06)


def test_a_shorter_model_is_the_one_counted_shorter():
  counts = ngram_counts.NGramCounts.of(text(50), 3, order=5)
  part = ngram_counts.LaplaceNGram.add_k(counts, 0.1, order=3)
  np.testing.assert_array_equal(
    part.nats(text(20)), fit(text(50), 3, order=2, epsilon=0.1).nats(text(20))
  )
