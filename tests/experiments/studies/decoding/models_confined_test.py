import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.decoding import models
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.sampling import beam, text

# Symbols by their letters; the last two are between words.
LETTERS = "abc -"
WORDS = ("a", "ab", "bca", "ab")
BIGRAM = networks.SequenceModel(
  apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
  initial_carry=lambda batch: (),
  init=lambda key: jax.random.normal(key, (6, 5)),
  vocabulary_size=5,
)
PARAMS = BIGRAM.init(jax.random.key(0))


def ids(letters):
  return [LETTERS.index(letter) for letter in letters]


def spelling(model=BIGRAM, params=PARAMS):
  return models.confined(model, params, map(ids, WORDS), ids(" -"))


def is_legal(letters):
  """Whole words of the list, and at the end the beginning of one."""
  *whole, last = re.split("[ -]", letters)
  return all(word in ("", *WORDS) for word in whole) and any(
    word.startswith(last) for word in WORDS
  )


def logits_of(predictor, params, rows):
  """After each symbol of rows [B, T] read at once, [B, T, V]."""
  inputs = jnp.asarray(rows).T
  carry = predictor.initial_carry(inputs.shape[1])
  _, logits = jax.jit(predictor.apply)(params, carry, inputs, inputs < -1)
  return np.asarray(logits, np.float64).transpose(1, 0, 2)


def test_only_words_of_the_list_have_a_probability_and_it_sums_to_one():
  predictor, params = spelling()
  every = np.array(list(itertools.product(range(5), repeat=4)))
  read = np.insert(every[:, :-1], 0, -1, axis=1)
  shares = jax.nn.softmax(logits_of(predictor, params, read))
  chances = np.take_along_axis(
    np.asarray(shares), every[..., None], axis=-1
  ).prod(axis=(1, 2))
  legal = [is_legal("".join(LETTERS[i] for i in row)) for row in every]
  np.testing.assert_array_equal(chances > 0, legal)
  assert 20 < sum(legal) < 300
  assert chances.sum() == pytest.approx(1, abs=1e-5)


def test_what_is_allowed_keeps_its_ratios():
  predictor, params = spelling()
  read = [-1, *ids("ab-b")]
  [free] = logits_of(BIGRAM, PARAMS, [read])
  [held] = logits_of(predictor, params, [read])
  for row, allowed in enumerate(("ab -", "b -", " -", "ab -", "c")):
    expected = np.full(5, -np.inf)
    expected[ids(allowed)] = free[row, ids(allowed)]
    np.testing.assert_allclose(held[row], expected, atol=1e-6)


def test_a_drawn_text_is_of_words_in_the_list():
  predictor, params = spelling()
  drawn = text.sample(predictor, params, jax.random.key(1), length=60, batch=20)
  rows = ["".join(LETTERS[i] for i in row) for row in drawn.T]
  assert all(map(is_legal, rows))
  actual = {word for row in rows for word in re.split("[ -]", row)[:-1]}
  assert actual == {"", *WORDS}
  free = text.sample(BIGRAM, PARAMS, jax.random.key(1), length=60, batch=20)
  assert not any(is_legal("".join(LETTERS[i] for i in row)) for row in free.T)


def test_a_word_astray_has_to_end_at_once():
  predictor, params = spelling()
  rows = [ids(prime) for prime in ("bcc", "baa", "cab", "cc ")]
  held = logits_of(predictor, params, rows)[:, -1] > -np.inf
  for row in held[:3]:
    assert np.flatnonzero(row).tolist() == ids(" -")
  # After the end it is as if nothing had been.
  assert np.flatnonzero(held[3]).tolist() == ids("ab -")


def test_a_reset_and_the_null_vector_begin_between_words():
  predictor, params = spelling()
  column = jnp.array(ids("bcb"))[:, None]
  reset = jnp.array([False, False, True])[:, None]
  _, logits = predictor.apply(params, predictor.initial_carry(1), column, reset)
  assert np.flatnonzero(logits[-1, 0] > -np.inf).tolist() == ids("c")
  [held] = logits_of(predictor, params, [[*ids("bc"), -1]])
  assert np.flatnonzero(held[-1] > -np.inf).tolist() == ids("ab -")


def test_a_network_keeps_its_state_and_a_beam_finds_the_best_words():
  network = networks.LanguageModel(
    5, recurrent.StackOptions(features=(4,))
  ).as_model()
  random = np.random.default_rng(2)
  weights = jax.tree.map(
    lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32),
    jax.eval_shape(network.init, jax.random.key(0)),
  )
  predictor, params = spelling(network, weights)
  settings = {"length": 4, "end": ids(" ")[0], "prime": ids("a-")}
  truth = beam.exhaustive(predictor, params, **settings)
  actual = beam.search(predictor, params, width=5**3, **settings)
  assert actual[0].symbols == truth[0].symbols
  assert actual[0].score == pytest.approx(truth[0].score, abs=1e-5)
  legal = ["".join(LETTERS[i] for i in one.symbols) for one in actual]
  assert all(map(is_legal, legal))
  # Step by step is all at once.
  read = [-1, *ids("bca-ab")]
  [whole] = logits_of(predictor, params, [read])
  apply, carry, rows = jax.jit(predictor.apply), predictor.initial_carry(1), []
  for symbol in read:
    column = jnp.array([[symbol]])
    carry, logits = apply(params, carry, column, column < -1)
    rows.append(np.asarray(logits)[0, 0])
  np.testing.assert_allclose(rows, whole, atol=1e-5)
