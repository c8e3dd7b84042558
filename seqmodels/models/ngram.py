"""Interpolated Kneser-Ney n-grams over integer ids, by sorting in NumPy.

For a symbol w after a context u = u_1..u_k, with u' = u_2..u_k,

    p(w | u) = (c(u w) - d(c(u w)) + g(u) p(w | u')) / c(u)

c(u) is the sum of c(u w) over w, and g(u) that of the discounts d(c(u w)),
d(0) being 0. Below the empty context lies the uniform distribution, so that
no symbol is ever impossible; a context that was not seen passes to u' at once.
At the full length c counts occurrences. At shorter ones, which is the idea of
Kneser and Ney (1995), c(v) counts the different symbols seen before v. The
discount is one constant a length, n1 / (n1 + 2 n2) with n_j the n-grams of
count j, or the three of Chen and Goodman (1999) for counts 1, 2 and more.

A sequence begins with a boundary, a symbol of contexts only. Nothing is seen
before an n-gram that starts with it, so that one keeps its occurrences as its
count at any length, and the first symbols of a sequence have contexts as short
as what there is.
"""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from seqmodels import errors


@dataclasses.dataclass(frozen=True)
class _Level:
  """All n-grams of one length by ascending key; their index is their id.

  A key is `parent * (V + 1) + symbol`, the parent being the id, one level up,
  of the n-gram without its last symbol. So the levels are a trie, and 64 bits
  hold any key, however long the n-gram.
  """

  keys: np.ndarray  # int64 [G]
  discounted: np.ndarray  # float64 [G], c(u w) - d(c(u w))
  context_counts: np.ndarray  # int64 [parents], c(u)
  context_discounts: np.ndarray  # float64 [parents], g(u)
  discounts: tuple[float, float, float]  # d(1), d(2), d(3 and more)


@dataclasses.dataclass(frozen=True)
class NGram:
  """A fitted model.

  Attributes:
    order: n; contexts have up to n - 1 symbols.
    vocabulary_size: V; ids are 0 to V - 1.
    sentence_end: the symbol after which a new sequence begins, or None if all
      is one sequence.
    levels: the n-grams by length, shortest first.

  >>> model = NGram.fit(np.array([0, 1, 0, 1, 0, 1, 2]), 3, order=2)
  >>> model.distribution([1]).round(3).tolist()
  [0.667, 0.083, 0.25]
  >>> np.exp(-model.nats(np.array([0, 1, 2]))).round(3).tolist()
  [0.75, 0.875, 0.25]
  """

  order: int
  vocabulary_size: int
  sentence_end: int | None
  levels: tuple[_Level, ...]

  @classmethod
  def fit(
    cls,
    tokens: np.ndarray,
    vocabulary_size: int,
    *,
    order: int,
    sentence_end: int | None = None,
    modified: bool = False,
  ) -> Self:
    """Counts a training split, with one sort for each length.

    Args:
      tokens: integer ids `[N]`.
      vocabulary_size: V.
      order: n, at least 1.
      sentence_end: a symbol after which contexts are empty, as the streams'
        sentence mode has it. It is predicted like any other.
      modified: three discounts a length instead of one.

    Raises:
      errors.UserError: no tokens, an id outside the vocabulary, order below 1.
    """
    if order < 1:
      raise errors.UserError(f"the n-gram order is {order}; give at least 1")
    if not len(tokens):
      raise errors.UserError(
        "an n-gram model was given no tokens; give it a training text"
      )
    boundary = vocabulary_size
    text = with_boundaries(tokens, vocabulary_size, sentence_end)
    # grams[t]: id of the n-gram of the present length that ends at t, -1
    # where a boundary cuts it. Single symbols are their own ids.
    grams, keys = text, np.arange(boundary + 1)
    parents = np.zeros_like(keys)
    bounded = keys == boundary  # n-grams that begin with the boundary
    sizes, levels = 1, []
    for length in range(1, order + 1):
      inside = np.flatnonzero(grams >= 0)
      counts = np.bincount(grams[inside], minlength=len(keys))
      if length == 1:
        counts[boundary] = 0  # a context only, never predicted
      if length < order:
        longer, longer_keys = extended(text, grams, boundary)
        # Each longer n-gram is one symbol seen before its last `length` ones.
        suffixes = np.zeros_like(longer_keys)
        whole = longer >= 0
        suffixes[longer[whole]] = grams[whole]
        seen_before = np.bincount(suffixes, minlength=len(keys))
        counts = np.where(bounded, counts, seen_before)
      levels.append(_level(keys, counts, parents, sizes, modified))
      if length < order:
        sizes, grams, keys = len(keys), longer, longer_keys
        parents = keys // (boundary + 1)
        bounded = bounded[parents]
    return cls(order, vocabulary_size, sentence_end, tuple(levels))

  def nats(self, tokens: np.ndarray) -> np.ndarray:
    """-log p of every token of a split given those before it, float64 `[N]`.

    The split is read as it was fitted: one sequence, or one to a sentence.

    Raises:
      errors.UserError: an id outside the vocabulary.
    """
    text = with_boundaries(tokens, self.vocabulary_size, self.sentence_end)
    base = self.vocabulary_size + 1
    contexts = np.zeros_like(text)  # the empty context is known everywhere
    shares = np.full(len(text), 1.0 / self.vocabulary_size)
    for level in self.levels:
      known = np.flatnonzero((contexts >= 0) & (text < base - 1))
      known = known[level.context_counts[contexts[known]] > 0]
      context = contexts[known]
      ids = find(level.keys, context * base + text[known])
      shares[known] = (
        np.where(ids >= 0, level.discounted[ids], 0.0)
        + level.context_discounts[context] * shares[known]
      ) / level.context_counts[context]
      # The n-gram that ends at t is the context of t + 1, one level up.
      contexts = np.full_like(contexts, -1)
      if level is self.levels[0]:
        contexts[1:] = text[:-1]
      else:
        following = known < len(text) - 1
        contexts[known[following] + 1] = ids[following]
    return -np.log(shares[text < base - 1])

  def distribution(self, history: Sequence[int]) -> np.ndarray:
    """p of every symbol of the vocabulary after a history, float64 `[V]`.

    Args:
      history: the symbols since the beginning of the sequence, or as many of
        the last as the order reaches; an empty one is the beginning.

    Raises:
      errors.UserError: an id outside the vocabulary.
    """
    text = as_context(history, self.vocabulary_size, self.sentence_end)
    base = self.vocabulary_size + 1
    shares = np.full(base, 1.0 / self.vocabulary_size)
    shares[-1] = 0.0  # of the boundary
    for length, level in enumerate(self.levels[: len(text) + 1]):
      context = 0
      for above, symbol in zip(
        self.levels, text[len(text) - length :], strict=False
      ):
        key = np.array(context * base + symbol)
        context = int(find(above.keys, key))
        if context < 0:
          return shares[:-1]
      if not level.context_counts[context]:
        return shares[:-1]
      children = slice(
        *np.searchsorted(level.keys, [context * base, (context + 1) * base])
      )
      shares *= level.context_discounts[context]
      shares[level.keys[children] % base] += level.discounted[children]
      shares /= level.context_counts[context]
    return shares[:-1]


def with_boundaries(
  tokens: np.ndarray, vocabulary_size: int, sentence_end: int | None
) -> np.ndarray:
  """Tokens with a boundary, the id V, in front of every sequence.

  Args:
    tokens: integer ids `[N]`, each below V.
    vocabulary_size: V.
    sentence_end: a symbol after which a new sequence begins, or None if all is
      one sequence.

  Returns:
    int64 `[N + sequences]`; no tokens, no sequence.

  Raises:
    errors.UserError: an id outside the vocabulary.

  >>> with_boundaries(np.array([0, 1, 0]), 2, sentence_end=1).tolist()
  [2, 0, 1, 2, 0]
  """
  tokens = np.asarray(tokens, np.int64)
  outside = tokens[(tokens < 0) | (tokens >= vocabulary_size)]
  if len(outside):
    raise errors.UserError(
      f"an n-gram model over {vocabulary_size} symbols was given the id "
      f"{outside[0]}; encode the text with the model's own vocabulary"
    )
  starts = np.zeros(min(len(tokens), 1), np.int64)
  if sentence_end is not None:
    starts = np.append(starts, np.flatnonzero(tokens[:-1] == sentence_end) + 1)
  return np.insert(tokens, starts, vocabulary_size)


def as_context(
  history: Sequence[int], vocabulary_size: int, sentence_end: int | None
) -> np.ndarray:
  """A history with boundaries, up to the one before what comes next.

  Args:
    history: ids; may be empty.
    vocabulary_size: as of `with_boundaries`, and so the next.
    sentence_end: after which a new sequence begins.

  Raises:
    errors.UserError: an id outside the vocabulary.

  >>> as_context([0, 1], 2, sentence_end=1).tolist()
  [2, 0, 1, 2]
  """
  # With a symbol to follow, the end of a sentence also begins the next.
  followed = np.append(np.asarray(history, np.int64), 0)
  return with_boundaries(followed, vocabulary_size, sentence_end)[:-1]


def extended(
  text: np.ndarray, grams: np.ndarray, boundary: int
) -> tuple[np.ndarray, np.ndarray]:
  """The n-grams of a text that are one symbol longer than given ones.

  Args:
    text: ids `[N]` with boundaries, as `with_boundaries` makes it.
    grams: int64 `[N]`, the id of the n-gram that ends at each place, -1 where a
      boundary cuts it.
    boundary: V.

  Returns:
    The same of the longer ones, and their keys `[G]` by ascending id: an id of
    `grams` times V + 1, plus the last symbol.

  >>> text = np.array([2, 0, 1, 0])  # its single symbols are their own ids
  >>> ids, keys = extended(text, text, 2)
  >>> ids.tolist(), keys.tolist()
  ([-1, 2, 0, 1], [1, 3, 6])
  """
  before = np.append(-1, grams[:-1])
  whole = np.flatnonzero((before >= 0) & (text < boundary))
  keys, ids = np.unique(
    before[whole] * (boundary + 1) + text[whole], return_inverse=True
  )
  longer = np.full_like(grams, -1)
  longer[whole] = ids
  return longer, keys


def _level(
  keys: np.ndarray,
  counts: np.ndarray,
  parents: np.ndarray,
  size: int,
  modified: bool,
) -> _Level:
  """Discounts, and the sums over each of `size` contexts."""
  discounts = _discounts(counts, modified)
  taken = np.array([0.0, *discounts])[np.minimum(counts, 3)]
  return _Level(
    keys=keys,
    discounted=counts - taken,
    # Sums of integers in float64 are exact below 2**53.
    context_counts=np.bincount(parents, counts, size).astype(np.int64),
    context_discounts=np.bincount(parents, taken, size),
    discounts=discounts,
  )


def _discounts(
  counts: np.ndarray, modified: bool
) -> tuple[float, float, float]:
  """Of n-grams counted once, twice and more often."""
  n1, n2, n3, n4 = (int(np.sum(counts == number)) for number in range(1, 5))
  # A half where nothing was counted once, as among the characters of a long
  # text: there is no estimate then, and hardly a use for one.
  single = n1 / (n1 + 2 * n2) if n1 else 0.5
  if modified and n1 and n2 and n3:
    three = (
      1 - 2 * single * n2 / n1,
      2 - 3 * single * n3 / n2,
      3 - 4 * single * n4 / n3,
    )
    # On little text the estimates can leave the range that makes sense.
    if all(0 < d <= count for count, d in enumerate(three, 1)):
      return three
  return (single, single, single)


def find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  """Indices of keys among ascending ones, -1 where there is none.

  Args:
    keys: int64 `[G]`, ascending.
    wanted: int64, of any shape.

  >>> find(np.array([3, 5, 9]), np.array([9, 4, 3]))
  array([ 2, -1,  0])
  """
  if not len(keys):
    return np.full_like(wanted, -1)
  places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
  return np.where(keys[places] == wanted, places, -1)
