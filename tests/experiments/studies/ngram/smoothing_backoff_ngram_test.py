"""Backing off against its definition, counted again for every question."""

import itertools
import math

import numpy as np
import pytest

from experiments.studies.ngram import smoothing
from seqmodels import errors
from seqmodels.models import ngram


def text(length, symbols, seed=0):
  """A first-order chain, so that counts of every size occur."""
  random = np.random.default_rng(seed)
  rows = random.dirichlet(np.full(symbols, 0.4), size=symbols)
  actual = [0]
  for _ in range(length - 1):
    actual.append(int(random.choice(symbols, p=rows[actual[-1]])))
  return np.array(actual)


def definition(model, symbol, context):
  """p by recursion; counts and discounts are those of the interpolated one."""
  level = model.levels[len(context)]
  base = model.vocabulary_size + 1

  def find(gram):
    known = 0
    for above, w in zip(model.levels, gram, strict=False):
      key = known * base + w
      place = int(np.searchsorted(above.keys, key))
      if place == len(above.keys) or above.keys[place] != key:
        return None
      known = place
    return known

  place = find(context)
  if place is None or not level.context_counts[place]:
    return definition(model, symbol, context[1:])
  total = level.context_counts[place]
  grams = [find((*context, w)) for w in range(model.vocabulary_size)]
  own = [0.0 if g is None else level.discounted[g] / total for g in grams]
  saved = level.context_discounts[place] / total
  if not context:
    return own[symbol] + saved / model.vocabulary_size
  if own[symbol] > 0 and min(own) > 0:
    return own[symbol] / sum(own)
  if own[symbol] > 0:
    return own[symbol]
  left = sum(
    definition(model, w, context[1:])
    for w in range(model.vocabulary_size)
    if not own[w]
  )
  return saved / left * definition(model, symbol, context[1:])


def distribution(model, history):
  """p of every symbol after a history."""
  texts = [np.array([*history, w]) for w in range(model.source.vocabulary_size)]
  return np.exp([-model.nats(text)[-1] for text in texts])


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_token_equals_the_definition(order, end, modified):
  source = ngram.NGram.fit(
    text(250, 5), 6, order=order, sentence_end=end, modified=modified
  )
  model = smoothing.BackoffNGram.of(source)
  other, history, expected = text(80, 5, seed=1), [6], []
  for token in other.tolist():
    known = tuple(history[max(0, len(history) - order + 1) :])
    expected.append(-math.log(definition(source, token, known)))
    history = [6] if token == end else [*history, token]
  np.testing.assert_allclose(model.nats(other), expected, rtol=1e-9)


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize(("symbols", "size"), [(5, 6), (4, 4), (3, 9)])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_distributions_sum_to_one(order, symbols, size, modified):
  model = smoothing.BackoffNGram.of(
    ngram.NGram.fit(text(300, symbols), size, order=order, modified=modified)
  )
  for length in range(4):
    for history in itertools.product(range(symbols), repeat=length):
      shares = distribution(model, history)
      assert shares.sum() == pytest.approx(1, abs=1e-10)
      assert shares.min() > 0


def test_where_every_symbol_was_seen_the_discounts_are_given_back():
  cycle = np.array([0, 0, 1, 1] * 20)
  model = smoothing.BackoffNGram.of(ngram.NGram.fit(cycle, 2, order=2))
  assert distribution(model, [0]).sum() == pytest.approx(1, abs=1e-12)


def test_a_discount_of_one_makes_no_symbol_impossible():
  """Where nothing was counted twice, d is 1: what was seen once backs off."""
  model = smoothing.BackoffNGram.of(ngram.NGram.fit(np.arange(6), 7, order=3))
  assert np.isfinite(model.nats(np.arange(6))).all()
  assert distribution(model, [0, 1]).sum() == pytest.approx(1, abs=1e-12)


def test_ids_of_another_vocabulary_are_refused():
  model = smoothing.BackoffNGram.of(
    ngram.NGram.fit(np.array([0, 1]), 5, order=2)
  )
  with pytest.raises(errors.UserError, match="given the id 7"):
    model.nats(np.array([7]))
