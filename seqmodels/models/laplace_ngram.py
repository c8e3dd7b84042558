"""n-grams smoothed with pseudo-counts: Laplace's idea and its descendants.

    p(w | u) = (c(u w) + e b(w | u)) / (c(u) + e)

As if every context u had been seen e times more, each time followed by what a
back-off b expects. The forms differ in b:

    "uniform"  b = 1 / V: e = k V adds k to every count (Laplace has k = 1,
               Lidstone any k)
    "unigram"  b = p(w), itself smoothed towards 1 / V: the textbook's (Zhang
               et al., Dive into Deep Learning), for contexts of any length
    "shorter"  b = p(w | u'), with u' = u without its first symbol

e = 0 leaves relative frequencies, e to infinity the back-off. Whatever e, a
context that was never seen gives its back-off, and the first symbols of a text
have contexts as short as what there is. `<unk>` is a symbol like any other and
has its share even where nothing in training was unknown, so that probabilities
over the vocabulary sum to one. That share is then e / (V (N + e)) with the e of
single symbols, which so decides what every unknown word of a new text costs.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from seqmodels import errors
from seqmodels.models import ngram, ngram_counts

BACK_OFFS = ("uniform", "unigram", "shorter")


@dataclasses.dataclass(frozen=True)
class LaplaceNGram:
  """A smoothed model over counts, which several models may share.

  Attributes:
    counts: of the training text.
    pseudo_counts: e of each length of n-gram, shortest first; as many as the
      model's order.
    back_off: a name in `BACK_OFFS`.

  >>> text = np.array([0, 1, 0, 1, 0, 2])
  >>> model = LaplaceNGram.fit(text, 4, order=2, pseudo_count=1.0)
  >>> model.distribution([0]).round(3).tolist()
  [0.116, 0.58, 0.295, 0.009]
  >>> model.distribution([3]).tolist() == model.distribution([]).tolist()
  False
  """

  counts: ngram_counts.NGramCounts
  pseudo_counts: tuple[float, ...]
  back_off: str = "shorter"

  def __post_init__(self) -> None:
    """Refuses what is no model."""
    if self.back_off not in BACK_OFFS:
      raise errors.UserError(
        f"no back-off is called {self.back_off!r}"
        + errors.closest(self.back_off, BACK_OFFS)
      )
    bad = [e for e in self.pseudo_counts if not 0 <= e < math.inf]
    if bad:
      raise errors.UserError(
        f"a pseudo-count is {bad[0]}; give finite numbers from 0 up"
      )
    if not 1 <= len(self.pseudo_counts) <= self.counts.order:
      raise errors.UserError(
        f"{len(self.pseudo_counts)} pseudo-counts were given for n-grams "
        f"counted up to {self.counts.order} symbols; give one for each length "
        f"from 1, at most {self.counts.order}"
      )

  @classmethod
  def fit(
    cls,
    tokens: np.ndarray,
    vocabulary_size: int,
    *,
    order: int,
    pseudo_count: float = 1.0,
    back_off: str = "shorter",
    sentence_end: int | None = None,
  ) -> Self:
    """Counts a text and smooths every length with one pseudo-count.

    Args:
      tokens: integer ids `[N]`.
      vocabulary_size: V.
      order: n, from 1 to N.
      pseudo_count: e, at least 0.
      back_off: a name in `BACK_OFFS`.
      sentence_end: as of `ngram_counts.NGramCounts`.

    Raises:
      errors.UserError: what cannot be counted, or a bad setting.
    """
    counts = ngram_counts.NGramCounts.of(
      tokens, vocabulary_size, order=order, sentence_end=sentence_end
    )
    return cls(counts, (pseudo_count,) * order, back_off)

  @classmethod
  def add_k(
    cls, counts: ngram_counts.NGramCounts, k: float, *, order: int
  ) -> Self:
    """Adds k to the count of every n-gram: p = (c(u w) + k) / (c(u) + k V).

    Raises:
      errors.UserError: a negative k, or an order beyond the counts.
    """
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

    Raises:
      errors.UserError: an id outside the vocabulary.
    """
    size = self.vocabulary_size
    text = ngram.with_boundaries(tokens, size, self.counts.sentence_end)
    levels = self.counts.levels[: self.order]
    room = ngram_counts.room(text, size)
    shares = unigram = np.full(len(text), 1.0 / size)
    walk = ngram_counts.lookups([level.keys for level in levels], text, size)
    for length, (level, (contexts, ids)) in enumerate(
      zip(levels, walk, strict=True)
    ):
      seen = np.where(ids >= 0, level.counts[ids], 0)
      totals = np.where(contexts >= 0, level.context_counts[contexts], 0)
      mixed = self._mixed(length, seen, totals, shares, unigram)
      # The first symbols have contexts as short as what there is.
      shares = np.where(room >= length, mixed, shares)
      if length == 0:
        unigram = shares
    with np.errstate(divide="ignore"):
      return -np.log(shares[text < size])

  def distribution(self, history: Sequence[int]) -> np.ndarray:
    """p of every symbol of the vocabulary after a history, float64 `[V]`.

    Args:
      history: the symbols since the beginning of the sequence, or as many of
        the last as the order reaches; an empty one is the beginning.

    Raises:
      errors.UserError: an id outside the vocabulary.
    """
    size = self.vocabulary_size
    text = ngram.as_context(history, size, self.counts.sentence_end)
    levels = self.counts.levels[: self.order]
    room = int(ngram_counts.room(text, size)[-1]) + 1
    found = ngram_counts.contexts_of([x.keys for x in levels], text, size)
    shares = unigram = np.full(size, 1.0 / size)
    for length, level in enumerate(levels[: room + 1]):
      seen, total = np.zeros(size + 1, np.int64), np.int64(0)
      if length < len(found):
        edges = found[length] * (size + 1) + np.array([0, size + 1])
        children = slice(*np.searchsorted(level.keys, edges))
        seen[level.keys[children] % (size + 1)] = level.counts[children]
        total = level.context_counts[found[length]]
      shares = self._mixed(length, seen[:-1], total, shares, unigram)
      if length == 0:
        unigram = shares
    return shares

  def _mixed(
    self,
    length: int,
    seen: np.ndarray,
    totals: np.ndarray | np.integer,
    shorter: np.ndarray,
    unigram: np.ndarray,
  ) -> np.ndarray:
    """p with contexts of `length` symbols, given those of shorter ones."""
    below = shorter  # which is uniform under the empty context
    if length and self.back_off == "uniform":
      below = np.full_like(shorter, 1.0 / self.vocabulary_size)
    if length and self.back_off == "unigram":
      below = unigram
    e = self.pseudo_counts[length]
    sums = totals + e
    # Never seen and e = 0: the limit of e to 0, the back-off.
    mixed = (seen + e * below) / np.where(sums > 0, sums, 1.0)
    return np.where(sums > 0, mixed, below)
