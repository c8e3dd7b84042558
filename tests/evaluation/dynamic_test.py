import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.evaluation import dynamic, static


def _slow_sgd(net, chunk, *, learning_rate, momentum):
  """Score, then learn, one segment after the other, in float64."""
  actual, velocity = [], dict.fromkeys(net.params, 0.0)
  for piece in zip(*chunk, strict=True):
    nats, count, wrong, gradients = net.segment(*piece)
    actual.append((nats, count, wrong))
    for name, g in gradients.items():
      velocity[name] = momentum * velocity[name] + g
      net.params[name] = net.params[name] - learning_rate * velocity[name]
  return actual


def _slow_rms(net, chunk, statistics, *, learning_rate, decay, epsilon):
  actual, trained = [], dict(net.params)
  ms = {k: np.asarray(v, np.float64) for k, v in statistics.items()}
  mean = np.mean([leaf.mean() for leaf in ms.values()])
  for piece in zip(*chunk, strict=True):
    nats, count, wrong, gradients = net.segment(*piece)
    actual.append((nats, count, wrong))
    for name, g in gradients.items():
      theta, rate = net.params[name], np.minimum(ms[name] / mean, 1 / decay)
      net.params[name] = (
        theta
        + decay * rate * (trained[name] - theta)
        - learning_rate * (g / count) / (ms[name] + epsilon)
      )
  return actual


def _check(scores, state, actual, net):
  nats, counts, wrong = zip(*actual, strict=True)
  np.testing.assert_allclose(scores.metrics.nats, nats, rtol=2e-5)
  assert scores.metrics.count.tolist() == list(counts)
  assert scores.metrics.errors.tolist() == list(wrong)
  for name, leaf in net.params.items():
    np.testing.assert_allclose(state.params[name], leaf, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(state.carry, net.h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("length", [1, 7, 10])
def test_sgd_equals_a_slow_loop_in_every_segment_and_in_its_final_weights(
  elman, params, numpy_elman, segments, tokens, length, streams
):
  settings = {"learning_rate": 0.05, "momentum": 0.5}
  chunk, net = segments(tokens, length, streams=streams), numpy_elman(params)
  rule = dynamic.make_rule("sgd", params, settings)
  scores, state = dynamic.score(elman, params, chunk, rule, streams=streams)
  _check(scores, state, _slow_sgd(net, chunk, **settings), net)
  assert scores.totals().count == len(tokens)


@pytest.mark.parametrize("length", [1, 7])
def test_rms_equals_a_slow_loop_in_every_segment_and_in_its_final_weights(
  elman, params, numpy_elman, segments, tokens, length
):
  settings = {"learning_rate": 0.01, "decay": 0.4, "epsilon": 0.002}
  training = segments(tokens[::-1], 10)
  statistics = dynamic.measure_statistics(elman, params, training, streams=1)
  chunk, net = segments(tokens, length), numpy_elman(params)
  rule = dynamic.make_rule("rms", params, settings, statistics=statistics)
  scores, state = dynamic.score(elman, params, chunk, rule)
  _check(scores, state, _slow_rms(net, chunk, statistics, **settings), net)


@pytest.mark.parametrize("length", [1, 7, 50, 103, 200])
@pytest.mark.parametrize("name", ["sgd", "rms"])
def test_learning_rate_zero_is_static_evaluation_to_the_last_bit(
  elman, params, segments, tokens, length, name
):
  chunk = segments(tokens, length)
  rule = dynamic.make_rule(
    name, params, {"learning_rate": 0.0}, statistics=params
  )
  scores, state = dynamic.score(elman, params, chunk, rule)
  expected = static.score(elman, params, chunk)
  np.testing.assert_array_equal(scores.metrics.nats, expected.metrics.nats)
  np.testing.assert_array_equal(scores.metrics.count, expected.metrics.count)
  np.testing.assert_array_equal(scores.metrics.errors, expected.metrics.errors)
  assert scores.totals().count == len(tokens)
  jax.tree.map(np.testing.assert_array_equal, state.params, params)


def test_a_segment_is_scored_before_it_is_learnt_from(
  elman, params, segments, tokens
):
  chunk = segments(tokens, 10)
  eager = dynamic.make_rule("sgd", params, {"learning_rate": 1.0})
  scores, _ = dynamic.score(elman, params, chunk, eager)
  expected = static.score(elman, params, chunk)
  np.testing.assert_array_equal(
    scores.metrics.nats[0], expected.metrics.nats[0]
  )
  assert not np.any(scores.metrics.nats[1:] == expected.metrics.nats[1:])


def test_what_follows_changes_no_score_before_it(
  elman, params, segments, tokens
):
  rule = dynamic.make_rule("sgd", params, {"learning_rate": 0.1})
  other = np.concatenate([tokens[:60], (tokens[60:] + 1) % 5])
  one, _ = dynamic.score(elman, params, segments(tokens, 10), rule)
  two, _ = dynamic.score(elman, params, segments(other, 10), rule)
  np.testing.assert_array_equal(one.metrics.nats[:6], two.metrics.nats[:6])
  assert one.metrics.nats[6] != two.metrics.nats[6]


def test_learning_pays_on_text_that_can_be_learnt(
  elman, params, segments, tokens
):
  chunk = segments(np.tile(tokens, 10), 10)
  rule = dynamic.make_rule(
    "sgd", params, {"learning_rate": 0.01, "momentum": 0.9}
  )
  learnt = dynamic.evaluate(elman, params, chunk, rule)
  fixed = static.evaluate(elman, params, chunk)
  assert learnt.count == fixed.count == 1030
  assert learnt.bits_per_symbol < 0.8 * fixed.bits_per_symbol


def test_the_given_weights_are_untouched_and_still_usable(
  elman, params, segments, tokens
):
  before = jax.tree.map(np.array, params)
  for name in ("sgd", "rms"):
    rule = dynamic.make_rule(
      name, params, {"learning_rate": 0.1}, statistics=params
    )
    _, state = dynamic.score(elman, params, segments(tokens, 10), rule)
    assert not np.array_equal(state.params["head"], before["head"])
  jax.tree.map(np.testing.assert_array_equal, params, before)
  first = dynamic.evaluate(elman, params, segments(tokens, 10), rule)
  again = dynamic.evaluate(elman, params, segments(tokens, 10), rule)
  assert (first.nats, first.errors) == (again.nats, again.errors)


@pytest.mark.parametrize("name", ["sgd", "rms"])
def test_a_saved_state_continues_exactly(elman, params, segments, tokens, name):
  rule = dynamic.make_rule(
    name, params, {"learning_rate": 0.02}, statistics=params
  )
  whole = segments(tokens, 10)
  parts = [tuple(leaf[i : i + 4] for leaf in whole) for i in (0, 4, 8)]
  begin = dynamic.initial_state(elman, params, rule)
  saved, nats = None, []
  for state, scores in dynamic.steps(elman, begin, parts, rule):
    nats.append(scores.metrics.nats)
    if saved is None:
      saved = jax.tree.map(np.array, state)  # as a checkpoint would
  restored = jax.tree.map(jnp.asarray, saved)
  resumed = [
    scores.metrics.nats
    for _, scores in dynamic.steps(elman, restored, parts[1:], rule)
  ]
  np.testing.assert_array_equal(
    np.concatenate(resumed), np.concatenate(nats[1:])
  )
  straight, last = dynamic.score(elman, params, whole, rule)
  np.testing.assert_allclose(
    straight.metrics.nats, np.concatenate(nats), rtol=1e-5
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    last,
    state,
  )


def test_new_settings_compile_nothing_new(elman, params, segments, tokens):
  chunk = segments(tokens, 10)

  def run(name, rate):
    rule = dynamic.make_rule(
      name, params, {"learning_rate": rate}, statistics=params
    )
    return dynamic.evaluate(elman, params, chunk, rule).nats

  run("sgd", 0.01), run("rms", 0.01)
  compiled = dynamic.advance._cache_size()
  different = {run("sgd", rate) for rate in (0.02, 0.03, 0.04)}
  run("rms", 0.05)
  assert len(different) == 3
  assert dynamic.advance._cache_size() == compiled


def test_the_state_is_updated_in_place(elman, params, segments, tokens):
  rule = dynamic.make_rule("sgd", params)
  state = dynamic.initial_state(elman, params, rule)
  [(after, _)] = dynamic.steps(elman, state, segments(tokens, 10), rule)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
  assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))
  assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


def test_callback_sees_progress_and_may_stop(elman, params, segments, tokens):
  rule = dynamic.make_rule("sgd", params)
  whole = segments(tokens, 10)
  parts = [tuple(leaf[i : i + 4] for leaf in whole) for i in (0, 4, 8)]
  seen = []

  def watch(done, total):
    seen.append((done, total))
    if len(seen) == 5:
      raise KeyboardInterrupt

  dynamic.evaluate(elman, params, parts, rule, callback=watch)
  assert seen == [(4, 11), (8, 11), (11, 11)]
  with pytest.raises(KeyboardInterrupt):
    dynamic.evaluate(elman, params, iter(parts), rule, callback=watch)
  assert seen[3:] == [(4, None), (8, None)]


def test_nothing_to_score_leaves_the_state_as_it_was(elman, params):
  rule = dynamic.make_rule("sgd", params)
  scores, state = dynamic.score(elman, params, [], rule)
  assert scores.totals().count == 0
  jax.tree.map(np.testing.assert_array_equal, state.params, params)


def test_streams_must_be_announced(elman, params, segments, tokens):
  rule = dynamic.make_rule("sgd", params)
  with pytest.raises(errors.UserError, match="2 streams where 1"):
    dynamic.evaluate(elman, params, segments(tokens, 10, streams=2), rule)


def test_nothing_crosses_to_the_device_unasked(elman, params, segments, tokens):
  chunk = segments(tokens, 10)
  with jax.transfer_guard("disallow"):
    statistics = dynamic.measure_statistics(elman, params, chunk, streams=1)
    for name in ("sgd", "rms"):
      rule = dynamic.make_rule(name, params, statistics=statistics)
      assert dynamic.evaluate(elman, params, chunk, rule).count == 103


def test_divergence_is_reported_and_not_hidden(elman, params, segments, tokens):
  rule = dynamic.make_rule("sgd", params, {"learning_rate": 1e38})
  totals = dynamic.evaluate(elman, params, segments(tokens, 10), rule)
  assert not totals.finite
  assert totals.count == 103
