"""Recomputed chunks: less memory, the same derivatives, any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import scan


def gradient_of(sequence):
  def loss(params, carry, xs):
    last, hs = sequence(params, carry, xs)
    return jnp.mean(jnp.square(hs)) + jnp.sum(last.h)

  return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))


@pytest.fixture
def arguments(filled):
  def make(cell, steps, batch, width, features):
    return filled(
      lambda: (
        cell.init_params(jax.random.key(0), width, features),
        cell.initial_carry((batch,), features),
        jnp.zeros((steps, batch, width)),
      )
    )

  return make


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_memory_shrinks_to_the_chunks_and_their_edges(name, arguments):
  cell = cells.get(name)
  given = arguments(cell, 2000, 4, 8, 32)

  def temporaries(sequence):
    compiled = gradient_of(sequence).lower(*given).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  outputs = 2000 * 4 * 32 * 4  # hs and its derivative stay whole
  kept = temporaries(cell.sequence)
  recomputed = temporaries(scan.checkpointed(cell.sequence, 100))
  assert recomputed < kept / 5
  assert recomputed < 2.5 * outputs


def test_seventy_thousand_steps_run_with_the_same_gradients(arguments):
  cell = cells.get("lstm")
  given = arguments(cell, 70_000, 1, 2, 3)
  want = gradient_of(cell.sequence)(*given)
  have = gradient_of(scan.checkpointed(cell.sequence, 256))(*given)
  for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
    scale = np.abs(b).max()
    assert scale > 0
    np.testing.assert_allclose(a, b, atol=1e-4 * scale)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_any_chunk_gives_the_same_values(chunk, reverse, arguments):
  cell = cells.get("elman")
  params, carry, xs = arguments(cell, 7, 2, 3, 4)
  lengths = jnp.array([7, 4])
  long = scan.checkpointed(cell.sequence, chunk)

  @jax.jit
  def both(*given):
    options = {"lengths": lengths, "reverse": reverse}
    return tuple(run(*given, **options) for run in (long, cell.sequence))

  (have, hs), (want, want_hs) = both(params, carry, xs)
  np.testing.assert_allclose(have.h, want.h, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(hs, want_hs, rtol=1e-5, atol=1e-6)


def test_a_plain_unroll_can_be_recomputed_too():
  def add(weight, carry, x):
    after = weight * carry + x
    return after, after

  def plain(*given, **options):
    return scan.unroll(add, *given, **options)

  given = jnp.float32(0.5), jnp.zeros((1, 1)), jnp.ones((5, 1, 1))
  carry, ys = scan.checkpointed(plain, 2)(*given)
  np.testing.assert_allclose(ys.ravel(), [1, 1.5, 1.75, 1.875, 1.9375])
  assert float(carry[0, 0]) == 1.9375


def test_a_chunk_of_no_steps_is_refused():
  with pytest.raises(errors.UserError, match="at least 1"):
    scan.checkpointed(cells.get("gru").sequence, 0)
