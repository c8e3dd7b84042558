"""A model written out: the next symbol's probabilities after each prefix."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.models import api as predictors

# How far from 1 a written row may sum.
_SLACK = 1e-6


def as_predictor(
  rows: Mapping[tuple[int, ...], Sequence[float]],
) -> tuple[predictors.Predictor, Any]:
  """The table as a predictor, and its parameters.

      P(x_1 ... x_T) = prod_t rows[x_1 ... x_{t-1}][x_t]

  After a prefix that the table lacks all symbols are alike, so the
  probabilities of all strings of one length sum to 1 whatever is left out. The
  null vector is read as nothing.

  Args:
    rows: probabilities [V] by prefix; () is the beginning.

  Raises:
    errors.UserError: no row for (), rows of unlike widths, or a row that is no
      distribution.

  >>> predictor, params = as_predictor({(): [0.9, 0.1], (0,): [0.2, 0.8]})
  >>> ids = jnp.array([[-1], [0], [1]])
  >>> _, logits = predictor.apply(
  ...   params, predictor.initial_carry(1), ids, ids < -1
  ... )
  >>> np.asarray(jax.nn.softmax(logits))[:, 0].round(2)
  array([[0.9, 0.1],
         [0.2, 0.8],
         [0.5, 0.5]], dtype=float32)
  """
  symbols = _check(rows)
  # Prefixes are numbered from the root; one number more is "not in the table".
  number = {prefix: index for index, prefix in enumerate(sorted(rows, key=len))}
  elsewhere = len(number)
  chances = np.full((elsewhere + 1, symbols), 1.0 / symbols)
  following = np.full((elsewhere + 1, symbols), elsewhere, np.int32)
  for prefix, index in number.items():
    chances[index] = rows[prefix]
    for symbol in range(symbols):
      following[index, symbol] = number.get((*prefix, symbol), elsewhere)
  with np.errstate(divide="ignore"):
    logs = np.log(chances)

  def apply(
    params: Any, carry: jax.Array, inputs: jax.Array, reset: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    logs, following = params

    def step(
      node: jax.Array, now: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
      symbol, cleared = now
      node = jnp.where(cleared, 0, node)
      node = jnp.where(symbol < 0, node, following[node, symbol])
      return node, logs[node]

    return jax.lax.scan(step, carry, (inputs, reset))

  params = (jnp.asarray(logs, jnp.float32), jnp.asarray(following))
  predictor = predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: jnp.zeros(batch, jnp.int32),
    init=lambda key: params,
    vocabulary_size=symbols,
  )
  return predictor, params


def _check(rows: Mapping[tuple[int, ...], Sequence[float]]) -> int:
  """The number of symbols."""
  if () not in rows:
    raise errors.UserError(
      "the table of probabilities has no row for (), the beginning; give one"
    )
  symbols = len(rows[()])
  for prefix, row in rows.items():
    if len(row) != symbols:
      raise errors.UserError(
        f"the row of {prefix} has {len(row)} probabilities and that of () has "
        f"{symbols}; give every row one a symbol"
      )
    if min(row) < 0 or abs(sum(row) - 1) > _SLACK:
      raise errors.UserError(
        f"the row of {prefix} is no distribution: it sums to {sum(row):g} and "
        f"its least is {min(row):g}; give probabilities that sum to 1"
      )
  return symbols
