"""Coding and decoding blocks."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from seqmodels import errors
from seqmodels.compression import codec, settings

TEXT = b"the cat sat on the mat, and the dog sat on the cat; " * 20


def code(model, chosen, data):
  shared, codes = model.init(), []
  for block in settings.blocks(chosen, len(data)):
    piece = data[block.begin : block.begin + block.size]
    actual, shared = codec.encode(model, shared, block, piece)
    codes.append(actual)
  return codes


def decode(model, chosen, size, codes):
  shared, pieces = model.init(), [np.empty(0, np.uint8)]
  for block, actual in zip(settings.blocks(chosen, size), codes, strict=True):
    piece, shared = codec.decode(model, shared, block, actual)
    pieces.append(piece)
  return np.concatenate(pieces)


def as_bytes(data):
  return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize(
  "changes",
  [
    {},
    pytest.param({"streams": 1}, marks=pytest.mark.slow),
    pytest.param({"layers": ()}, marks=pytest.mark.slow),
    pytest.param({"contexts": ()}, marks=pytest.mark.slow),
    {"contexts": (), "match": 0},
    pytest.param({"learning_rate": 0.0}, marks=pytest.mark.slow),
    pytest.param(
      {"replay_every": 1, "replay_length": 16, "replay_windows": 2},
      marks=pytest.mark.slow,
    ),
    pytest.param({"dtype": "bfloat16", "streams": 1}, marks=pytest.mark.slow),
    {"cell": "gru", "layers": (4, 4)},
  ],
  ids=str,
)
def test_text_comes_back_and_grows_cheaper(small, models, changes):
  chosen = small(block=256, **changes)
  data = as_bytes(TEXT)
  model = models(chosen, len(data))
  codes = code(model, chosen, data)
  np.testing.assert_array_equal(decode(model, chosen, len(data), codes), data)
  if changes.get("learning_rate", 1.0) or chosen.contexts:
    assert len(codes[-2]) < len(codes[0])


@hypothesis.settings(
  deadline=None,
  max_examples=25,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(st.binary(max_size=300))
def test_any_bytes_come_back(small, models, data):
  chosen = small()
  # One model for all sizes: the size only sets the pace of learning.
  model = models(chosen, 300)
  data = as_bytes(data)
  codes = code(model, chosen, data)
  np.testing.assert_array_equal(decode(model, chosen, len(data), codes), data)


def test_the_code_is_as_long_as_the_account_says(small, models):
  chosen = small(block=len(TEXT))
  data = as_bytes(TEXT)
  model = models(chosen, len(data))
  (block,) = settings.blocks(chosen, len(data))
  actual, shared = codec.encode(model, model.init(), block, data)
  ideal = float(shared.account.mixed) / np.log(2) / 8
  # Frequencies are whole numbers, and the code ends on a whole word.
  assert ideal - 1 < len(actual) < 1.001 * ideal + 8


def test_watching_may_stop_the_work(small, models):
  chosen = small(block=1024)
  data = as_bytes(TEXT)[:1024]
  (block,) = settings.blocks(chosen, 1024)

  def watch(done):
    raise KeyboardInterrupt(done)

  model = models(chosen, 1024)
  with pytest.raises(KeyboardInterrupt):
    codec.encode(model, model.init(), block, data, watch=watch)


def test_a_code_cut_short_is_an_error_or_other_bytes_in_bounded_time(
  small, models
):
  chosen = small(block=len(TEXT))
  data = as_bytes(TEXT)
  model = models(chosen, len(data))
  (block,) = settings.blocks(chosen, len(data))
  actual, _ = codec.encode(model, model.init(), block, data)
  for length in (0, 4, len(actual) // 8 * 4):
    try:
      wrong, _ = codec.decode(model, model.init(), block, actual[:length])
    except errors.UserError:
      continue
    assert not np.array_equal(wrong, data)
