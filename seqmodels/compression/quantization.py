"""Probabilities as whole numbers, none of them zero."""

import jax
import jax.numpy as jnp

# Float32 counts whole numbers up to 2^24 exactly, and so does the coder.
TOTAL = 1 << 22


def frequencies(probabilities: jax.Array) -> jax.Array:
  """Whole-number weights that a coder can use.

  Each symbol gets at least 1, so that nothing is impossible, however sure the
  model is; the likeliest symbol takes what rounding leaves. The price is below
  `symbols / TOTAL` nats a symbol, 0.0001 bits for bytes.

  Args:
    probabilities: [..., V], nonnegative; their sum may be off by rounding.
      Where one is not finite the whole row becomes uniform.

  Returns:
    int32 [..., V] with the sum `TOTAL`.

  >>> frequencies(jnp.array([1.0, 0.0])).tolist()
  [4194303, 1]
  """
  symbols = probabilities.shape[-1]
  whole = jnp.isfinite(jnp.sum(probabilities, axis=-1, keepdims=True))
  p = jnp.where(whole, jnp.clip(probabilities, 0.0, 1.0), 1 / symbols)
  p = p / jnp.sum(p, axis=-1, keepdims=True)
  counts = 1 + jnp.floor(p * (TOTAL - 2 * symbols)).astype(jnp.int32)
  rest = TOTAL - jnp.sum(counts, axis=-1, keepdims=True)
  best = jax.nn.one_hot(jnp.argmax(counts, axis=-1), symbols, dtype=bool)
  return counts + jnp.where(best, rest, 0)
