"""Lines side by side against the same, one at a time."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import alphabet, batching
from seqmodels.data.handwriting.strokes import PenLines


def made(lengths, texts=None):
  random = np.random.default_rng(len(lengths))
  arrays = [random.normal(size=(n, 3)).astype(np.float32) for n in lengths]
  names = [f"line-{i}" for i in range(len(lengths))]
  return PenLines.of(arrays, names, texts or [""] * len(lengths))


@hypothesis.given(
  st.lists(st.integers(1, 5), min_size=1, max_size=4),
  st.integers(0, 2),
  st.data(),
)
def test_a_column_is_a_line_from_the_null_vector_then_nothing(
  lengths, more, data
):
  texts = [data.draw(st.text("abc", min_size=1, max_size=4)) for _ in lengths]
  lines = made(lengths, texts)
  numbers = st.integers(-1, len(lengths) - 1)
  rows = np.array(data.draw(st.lists(numbers, min_size=4, max_size=4)))
  rows = rows.reshape(2, 2)
  steps = max(lengths) + more
  ids = batching.encoded(lines, alphabet.GRAVES)
  actual = batching.assembled(lines, ids, rows, steps)
  assert actual.inputs.dtype == actual.targets.dtype == np.float32
  for k, b in np.ndindex(2, 2):
    line, text = np.zeros((0, 3), np.float32), []
    if rows[k, b] >= 0:
      line = lines.line(rows[k, b])
      text = alphabet.GRAVES.encode(texts[rows[k, b]]).tolist()
    rest = np.zeros((steps - len(line), 3))
    np.testing.assert_array_equal(
      actual.targets[k, :, b], np.concatenate([line, rest])
    )
    np.testing.assert_array_equal(
      actual.inputs[k, :, b],
      np.concatenate([np.zeros((1, 3)), line[:-1], rest])[:steps],
    )
    np.testing.assert_array_equal(
      actual.mask[k, :, b], np.arange(steps) < len(line)
    )
    width = max(map(len, texts))
    assert actual.text[k, :, b].tolist() == text + [-1] * (width - len(text))
  assert actual.text.dtype == np.int32


def test_without_an_alphabet_there_is_no_text():
  assert batching.encoded(made([1, 2]), None).shape == (2, 0)


@pytest.mark.parametrize(
  ("texts", "message"),
  [
    (["a", ""], "line line-1 has no transcript"),
    (["a", "b\xfc"], "line line-1: the text has '\xfc' at position 1"),
  ],
)
def test_a_text_that_has_no_ids_is_refused_with_its_line(texts, message):
  with pytest.raises(errors.UserError, match=message):
    batching.encoded(made([1, 1], texts), alphabet.GRAVES)
