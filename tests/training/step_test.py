import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqmodels.training import step


def by_hand(network, optimizer, state, segment):
  """One update written with nothing of the module under test."""

  def mean_nats(params):
    carry, logits = network.apply(
      params, state.carry, segment.inputs, segment.reset
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits, segment.targets
    )
    return jnp.sum(losses * segment.mask) / jnp.sum(segment.mask), carry

  gradient, carry = jax.grad(mean_nats, has_aux=True)(state.params)
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
  return state._replace(
    step=state.step + 1,
    params=optax.apply_updates(state.params, updates),
    opt_state=opt_state,
    carry=carry,
  )


def test_a_dispatch_of_several_steps_is_so_many_updates(
  network, optimizer, fresh, stream
):
  expected = fresh()
  for index in range(5):
    expected = by_hand(network, optimizer, expected, stream.segment(index))
  steps = step.make_train_steps(network, optimizer)
  actual, report = steps(fresh(), stream.segments(0, 5))
  assert int(actual.step) == 5
  assert report.metrics.nats.shape == (5,)
  for a, b in zip(
    jax.tree.leaves((actual.params, actual.carry)),
    jax.tree.leaves((expected.params, expected.carry)),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, atol=2e-6)


def test_the_cut_into_dispatches_changes_no_bit(
  network, optimizer, fresh, stream, same_bits
):
  steps = step.make_train_steps(network, optimizer)
  whole, _ = steps(fresh(), stream.segments(0, 6))
  parts, _ = steps(fresh(), stream.segments(0, 4))
  parts, _ = steps(parts, stream.segments(4, 2))
  same_bits(whole, parts)


def test_metrics_are_totals_over_the_scored_symbols(
  network, optimizer, fresh, stream
):
  steps = step.make_train_steps(network, optimizer)
  count = stream.segments_per_epoch
  _, report = steps(fresh(), stream.segments(0, count))
  assert int(report.metrics.count.sum()) == 403
  assert np.all(report.metrics.errors <= report.metrics.count)
  assert np.all(np.isfinite(report.gradient_norm))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_reduction_scales_the_gradient_alone(
  network, fresh, stream, reduction
):
  still = optax.sgd(0.0)
  state = fresh()._replace(opt_state=still.init(fresh().params))
  segment = stream.segments(0, 1)
  _, report = step.make_train_steps(network, still, reduction=reduction)(
    state, segment
  )
  scale = 24 if reduction == "sum" else 1
  _, unit = step.make_train_steps(network, still)(
    fresh()._replace(opt_state=still.init(fresh().params)), segment
  )
  np.testing.assert_allclose(
    report.gradient_norm, scale * unit.gradient_norm, rtol=1e-5
  )
  np.testing.assert_allclose(report.metrics.nats, unit.metrics.nats, rtol=1e-6)


def test_the_carry_crosses_segments(network, optimizer, fresh, stream):
  steps = step.make_train_steps(network, optax.sgd(0.0))
  start = fresh()._replace(opt_state=optax.sgd(0.0).init(fresh().params))
  after, _ = steps(start, stream.segments(0, 2))
  inputs = np.concatenate([stream.segment(0).inputs, stream.segment(1).inputs])
  reset = np.concatenate([stream.segment(0).reset, stream.segment(1).reset])
  again = fresh()
  carry, _ = network.apply(again.params, again.carry, inputs, reset)
  for a, b in zip(
    jax.tree.leaves(after.carry), jax.tree.leaves(carry), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-6)
