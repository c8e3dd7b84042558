import collections
import itertools
import math

import numpy as np
import pytest

from experiments.studies.common import chains


def text(length=300, size=3, seed=0):
  return np.random.default_rng(seed).integers(size, size=length)


def by_hand(tokens, size, order, epsilon):
  """P(symbol | context) from dictionaries of tuples."""
  counts = collections.Counter()
  for length in range(1, order + 2):
    for start in range(len(tokens) - length + 1):
      counts[tuple(tokens[start : start + length])] += 1

  def share(context, symbol):
    context = tuple(context)[max(0, len(context) - order) :]
    seen = [counts[(*context, other)] + epsilon for other in range(size)]
    return seen[symbol] / sum(seen) if sum(seen) else 1 / size

  return share


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_every_symbol_has_the_share_that_was_counted(order, epsilon):
  tokens = text(60)
  model = chains.Markov.fit(tokens, 3, order=order, epsilon=epsilon)
  share = by_hand(tokens, 3, order, epsilon)
  for length in range(order + 1):
    for row, history in enumerate(itertools.product(range(3), repeat=length)):
      expected = [share(history, symbol) for symbol in range(3)]
      np.testing.assert_allclose(
        model.tables[length][row], expected, rtol=1e-12
      )
  other = text(40, seed=1)
  with np.errstate(divide="ignore"):
    expected = [-np.log(share(other[:i], other[i])) for i in range(40)]
  np.testing.assert_allclose(model.nats(other), expected, rtol=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_all_strings_together_have_probability_one(order, epsilon):
  model = chains.Markov.fit(text(30), 3, order=3, epsilon=epsilon)
  for length in (1, 2, 4):
    total = sum(
      math.exp(-model.nats(np.array(string), order).sum())
      for string in itertools.product(range(3), repeat=length)
    )
    assert total == pytest.approx(1, abs=1e-12)


def test_the_exact_likelihood_of_a_worked_example():
  """0 1 0 1 1: P(1 | 0) = 1, P(0 | 1) = P(1 | 1) = 1/2, P(0) = 2/5."""
  model = chains.Markov.fit(np.array([0, 1, 0, 1, 1]), 2, order=1)
  found = math.exp(-model.nats(np.array([0, 1, 1, 0])).sum())
  assert found == pytest.approx(2 / 5 * 1 * 1 / 2 * 1 / 2)


def test_what_was_never_seen_is_impossible_without_epsilon():
  tokens = np.array([0, 1, 0, 1, 0])
  plain = chains.Markov.fit(tokens, 3, order=1)
  assert plain.nats(np.array([0, 0]))[1] == math.inf
  # A context never seen says nothing.
  np.testing.assert_allclose(plain.tables[1][2], 1 / 3)
  smooth = chains.Markov.fit(tokens, 3, order=1, epsilon=0.5)
  assert smooth.nats(np.array([0, 0]))[1] == pytest.approx(-math.log(0.5 / 3.5))


def test_scores_stop_falling_at_the_true_order_and_creep_up():
  random = np.random.default_rng(0)
  kernel = random.dirichlet(np.full(4, 0.7), size=(4, 4))
  start = chains.stationary(kernel)
  train, test = (
    chains.markov_chain(kernel, 100_000, random=random, initial=start)
    for _ in range(2)
  )
  whole = chains.Markov.fit(train, 4, order=5, epsilon=0.5)
  scores = {
    part: [whole.nats(xs, k).mean() for k in range(6)]
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
  xs = chains.markov_chain(kernel, 50_000, random=random)
  model = chains.Markov.fit(xs, 3, order=2)
  fitted = model.tables[2].reshape(3, 3, 3)
  again = chains.markov_chain(fitted, 50_000, random=random)
  found = chains.Markov.fit(again, 3, order=2).tables[2]
  np.testing.assert_allclose(found.reshape(3, 3, 3), kernel, atol=0.06)


def test_a_shorter_model_is_the_one_counted_shorter():
  tokens = text(50)
  whole = chains.Markov.fit(tokens, 3, order=4, epsilon=0.1)
  part = chains.Markov.fit(tokens, 3, order=2, epsilon=0.1)
  np.testing.assert_array_equal(whole.nats(text(20), 2), part.nats(text(20)))
