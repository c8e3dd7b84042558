"""Pseudo-counts against the textbook's formulas, dictionaries and nltk."""

import itertools
import math

import numpy as np
import pytest

from experiments.studies.common import cleaning, ngram_counts
from seqmodels import errors
from seqmodels.data.text import corpora, vocabulary

Laplace = ngram_counts.LaplaceNGram
BOUNDARY = "boundary"


def fit(tokens, size, *, order, pseudo_count=1.0, back_off="shorter", end=None):
  counts = ngram_counts.NGramCounts.of(
    tokens, size, order=order, sentence_end=end
  )
  return Laplace(counts, (pseudo_count,) * order, back_off)


class BruteForce:
  """The definition, counted by hand for every question."""

  def __init__(self, tokens, size, order, e, back_off, end):
    self.size, self.order, self.e = size, order, e
    self.back_off, self.texts = back_off, sequences(tokens, end)

  def count(self, gram):
    n = len(gram)
    return sum(
      tuple(text[i : i + n]) == tuple(gram)
      for text in self.texts
      for i in range(len(text) - n + 1)
    )

  def p(self, symbol, context):
    context = tuple(context)[max(0, len(context) - self.order + 1) :]
    if not context or self.back_off == "uniform":
      below = 1 / self.size
    else:
      shorter = context[1:] if self.back_off == "shorter" else ()
      below = self.p(symbol, shorter)
    followed = sum(self.count((*context, w)) for w in range(self.size))
    if not followed + self.e:
      return below
    seen = self.count((*context, symbol))
    return (seen + self.e * below) / (followed + self.e)


def sequences(tokens, end):
  parts = [[BOUNDARY]]
  for token in tokens:
    parts[-1].append(token)
    if token == end:
      parts.append([BOUNDARY])
  return [part for part in parts if len(part) > 1]


def text(length, symbols, seed=0):
  return np.random.default_rng(seed).integers(0, symbols, length)


@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("back_off", ngram_counts.BACK_OFFS)
@pytest.mark.parametrize(("order", "e"), [(1, 2.0), (2, 0.5), (3, 4.0)])
def test_every_token_and_distribution_equals_brute_force(
  order, e, back_off, end
):
  training, other = text(60, 4).tolist(), text(25, 5, seed=1)
  model = fit(
    np.array(training),
    5,
    order=order,
    pseudo_count=e,
    back_off=back_off,
    end=end,
  )
  slow = BruteForce(training, 5, order, e, back_off, end)
  expected = [
    -math.log(slow.p(part[i], part[:i]))
    for part in sequences(other.tolist(), end)
    for i in range(1, len(part))
  ]
  np.testing.assert_allclose(model.nats(other), expected, rtol=1e-10)
  for history in itertools.product(range(5), repeat=2):
    known = sequences([*history, 0], end)[-1][:-1]
    shares = model.distribution(history)
    np.testing.assert_allclose(shares, [slow.p(w, known) for w in range(5)])
    assert shares.sum() == pytest.approx(1, abs=1e-12)


def test_the_textbooks_example_by_hand():
  """a b a c a b over {a, b, c, d} with pseudo-counts 1, 2 and 3."""
  a, b, c, d = range(4)
  counts = ngram_counts.NGramCounts.of(np.array([a, b, a, c, a, b]), 4, order=3)
  model = Laplace(counts, (1.0, 2.0, 3.0), "unigram")
  unigram = [(n + 1 / 4) / (6 + 1) for n in (3, 2, 1, 0)]
  # After a, b follows twice and c once; the last b is a context of nothing.
  after_a = [(n + 2 * unigram[i]) / (3 + 2) for i, n in enumerate((0, 2, 1, 0))]
  after_ba = [
    (n + 3 * unigram[i]) / (1 + 3) for i, n in enumerate((0, 0, 1, 0))
  ]
  np.testing.assert_allclose(model.distribution([d, a]), unigram)
  np.testing.assert_allclose(model.distribution([b, a]), after_ba)
  pairs = Laplace(counts, (1.0, 2.0), "unigram")
  np.testing.assert_allclose(pairs.distribution([a]), after_a)
  np.testing.assert_allclose(pairs.distribution([d]), unigram)


def test_nothing_added_leaves_relative_frequencies():
  training = text(200, 3)
  model = fit(training, 4, order=2, pseudo_count=0.0)
  after = np.bincount(training[1:][training[:-1] == 1], minlength=4)
  np.testing.assert_allclose(model.distribution([1]), after / after.sum())
  assert model.nats(np.array([1, 3]))[1] == math.inf
  # After what was never seen, the back-off: relative frequencies too.
  assert model.distribution([3]).sum() == pytest.approx(1)


def test_much_added_leaves_the_back_off():
  training = text(200, 3)
  flat = fit(training, 4, order=1, pseudo_count=1e12)
  np.testing.assert_allclose(flat.distribution([]), 0.25, rtol=1e-6)
  counts = ngram_counts.NGramCounts.of(training, 4, order=2)
  pairs = Laplace(counts, (1.0, 1e12), "unigram")
  single = Laplace(counts, (1.0,))
  np.testing.assert_allclose(
    pairs.distribution([1]), single.distribution([]), rtol=1e-6
  )


@pytest.mark.parametrize("k", [1.0, 0.25])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_nltk_agrees_where_a_context_is_full(order, k):
  from nltk import lm
  from nltk.util import everygrams

  tokens = [str(token) for token in text(150, 4)]
  theirs = lm.Lidstone(k, order)
  # Their unknown label is the fifth symbol.
  theirs.fit([everygrams(tokens, max_len=order)], vocabulary_text=tokens)
  symbols = ["0", "1", "2", "3", theirs.vocab.unk_label]
  counts = ngram_counts.NGramCounts.of(
    np.array([int(token) for token in tokens]), 5, order=order
  )
  ours = Laplace.add_k(counts, k, order=order)
  for history in itertools.product(range(5), repeat=order):
    context = tuple(symbols[i] for i in history[1:])
    expected = [theirs.score(symbol, context) for symbol in symbols]
    np.testing.assert_allclose(ours.distribution(history), expected)


@pytest.mark.parametrize("back_off", ngram_counts.BACK_OFFS)
def test_all_texts_of_a_length_together_have_probability_one(back_off):
  model = fit(text(30, 3), 3, order=3, back_off=back_off)
  total = sum(
    math.exp(-model.nats(np.array(whole)).sum())
    for whole in itertools.product(range(3), repeat=4)
  )
  assert total == pytest.approx(1, abs=1e-12)


def test_unknown_words_have_a_share_and_all_sum_to_one():
  words = ["the", "cat", "saw", "the", "dog", "and", "the", "cat", "saw"]
  for least in (1, 2):  # no word of training is unknown; some are
    symbols = vocabulary.Vocabulary.build(words, min_frequency=least)
    model = fit(symbols.encode(words), symbols.size, order=2)
    for before in (["the"], ["zebra"], []):
      shares = model.distribution(symbols.encode(before).tolist())
      assert shares[symbols.unk] > 0
      assert shares.sum() == pytest.approx(1, abs=1e-12)
    scores = model.nats(symbols.encode(["the", "zebra", "saw", "a"]))
    assert np.isfinite(scores).all()


def test_text_drawn_from_a_model_is_as_surprising_as_its_entropy():
  model = fit(text(300, 4), 4, order=2)
  random, drawn, entropies = np.random.default_rng(1), [], []
  for _ in range(4_000):
    shares = model.distribution(drawn[-1:])
    entropies.append(-(shares * np.log(shares)).sum())
    drawn.append(int(random.choice(4, p=shares / shares.sum())))
  nats = model.nats(np.array(drawn))
  error = np.std(nats) / math.sqrt(len(nats))
  assert abs(nats.mean() - np.mean(entropies)) < 4 * error
  # Chi-square of what follows a symbol: 3 degrees of freedom, 0.1 % at 16.3.
  after = np.bincount(np.array(drawn)[1:][np.array(drawn)[:-1] == 0])
  expected = model.distribution([0]) * after.sum()
  assert ((after - expected) ** 2 / expected).sum() < 16.3


@pytest.fixture(scope="module")
def book(real_data):
  corpus = corpora.load_time_machine(real_data, downloads=False)
  text = cleaning.letters(corpus.parts["whole"].tobytes().decode("ascii"))
  symbols = vocabulary.Vocabulary.build(text)
  assert symbols.size == 28
  return symbols, symbols.encode(text)


@pytest.mark.parametrize(
  ("back_off", "weights", "perplexities"),
  [
    (
      "unigram",
      (0.1, 10, 3, 2, 2, 1, 1),
      (16.66, 9.53, 6.59, 5.87, 6.68, 8.02, 9.65),
    ),
    (
      "shorter",
      (0.1, 10, 3, 10, 10, 10, 10),
      (16.66, 9.53, 6.61, 5.56, 5.23, 5.15, 5.12),
    ),
  ],
)
def test_reference_perplexities_of_the_time_machine(
  book, back_off, weights, perplexities
):
  """10,032 characters learnt, 5,000 scored, contexts of 0 to 6."""
  _, ids = book
  counts = ngram_counts.NGramCounts.of(ids[:10_032], 28, order=7)
  actual = [
    math.exp(
      Laplace(counts, (e,) * order, back_off).nats(ids[10_032:15_032]).mean()
    )
    for order, e in enumerate(weights, 1)
  ]
  np.testing.assert_allclose(actual, perplexities, rtol=0.01)


def test_reference_perplexities_of_the_whole_book(book):
  _, ids = book
  cut = int(0.9 * len(ids))
  counts = ngram_counts.NGramCounts.of(ids[:cut], 28, order=6)
  actual = [
    math.exp(Laplace(counts, (10.0,) * order).nats(ids[cut:]).mean())
    for order in range(2, 7)
  ]
  np.testing.assert_allclose(actual, (9.60, 6.39, 4.67, 4.13, 4.03), rtol=0.01)


@pytest.mark.parametrize(
  ("least", "size", "single", "perplexities"),
  [
    (2, 2_023, 100.0, (203, 115, 162, 113)),
    # Where no word of training is unknown, e of single words alone says what
    # the 8.2 % of unknown ones cost: 1 here, and 1,000 would make 641 of 1,120.
    (1, 4_327, 1.0, (1_120, 710, 927, 698)),
  ],
)
def test_reference_perplexities_of_the_words_of_the_book(
  real_data, least, size, single, perplexities
):
  corpus = corpora.load_time_machine(real_data, downloads=False)
  words = cleaning.words(corpus.parts["whole"].tobytes().decode("ascii"))
  cut = int(0.9 * len(words))
  symbols = vocabulary.Vocabulary.build(words[:cut], min_frequency=least)
  test = symbols.encode(words[cut:])
  assert symbols.size == size
  counts = ngram_counts.NGramCounts.of(
    symbols.encode(words[:cut]), size, order=3
  )
  actual = [
    math.exp(model.nats(test).mean())
    for model in (
      Laplace(counts, (1.0,)),
      Laplace(counts, (single, 100.0)),
      Laplace(counts, (single, 100.0, 100.0), "unigram"),
      Laplace(counts, (single, 100.0, 100.0)),
    )
  ]
  np.testing.assert_allclose(actual, perplexities, rtol=0.01)
  # Shares of the n-grams of the test that training never showed.
  if least == 1:
    whole = vocabulary.Vocabulary.build(words)
    counts = ngram_counts.NGramCounts.of(
      whole.encode(words[:cut]), whole.size, order=4
    )
    unseen = [counts.unseen(whole.encode(words[cut:]), n) for n in range(1, 5)]
    np.testing.assert_allclose(unseen, (0.082, 0.513, 0.869, 0.973), atol=6e-4)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"pseudo_count": -1.0}, "a pseudo-count is -1.0"),
    ({"pseudo_count": math.inf}, "a pseudo-count is inf"),
    ({"order": 0}, "order is 0"),
    ({"order": 9}, "order is 9 and the text has 8 symbols"),
  ],
)
def test_bad_settings_are_named(change, message):
  with pytest.raises(errors.UserError, match=message):
    fit(np.zeros(8, int), 2, **{"order": 2, **change})


def test_ids_of_another_vocabulary_are_refused():
  counts = ngram_counts.NGramCounts.of(np.arange(5), 5, order=2)
  with pytest.raises(errors.UserError, match="given the id 9"):
    Laplace(counts, (1.0,)).nats(np.array([9]))
