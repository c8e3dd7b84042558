import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import losses


def _float64_oracle(logits, targets, mask):
  logits = np.asarray(logits, np.float64)
  total, count, errors = 0.0, 0, 0
  for place in np.argwhere(np.asarray(mask)):
    row = logits[tuple(place)]
    target = int(targets[tuple(place)])
    shifted = row - row.max()
    total += np.log(np.exp(shifted).sum()) - shifted[target]
    count += 1
    errors += int(row.argmax() != target)
  return total, count, errors


def _example(shape=(7, 3), vocabulary=11, scale=3.0):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(*shape, vocabulary)).astype(np.float32) * scale
  targets = rng.integers(0, vocabulary, shape, dtype=np.int32)
  mask = rng.random(shape) < 0.7
  return logits, targets, mask


def test_totals_equal_a_float64_loop():
  logits, targets, mask = _example()
  total, count, errors = losses.nats(logits, targets, mask)
  expected = _float64_oracle(logits, targets, mask)
  np.testing.assert_allclose(total, expected[0], rtol=1e-6)
  assert (int(count), int(errors)) == expected[1:]
  assert 0 < expected[2] < expected[1]
  assert total.dtype == jnp.float32
  assert count.dtype == errors.dtype == jnp.int32


@pytest.mark.parametrize("offset", [1e4, -1e4, 3e38])
def test_huge_logits_do_not_overflow(offset):
  logits = jnp.array([[offset, 0.0]], jnp.float32)
  ones = jnp.ones((1,), bool)
  first, _, _ = losses.nats(logits, jnp.array([0]), ones)
  second, _, _ = losses.nats(logits, jnp.array([1]), ones)
  assert sorted([float(first), float(second)]) == [0.0, abs(np.float32(offset))]


def test_bfloat16_logits_are_summed_in_float32():
  logits = jnp.zeros((1000, 1, 3), jnp.bfloat16)
  targets = jnp.zeros((1000, 1), jnp.int32)
  total, _, _ = losses.nats(logits, targets, jnp.ones((1000, 1), bool))
  np.testing.assert_allclose(total, 1000 * np.log(3.0), rtol=1e-6)


def test_ties_go_to_the_lowest_id_as_in_argmax():
  logits = jnp.array([[1.0, 2.0, 2.0, 2.0]] * 4)
  _, _, errors = losses.nats(
    logits, jnp.arange(4, dtype=jnp.int32), jnp.ones(4, bool)
  )
  assert int(errors) == 3
  _, _, right = losses.nats(logits[:1], jnp.array([1]), jnp.ones(1, bool))
  assert int(right) == 0


def test_masked_positions_add_nothing_even_when_they_are_nan():
  logits, targets, mask = _example()
  filled = np.where(mask[..., None], logits, np.nan)
  off = np.where(mask, targets, -1)

  def total(x, y):
    return losses.nats(x, y, mask)[0]

  value, gradient = jax.value_and_grad(total)(filled, off)
  expected, expected_gradient = jax.value_and_grad(total)(logits, targets)
  assert value == expected
  np.testing.assert_array_equal(gradient, expected_gradient)
  assert not np.any(np.asarray(gradient)[~mask])


def test_gradient_is_softmax_minus_one_hot():
  logits, targets, mask = _example()
  gradient = jax.grad(lambda x: losses.nats(x, targets, mask)[0])(logits)
  wide = logits.astype(np.float64)
  shares = np.exp(wide) / np.exp(wide).sum(-1, keepdims=True)
  expected = (shares - np.eye(11)[targets]) * mask[..., None]
  np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_nothing_scored_counts_nothing():
  logits, targets, mask = _example()
  assert [
    float(x) for x in losses.nats(logits, targets, np.zeros_like(mask))
  ] == [0.0, 0.0, 0.0]


def test_gradient_of_a_large_vocabulary_needs_no_second_array_of_its_size():
  logits = jax.ShapeDtypeStruct((64, 1, 10_000), jnp.float32)
  ids = jax.ShapeDtypeStruct((64, 1), jnp.int32)
  mask = jax.ShapeDtypeStruct((64, 1), jnp.bool_)
  step = jax.jit(jax.value_and_grad(lambda *x: losses.nats(*x)[0]))
  memory = step.lower(logits, ids, mask).compile().memory_analysis()
  assert memory.temp_size_in_bytes < 64 * 10_000 * 4 / 10
