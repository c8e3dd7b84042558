"""Continuations: additive, causal, and what a slow reading gives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.common import cleaning, continuations, ngram_counts
from experiments.studies.ngram import smoothing
from seqmodels import errors
from seqmodels.data.text import corpora, vocabulary
from seqmodels.models import networks, ngram

PREFIX, FIRST, SECOND = [0, 3, 1], [2, 2], [4, 0, 1]


@pytest.fixture(params=["elman", "kneser-ney", "backing off", "pseudo-counts"])
def ask(request, elman, params):
  """`ask(prefix, several)` of a network, or of each kind of n-gram."""
  if request.param == "elman":
    return lambda prefix, several: continuations.by_network(
      elman, params, prefix, several
    )
  tokens = np.random.default_rng(0).integers(0, 5, 200)
  model = {
    "kneser-ney": lambda: ngram.NGram.fit(tokens, 5, order=3),
    "backing off": lambda: smoothing.BackoffNGram.of(
      ngram.NGram.fit(tokens, 5, order=3)
    ),
    "pseudo-counts": lambda: ngram_counts.LaplaceNGram(
      ngram_counts.NGramCounts.of(tokens, 5, order=3), (1.0,) * 3
    ),
  }[request.param]()
  return lambda prefix, several: continuations.by_counts(model, prefix, several)


def test_scores_add_up(ask):
  [whole] = ask(PREFIX, [FIRST + SECOND])
  [first] = ask(PREFIX, [FIRST])
  [second] = ask(PREFIX + FIRST, [SECOND])
  assert whole.total == pytest.approx(first.total + second.total, rel=1e-5)
  np.testing.assert_allclose(
    whole.log_probabilities,
    np.concatenate([first.log_probabilities, second.log_probabilities]),
    rtol=1e-5,
  )


def test_neighbours_and_their_lengths_change_nothing(ask):
  together = ask(PREFIX, [FIRST, SECOND, [1]])
  for ids, actual in zip([FIRST, SECOND, [1]], together, strict=True):
    [alone] = ask(PREFIX, [ids])
    assert len(actual.log_probabilities) == len(ids)
    np.testing.assert_allclose(
      actual.log_probabilities, alone.log_probabilities, rtol=1e-5
    )


def test_all_continuations_of_a_length_together_have_probability_one(ask):
  every = [[a, b] for a in range(5) for b in range(5)]
  total = sum(math.exp(one.total) for one in ask(PREFIX, every))
  assert total == pytest.approx(1, rel=1e-5)


def test_an_empty_prefix_begins_the_text(ask):
  every = [[a] for a in range(5)]
  total = sum(math.exp(one.total) for one in ask([], every))
  assert total == pytest.approx(1, rel=1e-5)


def test_a_network_is_read_as_evaluation_reads_it(elman, params, numpy_elman):
  """The slow one takes one symbol after the other, in float64."""
  slow, nats = numpy_elman(params), []
  text = PREFIX + SECOND
  for before, symbol in zip([-1, *text], text, strict=False):
    one = np.array([[1]])
    total, *_ = slow.segment(
      before * one, symbol * one, one > 0, np.zeros((1, 1), bool)
    )
    nats.append(total)
  [actual] = continuations.by_network(elman, params, PREFIX, [SECOND])
  np.testing.assert_allclose(
    -actual.log_probabilities, nats[len(PREFIX) :], rtol=1e-5
  )
  assert actual.perplexity == pytest.approx(
    math.exp(np.mean(nats[len(PREFIX) :])), rel=1e-5
  )


def _fixed(logits):
  """A network that says the same of every symbol."""
  row = jnp.array(logits, jnp.float32)
  return networks.SequenceModel(
    apply=lambda params, carry, inputs, reset: (
      carry,
      jnp.broadcast_to(row, (*inputs.shape, len(logits))),
    ),
    initial_carry=lambda batch: (),
    init=lambda key: (),
    vocabulary_size=len(logits),
  )


def test_best_worst_and_uniform():
  sure = _fixed([0.0, -jnp.inf, -jnp.inf])
  best, worst = continuations.by_network(sure, (), [0], [[0, 0], [0, 1]])
  assert best.perplexity == 1.0
  assert worst.perplexity == math.inf
  assert worst.total == -math.inf
  assert not np.isnan(worst.log_probabilities).any()
  [even] = continuations.by_network(_fixed([0.0] * 7), (), [], [[1, 2, 3]])
  assert even.perplexity == pytest.approx(7, rel=1e-6)
  np.testing.assert_allclose(even.bits, math.log2(7), rtol=1e-6)


def test_one_dispatch_scores_them_all(elman, params):
  text = jnp.arange(3)
  continuations.by_network(elman, params, text, [[1], [2, 3]])
  with jax.log_compiles(False), jax.no_tracing():
    continuations.by_network(elman, params, text, [[4], [0, 1]])


@pytest.mark.parametrize("bad", [[], [[]], [[1], []]])
def test_nothing_to_score_is_refused(ask, bad):
  with pytest.raises(errors.UserError, match="0 symbols"):
    ask(PREFIX, bad)


@pytest.mark.parametrize("bad", [9, -2])
def test_ids_of_another_vocabulary_are_refused(ask, bad):
  with pytest.raises(errors.UserError, match=f"the id {bad}"):
    ask(PREFIX, [[1, bad]])
  with pytest.raises(errors.UserError, match=f"the id {bad}"):
    ask([bad], [[1]])


def test_it_is_raining_on_the_time_machine(real_data):
  """Long contexts rank the three as anyone would; none or one does not."""
  corpus = corpora.load_time_machine(real_data, downloads=False)
  text = cleaning.letters(corpus.parts["whole"].tobytes().decode("ascii"))
  symbols = vocabulary.Vocabulary.build(text)
  counts = ngram_counts.NGramCounts.of(symbols.encode(text), 28, order=6)
  texts = ("outside", "banana tree", "piouw;kcj pwepoiut")
  prefix = symbols.encode("it is raining ").tolist()
  several = [symbols.encode(cleaning.letters(x)).tolist() for x in texts]
  expected = {
    1: (19.2, 15.6, 36.0),
    2: (16.6, 14.3, 150.0),
    3: (16.2, 25.4, 517.0),
    4: (5.1, 28.9, 750.0),
    6: (3.9, 27.5, 830.0),
  }
  for order, perplexities in expected.items():
    model = ngram_counts.LaplaceNGram(counts, (5.0,) * order)
    actual = continuations.by_counts(model, prefix, several)
    np.testing.assert_allclose(
      [one.perplexity for one in actual], perplexities, rtol=0.015
    )
    ranks = np.argsort([one.perplexity for one in actual]).tolist()
    assert ranks == ([0, 1, 2] if order > 2 else [1, 0, 2])
    totals = [-one.total for one in actual]
    assert np.argsort(totals).tolist() == [0, 1, 2]
