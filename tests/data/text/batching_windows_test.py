"""Random sampling: what a window is, how often each is drawn."""

import collections
import fractions

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import batching

Windows = batching.RandomWindows


def epoch_of(stream, epoch=0):
  count = stream.segments_per_epoch
  return stream.segments(epoch * count, count)


sizes = st.integers(1, 6).flatmap(
  lambda length: st.tuples(
    st.just(length),
    st.integers(1, 4),
    st.integers(0, 60),
  )
)


@hypothesis.given(sizes, st.integers(0, 5), st.integers())
def test_windows_are_runs_of_the_text_that_do_not_overlap(size, epoch, seed):
  length, batch, more = size
  total = (batch + 1) * length + more
  stream = Windows(np.arange(total), batch=batch, length=length, seed=seed)
  segments = epoch_of(stream, epoch)
  np.testing.assert_array_equal(segments.targets, segments.inputs + 1)
  assert np.all(np.diff(segments.targets, axis=1) == 1)
  assert len(np.unique(segments.targets)) == segments.targets.size
  assert segments.targets.size == stream.segments_per_epoch * batch * length
  assert segments.targets.max() < total
  assert segments.inputs.min() >= 0


def test_every_segment_resets_at_its_first_step_only():
  segments = epoch_of(Windows(np.arange(50), batch=2, length=5))
  assert segments.reset[:, 0].all()
  assert not segments.reset[:, 1:].any()
  assert segments.mask.all()


def test_the_textbooks_example_gives_three_minibatches_for_every_offset():
  seen = set()
  for seed in range(40):
    stream = Windows(np.arange(35), batch=2, length=5, seed=seed)
    assert stream.segments_per_epoch == 3
    seen.add(int(epoch_of(stream).inputs[:, 0].min()))
  assert seen == {0, 1, 2, 3, 4}


def test_ten_thousand_characters_give_eight_minibatches():
  stream = Windows(np.zeros(10_000, np.uint8), batch=32, length=35)
  assert stream.segments_per_epoch == 8


def test_each_window_of_the_textbooks_example_is_drawn_equally_often():
  # Exactly 1/5 for the starts 0 to 29, none later; 2,000 epochs.
  epochs, chance = 2000, fractions.Fraction(1, 5)
  stream = Windows(np.arange(35), batch=2, length=5, seed=7)
  starts = collections.Counter(
    stream.segments(0, 3 * epochs).inputs[:, 0].ravel().tolist()
  )
  assert sorted(starts) == list(range(30))
  deviation = float(epochs * chance * (1 - chance)) ** 0.5
  for start, count in starts.items():
    assert abs(count - epochs * chance) < 5 * deviation, start


def test_the_order_differs_between_epochs_and_seeds():
  def order(seed, epoch):
    stream = Windows(np.arange(500), batch=4, length=5, seed=seed)
    return tuple(epoch_of(stream, epoch).targets[:, 0].ravel())

  assert len({order(s, e) for s in (-3, 0, 1) for e in range(3)}) == 9


@hypothesis.given(st.permutations(range(12)))
def test_a_segment_depends_on_its_step_alone(order):
  def build():
    return Windows(np.arange(70), batch=3, length=4, seed=5)

  in_order = [build().segment(step) for step in range(12)]
  stream = build()
  for step in order:
    for a, b in zip(stream.segment(step), in_order[step], strict=True):
      np.testing.assert_array_equal(a, b)
  stacked = stream.segments(2, 9)
  for i in range(9):
    for a, b in zip(stacked, in_order[2 + i], strict=True):
      np.testing.assert_array_equal(a[i], b)


def test_segments_look_like_those_of_a_stream():
  tokens = np.arange(60).astype(np.uint8)
  actual = Windows(tokens, batch=2, length=5).segment(0)
  like = batching.SequentialStream(tokens, batch=2, length=5).segment(0)
  for a, b in zip(actual, like, strict=True):
    assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_a_text_without_one_full_batch_is_refused_with_the_lengths():
  message = "14 symbols and random sampling of 2 windows of 5 needs 15"
  with pytest.raises(errors.UserError, match=message):
    Windows(np.arange(14), batch=2, length=5)
  assert Windows(np.arange(15), batch=2, length=5).segments_per_epoch == 1


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (0, 0)])
def test_segments_that_cannot_be_are_refused(start, count):
  with pytest.raises(errors.UserError, match="segments"):
    Windows(np.arange(30), batch=1, length=2).segments(start, count)
