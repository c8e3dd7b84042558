"""Stretches of lines against the lines themselves."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import alphabet, batching, strokes

LENGTHS = (3, 11, 4, 5, 9, 8, 2, 7, 12)


@pytest.fixture(scope="module")
def lines():
  random = np.random.default_rng(0)
  arrays = [random.normal(size=(length, 3)) for length in LENGTHS]
  names = [f"line-{index}" for index in range(len(arrays))]
  return strokes.PenLines.of(arrays, names, ["ab", "c", "d"] * 3)


def walk(chunks, first, last):
  """Every step of some steps, one row at a time, as whole lines again."""
  actual, rows = [], [None] * chunks.batch
  for step in range(first, last):
    segment = chunks.segment(step)
    for row in range(chunks.batch):
      if segment.reset[0, row]:
        if rows[row] is not None:
          actual.append(np.concatenate(rows[row]))
        rows[row] = []
      assert not segment.reset[1:, row].any()
      inside = segment.mask[:, row]
      rows[row].append(segment.targets[inside, row])
  return actual + [np.concatenate(row) for row in rows]


def enough(chunks):
  """Steps in which two epochs have begun and ended."""
  return 2 * chunks.segments_per_epoch + max(LENGTHS)


@pytest.mark.parametrize("length", [1, 4, 5, 20])
@pytest.mark.parametrize("batch", [1, 2, 9])
def test_every_line_is_read_whole_once_an_epoch(lines, length, batch):
  chunks = batching.PenChunks(lines, batch=batch, length=length, seed=3)
  known = [lines.line(number).tobytes() for number in range(len(lines))]
  actual = [line.tobytes() for line in walk(chunks, 0, enough(chunks))]
  whole = [known.index(line) for line in actual if line in known]
  counts = np.bincount(whole, minlength=len(lines))
  # What had begun when the walk ended is in pieces.
  assert len(actual) - len(whole) <= batch
  assert counts.min() >= 2
  assert counts.max() - counts.min() <= 1 + (batch > 1)


def test_lines_begin_in_the_order_drawn_and_every_row_is_busy(lines):
  chunks = batching.PenChunks(lines, batch=2, length=4, seed=1)
  orders = [
    np.random.default_rng((1, epoch)).permutation(len(lines))
    for epoch in range(2)
  ]
  begun, scored = [], 0
  for step in range(chunks.segments_per_epoch):
    numbers, first = chunks.places(step)
    assert (first < lines.lengths[numbers]).all()
    begun += numbers[first == 0].tolist()
    scored += int(chunks.segment(step).mask.sum())
  assert begun == np.concatenate(orders)[: len(begun)].tolist()
  assert chunks.segments_per_epoch == -(-sum(-(-n // 4) for n in LENGTHS) // 2)
  assert abs(scored - len(lines.points)) < 2 * max(LENGTHS)


def test_rows_go_on_independently(lines):
  chunks = batching.PenChunks(lines, batch=3, length=2, seed=1)
  starts = {
    tuple(chunks.places(step)[1]) for step in range(chunks.segments_per_epoch)
  }
  assert any(len(set(firsts)) > 1 for firsts in starts)


def test_the_input_is_the_point_before_across_stretches(lines):
  chunks = batching.PenChunks(lines, batch=1, length=4, seed=2)
  before = np.zeros((1, 3), np.float32)
  for step in range(chunks.segments_per_epoch):
    segment = chunks.segment(step)
    if segment.reset[0, 0]:
      before = np.zeros((1, 3), np.float32)
    for place in np.flatnonzero(segment.mask[:, 0]):
      np.testing.assert_array_equal(segment.inputs[place], before)
      before = segment.targets[place]


def test_the_text_is_the_lines_own(lines):
  chunks = batching.PenChunks(
    lines, batch=2, length=4, alphabet=alphabet.GRAVES
  )
  for step in range(chunks.segments_per_epoch):
    segment = chunks.segment(step)
    chosen, _ = chunks.places(step)
    for row, number in enumerate(chosen):
      ids = segment.text[:, row]
      text = alphabet.GRAVES.decode(ids[ids >= 0])
      assert text == lines.texts[number]


def test_segments_are_pure_in_seed_and_step(lines):
  one = batching.PenChunks(lines, batch=2, length=4, seed=5)
  two = batching.PenChunks(lines, batch=2, length=4, seed=5)
  far = two.segments(30, 3)  # before anything else was asked for
  together = one.segments(28, 5)
  for a, b in zip(far, together, strict=True):
    np.testing.assert_array_equal(a, b[2:])
  other = batching.PenChunks(lines, batch=2, length=4, seed=6)
  assert not np.array_equal(other.segments(28, 5).targets, together.targets)


def test_bad_sizes_are_refused(lines):
  with pytest.raises(errors.UserError, match="0 points; it must have"):
    batching.PenChunks(lines, batch=2, length=0)
  with pytest.raises(errors.UserError, match="a batch takes 20"):
    batching.PenChunks(lines, batch=20, length=4)
  with pytest.raises(errors.UserError, match="start must be at least 0"):
    batching.PenChunks(lines, batch=2, length=4).segments(-1, 1)
