"""Lines of like length as batches: all of them, alike for every dispatch."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import alphabet, batching
from seqmodels.data.handwriting.strokes import PenLines

PenBatches = batching.PenBatches


def made(lengths):
  """Lines whose points say which line they are of."""
  arrays = [np.full((n, 3), i + 1.0) for i, n in enumerate(lengths)]
  return PenLines.of(arrays, list(map(str, lengths)), ["a b"] * len(lengths))


def numbers(segments):
  """The lines of segments [K, T, B], by what their points say."""
  return (segments.targets[:, 0, :, 0].astype(int) - 1).tolist()


@pytest.fixture(scope="module")
def many():
  random = np.random.default_rng(5)
  return made(random.gamma(6, 4, 500).astype(int) + 1)


@hypothesis.given(
  st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.data()
)
def test_an_epoch_holds_every_line_once_but_for_leftovers(
  batch, dispatch, epoch, data
):
  sizes = st.lists(st.integers(1, 9), min_size=batch, max_size=23)
  lines = made(data.draw(sizes))
  stream = PenBatches(lines, batch=batch, dispatch=dispatch, multiple=2)
  count = stream.segments_per_epoch
  assert count == len(lines) // batch
  actual = stream.segments(epoch * count, count)
  chosen = np.ravel(numbers(actual))
  assert len(set(chosen.tolist())) == count * batch
  np.testing.assert_array_equal(
    actual.mask.sum(axis=1).ravel(), lines.lengths[chosen]
  )


@hypothesis.given(st.integers(0, 200), st.integers(1, 7))
def test_a_step_is_the_same_however_it_is_asked_for(many, start, count):
  stream = PenBatches(many, batch=12, dispatch=4, alphabet=alphabet.GRAVES)
  actual = stream.segments(start, count)
  for k in range(count):
    one = stream.segment(start + k)
    steps = one.mask.shape[0]
    assert steps <= actual.mask.shape[1]
    np.testing.assert_array_equal(one.inputs, actual.inputs[k, :steps])
    np.testing.assert_array_equal(one.targets, actual.targets[k, :steps])
    np.testing.assert_array_equal(one.mask, actual.mask[k, :steps])
    np.testing.assert_array_equal(one.text, actual.text[k])
    assert not actual.mask[k, steps:].any()


def test_epochs_are_drawn_anew_and_repeat_with_the_seed(many):
  def epoch(seed, number):
    stream = PenBatches(many, batch=10, seed=seed)
    return numbers(stream.segments(50 * number, 50))

  assert epoch(1, 0) == epoch(1, 0)
  assert epoch(1, 0) != epoch(2, 0)
  # Other companions and another order, not only other leftovers.
  batches = [set(map(frozenset, epoch(1, number))) for number in range(3)]
  assert not batches[0] & batches[1]
  assert not batches[1] & batches[2]
  first = [many.lengths[batch[0]] for batch in epoch(1, 0)]
  assert abs(np.corrcoef(first, np.arange(50))[0, 1]) < 0.5


@pytest.mark.parametrize(
  ("batch", "dispatch"), [(4, 1), (4, 3), (8, 4), (3, 7)]
)
def test_dispatches_pad_little_also_at_the_turn_of_epochs(
  many, batch, dispatch
):
  stream = PenBatches(many, batch=batch, dispatch=dispatch, multiple=1)
  whole = 6 * stream.segments_per_epoch // dispatch
  dispatches = [
    stream.segments(k * dispatch, dispatch).mask for k in range(whole)
  ]
  shapes = {mask.shape[1] for mask in dispatches}
  assert shapes <= set(stream.batches.padded.tolist())
  assert len(stream.batches.padded) <= 24
  padding = 1 - sum(m.sum() for m in dispatches) / sum(
    m.size for m in dispatches
  )
  # A shuffled batch of 4 would be padded by about 40%.
  assert padding < 0.12, padding


def test_padded_lengths_are_multiples_and_no_more_than_asked_for(many):
  stream = PenBatches(many, batch=5, multiple=16, shapes=3)
  assert len(stream.batches.padded) <= 3
  assert all(length % 16 == 0 for length in stream.batches.padded)
  actual = {stream.segment(step).mask.shape[0] for step in range(100)}
  assert actual <= set(stream.batches.padded.tolist())


@hypothesis.given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 5))
def test_evaluation_sees_every_line_once_from_short_to_long(sizes, batch):
  lines = made(sizes)
  seen = []
  for indices, actual in batching.evaluation(lines, alphabet.GRAVES, batch, 2):
    assert actual.mask.shape[1] == batch
    assert actual.mask.shape[0] % 2 == 0
    count = actual.mask.sum(axis=0)
    np.testing.assert_array_equal(count[: len(indices)], lines.lengths[indices])
    assert not count[len(indices) :].any()
    assert (actual.text[:, len(indices) :] == batching.NO_TEXT).all()
    np.testing.assert_array_equal(
      actual.targets[0, : len(indices), 0], indices + 1
    )
    seen += indices.tolist()
  assert sorted(seen) == list(range(len(lines)))
  assert np.all(np.diff(lines.lengths[seen]) >= 0)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"batch": 0}, "batch is 0"),
    ({"batch": 4}, "there are 3 lines and a batch takes 4"),
    ({"batch": 1, "multiple": 0}, "multiple is 0"),
    ({"batch": 1, "shapes": 0}, "shapes is 0"),
    ({"batch": 1, "dispatch": 0}, "dispatch is 0"),
  ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
  with pytest.raises(errors.UserError, match=message):
    PenBatches(made([1, 2, 3]), **settings)


def test_a_line_without_a_transcript_is_refused_at_once():
  lines = PenLines.of([np.ones((1, 3))], ["a01-01"], [""])
  with pytest.raises(errors.UserError, match="a01-01 has no transcript"):
    PenBatches(lines, batch=1, alphabet=alphabet.GRAVES)
  assert PenBatches(lines, batch=1).segment(0).text.shape == (0, 1)
  with pytest.raises(errors.UserError, match=r"segments\(-1, 1\)"):
    PenBatches(lines, batch=1).segments(-1, 1)
