"""Every form of n-gram smoothing, fitted to a text and scored on its test.

Kneser-Ney comes in two kinds. `ngram.NGram` interpolates. Here is the form of
Kneser and Ney (1995), and of Katz before them, which backs off:

    p(w | u) = (c(u w) - d) / c(u)     where u w was seen,
               a(u) p(w | u')          where it was not

Counts and discounts are the same. a(u) spends exactly what the discounts saved,

    a(u) = (g(u) / c(u)) / (1 - sum over seen u w of p(w | u')),

and below the contexts of one symbol the model stays interpolated, with the
uniform distribution, so that no symbol is impossible. Where every symbol was
seen after u there is nothing to back off to, and the seen ones share the whole.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from experiments.studies.common import ngram_counts, training
from seqmodels import losses
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.models import ngram

# Less than this among the unseen symbols is a sum's rounding, not a share.
_NOTHING = 1e-12


class BackoffNGram(NamedTuple):
  """A model as two tables a length, from the counts of an interpolated one.

  >>> text = np.array([0, 1, 0, 1, 0, 1, 2])
  >>> model = BackoffNGram.of(ngram.NGram.fit(text, 4, order=2))
  >>> np.exp(-model.nats(np.array([1, 0]))).round(3).tolist()
  [0.206, 0.5]
  """

  source: ngram.NGram
  # Of each length: float64 `[G]`, p of each n-gram that was seen (among single
  # symbols, of all), and float64 `[parents]`, a of every context.
  shares: tuple[np.ndarray, ...]
  weights: tuple[np.ndarray, ...]

  @classmethod
  def of(cls, source: ngram.NGram) -> Self:
    """The backing-off form of an interpolated model."""
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

  def nats(self, tokens: np.ndarray) -> np.ndarray:
    """-log p of every token of a split given those before it, float64 `[N]`."""
    size = self.source.vocabulary_size
    text = ngram.with_boundaries(tokens, size, self.source.sentence_end)
    result = np.ones(len(text))
    keys = [level.keys for level in self.source.levels]
    walk = ngram_counts.lookups(keys, text, size)
    for shares, weights, (contexts, ids) in zip(
      self.shares, self.weights, walk, strict=True
    ):
      backed = np.where(contexts >= 0, weights[contexts], 1.0) * result
      result = np.where(ids >= 0, shares[ids], backed)
    return -np.log(result[text < size])


class Level(NamedTuple):
  """A corpus as words or as characters, its training text counted."""

  name: str  # "words" or "characters"
  tokens: tokens_lib.Tokens
  counts: ngram_counts.NGramCounts
  splits: dict[str, np.ndarray]

  @classmethod
  def of(cls, name: str, tokens: tokens_lib.Tokens, order: int) -> "Level":
    """Counts up to `order`."""
    splits = {split: np.asarray(ids) for split, ids in tokens.splits.items()}
    counts = ngram_counts.NGramCounts.of(
      splits["train"],
      tokens.vocabulary.size,
      order=order,
      sentence_end=tokens.sentence_end,
    )
    return cls(name, tokens, counts, splits)

  def pseudo_counts(
    self, back_off: str, order: int, e: float
  ) -> ngram_counts.LaplaceNGram:
    """The counts smoothed by as much at every length."""
    return ngram_counts.LaplaceNGram(self.counts, (e,) * order, back_off)

  def kneser_ney(self, order: int, *, modified: bool = False) -> ngram.NGram:
    """The interpolated model of the training text."""
    return ngram.NGram.fit(
      self.splits["train"],
      self.tokens.vocabulary.size,
      order=order,
      sentence_end=self.tokens.sentence_end,
      modified=modified,
    )


class Fit(NamedTuple):
  """A form at one order."""

  model: Any  # with `nats`
  score: losses.Metrics  # of the test split
  chosen: str  # what validation chose, if anything


ADD_K = "add k"
SINGLE = "pseudo-counts, back-off to single symbols"
SHORTER = "pseudo-counts, back-off to shorter contexts"
BACKING = "Kneser-Ney, backing off"
INTERPOLATED = "Kneser-Ney, interpolated"
MODIFIED_BACKING = "modified Kneser-Ney, backing off"
MODIFIED = "modified Kneser-Ney, interpolated"
# (level, order, k or e) -> a model; e is unused where nothing is chosen.
FORMS: dict[str, Callable[[Level, int, float], Any]] = {
  ADD_K: lambda level, order, k: ngram_counts.LaplaceNGram.add_k(
    level.counts, k, order=order
  ),
  SINGLE: lambda level, *e: level.pseudo_counts("unigram", *e),
  SHORTER: lambda level, *e: level.pseudo_counts("shorter", *e),
  BACKING: lambda level, order, _: BackoffNGram.of(level.kneser_ney(order)),
  INTERPOLATED: lambda level, order, _: level.kneser_ney(order),
  MODIFIED_BACKING: lambda level, order, _: BackoffNGram.of(
    level.kneser_ney(order, modified=True)
  ),
  MODIFIED: lambda level, order, _: level.kneser_ney(order, modified=True),
}


def fit(level: Level, form: str, order: int, settings: Any) -> Fit:
  """A form at one order, with the k or e that is best on the validation split.

  The settings list what there is to choose from.
  """
  began, build = time.perf_counter(), FORMS[form]
  name, values = {
    ADD_K: ("k", settings.added),
    SINGLE: ("e", settings.pseudo_counts),
    SHORTER: ("e", settings.pseudo_counts),
  }.get(form, ("", (0.0,)))

  def cost(value: float) -> float:
    return build(level, order, value).nats(level.splits["valid"]).sum()

  best = min(values, key=cost) if name else 0.0
  model = build(level, order, best)
  score = training.counted(model.nats(level.splits["test"]), began)
  return Fit(model, score, f"{name} = {best:g}" if name else "")
