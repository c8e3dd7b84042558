"""What a sequence model has seen before it predicts: two tests by brute force.

A model of the next symbol may use the symbols before it and no others:

    d O_t / d X_s = 0 exactly,            for s > t
    sum over all x of prod_t P(x_t) = 1,  x running through all V^T strings

A model that peeks fails both.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import losses
from seqmodels.models import api as predictors


def reach(
  predictor: predictors.Predictor, params: Any, ids: np.ndarray
) -> np.ndarray:
  """The largest |dO_t / dX_s| between two places of a text.

  Args:
    predictor: one that reads dense vectors as well as ids.
    params: its weights.
    ids: the text [T], read as one-hot vectors.

  Returns:
    float [T, T], outputs t down and inputs s across.
  """
  hot = jax.nn.one_hot(ids, predictor.vocabulary_size)[:, None]
  never = jnp.zeros(hot.shape[:2], bool)

  def outputs(hot: jax.Array) -> jax.Array:
    carry = predictor.initial_carry(1)
    return predictor.apply(params, carry, hot, never)[1][:, 0]

  slopes = jax.jit(jax.jacrev(outputs))(hot)  # [T, V, T, 1, V]
  return np.abs(np.asarray(slopes)).max(axis=(1, 3, 4))


def total_probability(
  predictor: predictors.Predictor, params: Any, *, length: int
) -> float:
  """The sum over all strings of a length of what the model gives them.

  Args:
    predictor: the model; each string is read whole, after the null vector.
    params: its weights.
    length: T.
  """
  symbols = predictor.vocabulary_size
  strings = np.array(
    list(itertools.product(range(symbols), repeat=length)), np.int32
  ).T

  @jax.jit
  def nats(strings: jax.Array) -> jax.Array:
    null = jnp.full_like(strings[:1], -1)
    inputs = jnp.concatenate([null, strings[:-1]])
    everywhere = jnp.ones(strings.shape, bool)
    carry = predictor.initial_carry(strings.shape[1])
    _, logits = predictor.apply(params, carry, inputs, ~everywhere)
    return jnp.sum(losses.cross_entropy(logits, strings, everywhere)[0], axis=0)

  found = np.asarray(nats(jnp.asarray(strings)), np.float64)
  return float(np.exp(-found).sum())
