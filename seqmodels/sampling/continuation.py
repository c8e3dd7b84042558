"""Continuations of a prime, and the steps of reading and going on.

The model reads the null vector, then the prime, from an empty carry, as it
does in `text.sample`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.models import predictor as predictors

Tree = Any


class Continuation(NamedTuple):
  """A continuation that a search found.

  Attributes:
    symbols: ids, without the prime; the end symbol is the last, if it came.
    log_probability: nats, 0 or below.
    score: what the search ranked it by.
    ended: whether the end symbol came within the longest length.
  """

  symbols: tuple[int, ...]
  log_probability: float
  score: float
  ended: bool


def prime_ids(prime: Sequence[int]) -> jax.Array:
  """What a model reads before its first draw: the null vector, the prime.

  >>> prime_ids([3, 1])
  Array([-1,  3,  1], dtype=int32)
  """
  return jax.device_put(np.array([-1, *prime], np.int32))


def read(
  predictor: predictors.Predictor, params: Tree, prime: jax.Array, rows: int
) -> tuple[Tree, jax.Array]:
  """Reads a prime once, for many continuations.

  Args:
    predictor: the model.
    params: its parameters.
    prime: of `prime_ids`, [P].
    rows: B.

  Returns:
    Carry and logits [B, V], the same in all rows.
  """

  def one(
    state: tuple[Tree, jax.Array], symbol: jax.Array
  ) -> tuple[tuple[Tree, jax.Array], None]:
    return feed(predictor, params, state[0], symbol[None]), None

  # Step by step, so that only the last logits are kept.
  none = jnp.zeros((1, predictor.vocabulary_size), jnp.float32)
  state, _ = jax.lax.scan(one, (predictor.initial_carry(1), none), prime)
  return jax.tree.map(lambda leaf: jnp.repeat(leaf, rows, axis=0), state)


def feed(
  predictor: predictors.Predictor, params: Tree, carry: Tree, symbols: jax.Array
) -> tuple[Tree, jax.Array]:
  """One step: symbols [B] in, the carry and logits [B, V] out."""
  inputs = symbols[None]
  never = jnp.zeros(inputs.shape, bool)
  carry, logits = predictor.apply(params, carry, inputs, never)
  return carry, logits[0].astype(jnp.float32)


def check_ids(
  predictor: predictors.Predictor, what: str, ids: Sequence[int]
) -> None:
  """Refuses ids that the model does not know.

  Args:
    predictor: the model.
    what: what holds them, for the message.
    ids: to check.

  Raises:
    errors.UserError: naming the first such id.
  """
  outside = [i for i in ids if not 0 <= i < predictor.vocabulary_size]
  if outside:
    raise errors.UserError(
      f"{what} holds the id {outside[0]}; the model knows 0 to "
      f"{predictor.vocabulary_size - 1}"
    )
