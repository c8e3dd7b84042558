import collections
import itertools
import math
import warnings

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.models import ngram

BOUNDARY = "boundary"


class BruteForce:
  """The definition, one dictionary look-up at a time."""

  def __init__(self, tokens, vocabulary_size, order, sentence_end, modified):
    self.size, self.order = vocabulary_size, order
    raw = collections.Counter()
    left = collections.defaultdict(set)
    for sequence in sequences(tokens, sentence_end):
      text = [BOUNDARY, *sequence]
      for last in range(1, len(text)):
        for first in range(max(0, last - order + 1), last + 1):
          gram = tuple(text[first : last + 1])
          raw[gram] += 1
          if first > 0:
            left[gram].add(text[first - 1])
    self.counts = {
      gram: count
      if len(gram) == order or gram[0] == BOUNDARY
      else len(left[gram])
      for gram, count in raw.items()
    }
    self.discounts = [
      self._estimate(
        [c for gram, c in self.counts.items() if len(gram) == length],
        modified,
      )
      for length in range(1, order + 1)
    ]

  @staticmethod
  def _estimate(counts, modified):
    n = [counts.count(j) for j in range(5)]
    if not n[1]:
      return [0, 0.5, 0.5, 0.5]
    y = n[1] / (n[1] + 2 * n[2])
    if modified and n[2] and n[3]:
      three = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
      if all(0 < d <= j for j, d in enumerate(three, 1)):
        return [0, *three]
    return [0, y, y, y]

  def p(self, symbol, context):
    context = tuple(context)[max(0, len(context) - self.order + 1) :]
    lower = self.p(symbol, context[1:]) if context else 1 / self.size
    seen = {
      w: self.counts[(*context, w)]
      for w in range(self.size)
      if (*context, w) in self.counts
    }
    if not seen:
      return lower
    d = self.discounts[len(context)]
    mine = seen.get(symbol, 0)
    mass = sum(d[min(count, 3)] for count in seen.values())
    return (mine - d[min(mine, 3)] + mass * lower) / sum(seen.values())


def sequences(tokens, sentence_end):
  if sentence_end is None:
    return [list(tokens)]
  parts = [[]]
  for token in tokens:
    parts[-1].append(token)
    if token == sentence_end:
      parts.append([])
  return [part for part in parts if part]


def text(length, vocabulary, seed=0):
  """A first-order chain, so that counts of every size occur."""
  rng = np.random.default_rng(seed)
  rows = rng.dirichlet(np.full(vocabulary, 0.3), size=vocabulary)
  symbols = [0]
  for _ in range(length - 1):
    symbols.append(int(rng.choice(vocabulary, p=rows[symbols[-1]])))
  return np.array(symbols)


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("sentence_end", [None, 2])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_every_token_equals_brute_force(order, sentence_end, modified):
  training, other = text(400, 6), text(150, 7, seed=1) % 6
  model = ngram.NGram.fit(
    training, 7, order=order, sentence_end=sentence_end, modified=modified
  )
  slow = BruteForce(training.tolist(), 7, order, sentence_end, modified)
  for level, discounts in zip(model.levels, slow.discounts, strict=True):
    np.testing.assert_allclose(level.discounts, discounts[1:])
  for tokens in (training[:100], other):
    expected = [
      -math.log(slow.p(sequence[i], [BOUNDARY, *sequence[:i]]))
      for sequence in sequences(tokens.tolist(), sentence_end)
      for i in range(len(sequence))
    ]
    np.testing.assert_allclose(model.nats(tokens), expected, rtol=1e-10)


def test_the_examples_use_three_different_discounts():
  """Or the modified case above would silently test the plain one."""
  model = ngram.NGram.fit(text(400, 6), 7, order=3, modified=True)
  assert len(set(model.levels[-1].discounts)) == 3


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("sentence_end", [None, 2])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_distributions_sum_to_one_and_agree_with_brute_force(
  order, sentence_end, modified
):
  training = text(300, 5)
  model = ngram.NGram.fit(
    training, 6, order=order, sentence_end=sentence_end, modified=modified
  )
  slow = BruteForce(training.tolist(), 6, order, sentence_end, modified)
  histories = [
    history
    for length in range(4)
    for history in itertools.product(range(6), repeat=length)
  ]
  unseen = 0
  for history in histories:
    shares = model.distribution(history)
    assert shares.shape == (6,)
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    assert shares.min() > 0
    known = list(history)
    if sentence_end in known:
      last = len(known) - 1 - known[::-1].index(sentence_end)
      known = known[last + 1 :]
    context = (BOUNDARY, *known)
    unseen += (*context[-order + 1 :], 0) not in slow.counts
    expected = [slow.p(symbol, context) for symbol in range(6)]
    np.testing.assert_allclose(shares, expected, rtol=1e-10)
  assert unseen > 0


def test_scores_are_the_distributions_read_off():
  model = ngram.NGram.fit(text(300, 5), 5, order=4, sentence_end=3)
  tokens = text(80, 5, seed=4)
  expected = [
    -math.log(model.distribution(tokens[:i])[tokens[i]])
    for i in range(len(tokens))
  ]
  np.testing.assert_allclose(model.nats(tokens), expected, rtol=1e-12)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_nltk_agrees_where_its_definition_is_the_same(order, monkeypatch):
  """NLTK has one given discount, none for single symbols, no uniform base.

  Given the same discounts, the models agree in every context that does not
  begin with the boundary, or that has it at full length. Elsewhere NLTK counts
  what was seen before the boundary: nothing.
  """
  from nltk import lm
  from nltk.util import everygrams

  discounts = iter([0.0] + [0.4] * (order - 1))
  monkeypatch.setattr(ngram, "_discounts", lambda *_: (next(discounts),) * 3)
  tokens = text(250, 5).tolist()
  model = ngram.NGram.fit(np.array(tokens), 5, order=order, sentence_end=2)
  theirs = lm.KneserNeyInterpolated(order, discount=0.4)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sentences = [[BOUNDARY, *map(str, s)] for s in sequences(tokens, 2)]
    theirs.fit(
      [list(everygrams(s, max_len=order)) for s in sentences],
      vocabulary_text=[str(i) for i in range(5)] + [BOUNDARY],
    )
  compared = 0
  for history in itertools.product((0, 1, 3, 4), repeat=order - 1):
    shares = model.distribution((2, *history))
    shares_of_five = [
      theirs.score(str(w), tuple(map(str, history))) for w in range(5)
    ]
    np.testing.assert_allclose(shares, shares_of_five, rtol=1e-10)
    compared += 1
  for history in itertools.product((0, 1, 3, 4), repeat=order - 2):
    context = (BOUNDARY, *map(str, history))
    if order == 2 or theirs.counts[context]:
      expected = [theirs.score(str(w), context) for w in range(5)]
      np.testing.assert_allclose(
        model.distribution(history), expected, rtol=1e-10
      )
      compared += 1
  assert compared > 4 ** (order - 1)


def test_the_first_context_is_no_symbol():
  """`a` always opens a sentence; after a real symbol it is rare."""
  a, end = 0, 1
  tokens = np.array([a, 2, 2, 3, end] * 20)
  model = ngram.NGram.fit(tokens, 4, order=3, sentence_end=end)
  assert model.distribution([])[a] > 0.9
  assert model.distribution([3, 2, end])[a] > 0.9
  assert model.distribution([a, 2, 2])[a] < 0.1


def test_a_symbol_never_seen_is_possible_everywhere():
  model = ngram.NGram.fit(text(500, 4), 10, order=5)
  nats = model.nats(np.array([9] * 20 + [0, 1, 2, 9, 3]))
  assert np.all(np.isfinite(nats))
  assert nats[0] < math.log(10_000)


def test_repetition_is_learnt_and_noise_is_not():
  cycle = np.arange(5000) % 7
  model = ngram.NGram.fit(cycle, 7, order=3)
  assert model.nats(cycle)[2:].max() < 0.01
  noise = np.random.default_rng(0).integers(0, 8, 20_000)
  fair = ngram.NGram.fit(noise[:10_000], 8, order=2)
  assert fair.nats(noise[10_000:]).mean() == pytest.approx(
    math.log(8), abs=0.01
  )


def test_one_token_and_no_test_tokens_are_enough():
  model = ngram.NGram.fit(np.array([1]), 3, order=5)
  assert model.nats(np.array([], np.int32)).shape == (0,)
  assert model.distribution([]).sum() == pytest.approx(1)
  assert model.distribution([0, 2]).sum() == pytest.approx(1)


def test_long_orders_over_large_vocabularies_do_not_overflow():
  """10,001 to the power of 8 is far beyond 64 bits; the keys are not."""
  tokens = np.random.default_rng(0).integers(0, 10_000, 3000)
  model = ngram.NGram.fit(np.tile(tokens, 3), 10_000, order=8)
  assert model.nats(tokens)[8:].max() < 0.8
  assert model.distribution(tokens[:50]).sum() == pytest.approx(1)


@pytest.mark.parametrize(
  ("tokens", "order", "message"),
  [
    ([], 2, "no tokens"),
    ([0, 1], 0, "order is 0"),
    ([0, 5], 2, "given the id 5"),
    ([0, -1], 2, "given the id -1"),
  ],
)
def test_bad_input_is_named(tokens, order, message):
  with pytest.raises(errors.UserError, match=message):
    ngram.NGram.fit(np.array(tokens, int), 5, order=order)


def test_ids_of_another_vocabulary_are_refused():
  model = ngram.NGram.fit(np.array([0, 1]), 5, order=2)
  with pytest.raises(errors.UserError, match="5 symbols was given the id 7"):
    model.nats(np.array([0, 7]))
  with pytest.raises(errors.UserError, match="given the id 7"):
    model.distribution([7])


def test_penn_treebank_words_give_the_published_perplexity(real_data):
  """Mikolov's 5-gram with modified smoothing, by SRILM: 141.2 on the test."""
  splits = {
    name: [
      word
      for line in (real_data / "ptb" / f"ptb.{name}.txt")
      .read_text()
      .splitlines()
      for word in [*line.split(), "<eos>"]
    ]
    for name in ("train", "test")
  }
  ids = {word: i for i, word in enumerate(sorted(set(splits["train"])))}
  train, test = (
    np.array([ids[word] for word in splits[name]]) for name in splits
  )
  assert (len(train), len(test), len(ids)) == (929_589, 82_430, 10_000)
  end = ids["<eos>"]
  for modified, perplexity in ((True, 141.19), (False, 143.51)):
    model = ngram.NGram.fit(
      train, 10_000, order=5, sentence_end=end, modified=modified
    )
    nats = model.nats(test)
    assert len(nats) == len(test)
    assert math.exp(nats.mean()) == pytest.approx(perplexity, abs=0.01)
