"""Counts of n-grams over integer ids, and models of pseudo-counts.

    c(u w): occurrences of the n-gram u w,    c(u) = sum over w of c(u w)

So c(u) counts u as a context. A symbol that ends the text is a context of
nothing: dividing by the occurrences of u would lose probability there. The
n-grams of all lengths form the trie of `ngram.NGram`, built by the same sorts,
with the same boundary in front of every sequence.

    p(w | u) = (c(u w) + e b(w | u)) / (c(u) + e)

The forms of smoothing differ in the back-off b:

    "uniform"  b = 1 / V: e = k V adds k to every count
    "unigram"  b = p(w), itself smoothed towards 1 / V, for contexts of any
               length (Zhang et al., Dive into Deep Learning)
    "shorter"  b = p(w | u'), with u' = u without its first symbol

A context that was never seen gives its back-off, and the first symbols of a
text have contexts as short as what there is. `<unk>` has its share even where
nothing in training was unknown, so that the vocabulary sums to one.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np

from seqmodels import errors
from seqmodels.models import ngram


class Level(NamedTuple):
  """All n-grams of one length by ascending key; their index is their id.

  A key is `parent * (V + 1) + symbol`, the parent being the id, one length
  shorter, of the n-gram without its last symbol.
  """

  keys: np.ndarray  # int64 [G]
  counts: np.ndarray  # int64 [G], c(u w)
  context_counts: np.ndarray  # int64 [parents], c(u)
  first: np.ndarray  # int64 [G], where in the text it first ends


@dataclasses.dataclass(frozen=True)
class NGramCounts:
  """The counts of one text.

  >>> counts = NGramCounts.of(np.array([0, 1, 0, 1, 2]), 3, order=2)
  >>> grams, times = counts.table(2)
  >>> grams.tolist(), times.tolist()
  ([[0, 1], [1, 0], [1, 2]], [2, 1, 1])
  """

  vocabulary_size: int  # V; ids are 0 to V - 1, and V is the boundary
  sentence_end: int | None  # after it a new sequence begins
  levels: tuple[Level, ...]  # the n-grams by length, shortest first

  @classmethod
  def of(
    cls,
    tokens: np.ndarray,
    vocabulary_size: int,
    *,
    order: int,
    sentence_end: int | None = None,
  ) -> Self:
    """Counts n-grams of up to `order` symbols, with one sort for each length.

    Raises:
      UserError: no tokens, or an order that no n-gram of the text can have.
    """
    if not len(tokens):
      raise errors.UserError(
        "the n-grams of an empty text were to be counted; give a text of at "
        "least 1 symbol"
      )
    if not 1 <= order <= len(tokens):
      raise errors.UserError(
        f"the n-gram order is {order} and the text has {len(tokens):,} "
        f"symbols; give an order from 1 to {len(tokens):,}"
      )
    text = ngram.with_boundaries(tokens, vocabulary_size, sentence_end)
    grams, keys = text, np.arange(vocabulary_size + 1)
    parents, sizes = np.zeros_like(keys), 1
    levels: list[Level] = []
    for length in range(1, order + 1):
      inside = np.flatnonzero(grams >= 0)
      counts = np.bincount(grams[inside], minlength=len(keys))
      if length == 1:
        counts[vocabulary_size] = 0  # the boundary: a context only
      first = np.full(len(keys), len(text))
      # Backwards, so that of several places the first is written last.
      first[grams[inside[::-1]]] = inside[::-1]
      contexts = np.bincount(parents, counts, sizes).astype(np.int64)
      levels.append(Level(keys, counts, contexts, first))
      if length < order:
        sizes = len(keys)
        grams, keys = ngram.extended(text, grams, vocabulary_size)
        parents = keys // (vocabulary_size + 1)
    return cls(vocabulary_size, sentence_end, tuple(levels))

  @property
  def order(self) -> int:
    """The greatest length."""
    return len(self.levels)

  def table(self, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of a length [G, length] and their counts, falling.

    Ties come by first occurrence. An n-gram that would reach over a sequence's
    edge is none.
    """
    _, counts, _, first = self.levels[length - 1]
    symbols: list[np.ndarray] = []
    ids = np.arange(len(counts))
    for level in reversed(self.levels[:length]):
      ids, symbol = np.divmod(level.keys[ids], self.vocabulary_size + 1)
      symbols.insert(0, symbol)
    grams = np.stack(symbols, axis=1)
    inside = np.flatnonzero((grams[:, 0] < self.vocabulary_size) & (counts > 0))
    order = inside[np.lexsort((first[inside], -counts[inside]))]
    return grams[order], counts[order]

  def unseen(self, tokens: np.ndarray, length: int) -> float:
    """Share of another text's n-grams that do not occur in this one.

    Those that cross the edge of a sequence are left out of both.
    """
    size = self.vocabulary_size
    text = ngram.with_boundaries(tokens, size, self.sentence_end)
    keys = [level.keys for level in self.levels[:length]]
    *_, (_, ids) = lookups(keys, text, size)
    if length == 1:  # every symbol has an id of length 1, counted or not
      ids = np.where(self.levels[0].counts[ids] > 0, ids, -1)
    whole = room(text, size) >= length
    return float(np.mean(ids[whole] < 0)) if whole.any() else 0.0


def room(text: np.ndarray, boundary: int) -> np.ndarray:
  """How far each place lies behind the boundary of its sequence, int64 `[N]`.

  >>> room(np.array([9, 4, 4, 9, 4]), 9).tolist()
  [0, 1, 2, 0, 1]
  """
  places = np.arange(len(text))
  return places - np.maximum.accumulate(np.where(text == boundary, places, 0))


def lookups(
  keys: Sequence[np.ndarray], text: np.ndarray, boundary: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """At every place of a text, its context and its n-gram, length by length.

  Yields the ids [N] of the n-gram without the place's own symbol, and with it;
  -1 where there is none, or where the boundary stands. The `keys` are those of
  lengths 1, 2, ..., as in `Level`.
  """
  contexts = np.zeros_like(text)  # the empty context is known everywhere
  inside = text < boundary
  for length, known in enumerate(keys, 1):
    ids = np.full_like(text, -1)
    places = np.flatnonzero((contexts >= 0) & inside)
    wanted = contexts[places] * (boundary + 1) + text[places]
    ids[places] = ngram.find(known, wanted)
    yield np.where(inside, contexts, -1), ids
    # The n-gram that ends at t is the context of t + 1, one length up.
    contexts = np.full_like(text, -1)
    contexts[1:] = text[:-1] if length == 1 else ids[:-1]


BACK_OFFS = ("uniform", "unigram", "shorter")


@dataclasses.dataclass(frozen=True)
class LaplaceNGram:
  """A smoothed model over counts, which several models may share.

  >>> text = np.array([0, 1, 0, 1, 0, 2])
  >>> model = LaplaceNGram(NGramCounts.of(text, 4, order=2), (1.0, 1.0))
  >>> model.distribution([0]).round(3).tolist()
  [0.116, 0.58, 0.295, 0.009]
  >>> model.distribution([3]).tolist() == model.distribution([]).tolist()
  False
  """

  counts: NGramCounts  # of the training text
  pseudo_counts: tuple[float, ...]  # e by length; as many as the order
  back_off: str = "shorter"  # a name in `BACK_OFFS`

  def __post_init__(self) -> None:
    """Refuses weights that make no probabilities."""
    bad = [e for e in self.pseudo_counts if not 0 <= e < math.inf]
    if bad:
      raise errors.UserError(
        f"a pseudo-count is {bad[0]}; give finite numbers from 0 up"
      )

  @classmethod
  def add_k(cls, counts: NGramCounts, k: float, *, order: int) -> Self:
    """Adds k to the count of every n-gram: p = (c(u w) + k) / (c(u) + k V)."""
    total = k * counts.vocabulary_size
    return cls(counts, (total,) * order, "uniform")

  @property
  def order(self) -> int:
    """n; contexts have up to n - 1 symbols."""
    return len(self.pseudo_counts)

  @property
  def vocabulary_size(self) -> int:
    """V."""
    return self.counts.vocabulary_size

  def nats(self, tokens: np.ndarray) -> np.ndarray:
    """-log p of every token of a split given those before it, float64 `[N]`.

    Infinite where a relative frequency (e = 0) is none.
    """
    size = self.vocabulary_size
    text = ngram.with_boundaries(tokens, size, self.counts.sentence_end)
    with np.errstate(divide="ignore"):
      return -np.log(self._shares(text)[text < size])

  def distribution(self, history: Sequence[int]) -> np.ndarray:
    """p of every symbol of the vocabulary after a history, float64 `[V]`.

    The history is that since the beginning of the sequence, or as many of the
    last symbols as the order reaches; an empty one is the beginning.
    """
    size = self.vocabulary_size
    text = ngram.as_context(history, size, self.counts.sentence_end)
    followed = np.column_stack([np.tile(text, (size, 1)), np.arange(size)])
    return self._shares(followed.ravel()).reshape(size, -1)[:, -1]

  def _shares(self, text: np.ndarray) -> np.ndarray:
    """p of every symbol of a text with boundaries, float64 `[N]`."""
    size, levels = self.vocabulary_size, self.counts.levels[: self.order]
    space = room(text, size)
    shares = unigram = uniform = np.full(len(text), 1.0 / size)
    walk = lookups([level.keys for level in levels], text, size)
    for length, (level, (contexts, ids)) in enumerate(
      zip(levels, walk, strict=True)
    ):
      seen = np.where(ids >= 0, level.counts[ids], 0)
      totals = np.where(contexts >= 0, level.context_counts[contexts], 0)
      # All three are uniform under the empty context.
      backs = {"uniform": uniform, "unigram": unigram, "shorter": shares}
      below = backs[self.back_off]
      e = self.pseudo_counts[length]
      sums = totals + e
      # Never seen and e = 0: the limit of e to 0, the back-off.
      mixed = (seen + e * below) / np.where(sums > 0, sums, 1.0)
      mixed = np.where(sums > 0, mixed, below)
      # The first symbols have contexts as short as what there is.
      shares = np.where(space >= length, mixed, shares)
      if length == 0:
        unigram = shares
    return shares
