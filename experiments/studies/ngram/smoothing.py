"""Smoothing of n-grams compared.

Kneser-Ney with backing off: shorter contexts only for what is new.

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

Every form of n-gram smoothing, fitted to a corpus and scored on its test.

What a form has to choose (the weight of pseudo-counts) is chosen on the
validation split; the test split is scored once.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Self

import numpy as np

from experiments.studies import run
from experiments.studies.common import figures, ngram_counts
from seqmodels import units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import ngram

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

  def laplace(back_off: str) -> Callable[[float], ngram_counts.LaplaceNGram]:
    return lambda e: ngram_counts.LaplaceNGram(
      level.counts, (e,) * order, back_off
    )

  found = {
    ADD_K: _searched(
      level,
      "k",
      added,
      lambda k: ngram_counts.LaplaceNGram.add_k(level.counts, k, order=order),
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
    found[backing] = _scored(level, BackoffNGram.of(model), "", start)
  return found


def _searched(
  level: Level,
  name: str,
  values: Sequence[float],
  build: Callable[[float], ngram_counts.LaplaceNGram],
) -> Fit:
  """The value that does best on the validation split."""
  start = time.perf_counter()
  best = min(values, key=lambda v: build(v).nats(level.splits["valid"]).sum())
  return _scored(level, build(best), f"{name} = {best:g}", start)


def _scored(level: Level, model: Model, chosen: str, start: float) -> Fit:
  nats = model.nats(level.splits["test"])
  perplexity = units.perplexity(float(nats.sum()), len(nats))
  return Fit(model, perplexity, chosen, time.perf_counter() - start)


UNITS = {"words": "word", "characters": "character"}
# Those of the figure.
DRAWN = (
  *(ADD_K, SINGLE, SHORTER),
  *(BACKING, MODIFIED),
)
Fits = dict[str, dict[int, Fit]]  # by form and order


def add(study: run.Study, level: Level, orders: Sequence[int]) -> Fits:
  """Adds the section to the study's page; returns the fits.

  Args:
    study: whose settings say what is chosen among.
    level: the corpus.
    orders: of the n-grams, ascending.
  """
  page = study.lesson
  page.section(f"{level.name.capitalize()}: smoothing compared")
  if level.name == study.config.settings.levels[0]:
    _explained(study)
  settings = study.config.settings
  fits: Fits = {form: {} for form in FORMS}
  for order in orders:
    found = fitted(
      level, order, added=settings.added, pseudo_counts=settings.pseudo_counts
    )
    for form, fit in found.items():
      fits[form][order] = fit
    study.signals.check()
  page.say(f"""
    Perplexity a {UNITS[level.name]} of the test text,
    {len(level.splits["test"]):,} {level.name}, by order n; in brackets the k or
    e that did best on the validation text.
  """)
  page.table(
    ["form", *(f"n = {order}" for order in orders)],
    [
      [
        form,
        *(
          results.figure(fit.perplexity) + (fit.chosen and f" ({fit.chosen})")
          for fit in by_order.values()
        ),
      ]
      for form, by_order in fits.items()
    ],
  )
  _drawn(study, level, fits, orders)
  read = len(level.splits["train"]) + len(level.splits["test"])
  page.say(f"""
    Counting the training text and scoring the test, {read:,} {level.name} in
    all, took {_seconds(fits[MODIFIED])} in the last of these forms.

    Best orders: {_best(fits, ADD_K)};
    {_best(fits, SHORTER)}; {_best(fits, MODIFIED)}. A form
    that knows contexts of one length alone gets worse as soon as those become
    rare. One that passes on to the next shorter context, step by step, can
    afford long ones, and what it does with the counts that it has decides the
    rest. Backing off uses the shorter context only for what was never seen;
    interpolating uses it always, which helps most where counts are ones.
  """)
  return fits


def _explained(study: run.Study) -> None:
  study.lesson.say("""
    A symbol never seen after a context must not be impossible: one such symbol
    makes the perplexity of the whole text infinite. Every remedy takes
    probability from what was seen and gives it to what was not, and they differ
    in how much, and to whom. Adding k to every count (Laplace: k = 1) gives to
    all alike. Pseudo-counts give to what another model b expects:
  """)
  study.lesson.shown("""
    add k           p(w | u) = (c(u w) + k) / (c(u) + k V)
    pseudo-counts   p(w | u) = (c(u w) + e b(w | u)) / (c(u) + e)
                    b = p(w), or b = p(w | u'), u' being u without its first
    Kneser-Ney      p(w | u) = (c(u w) - d) / c(u) + g(u) p(w | u'),
                    g(u) such that all sums to one
  """)
  study.lesson.say("""
    Kneser and Ney take the same d < 1 from every count, and count the shorter
    contexts differently: not how often u' w occurred, but after how many
    different symbols. A word that is frequent in one phrase only is a bad guess
    elsewhere. The modified form has three d, for counts of 1, 2 and more, all
    estimated from the counts themselves. Both are shown interpolated (as above)
    and backing off (the second term only where c(u w) = 0).
  """)


def _drawn(
  study: run.Study,
  level: Level,
  fits: Fits,
  orders: Sequence[int],
) -> None:
  words = level.name == "words"
  unit = "perplexity a word" if words else "bits a character"
  figures.curves(
    study.lesson.figure(
      f"smoothing_{level.name}",
      f"{unit.capitalize()} of the test text against the order, by the form of "
      "smoothing"
      + ("." if words else " (bits are the logarithm of the perplexity)."),
    ),
    f"Orders and smoothing: {level.name}",
    {
      form: (
        orders,
        [
          value if words else math.log2(value)
          for value in (fits[form][order].perplexity for order in orders)
        ],
      )
      for form in DRAWN
    },
    x="order n",
    y=unit,
    log_y=words,
    marks=True,
  )


def _seconds(by_order: dict[int, Fit]) -> str:
  return ", ".join(
    f"{fit.seconds:.2f} s at n = {order}" for order, fit in by_order.items()
  )


def _best(fits: Fits, form: str) -> str:
  order = min(fits[form], key=lambda n: fits[form][n].perplexity)
  value = results.figure(fits[form][order].perplexity)
  return f"{form}, n = {order} (perplexity {value})"
