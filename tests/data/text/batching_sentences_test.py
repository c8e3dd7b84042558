"""Whole sentences: all of them, from the null vector, one order a seed."""

import collections

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import batching

Sentences = batching.Sentences


def written_out(lines):
  return np.array([id for line in lines for id in [*line, 0]])


def read_back(segments):
  """The sentences of an epoch, each without its padding."""
  actual = []
  for k in range(segments.mask.shape[0]):
    for b in range(segments.mask.shape[2]):
      scored = segments.mask[k, :, b]
      actual.append(tuple(segments.targets[k, scored, b].tolist()))
  return actual


@hypothesis.given(
  st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=12),
  st.integers(1, 4),
  st.integers(1, 5),
  st.integers(1, 5),
  st.integers(0, 3),
)
def test_an_epoch_holds_every_sentence_once(
  lines, batch, dispatch, multiple, seed
):
  batch = min(batch, len(lines))
  stream = Sentences(
    written_out(lines),
    batch=batch,
    end=0,
    dispatch=dispatch,
    multiple=multiple,
    seed=seed,
  )
  every = collections.Counter((*line, 0) for line in lines)
  for epoch in range(2):
    count = stream.segments_per_epoch
    actual = collections.Counter(
      read_back(stream.segments(epoch * count, count))
    )
    assert actual.total() == len(lines) // batch * batch
    assert actual <= every


@hypothesis.given(st.integers(1, 4), st.integers(0, 20))
def test_inputs_are_the_targets_one_step_later(multiple, start):
  text = written_out([[1, 2, 3], [4], [5, 6], [7, 8, 9, 1, 2]])
  stream = Sentences(text, batch=2, end=0, multiple=multiple)
  actual = stream.segment(start)
  assert (actual.inputs[0] == -1).all()
  inside = actual.mask[1:]
  np.testing.assert_array_equal(
    actual.inputs[1:][inside], actual.targets[:-1][inside]
  )
  assert (actual.inputs[1:][~inside] == -1).all()
  assert actual.reset[0].all()
  assert not actual.reset[1:].any()
  assert actual.mask.shape[0] % multiple == 0


def test_epochs_have_orders_of_their_own_and_repeat_with_the_seed():
  text = written_out([[n % 9 + 1] * (n % 5) for n in range(30)])

  def make(seed):
    return Sentences(text, batch=3, end=0, seed=seed)

  one, other = read_back(make(1).segments(0, 10)), make(1).segments(10, 10)
  assert one != read_back(other)
  assert sorted(one) == sorted(read_back(other))
  assert one == read_back(make(1).segments(0, 10))
  assert one != read_back(make(2).segments(0, 10))


@pytest.fixture(scope="module")
def treebank(real_data):
  """The training text by either tokenizer: its ids, and its sentences."""
  text = (real_data / "ptb" / "ptb.train.txt").read_text("ascii")
  lines = [line.strip() for line in text.splitlines()]
  symbols = {word: n + 1 for n, word in enumerate(sorted(set(text.split())))}
  actual = {
    "characters": [(*map(ord, line), 0) for line in lines],
    "words": [(*(symbols[x] for x in line.split()), 0) for line in lines],
  }
  return {name: (np.concatenate(x), x) for name, x in actual.items()}


@pytest.mark.parametrize("tokenizer", ["characters", "words"])
@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("dispatch", [8, 16])
def test_the_penn_treebank_is_padded_by_less_than_a_twentieth(
  treebank, tokenizer, batch, dispatch
):
  tokens, lines = treebank[tokenizer]
  stream = Sentences(tokens, batch=batch, end=0, dispatch=dispatch)
  computed, scored, shapes, left = 0, 0, set(), collections.Counter(lines)
  for start in range(0, stream.segments_per_epoch, dispatch):
    count = min(dispatch, stream.segments_per_epoch - start)
    actual = stream.segments(start, count)
    computed += actual.mask.size
    scored += int(actual.mask.sum())
    shapes.add(actual.mask.shape[1])
    left.subtract(read_back(actual))
  assert scored / computed > 0.95
  assert len(shapes) <= 24
  # The text itself, cut at its line ends: all of it but a batch's leftovers.
  assert min(left.values()) == 0
  assert left.total() == len(lines) % batch


def test_a_dispatch_of_the_treebank_says_nothing_of_the_next(treebank):
  """Lengths vary from one to the next as those of sentences at random do."""
  tokens, _ = treebank["characters"]
  stream = Sentences(tokens, batch=8, end=0, dispatch=16)
  means = np.array(
    [stream.segments(start, 16).mask.sum() for start in range(0, 5120, 16)]
  )
  follows = np.corrcoef(means[:-1], means[1:])[0, 1]
  assert abs(follows) < 0.2
  assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


def test_a_text_that_does_not_end_in_a_sentence_end_keeps_its_last_words():
  stream = Sentences(np.array([1, 0, 2, 3]), batch=1, end=0)
  assert sorted(read_back(stream.segments(0, 2))) == [(1, 0), (2, 3)]


def test_too_few_sentences_for_a_batch_are_refused():
  with pytest.raises(errors.UserError, match="has 2 sentences and a batch"):
    Sentences(written_out([[1], [2]]), batch=3, end=0)
