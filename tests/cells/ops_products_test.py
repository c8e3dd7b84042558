"""Products and row lookups against JAX's own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import ops


def gradients(function, *arguments):
  def loss(*arguments):
    return jnp.sum(jnp.sin(function(*arguments)))

  argnums = tuple(range(len(arguments)))
  return jax.jit(jax.value_and_grad(loss, argnums=argnums))(*arguments)


@pytest.mark.parametrize("shape", [(3,), (4, 5, 3)])
def test_product_and_derivatives_are_those_of_at(shape):
  random = np.random.default_rng(0)
  with jax.enable_x64(True):
    x = jnp.asarray(random.normal(size=shape))
    kernel = jnp.asarray(random.normal(size=(3, 6)))
    have = gradients(ops.matmul, x, kernel)
    want = gradients(jnp.matmul, x, kernel)
    for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("symbols", [6, ops.ONE_HOT_LIMIT + 1])
@pytest.mark.parametrize("shape", [(), (4, 5)])
def test_lookup_is_the_product_with_one_hot_vectors(symbols, shape):
  random = np.random.default_rng(0)
  with jax.enable_x64(True):
    kernel = jnp.asarray(random.normal(size=(symbols, 3)))
    # Symbols that stand twice, ids below 0 and one past the end.
    ids = random.integers(-2, 5, shape)
    if shape:
      ids[..., -1], ids[..., 0] = symbols, symbols - 1
    hot = (ids[..., None] == np.arange(symbols)).astype(float)
    have = gradients(lambda kernel: ops.lookup(kernel, ids), kernel)
    want = gradients(lambda kernel: hot @ kernel, kernel)
    np.testing.assert_allclose(have[0], want[0], rtol=1e-12)
    np.testing.assert_allclose(have[1][0], want[1][0], rtol=1e-12, atol=1e-15)


def test_the_null_vector_reads_zeros_and_teaches_nothing():
  kernel = jnp.ones((3, 2))
  ids = jnp.array([-1, -7, 3, 99])
  assert not ops.lookup(kernel, ids).any()
  gradient = jax.grad(lambda k: jnp.sum(ops.lookup(k, ids)))(kernel)
  assert not gradient.any()


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(1, 6), (2, 6), (4, 5, 6)])
def test_a_product_may_be_turned(shape, dtype):
  random = np.random.default_rng(0)
  a = random.normal(size=shape).astype(np.float32)
  kernel = random.normal(size=(6, 3)).astype(np.float32)
  turned = jax.jit(lambda a, k: ops.turned_dot(a, ops.turned(k), dtype))
  rounded = [x.astype(dtype or x.dtype).astype(float) for x in (a, kernel)]
  np.testing.assert_allclose(
    turned(a, kernel), rounded[0] @ rounded[1], rtol=1e-4, atol=1e-5
  )


def test_bfloat16_operands_are_summed_in_float32():
  # 1001 is no bfloat16 number; 1000 and 1004 are, and such a sum stops at 256.
  half, count = jnp.bfloat16, 1001
  ids = np.zeros(count, np.int32)

  @jax.jit
  def sums(long, row):
    _, pullback = jax.vjp(lambda x, k: ops.matmul(x, k, half), long, row)
    looked_up = jax.grad(lambda k: jnp.sum(ops.lookup(k, ids, half)))
    return (
      ops.dot(row, long, half),
      ops.matmul(row, long, half),
      *pullback(jnp.ones((count, count))),
      looked_up(row)[0],
    )

  for total in sums(np.ones((count, 1)), np.ones((1, count))):
    assert (total == count).all()


def test_bfloat16_operands_are_rounded_in_all_three_products():
  half, fine = jnp.bfloat16, 1 + 2.0**-10  # a step bfloat16 does not see
  x = kernel = jnp.full((1, 1), fine)
  y, pullback = jax.vjp(lambda x, k: ops.matmul(x, k, half), x, kernel)
  assert float(y[0, 0]) == 1.0
  assert [float(d[0, 0]) for d in pullback(jnp.full((1, 1), fine))] == [1, 1]
  full, pullback = jax.vjp(ops.matmul, x, kernel)
  assert float(full[0, 0]) > 1.0


def test_derivatives_have_the_dtypes_of_their_arguments():
  x = jnp.ones((4, 2, 3), jnp.bfloat16)
  kernel = jnp.ones((3, 5), jnp.float32)
  y, pullback = jax.vjp(ops.matmul, x, kernel)
  assert y.dtype == jnp.float32
  assert [d.dtype for d in pullback(y)] == [jnp.bfloat16, jnp.float32]


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(2, 37), (9, 37), (2, 3, 37)])
def test_a_product_in_order_is_the_product(shape, dtype):
  random = np.random.default_rng(0)
  x = random.normal(size=shape).astype(np.float32)
  kernel = random.normal(size=(37, 5)).astype(np.float32)

  def product(x, kernel):
    return ops.matmul(x, kernel, dtype)

  want = gradients(product, x, kernel)
  with ops.in_order(True):
    have = gradients(product, x, kernel)
    assert "dot_general" not in str(jax.make_jaxpr(product)(x, kernel))
  for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_product_in_order_adds_one_term_after_another():
  # In any other order the small ones would count together.
  terms = np.array([1.0, *[2.0**-24] * 40], np.float32)
  with ops.in_order(True):
    total = ops.dot(terms[None], np.ones((41, 2), np.float32))
  assert total.tolist() == [[1.0, 1.0]]
