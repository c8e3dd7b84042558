import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.evaluation import static


def _float64(numpy_elman, params, chunk):
  net = numpy_elman(params)
  return [net.segment(*piece)[:3] for piece in zip(*chunk, strict=True)]


def test_every_segment_equals_a_float64_loop(
  elman, params, numpy_elman, segments, tokens
):
  chunk = segments(tokens, 10)
  scores = static.score(elman, params, chunk)
  nats, counts, wrong = zip(*_float64(numpy_elman, params, chunk), strict=True)
  np.testing.assert_allclose(scores.metrics.nats, nats, rtol=1e-6)
  assert scores.metrics.count.tolist() == list(counts) == [10] * 10 + [3]
  assert scores.metrics.errors.tolist() == list(wrong)
  totals = static.evaluate(elman, params, chunk)
  assert totals.nats == scores.totals().nats
  assert scores.seconds > 0


@pytest.mark.parametrize("length", [1, 7, 10, 50, 103, 200])
def test_score_does_not_depend_on_the_segment_length(
  elman, params, segments, tokens, length
):
  totals = static.evaluate(elman, params, segments(tokens, length))
  whole = static.evaluate(elman, params, segments(tokens, 103))
  assert totals.count == whole.count == len(tokens)
  assert totals.errors == whole.errors
  assert totals.nats == pytest.approx(whole.nats, rel=1e-6)


@pytest.mark.parametrize("size", [1, 3, 11])
def test_score_does_not_depend_on_the_chunks(
  elman, params, segments, tokens, size
):
  whole = segments(tokens, 10)
  parts = (
    tuple(leaf[start : start + size] for leaf in whole)
    for start in range(0, 11, size)
  )
  actual = static.score(elman, params, parts)
  expected = static.score(elman, params, whole)
  np.testing.assert_allclose(
    actual.metrics.nats, expected.metrics.nats, rtol=1e-6
  )
  np.testing.assert_array_equal(actual.metrics.count, expected.metrics.count)
  np.testing.assert_array_equal(actual.metrics.errors, expected.metrics.errors)


def test_several_streams_count_every_symbol_and_lose_only_context(
  elman, params, numpy_elman, segments, tokens
):
  chunk = segments(tokens, 10, streams=4)
  totals = static.evaluate(elman, params, chunk, streams=4)
  expected = _float64(numpy_elman, params, chunk)
  assert totals.count == len(tokens)
  assert totals.nats == pytest.approx(sum(n for n, _, _ in expected), rel=1e-6)
  with pytest.raises(errors.UserError, match="4 streams"):
    static.evaluate(elman, params, chunk)


def test_every_stream_has_its_own_sum(elman, params, segments, tokens):
  whole = segments(tokens, 10, streams=4)
  parts = [tuple(leaf[at : at + 2] for leaf in whole) for at in (0, 2)]
  nats, counts = static.score(elman, params, parts, streams=4).by_stream
  for stream in range(4):
    alone = tuple(leaf[..., stream : stream + 1] for leaf in whole)
    expected = static.evaluate(elman, params, alone)
    assert counts[stream] == expected.count
    assert nats[stream] == pytest.approx(expected.nats, rel=1e-6)


def test_resets_clear_the_carry(elman, params, segments, tokens):
  one, other = segments(tokens[:20], 20), segments(tokens[20:50], 30)
  apart = static.evaluate(elman, params, one).merge(
    static.evaluate(elman, params, other)
  )
  joined = [
    np.concatenate(leaves, axis=1) for leaves in zip(one, other, strict=True)
  ]
  together = static.evaluate(elman, params, tuple(joined))
  assert together.count == apart.count == 50
  assert together.nats == pytest.approx(apart.nats, rel=1e-6)


def test_callback_sees_progress_and_may_stop(elman, params, segments, tokens):
  whole = segments(tokens, 10)
  parts = [tuple(leaf[i : i + 4] for leaf in whole) for i in (0, 4, 8)]
  seen = []
  static.evaluate(
    elman, params, parts, callback=lambda *args: seen.append(args)
  )
  assert seen == [(4, 11), (8, 11), (11, 11)]

  def stop(done, total):
    seen.append((done, total))
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    static.evaluate(elman, params, iter(parts), callback=stop)
  assert seen[3:] == [(4, None)]


def test_nothing_crosses_to_the_device_unasked(elman, params, segments, tokens):
  with jax.transfer_guard("disallow"):
    totals = static.evaluate(elman, params, segments(tokens, 10))
  assert totals.count == 103


def test_another_split_of_the_same_shape_compiles_nothing_new(
  elman, params, segments, tokens
):
  static.evaluate(elman, params, segments(tokens, 10))
  compiled = static._scan._cache_size()
  static.evaluate(
    elman, jax.tree.map(lambda x: 2 * x, params), segments(tokens[::-1], 10)
  )
  assert static._scan._cache_size() == compiled
