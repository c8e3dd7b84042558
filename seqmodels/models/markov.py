"""Markov models of order k, fitted by counting and scored exactly.

    P(x_1, ..., x_T) = prod_t P(x_t | x_{t-k}, ..., x_{t-1})
    P(b | a) = (n(a b) + eps) / (n(a) + V eps)

n(a b) counts b after the context a of k symbols, and n(a) is its sum over b.
The first symbols of a sequence have contexts as short as what there is, so a
model of order k has the tables of all shorter contexts, too, and the whole is a
distribution over sequences: it sums to 1.

A kernel is the table as an array [V, ..., V] of k + 1 axes, the last being the
symbol that comes next. `data.series.markov_chain` samples from one.
"""

import dataclasses
from typing import Self

import numpy as np

from seqmodels import errors

# A table beyond this is no longer counted but stored zeros.
_MOST_ENTRIES = 50_000_000


@dataclasses.dataclass(frozen=True)
class Markov:
  """A fitted model.

  Attributes:
    order: k, the symbols that the next one depends on.
    vocabulary_size: V; ids are 0 to V - 1.
    tables: for j = 0 to k, the next symbol after every context of j symbols,
      float64 [V^j, V]; a context's row is its ids read as a number of base V.

  >>> model = Markov.fit(np.array([0, 1, 0, 1, 1]), 2, order=1)
  >>> model.tables[1]
  array([[0. , 1. ], [0.5, 0.5]])
  >>> np.exp(-model.nats(np.array([1, 1, 0])))
  array([0.6, 0.5, 0.5])
  """

  order: int
  vocabulary_size: int
  tables: tuple[np.ndarray, ...]

  @classmethod
  def fit(
    cls,
    tokens: np.ndarray,
    vocabulary_size: int,
    *,
    order: int,
    epsilon: float = 0.0,
  ) -> Self:
    """Counts a sequence.

    Args:
      tokens: integer ids [N].
      vocabulary_size: V.
      order: k, from 1 to N - 1. `up_to(0)` of the model is the one of
        independent symbols.
      epsilon: added to every count, at least 0. Without it what was not seen is
        impossible, and a context that was not seen has the uniform row.

    Raises:
      UserError: no tokens, an id outside the vocabulary, an order outside its
        range, a table beyond memory, or a negative epsilon.
    """
    tokens = _checked(tokens, vocabulary_size)
    if not 1 <= order < len(tokens):
      raise errors.UserError(
        f"a Markov model of order {order} cannot be counted in {len(tokens)} "
        f"symbols; give an order from 1 to {len(tokens) - 1}"
      )
    if vocabulary_size ** (order + 1) > _MOST_ENTRIES:
      raise errors.UserError(
        f"the table of order {order} over {vocabulary_size} symbols has "
        f"{vocabulary_size ** (order + 1):,} entries and may have "
        f"{_MOST_ENTRIES:,}; lower the order, or take models.ngram, which "
        "stores what was seen only"
      )
    if not epsilon >= 0:
      raise errors.UserError(f"epsilon is {epsilon}; it must be at least 0")
    tables = []
    for length in range(order + 1):
      rows = vocabulary_size**length
      places = _contexts(tokens, vocabulary_size, length)[length:]
      cells = places * vocabulary_size + tokens[length:]
      counts = np.bincount(cells, minlength=rows * vocabulary_size)
      shares = counts.reshape(rows, vocabulary_size) + epsilon
      totals = shares.sum(axis=1, keepdims=True)
      uniform = np.full_like(shares, 1 / vocabulary_size)
      tables.append(np.divide(shares, totals, out=uniform, where=totals > 0))
    return cls(order, vocabulary_size, tuple(tables))

  def up_to(self, order: int) -> "Markov":
    """The model that reads at most the last `order` symbols.

    Raises:
      UserError: an order that this model does not hold.
    """
    if not 0 <= order <= self.order:
      raise errors.UserError(
        f"a model of order {self.order} holds no model of order {order}; give "
        f"0 to {self.order}"
      )
    return Markov(order, self.vocabulary_size, self.tables[: order + 1])

  @property
  def kernel(self) -> np.ndarray:
    """The longest table as [V, ..., V] with k + 1 axes."""
    return self.tables[-1].reshape((self.vocabulary_size,) * (self.order + 1))

  def distribution(self, context: np.ndarray) -> np.ndarray:
    """Of the symbol after any sequence of ids, float64 [V]."""
    read = np.append(np.asarray(context, np.int64), 0)
    read = _checked(read, self.vocabulary_size)[-self.order - 1 :]
    length = len(read) - 1
    row = _contexts(read, self.vocabulary_size, length)[-1]
    return self.tables[length][row]

  def nats(self, tokens: np.ndarray) -> np.ndarray:
    """-log P of every symbol given those before it, float64 [N].

    Their sum is that of the whole sequence, its first symbols included.

    Raises:
      UserError: no tokens, or an id outside the vocabulary.
    """
    tokens = _checked(tokens, self.vocabulary_size)
    shares = np.empty(len(tokens))
    for length, table in enumerate(self.tables):
      last = len(tokens) if length == self.order else length + 1
      part = slice(length, last)
      rows = _contexts(tokens[:last], self.vocabulary_size, length)
      shares[part] = table[rows[length:], tokens[part]]
    with np.errstate(divide="ignore"):
      return -np.log(shares)


def _contexts(tokens: np.ndarray, size: int, length: int) -> np.ndarray:
  """The `length` ids before each place as a number; right from there on."""
  found = np.zeros(len(tokens), np.int64)
  for back in range(length, 0, -1):
    found = found * size + np.roll(tokens, back)
  return found


def _checked(tokens: np.ndarray, vocabulary_size: int) -> np.ndarray:
  if not len(tokens):
    raise errors.UserError(
      "a Markov model was given no symbols; give at least 1"
    )
  found = np.asarray(tokens, np.int64)
  outside = found[(found < 0) | (found >= vocabulary_size)]
  if len(outside):
    raise errors.UserError(
      f"a Markov model over {vocabulary_size} symbols was given the id "
      f"{outside[0]}; give ids from 0 to {vocabulary_size - 1}"
    )
  return found
