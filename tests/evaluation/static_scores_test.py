import math

import numpy as np
import pytest

from seqmodels import losses
from seqmodels.evaluation import static


def _scores(nats, counts, errors, seconds=0.0):
  return static.Scores(
    losses.Metrics(np.float32(nats), np.int32(counts), np.int32(errors)),
    seconds,
  )


def test_merging_is_dividing_once_and_no_mean_of_means():
  short = losses.Metrics(nats=1.0 * math.log(2), count=1, errors=1)
  long = losses.Metrics(nats=18.0 * math.log(2), count=9, errors=0)
  both = short.merge(long)
  assert both.bits_per_symbol == pytest.approx(1.9)
  assert both.error_rate == 0.1
  assert both.perplexity == pytest.approx(2**1.9)
  assert both.nats_per_symbol == pytest.approx(1.9 * math.log(2))


def test_nothing_is_neutral_and_has_no_mean():
  empty = losses.Metrics()
  some = losses.Metrics(nats=1.5, count=3, errors=2)
  assert empty.merge(some) == some == some.merge(empty)
  for mean in (
    empty.nats_per_symbol,
    empty.bits_per_symbol,
    empty.perplexity,
    empty.error_rate,
  ):
    assert math.isnan(mean)


def test_segments_are_summed_in_float64():
  # In float32, 2**24 swallows every 1 that follows it.
  scores = _scores([2.0**24] + [1.0] * 1000, [1] * 1001, [0] * 1001)
  assert scores.totals().nats == 2.0**24 + 1000


def test_counts_beyond_int32_do_not_wrap():
  scores = _scores([0.0] * 3, [2**30] * 3, [2**30] * 3)
  assert scores.totals().count == scores.totals().errors == 3 * 2**30


def test_concatenation_keeps_order_and_adds_time():
  joined = static.Scores.concatenate(
    [_scores([1, 2], [3, 4], [0, 1], 1.0), _scores([5], [6], [2], 2.0)]
  )
  assert joined.metrics.nats.tolist() == [1, 2, 5]
  assert joined.metrics.count.tolist() == [3, 4, 6]
  assert joined.metrics.errors.tolist() == [0, 1, 2]
  assert joined.seconds == 3.0
  assert static.Scores.concatenate([joined], seconds=9.0).seconds == 9.0
  assert static.Scores.concatenate([]).totals() == losses.Metrics()


def _by_stream(*bits, count=1_000):
  nats = np.array(bits) * count * math.log(2)
  by_stream = np.array([nats, [count] * len(bits)], float)
  return _scores([0], [0], [0])._replace(by_stream=by_stream)


def test_a_stream_a_bit_above_the_median_is_lost_and_no_other():
  lost = _by_stream(2.0, 2.9, 3.2, 1.1, 2.1, 0.9, 47.7).lost_streams()
  assert lost == {2: pytest.approx(3.2), 6: pytest.approx(47.7)}


def test_a_stream_without_a_number_is_lost():
  assert list(_by_stream(2.0, math.nan, 2.1).lost_streams()) == [1]


def test_no_stream_is_lost_where_all_are_alike_or_short_or_unknown():
  assert _by_stream(2.0, 2.5, 1.5).lost_streams() == {}
  assert list(_by_stream(1.5, 3.3).lost_streams()) == [1]
  assert _by_stream(47.7).lost_streams() == {}
  assert _by_stream(2.0, 2.0, 9.0, count=99).lost_streams() == {}
  assert _scores([1], [1], [0]).lost_streams() == {}


def test_parts_of_streams_are_added_up():
  # Lost in the second stretch alone: 2.0 bits and 6.0 are 4.0 in all.
  first, second = _by_stream(2.0, 2.0, 2.0), _by_stream(2.0, 2.0, 6.0)
  joined = static.Scores.concatenate([first, second])
  assert joined.by_stream[1].tolist() == [2_000] * 3
  assert joined.lost_streams() == {2: pytest.approx(4.0)}


def test_divergence_is_seen():
  assert losses.Metrics(nats=1.0, count=1).finite
  assert not losses.Metrics(nats=math.nan, count=1).finite
  assert not losses.Metrics(nats=math.inf, count=1).finite
