"""Probabilities of given continuations after a prefix.

    log p(x_{m+1} .. x_{m+n} | x_1 .. x_m) = sum_t log p(x_t | x_1 .. x_{t-1})

over the places m + 1 to m + n alone: the prefix is read, not scored. The mean
over the symbols compares continuations of different lengths; the sum prefers
short ones.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors, units
from seqmodels import losses as losses_lib
from seqmodels.models import networks


class Scored(NamedTuple):
  """One continuation: log p of each symbol, -inf where it is impossible.

  >>> half = Scored(np.log([0.5, 0.25, 0.125]))
  >>> half.bits.round(9).tolist(), round(half.perplexity, 9)
  ([1.0, 2.0, 3.0], 4.0)
  """

  log_probabilities: np.ndarray

  @property
  def total(self) -> float:
    """log p of the continuation, in nats."""
    return float(np.sum(self.log_probabilities))

  @property
  def bits(self) -> np.ndarray:
    """The surprise of each symbol, -log2 p, float64 `[n]`."""
    return -self.log_probabilities / units.LOG2

  @property
  def perplexity(self) -> float:
    """exp of the mean nats a symbol; infinite where one is impossible."""
    return units.perplexity(-self.total, len(self.log_probabilities))


def by_counts(
  model: Any,
  prefix: Sequence[int],
  continuations: Sequence[Sequence[int]],
) -> list[Scored]:
  """Scores by an n-gram model: anything with `nats`, such as `ngram.NGram`."""
  _check(continuations)
  texts = (np.append(prefix, ids).astype(np.int64) for ids in continuations)
  return [Scored(-model.nats(text)[len(prefix) :]) for text in texts]


def by_network(
  predictor: networks.SequenceModel,
  params: Any,
  prefix: Sequence[int],
  continuations: Sequence[Sequence[int]],
) -> list[Scored]:
  """Scores by a network, which reads the null vector first; one dispatch.

  >>> uniform = networks.SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.zeros((*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (), init=lambda key: (), vocabulary_size=4)
  >>> [found] = by_network(uniform, (), [0, 1], [[2, 3, 3]])
  >>> round(found.perplexity, 5), len(found.bits)
  (4.0, 3)
  """
  _check(continuations)
  ends = [len(prefix) + len(continuation) for continuation in continuations]
  # What follows a continuation cannot change its score: short ones are filled.
  targets = np.zeros((max(ends), len(ends)), np.int32)
  for row, continuation in enumerate(continuations):
    targets[: ends[row], row] = np.append(prefix, continuation)
  outside = targets[(targets < 0) | (targets >= predictor.vocabulary_size)]
  if len(outside):
    raise errors.UserError(
      f"a text to score holds the id {outside[0]}; the model knows 0 to "
      f"{predictor.vocabulary_size - 1}: encode it with the model's own "
      "vocabulary"
    )
  losses = np.asarray(_losses(predictor, params, targets), np.float64)
  return [Scored(-losses[len(prefix) : end, i]) for i, end in enumerate(ends)]


@functools.partial(jax.jit, static_argnames=("predictor",))
def _losses(
  predictor: networks.SequenceModel,
  params: Any,
  targets: jax.Array,
) -> jax.Array:
  """Nats `[T, B]`, each row a sequence of its own."""
  null = jnp.full((1, targets.shape[1]), -1, targets.dtype)
  inputs = jnp.concatenate([null, targets[:-1]])
  carry = predictor.initial_carry(targets.shape[1])
  _, logits = predictor.apply(
    params, carry, inputs, jnp.zeros(inputs.shape, bool)
  )
  scored = jnp.ones(targets.shape, bool)
  return losses_lib.cross_entropy(logits, targets, scored)[0]


def _check(continuations: Sequence[Sequence[int]]) -> None:
  empty = [i for i, ids in enumerate(continuations, 1) if not len(ids)]
  if empty or not continuations:
    what = f"continuation {empty[0]} has" if empty else "the continuations have"
    raise errors.UserError(
      f"{what} 0 symbols; give at least 1 to score after the prefix"
    )
