"""Every form of n-gram smoothing, fitted to a corpus and scored on its test.

What a form has to choose (the weight of pseudo-counts) is chosen on the
validation split; the test split is scored once.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from seqmodels import units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.models import (
  backoff_ngram,
  laplace_ngram,
  ngram,
  ngram_counts,
)

ADD_K = "add k"
SINGLE = "pseudo-counts, back-off to single symbols"
SHORTER = "pseudo-counts, back-off to shorter contexts"
BACKING = "Kneser-Ney, backing off"
INTERPOLATED = "Kneser-Ney, interpolated"
MODIFIED_BACKING = "modified Kneser-Ney, backing off"
MODIFIED = "modified Kneser-Ney, interpolated"
FORMS = (
  *(ADD_K, SINGLE, SHORTER, BACKING, INTERPOLATED),
  *(MODIFIED_BACKING, MODIFIED),
)


class Model(Protocol):
  """What every n-gram model can do."""

  def nats(self, tokens: np.ndarray) -> np.ndarray:
    """-log p of every token, float64 `[N]`."""

  def distribution(self, history: Sequence[int]) -> np.ndarray:
    """p of every symbol after a history, float64 `[V]`."""


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


class Fit(NamedTuple):
  """A form at one order."""

  model: Model
  perplexity: float  # on the test split
  chosen: str  # what validation chose, if anything
  seconds: float


def fitted(
  level: Level,
  order: int,
  *,
  added: Sequence[float],
  pseudo_counts: Sequence[float],
) -> dict[str, Fit]:
  """Every form of `FORMS` at one order.

  Args:
    level: the corpus, counted up to that order at least.
    order: n.
    added: values of k to choose among.
    pseudo_counts: values of e.
  """

  def kneser_ney(modified: bool) -> ngram.NGram:
    return ngram.NGram.fit(
      level.splits["train"],
      level.counts.vocabulary_size,
      order=order,
      sentence_end=level.tokens.sentence_end,
      modified=modified,
    )

  def laplace(back_off: str) -> Callable[[float], laplace_ngram.LaplaceNGram]:
    return lambda e: laplace_ngram.LaplaceNGram(
      level.counts, (e,) * order, back_off
    )

  found = {
    ADD_K: _searched(
      level,
      "k",
      added,
      lambda k: laplace_ngram.LaplaceNGram.add_k(level.counts, k, order=order),
    ),
    SINGLE: _searched(level, "e", pseudo_counts, laplace("unigram")),
    SHORTER: _searched(level, "e", pseudo_counts, laplace("shorter")),
  }
  for backing, interpolated, modified in (
    (BACKING, INTERPOLATED, False),
    (MODIFIED_BACKING, MODIFIED, True),
  ):
    start = time.perf_counter()
    model = kneser_ney(modified)
    found[interpolated] = _scored(level, model, "", start)
    start = time.perf_counter()
    found[backing] = _scored(
      level, backoff_ngram.BackoffNGram.of(model), "", start
    )
  return found


def _searched(
  level: Level,
  name: str,
  values: Sequence[float],
  build: Callable[[float], laplace_ngram.LaplaceNGram],
) -> Fit:
  """The value that does best on the validation split."""
  start = time.perf_counter()
  best = min(values, key=lambda v: build(v).nats(level.splits["valid"]).sum())
  return _scored(level, build(best), f"{name} = {best:g}", start)


def _scored(level: Level, model: Model, chosen: str, start: float) -> Fit:
  nats = model.nats(level.splits["test"])
  perplexity = units.perplexity(float(nats.sum()), len(nats))
  return Fit(model, perplexity, chosen, time.perf_counter() - start)
