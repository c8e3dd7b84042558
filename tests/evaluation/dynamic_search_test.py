import math

import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.evaluation import dynamic, static

GRID = {"learning_rate": [0.001, 0.03, 0.1], "momentum": [0.0, 0.5]}


def _halves(chunk):
  return [tuple(leaf[:6] for leaf in chunk), tuple(leaf[6:] for leaf in chunk)]


def test_every_row_is_the_evaluation_it_says(elman, params, segments, tokens):
  chunk = segments(tokens, 10)
  actual = dynamic.search(elman, params, chunk, "sgd", GRID)
  fixed = static.evaluate(elman, params, chunk)
  assert actual[0]["rule"] == "static"
  assert actual[0]["nats"] == fixed.nats
  assert len(actual) == 1 + 6
  for row in actual[1:]:
    settings = {name: row[name] for name in GRID}
    rule = dynamic.make_rule("sgd", params, settings)
    totals = dynamic.evaluate(elman, params, chunk, rule)
    assert row["rule"] == "sgd"
    assert row["nats"] == totals.nats
    assert row["count"] == totals.count == 103
    assert row["bits_per_symbol"] == totals.bits_per_symbol
    assert row["perplexity"] == totals.perplexity
    assert row["error_rate"] == totals.error_rate
  lowest = min(actual[1:], key=lambda row: row["nats"])
  assert dynamic.best_row(actual) == lowest


@pytest.mark.parametrize("together", [2, 4, 6, 100])
@pytest.mark.parametrize("rule", ["sgd", "rms"])
def test_side_by_side_gives_the_same_table(
  elman, params, segments, tokens, rule, together
):
  grid = {"learning_rate": [0.001, 0.01, 0.02, 0.03, 0.04, 0.05]}
  statistics = jax.tree.map(abs, params)
  arguments = (elman, params, segments(tokens, 10), rule, grid)
  looped = dynamic.search(*arguments, statistics=statistics)
  mapped = dynamic.search(*arguments, statistics=statistics, together=together)
  one, other = map(dynamic.best_row, (mapped, looped))
  assert one["learning_rate"] == other["learning_rate"]
  assert len(mapped) == len(looped) == 7
  for one, other in zip(looped, mapped, strict=True):
    assert one.keys() == other.keys()
    assert one["rule"] == other["rule"]
    assert one.get("learning_rate") == other.get("learning_rate")
    assert (one["count"], one["error_rate"]) == (
      other["count"],
      other["error_rate"],
    )
    assert one["nats"] == pytest.approx(other["nats"], rel=1e-5)


@pytest.mark.parametrize("together", [1, 3])
def test_a_search_compiles_once_whatever_its_size(
  elman, params, segments, tokens, together
):
  fresh = elman._replace(apply=lambda *arguments: elman.apply(*arguments))
  step = dynamic.advance if together == 1 else dynamic._advance_all
  chunk = segments(tokens, 10)
  before = step._cache_size()
  grid = {"learning_rate": list(np.linspace(0, 0.1, 7))}
  dynamic.search(fresh, params, chunk, "sgd", grid, together=together)
  assert step._cache_size() == before + 1


def test_only_the_first_symbols_are_read(elman, params, segments, tokens):
  grid = {"learning_rate": [0.03]}

  def endless():
    yield tuple(segments(tokens, 10))
    raise AssertionError("read further than asked")

  actual = dynamic.search(elman, params, endless(), "sgd", grid, symbols=42)
  cut = static.first(segments(tokens[:42], 10), None)
  expected = dynamic.search(elman, params, cut, "sgd", grid)
  for row, want in zip(actual, expected, strict=True):
    assert row["count"] == 42
    assert row["nats"] == pytest.approx(want["nats"], rel=1e-6)


@pytest.mark.parametrize("together", [1, 3])
def test_settings_that_diverge_stay_in_the_table_and_never_win(
  elman, params, segments, tokens, together
):
  grid = {"learning_rate": [1e38, 0.03, 1e37]}
  actual = dynamic.search(
    elman, params, segments(tokens, 10), "sgd", grid, together=together
  )
  finite = [math.isfinite(row["nats"]) for row in actual]
  assert finite == [True, False, True, False]
  best = dynamic.best_row(actual)
  assert (best["learning_rate"], best["momentum"]) == (0.03, 0.9)


def test_a_search_in_which_all_diverge_says_so(elman, params, segments, tokens):
  actual = dynamic.search(
    elman, params, segments(tokens, 10), "sgd", {"learning_rate": [1e38]}
  )
  assert actual[0]["rule"] == "static"
  with pytest.raises(errors.RunError, match="smaller learning rates"):
    dynamic.best_row(actual)


def test_settings_left_out_have_their_defaults_in_the_table(
  elman, params, segments, tokens
):
  actual = dynamic.search(elman, params, segments(tokens, 10), "sgd", {})
  assert dynamic.best_row(actual).items() >= dynamic.SGD.defaults.items()
  assert actual[1]["momentum"] == dynamic.SGD.defaults["momentum"]


@pytest.mark.parametrize("together", [1, 4])
def test_progress_runs_over_the_whole_search(
  elman, params, segments, tokens, together
):
  seen = []
  dynamic.search(
    elman,
    params,
    _halves(segments(tokens, 10)),
    "sgd",
    GRID,
    together=together,
    callback=lambda *args: seen.append(args),
  )
  assert seen[-1] == (66, 66)
  assert seen == sorted(set(seen))
  assert len(seen) == (12 if together == 1 else 4)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("sgdd", {}), "did you mean 'sgd'"),
    (("sgd", {"rate": [1.0]}), "no setting 'rate'"),
    (("sgd", {"learning_rate": []}), "0 settings"),
    (("sgd", {"learning_rate": [0.1, -0.1]}), "at least 0"),
    (("rms", {}), "gradient statistics"),
  ],
)
def test_bad_searches_are_named_before_anything_runs(
  elman, params, segments, tokens, arguments, message
):
  def never(*_):
    raise AssertionError("ran")

  broken = elman._replace(apply=never)
  with pytest.raises(errors.UserError, match=message):
    dynamic.search(broken, params, segments(tokens, 10), *arguments)


def test_no_symbols_and_no_width_are_refused(elman, params, segments, tokens):
  chunk = segments(tokens, 10)
  with pytest.raises(errors.UserError, match="0 validation segments"):
    dynamic.search(elman, params, chunk, "sgd", {}, symbols=0)
  with pytest.raises(errors.UserError, match="0 settings together"):
    dynamic.search(elman, params, chunk, "sgd", {}, together=0)


def test_a_side_by_side_search_transfers_nothing_unasked(
  elman, params, segments, tokens
):
  with jax.transfer_guard("disallow"):
    actual = dynamic.search(
      elman, params, segments(tokens, 10), "sgd", GRID, together=3
    )
  assert len(actual) == 7
