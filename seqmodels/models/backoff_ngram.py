"""Kneser-Ney with backing off: shorter contexts only for what is new.

    p(w | u) = (c(u w) - d) / c(u)     where u w was seen,
               a(u) p(w | u')          where it was not

The form of Kneser and Ney (1995), and of Katz before them: `ngram.NGram`
interpolates, adding a share of the shorter context to every symbol, seen or
not. Counts and discounts are the same. a(u) spends exactly what the discounts
saved,

    a(u) = (g(u) / c(u)) / (1 - sum over seen u w of p(w | u')),

and below the contexts of one symbol the model stays interpolated, with the
uniform distribution, so that no symbol is impossible. Where every symbol was
seen after u there is nothing to back off to, and the seen ones share the whole.
"""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from seqmodels.models import ngram, ngram_counts

# Less than this among the unseen symbols is a sum's rounding, not a share.
_NOTHING = 1e-12


@dataclasses.dataclass(frozen=True)
class BackoffNGram:
  """A model as two tables a length, from the counts of another.

  Attributes:
    source: the interpolated model whose counts and discounts these are.
    shares: float64 `[G]` of each length, p of each n-gram that was seen; among
      single symbols, of all.
    weights: float64 `[parents]` of each length, a of every context.

  >>> text = np.array([0, 1, 0, 1, 0, 1, 2])
  >>> model = BackoffNGram.of(ngram.NGram.fit(text, 4, order=2))
  >>> model.distribution([1]).round(3).tolist()
  [0.5, 0.233, 0.167, 0.1]
  """

  source: ngram.NGram
  shares: tuple[np.ndarray, ...]
  weights: tuple[np.ndarray, ...]

  @classmethod
  def of(cls, source: ngram.NGram) -> Self:
    """The backing-off form of an interpolated model.

    Args:
      source: of any order, with one discount a length or three.
    """
    base = source.vocabulary_size + 1
    shares: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    suffixes = np.zeros(1, np.int64)  # of the contexts: without first symbol
    for length, level in enumerate(source.levels, 1):
      contexts, symbols = np.divmod(level.keys, base)
      totals = np.maximum(level.context_counts, 1)
      saved = level.context_discounts / totals
      own = level.discounted / totals[contexts]
      if length == 1:
        own = own + saved[0] / source.vocabulary_size
        own[source.vocabulary_size] = 0.0  # the boundary is never predicted
        shares.append(own)
        weights.append(np.ones(1))
        suffixes = np.zeros(base, np.int64)
        continue
      ids = symbols
      if length > 2:
        shorter = source.levels[length - 2].keys
        ids = ngram.find(shorter, suffixes[contexts] * base + symbols)
      size, below = len(level.context_counts), shares[-1][ids]
      kept = own > 0  # a discount of 1 leaves nothing of what came once
      left = 1.0 - np.bincount(contexts[kept], below[kept], size)
      backs = left > _NOTHING
      weights.append(np.where(backs, saved / np.where(backs, left, 1.0), 0.0))
      # An unseen context hands everything to the shorter one.
      weights[-1][level.context_counts == 0] = 1.0
      whole = np.where(backs, 1.0, np.maximum(1.0 - saved, _NOTHING))
      shares.append(
        np.where(kept, own / whole[contexts], weights[-1][contexts] * below)
      )
      suffixes = ids
    return cls(source, tuple(shares), tuple(weights))

  @property
  def order(self) -> int:
    """n; contexts have up to n - 1 symbols."""
    return self.source.order

  @property
  def vocabulary_size(self) -> int:
    """V."""
    return self.source.vocabulary_size

  def nats(self, tokens: np.ndarray) -> np.ndarray:
    """-log p of every token of a split given those before it, float64 `[N]`.

    Raises:
      errors.UserError: an id outside the vocabulary.
    """
    size = self.vocabulary_size
    text = ngram.with_boundaries(tokens, size, self.source.sentence_end)
    found = np.ones(len(text))
    walk = ngram_counts.lookups(
      [level.keys for level in self.source.levels], text, size
    )
    for shares, weights, (contexts, ids) in zip(
      self.shares, self.weights, walk, strict=True
    ):
      backed = np.where(contexts >= 0, weights[contexts], 1.0) * found
      found = np.where(ids >= 0, shares[ids], backed)
    return -np.log(found[text < size])

  def distribution(self, history: Sequence[int]) -> np.ndarray:
    """p of every symbol of the vocabulary after a history, float64 `[V]`.

    Args:
      history: the symbols since the beginning of the sequence, or as many of
        the last as the order reaches; an empty one is the beginning.

    Raises:
      errors.UserError: an id outside the vocabulary.
    """
    size, levels = self.vocabulary_size, self.source.levels
    text = ngram.as_context(history, size, self.source.sentence_end)
    keys = [level.keys for level in levels]
    found = np.zeros(size + 1)
    for known, shares, weights, context in zip(
      keys,
      self.shares,
      self.weights,
      ngram_counts.contexts_of(keys, text, size),
      strict=False,
    ):
      edges = context * (size + 1) + np.array([0, size + 1])
      children = slice(*np.searchsorted(known, edges))
      found *= weights[context]
      found[known[children] % (size + 1)] = shares[children]
    return found[:-1]
