"""Zipf's law: tokens, vocabularies, frequencies and their laws.

`laws.py` fits the laws; here a text is counted, a function for each section of
`page.md`.
"""

import contextlib
import functools
import itertools
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from experiments.studies import run as run_lib
from experiments.studies.common import (
  cleaning,
  figures,
  ngram_counts,
  training,
)
from experiments.studies.zipf import laws
from seqmodels import errors, losses
from seqmodels.data.text import vocabulary
from seqmodels.io import results

# The closed classes of English, which any text is full of, in lower case: the
# articles, pronouns, prepositions, conjunctions, auxiliaries, a few adverbs
# that work like them, and the ends of contractions.
_LIST = pathlib.Path(__file__).with_name("stop_words.txt")
STOP_WORDS = frozenset(_LIST.read_text(encoding="utf-8").split())


class Counted(NamedTuple):
  """A text as symbols, with the counts of its n-grams."""

  symbols: vocabulary.Vocabulary
  ids: np.ndarray
  grams: ngram_counts.NGramCounts

  @classmethod
  def of(cls, text: Any, order: int) -> "Counted":
    """Numbers the symbols by falling frequency and counts their n-grams."""
    symbols = vocabulary.Vocabulary.build(text)
    ids = symbols.encode(text)
    grams = ngram_counts.NGramCounts.of(ids, symbols.size, order=order)
    return cls(symbols, ids, grams)

  def types(self) -> tuple[list[str], np.ndarray]:
    """The symbols by falling count, and the counts."""
    grams, times = self.grams.table(1)
    return list(map(str, self.symbols.decode(grams[:, 0]))), times

  def head(self, length: int, count: int) -> list[str]:
    """The most frequent n-grams of a length with their counts."""
    grams, times = self.grams.table(length)
    return [
      # Code, or a page would take `<unk>` for a tag of its own.
      f"`{' '.join(map(str, self.symbols.decode(gram)))}` {times_seen:,}"
      for gram, times_seen in zip(grams[:count], times[:count], strict=True)
    ]


def run(study: run_lib.Study) -> list[results.Row]:
  """Counts, fits and draws everything on the page."""
  settings, page = study.config.settings, study.page
  words, before, after = read(study)
  counted = Counted.of(words, settings.order)
  page["source"] = study.config.data.source
  page.verbatim("beginning", f"{before}\n{after}".strip())
  if study.config.data.source == "ptb":
    page["published"] = "cleaned by those who published it"
  page["tokens"], page["types"] = f"{len(words):,}", f"{len(set(words)):,}"
  _example(study, counted)
  _textbook(study)
  _vocabulary(study, counted)
  _lists(study, counted)
  study.signals.check()
  rows = _fits(study, "words", counted)
  _recovery(study)
  study.signals.check()
  _stop_words(study, counted)
  _growth(study, counted.ids)
  study.signals.check()
  characters = Counted.of(" ".join(words), settings.order)
  kinds, times = characters.types()
  page["characters"], page["kinds"] = f"{times.sum():,}", len(times)
  shares = [
    f"{'space' if kind == ' ' else kind} {100 * n / times.sum():.1f}%"
    for kind, n in zip(kinds, times, strict=True)
  ]
  page.verbatim("common_characters", ", ".join(shares[: settings.head]))
  rows += _fits(study, "characters", characters)
  _pieces(study, words)
  return rows


def read(study: run_lib.Study, **where: Any) -> tuple[list[str], str, str]:
  """The words of a text, and its beginning before and after cleaning.

  `where` names another corpus than the study's, as `Study.tokens` takes it.
  """
  source = study.config.data.source
  if source == "ptb" and not where:
    # Its makers have cleaned it; line ends are no words.
    result = study.tokens("words")
    train = result.vocabulary.decode(np.asarray(result.splits["train"]))
    words = [str(word) for word in train if word != vocabulary.END]
    return words, " ".join(words[:14]), ""
  whole = study.tokens(
    "characters", partition="fractions", fractions=(1.0,), **where
  )
  ids = np.asarray(whole.splits["train"])
  text = "".join(map(str, whole.vocabulary.decode(ids)))
  words = cleaning.words(text)
  if not words:
    raise errors.UserError(
      f"the text of source {source!r} has 0 words in {len(text):,} characters; "
      "give one that holds letters"
    )
  lines = [line for line in text.splitlines() if cleaning.words(line)]
  # A title of one word shows nothing of what cleaning does.
  long = [line for line in lines if len(cleaning.words(line)) > 3]
  first = (long or lines)[0]
  return words, first, cleaning.letters(first)


def _example(study: run_lib.Study, counted: Counted) -> None:
  words = study.config.settings.example.split()
  numbers = counted.symbols.encode(words).tolist()
  head = ["word", *(f"`{word}`" for word in words)]
  study.page.table("example", head, [["number", *numbers]])
  word = words[min(1, len(words) - 1)]
  study.page["word"] = word
  study.page["letters"] = ", ".join(f"`{c}`" for c in word)


def _textbook(study: run_lib.Study) -> None:
  """The textbook's own example, where its text is at hand."""
  with contextlib.suppress(errors.UserError):
    words, *_ = read(study, source="timemachine", limit=0, downloads=False)
    counted = Counted.of(words, 1)
    example = study.config.settings.example.split()
    numbers = counted.symbols.encode(example).tolist()
    head = zip(*(part[:10] for part in counted.types()), strict=True)
    common = "\n".join(str((word, int(count))) for word, count in head)
    study.page.verbatim("textbook", f"{example} -> {numbers}\n\n{common}")


def _vocabulary(study: run_lib.Study, counted: Counted) -> None:
  words, times = counted.types()
  total, body = times.sum(), []
  # A corpus may write `<unk>` itself.
  known = times[np.array(words) != vocabulary.UNKNOWN]
  for least in study.config.settings.min_frequencies:
    kept = known[known >= least]
    unknown = f"{100 * (1 - kept.sum() / total):.1f}"
    body.append([least, f"{1 + len(kept):,}", unknown])
  study.page["vocabulary"] = body
  once = int((known == 1).sum())
  study.page["once"] = {
    "types": f"{once:,}",
    "of": f"{len(known):,}",
    "vocabulary": f"{100 * once / len(known):.1f}",
    "text": f"{100 * once / total:.1f}",
  }


def named(length: int) -> str:
  """The name of n-grams of a length on the page."""
  return {1: "single", 2: "pairs", 3: "triples"}.get(
    length, f"{length} in a row"
  )


def _lists(study: run_lib.Study, counted: Counted) -> None:
  count, lengths = study.config.settings.head, range(1, counted.grams.order + 1)
  columns = [counted.head(length, count) for length in lengths]
  lines = itertools.zip_longest(range(1, count + 1), *columns, fillvalue="")
  study.page.table("heads", ["rank", *map(named, lengths)], lines)
  body = []
  for length in lengths:
    _, times = counted.grams.table(length)
    sizes = (f"{times.sum():,}", f"{len(times):,}")
    body.append([length, *sizes, np.mean(times == 1)])
  study.page["grams"] = body


def _fits(
  study: run_lib.Study, level: str, counted: Counted
) -> list[results.Row]:
  """The exponents of n-grams of every length; the figure, rows of the fits."""
  settings, page = study.config.settings, study.page
  first, last = settings.first_rank, settings.last_rank
  drawn: dict[str, figures.Curve] = {}
  # Gaps between the lines, so that they share one entry of the legend.
  lines: list[np.ndarray] = []
  body, exponents, rows = [], [], []
  for length in range(1, counted.grams.order + 1):
    began = time.perf_counter()
    name, times = named(length), laws.ranked(counted.grams.table(length)[1])
    likeliest = laws.maximum_likelihood(times)
    shift, shifted = laws.mandelbrot(times)
    ranks = np.arange(1, len(times) + 1)
    every = laws.line(ranks, times)
    middle = laws.least_squares(times, first=first, last=last)
    often = laws.least_squares(times, first=first, least_count=5)
    slopes = [
      f"{-fit.slope:.3f} ({fit.r_squared:.2f})" if fit else "n/a"
      for fit in (every, middle, often)
    ]
    likely = f"{likeliest.exponent:.3f} ± {likeliest.standard_error:.1g}"
    bent = f"{shifted.exponent:.3f}, c = {shift:.1f}"
    body.append([name, *slopes, likely, bent])
    exponents.append(f"{likeliest.exponent:.3f} for {name}")
    drawn[name] = (ranks, times)
    shown = middle or every
    # Not below the axis: a count of less than one is none.
    lowest = (shown.intercept - np.log(0.7)) / max(-shown.slope, 1e-9)
    ends = np.array([1, np.exp(min(np.log(len(times)), lowest)), np.nan])
    lines.append(np.stack([ends, shown.at(ends)]))
    spent = time.perf_counter() - began
    for what, nats in (
      ("truncated Zipf law", likeliest.nats),
      ("Zipf-Mandelbrot law", shifted.nats),
      ("own frequencies", float(special.entr(times / times.sum()).sum())),
    ):
      score = losses.Metrics(nats * times.sum(), times.sum(), seconds=spent)
      label = f"{level}, {name}: {what}"
      rows.append(
        training.scored_row(label, score, split="train", evaluation="fitted")
      )
  page[f"fits_{level}"] = body
  page[f"exponents_{level}"] = ", ".join(exponents)
  if level == "words":
    places, values = np.concatenate(lines, axis=1)
    drawn["~least squares"] = (places, values)
  figures.curves(
    page.figure(f"zipf_{level}"),
    f"Rank and frequency of {level}",
    drawn,
    x="rank",
    y="count",
    log_x=True,
    log_y=True,
  )
  return rows


def _recovery(study: run_lib.Study) -> None:
  """Both estimators on tokens whose law is known."""
  settings, random = study.config.settings, study.random
  types, tokens = settings.synthetic_types, settings.synthetic_tokens
  body = []
  for exponent in settings.synthetic_exponents:
    drawn = random.choice(types, p=laws.law(exponent, types), size=tokens)
    times = laws.ranked(np.bincount(drawn))
    result = laws.maximum_likelihood(times)
    likeliest = f"{result.exponent:.3f} ± {result.standard_error:.1g}"
    slope = laws.line(np.arange(1, len(times) + 1), times).slope
    body.append([exponent, -slope, likeliest])
  study.page["recovery"] = body


def _stop_words(study: run_lib.Study, counted: Counted) -> None:
  count, (words, times) = study.config.settings.head, counted.types()
  stops = np.array([word in STOP_WORDS for word in words])
  study.page["stops"] = {
    "count": int(stops.sum()),
    "types": f"{100 * np.mean(stops):.1f}",
    "tokens": f"{100 * times[stops].sum() / times.sum():.1f}",
  }
  content = [
    f"{word} {n:,}"
    for word, n in zip(words, times, strict=True)
    if word not in STOP_WORDS
  ]
  study.page.verbatim("content", ", ".join(content[:count]))
  if counted.grams.order > 1:
    pairs = counted.grams.table(2)[0][:count]
    pure = sum(
      STOP_WORDS.issuperset(counted.symbols.decode(pair)) for pair in pairs
    )
    study.page["pairs"] = {"count": len(pairs), "stops": pure}


def _growth(study: run_lib.Study, ids: np.ndarray) -> None:
  """The vocabulary of longer and longer beginnings of a text."""
  page = study.page
  # Two lengths at least, that a line can be fitted.
  shortest = min(100, max(1, len(ids) // 2))
  steps = max(2, study.config.settings.lengths)
  lengths = np.unique(np.geomspace(shortest, len(ids), steps).astype(int))
  types = laws.growth(ids, lengths)
  heaps = laws.line(lengths, types)
  shuffled = laws.shuffled_growth(laws.ranked(np.bincount(ids)), lengths)
  body = []
  for length, result in zip(lengths, types, strict=True):
    times = laws.ranked(np.bincount(ids[:length]))
    alpha = laws.maximum_likelihood(times).exponent
    shares = (result / length, np.mean(times == 1), times[0] / length)
    body.append([f"{length:,}", f"{result:,}", *shares, alpha])
  page["growth"] = body
  middle = len(lengths) // 2
  page["heaps"] = {
    "beta": f"{heaps.slope:.3f}",
    "r_squared": f"{heaps.r_squared:.3f}",
    "tokens": f"{lengths[middle]:,}",
    "types": f"{types[middle]:,}",
    "shuffled": f"{shuffled[middle]:,.0f}",
  }
  figures.curves(
    page.figure("growth"),
    "Growth of the vocabulary",
    {
      "the text": (lengths, types),
      "its words shuffled": (lengths, shuffled),
      f"~Heaps' law, beta = {heaps.slope:.2f}": (lengths, heaps.at(lengths)),
    },
    x="tokens",
    y="types",
    log_x=True,
    log_y=True,
    marks=True,
  )


BYTES = 256
_SPACES = b" \t\n\r\f\v"


class BytePairs:
  """Frequent runs of bytes as symbols, between characters and words.

  Ids 0 to 255 are the byte values. Each merge gives the next id to the pair of
  pieces that stands side by side most often (Gage, 1994; for words, Sennrich et
  al., 2016). No byte is lost and none is unknown, whatever the text. White
  space only begins a piece, so that none reaches from one word into the next.

  >>> pairs = BytePairs.learn(b"no no nor not", 2)
  >>> pairs.pieces[256:]
  (b'no', b' no')
  >>> pairs.encode(b"no nose").tolist()
  [256, 257, 115, 101]
  >>> pairs.decode([256, 257, 115, 101])
  b'no nose'
  """

  def __init__(self, merges: Iterable[tuple[int, int]]):
    """Pairs of known merges."""
    self.merges = tuple(merges)

  @classmethod
  def learn(cls, data: bytes, merges: int) -> "BytePairs":
    """M merges of a text; fewer where no pair occurs twice.

    Of pairs that occur equally often, that with the lowest ids comes first.
    """
    ids, result = _values(data), list[tuple[int, int]]()
    begins = np.zeros(BYTES + merges, bool)
    begins[list(_SPACES)] = True
    for new in range(BYTES, BYTES + merges):
      mergeable = ~begins[ids[1:]]
      keys = (ids[:-1] * new + ids[1:])[mergeable]
      counts = np.bincount(keys, minlength=1)
      key = int(counts.argmax())
      if counts[key] < 2:
        break
      left, right = divmod(key, new)
      result.append((left, right))
      begins[new] = begins[left]
      ids = _merged(ids, left, right, new)
    return cls(result)

  @functools.cached_property
  def pieces(self) -> tuple[bytes, ...]:
    """The bytes of every id."""
    result = [bytes([value]) for value in range(BYTES)]
    for left, right in self.merges:
      result.append(result[left] + result[right])
    return tuple(result)

  def encode(self, data: bytes) -> np.ndarray:
    """Ids of a text, int64 [pieces]."""
    ids = _values(data)
    for new, (left, right) in enumerate(self.merges, BYTES):
      ids = _merged(ids, left, right, new)
    return ids

  def decode(self, ids: Iterable[int]) -> bytes:
    """The text."""
    return b"".join(self.pieces[i] for i in ids)


def _values(data: bytes) -> np.ndarray:
  return np.frombuffer(data, np.uint8).astype(np.int64)


def _merged(ids: np.ndarray, left: int, right: int, new: int) -> np.ndarray:
  """Ids with every such pair as one, from the left."""
  places = np.flatnonzero((ids[:-1] == left) & (ids[1:] == right))
  if left == right:
    # In a run of equal ones pairs overlap: every second is one.
    firsts = np.diff(places, prepend=-2) > 1
    begun = np.maximum.accumulate(np.where(firsts, places, 0))
    places = places[(places - begun) % 2 == 0]
  ids = ids.copy()
  ids[places] = new
  return np.delete(ids, places + 1)


class Scheme(NamedTuple):
  """A way to cut a text."""

  name: str
  size: int  # of the vocabulary
  encode: Callable[[str], np.ndarray]
  decode: Callable[[np.ndarray], str]


def symbols(
  name: str, text: str, cut: Callable[[str], Any], glue: str = ""
) -> Scheme:
  """Characters or words, with the vocabulary of a text."""
  known = vocabulary.Vocabulary.build(cut(text))
  return Scheme(
    name,
    known.size,
    lambda new: known.encode(cut(new)),
    lambda ids: glue.join(map(str, known.decode(ids))),
  )


def byte_pairs(name: str, text: str, merges: int) -> Scheme:
  """Pieces that are learned from a text."""
  pairs = BytePairs.learn(text.encode(), merges)
  return Scheme(
    name,
    len(pairs.pieces),
    lambda new: pairs.encode(new.encode()),
    # A piece alone may be half a letter.
    lambda ids: pairs.decode(ids).decode("utf-8", "replace"),
  )


def _pieces(study: run_lib.Study, words: list[str]) -> None:
  """Characters, bytes, byte pairs and words, tried on the end of the text."""
  settings, page = study.config.settings, study.page
  cut = int(settings.learned_share * len(words))
  if not 0 < cut < len(words):
    raise errors.UserError(
      f"config.settings.learned_share is {settings.learned_share} of "
      f"{len(words):,} words; give a share that leaves words on both sides"
    )
  learned, new = " ".join(words[:cut]), " ".join(words[cut:])
  unseen = sorted(set(words[cut:]) - set(words[:cut]))
  schemes = [
    symbols("characters", learned, vocabulary.characters),
    byte_pairs("bytes", learned, 0),
    *(
      byte_pairs(f"{count:,} byte pairs", learned, count)
      for count in sorted(set(settings.merges))
    ),
    symbols("words", learned, str.split, " "),
  ]
  body = []
  for scheme in schemes:
    ids, text = scheme.encode(new), scheme.encode(learned)
    # As it stands in a text: the space before it belongs to a word's pieces.
    spelled = sum(len(scheme.encode(f" {word}")) for word in unseen)
    alpha = laws.maximum_likelihood(laws.ranked(np.bincount(text))).exponent
    sizes = [f"{scheme.size:,}", f"{len(ids):,}", len(ids) / (len(words) - cut)]
    sizes += [spelled / len(unseen) if unseen else ""]
    back = "yes" if scheme.decode(ids) == new else "no"
    body.append([scheme.name, *sizes, alpha, back])
  page["pieces"] = body
  longest = schemes[-2]
  shown = []
  for word in unseen[:: max(1, len(unseen) // 5)][:5]:
    parts = [longest.decode(np.array([i])) for i in longest.encode(f" {word}")]
    shown.append(f"{word:16}  {'|'.join(parts).strip()}")
  missed = np.isin(words[cut:], unseen).mean()
  page["split"] = {
    "learned": f"{cut:,}",
    "new": f"{len(words) - cut:,}",
    "unseen": f"{len(unseen):,}",
    "unknown": f"{100 * missed:.1f}",
    "scheme": longest.name,
  }
  page.verbatim("spelled", "\n".join(shown) or "(there are no new words)")
