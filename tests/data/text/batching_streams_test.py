"""Streams against a slow reading of their definition, symbol by symbol."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import batching

Stream = batching.SequentialStream
FIELDS = batching.Segment._fields


def slow_epoch(tokens, *, batch, length, sentence_end=None, reset_every=None):
  """Segments of one epoch as lists of rows of (input, target, reset)."""
  tokens = [int(token) for token in tokens]
  row_length = -(-len(tokens) // batch)
  rows = [tokens[b * row_length :][:row_length] for b in range(batch)]
  steps = []
  for b, row in enumerate(rows):
    steps.append([])
    for place, target in enumerate(row):
      before = tokens[: b * row_length + place]
      starts = not before or before[-1] == sentence_end
      segment, t = divmod(place, length)
      new = place == 0 or (
        reset_every is not None and t == 0 and segment % reset_every == 0
      )
      steps[-1].append((-1 if starts else before[-1], target, starts or new))
  count = -(-row_length // length)
  return [
    [row[s * length : (s + 1) * length] for row in steps] for s in range(count)
  ]


def as_rows(segment):
  """A segment's scored steps, row by row, as `slow_epoch` lists them."""
  length, batch = segment.mask.shape
  rows = []
  for b in range(batch):
    scored = segment.mask[:, b]
    assert not np.any(np.diff(scored.astype(int)) > 0), "padding comes last"
    rows.append(
      [
        (
          int(segment.inputs[t, b]),
          int(segment.targets[t, b]),
          bool(segment.reset[t, b]),
        )
        for t in range(length)
        if scored[t]
      ]
    )
  return rows


def assert_same(one, other):
  for name, a, b in zip(FIELDS, one, other, strict=True):
    np.testing.assert_array_equal(a, b, err_msg=name)


shapes = {
  "tokens": st.lists(st.integers(0, 3), min_size=1, max_size=60),
  "batch": st.integers(1, 7),
  "length": st.integers(1, 9),
}


@hypothesis.given(
  sentence_end=st.none() | st.integers(0, 3),
  reset_every=st.none() | st.integers(1, 3),
  **shapes,
)
def test_three_epochs_equal_the_slow_reading(
  tokens, batch, length, sentence_end, reset_every
):
  options = {"sentence_end": sentence_end, "reset_every": reset_every}
  stream = Stream(
    np.array(tokens, np.uint8), batch=batch, length=length, **options
  )
  expected = slow_epoch(tokens, batch=batch, length=length, **options)
  assert stream.segments_per_epoch == len(expected)
  for step in range(3 * len(expected)):
    actual = as_rows(stream.segment(step))
    assert actual == expected[step % len(expected)], step


@hypothesis.given(random_offset=st.booleans(), seed=st.integers(), **shapes)
def test_each_symbol_is_a_target_once_an_epoch(
  tokens, batch, length, random_offset, seed
):
  # Positions as ids: what is counted is which place of the text was scored.
  stream = Stream(
    np.arange(len(tokens)),
    batch=batch,
    length=length,
    seed=seed,
    random_offset=random_offset,
  )
  count = stream.segments_per_epoch
  for epoch in range(3):
    whole = stream.segments(epoch * count, count)
    scored = np.sort(whole.targets[whole.mask])
    np.testing.assert_array_equal(scored, np.arange(len(tokens)))


@hypothesis.given(random_offset=st.booleans(), **shapes)
def test_each_input_is_the_symbol_before_its_target(
  tokens, batch, length, random_offset
):
  stream = Stream(
    np.arange(len(tokens)),
    batch=batch,
    length=length,
    random_offset=random_offset,
  )
  epoch = stream.segments(0, stream.segments_per_epoch)
  # The first symbol's input is the null vector, -1: one less as well.
  np.testing.assert_array_equal(
    epoch.inputs[epoch.mask], epoch.targets[epoch.mask] - 1
  )


def test_adjacent_segments_continue_each_other_in_every_row():
  stream = Stream(np.arange(103), batch=4, length=5)
  for step in range(stream.segments_per_epoch - 1):
    now, then = stream.segment(step), stream.segment(step + 1)
    both = then.mask[0]
    assert both.any()
    np.testing.assert_array_equal(then.inputs[0][both], now.targets[-1][both])
    assert not then.reset.any()


def test_only_the_first_segment_of_an_epoch_resets_and_it_resets_all_rows():
  stream = Stream(np.arange(40), batch=4, length=3)
  count = stream.segments_per_epoch
  resets = stream.segments(0, 3 * count).reset
  expected = np.zeros_like(resets)
  expected[::count, 0, :] = True
  np.testing.assert_array_equal(resets, expected)


def test_rows_after_the_first_begin_after_their_true_predecessor():
  first = Stream(np.arange(40), batch=4, length=3).segment(0)
  assert first.inputs[0].tolist() == [-1, 9, 19, 29]
  assert first.reset[0].all()


@hypothesis.given(
  random_offset=st.booleans(),
  order=st.permutations(range(12)),
  **shapes,
)
def test_a_segment_depends_on_its_step_alone(
  tokens, batch, length, random_offset, order
):
  def build():
    return Stream(
      np.array(tokens),
      batch=batch,
      length=length,
      seed=3,
      random_offset=random_offset,
    )

  in_order = [build().segment(step) for step in range(12)]
  stream = build()
  for step in order:
    assert_same(stream.segment(step), in_order[step])
  stacked = stream.segments(4, 7)
  for i in range(7):
    assert_same((field[i] for field in stacked), in_order[4 + i])


def test_sentence_mode_reads_each_line_from_the_null_vector():
  # By hand: lines "a b .", "c .", "." with "." = 9, one row.
  lines = [[1, 2, 9], [3, 9], [9]]
  tokens = np.array([token for line in lines for token in line])
  stream = Stream(tokens, batch=1, length=4, sentence_end=9)
  actual = [
    step
    for s in range(stream.segments_per_epoch)
    for step in as_rows(stream.segment(s))[0]
  ]
  expected = []
  for line in lines:
    for place, target in enumerate(line):
      before = -1 if place == 0 else line[place - 1]
      expected.append((before, target, place == 0))
  assert actual == expected


def test_sentence_mode_never_shows_the_end_of_the_line_before():
  stream = Stream(
    np.array([1, 0, 2, 0, 0, 3]), batch=2, length=2, sentence_end=0
  )
  epoch = stream.segments(0, stream.segments_per_epoch)
  assert not np.any(epoch.inputs == 0)
  assert np.sum(epoch.targets[epoch.mask] == 0) == 3


def test_a_random_offset_changes_from_epoch_to_epoch_and_with_the_seed():
  def first(seed, epoch):
    stream = Stream(
      np.arange(1000), batch=1, length=10, seed=seed, random_offset=True
    )
    step = epoch * stream.segments_per_epoch
    return int(stream.segment(step).targets[0, 0])

  assert len({first(0, epoch) for epoch in range(20)}) > 10
  assert len({first(seed, 0) for seed in (-1, 0, 1, 2, 3)}) > 2


def test_a_rotated_text_begins_anew_where_it_began():
  tokens = np.arange(10, 40)
  stream = Stream(tokens, batch=1, length=30, seed=1, random_offset=True)
  segment = stream.segment(0)
  at = int(np.flatnonzero(segment.targets[:, 0] == 10)[0])
  assert at > 0, "this seed rotates"
  assert segment.inputs[at, 0] == -1
  assert np.flatnonzero(segment.reset[:, 0]).tolist() == [0, at]


def test_padding_holds_null_inputs_and_ids_that_exist():
  stream = Stream(np.array([5, 6, 7], np.uint8), batch=2, length=4)
  segment = stream.segment(0)
  assert segment.mask.sum() == 3
  assert set(segment.inputs[~segment.mask]) == {-1}
  assert set(segment.targets[~segment.mask]) == {0}


def test_more_rows_than_symbols_leaves_rows_empty():
  segment = Stream(np.array([5, 6, 7]), batch=5, length=2).segment(0)
  assert segment.mask.sum(axis=0).tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_segments_are_int32_whatever_the_text_is_kept_in(dtype):
  segment = Stream(np.arange(9).astype(dtype), batch=2, length=3).segment(0)
  assert [field.dtype for field in segment] == [
    np.int32,
    np.int32,
    np.bool_,
    np.bool_,
  ]
  assert segment.inputs[0].tolist() == [-1, 4]


def test_a_mapped_file_is_read_a_segment_at_a_time(tmp_path):
  path = tmp_path / "sparse"
  with path.open("wb") as file:
    file.truncate(1 << 34)  # 16 GiB: in memory only a few pages of it
  tokens = np.memmap(path, np.uint8, mode="r")
  stream = Stream(tokens, batch=3, length=4)
  segment = stream.segment(stream.segments_per_epoch - 1)
  assert segment.targets.nbytes == 3 * 4 * 4


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"batch": 0}, "batch is 0"),
    ({"length": 0}, "length is 0"),
    ({"reset_every": 0}, "reset_every is 0"),
  ],
)
def test_bad_settings_are_refused(options, message):
  settings = {"batch": 2, "length": 3, **options}
  with pytest.raises(errors.UserError, match=message):
    Stream(np.arange(10), **settings)


def test_an_empty_text_is_refused():
  with pytest.raises(errors.UserError, match="0 symbols"):
    Stream(np.zeros(0, np.uint8), batch=1, length=1)


@pytest.mark.parametrize("tokens", [np.zeros((2, 2), int), np.zeros(3, float)])
def test_what_are_no_ids_is_a_programming_error(tokens):
  with pytest.raises(TypeError, match="integers"):
    Stream(tokens, batch=1, length=1)


def test_training_on_less_than_one_segment_is_refused_with_the_lengths():
  message = "19 symbols and one segment takes 20 .4 rows of 5.*smaller batch"
  with pytest.raises(errors.UserError, match=message):
    Stream(np.arange(19), batch=4, length=5, training=True)
  assert Stream(np.arange(20), batch=4, length=5, training=True)


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (0, 0)])
def test_segments_that_cannot_be_are_refused(start, count):
  with pytest.raises(errors.UserError, match="segments"):
    Stream(np.arange(9), batch=1, length=2).segments(start, count)
