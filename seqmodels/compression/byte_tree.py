"""A byte as eight binary decisions: the tree that all experts speak about.

The first decision is the highest bit. A node stands for the bits before it:
after the k bits v it is node 2^k - 1 + v, so that the root is 0 and there are
255. A distribution over bytes and 255 log-odds, each of "the next bit is 1",
say the same thing; predictions of unlike models are mixed as log-odds.
"""

import jax
import jax.numpy as jnp
import numpy as np

SYMBOLS = 256
NODES = 255
DEPTH = 8
# Log-odds are kept within this bound: no bit costs more than 12 nats.
BOUND = 12.0

_SHIFTS = np.arange(DEPTH)[::-1]
_LEVELS = np.arange(DEPTH)
_BYTES = np.arange(SYMBOLS)[:, None]
# The nodes that a byte passes, and what it decides there: [256, 8].
PATHS = ((1 << _LEVELS) - 1 + (_BYTES >> (DEPTH - _LEVELS))).astype(np.int32)
BITS = ((_BYTES >> _SHIFTS) & 1).astype(np.int32)
# For each byte, +1 or -1 at the nodes it passes, by its decision: [256, 255].
SIGNS = np.zeros((SYMBOLS, NODES), np.float32)
SIGNS[_BYTES, PATHS] = 2 * BITS - 1


def log_odds(logits: jax.Array) -> jax.Array:
  """Log-odds of every decision, of a distribution over bytes.

  Args:
    logits: [..., 256], not necessarily normalised.

  Returns:
    [..., 255], within the bound.

  >>> log_odds(jnp.zeros(256)).shape
  (255,)
  """
  p = jax.nn.softmax(logits, axis=-1)
  levels = []
  for _ in range(DEPTH):
    pairs = p.reshape(*p.shape[:-1], -1, 2)
    levels.append(pairs)
    p = jnp.sum(pairs, axis=-1)
  # A distribution may leave whole subtrees at zero.
  pairs = jnp.log(jnp.concatenate(levels[::-1], axis=-2) + 1e-30)
  return jnp.clip(pairs[..., 1] - pairs[..., 0], -BOUND, BOUND)


def distribution(odds: jax.Array) -> jax.Array:
  """Probabilities of the bytes, [..., 256], of log-odds [..., 255].

  >>> odds = log_odds(jnp.log(jnp.arange(1.0, 257.0)))
  >>> (distribution(odds)[jnp.array([0, 255])] * 32_896).round(3).tolist()
  [1.0, 256.0]
  """
  ones = jax.nn.sigmoid(odds)
  p = jnp.ones((*odds.shape[:-1], 1), odds.dtype)
  for level in range(DEPTH):
    one = ones[..., (1 << level) - 1 : (2 << level) - 1]
    p = jnp.stack([p * (1 - one), p * one], axis=-1)
    p = p.reshape(*odds.shape[:-1], -1)
  return p


def on_path(values: jax.Array, symbols: jax.Array) -> jax.Array:
  """The values at the eight nodes that each byte passes.

  Args:
    values: [B, 255, ...].
    symbols: int32 [B].

  Returns:
    [B, 8, ...].
  """
  rows = jnp.arange(symbols.shape[0])[:, None]
  return values[rows, jnp.asarray(PATHS)[symbols]]


def bits(symbols: jax.Array) -> jax.Array:
  """The eight decisions, float32 [B, 8], of bytes int32 [B].

  >>> bits(jnp.array([5])).tolist()
  [[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]]
  """
  return jnp.asarray(BITS, jnp.float32)[symbols]


def nats(odds: jax.Array, outcomes: jax.Array) -> jax.Array:
  """Cost of each decision, `-log p(outcome)`, elementwise.

  >>> nats(jnp.array([0.0, 9.0]), jnp.array([1.0, 1.0])).round(3)
  Array([0.693, 0.   ], dtype=float32)
  """
  return jax.nn.softplus(jnp.where(outcomes > 0, -odds, odds))
