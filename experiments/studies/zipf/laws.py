"""Zipf's and Heaps' laws: fits and growth.

Zipf's law and Heaps' law, and how their exponents are estimated.

With n_i the count of the i-th most frequent symbol (i is its rank),

    n_i = K i^-alpha,    log n_i = log K - alpha log i         (Zipf)
    n_i = K (i + c)^-alpha,    c >= 0                          (Mandelbrot)
    types(N) = K N^beta                                        (Heaps)

where types(N) are the different symbols among the first N. Two estimators of
alpha:

- least squares on the second form of the law. Every rank weighs the same, so
  the long plateau of symbols seen once counts most, and it is not on the line;
- maximum likelihood of p(i) = i^-alpha / sum_{j <= R} j^-alpha over R ranks,
  the truncated Zipf law. Every occurrence weighs the same, so the head counts
  most. The likelihood is concave in alpha and at its maximum where the mean of
  log i under the law is the mean over the text; its curvature, the variance of
  log i, gives the standard error. With i + c in place of i it is Mandelbrot's,
  c being that of the greatest likelihood again.

Ranks are sorted counts of the same text, which bends the sample towards a
steeper law; the bias is small where most symbols are seen often.
"""

import math
import time
from typing import NamedTuple

import numpy as np

from experiments.studies import run
from experiments.studies.common import figures, ngram_counts
from seqmodels import errors, units
from seqmodels.io import results

# Exponents are looked for in [0, this]: at 64 all but the first rank is gone.
_STEEPEST = 64.0


class Line(NamedTuple):
  """log y = intercept + slope log x.

  Attributes:
    slope: -alpha of Zipf's law, beta of Heaps'.
    intercept: log K.
    r_squared: share of the variance of log y that it explains.
    points: how many it was fitted to.
  """

  slope: float
  intercept: float
  r_squared: float
  points: int

  def at(self, places: np.ndarray) -> np.ndarray:
    """y at x.

    >>> Line(-1.0, math.log(6), 1.0, 2).at(np.array([1, 3])).round(6).tolist()
    [6.0, 2.0]
    """
    logs = np.log(np.asarray(places, np.float64))
    return np.exp(self.intercept + self.slope * logs)


class Likeliest(NamedTuple):
  """The truncated Zipf law of the greatest likelihood.

  Attributes:
    exponent: alpha.
    standard_error: of it, were the law true and the ranks known.
    nats: mean of -log p a symbol under the law.
  """

  exponent: float
  standard_error: float
  nats: float


def ranked(counts: np.ndarray) -> np.ndarray:
  """Counts by falling size, those that are zero left out: n_1, n_2, ...

  Raises:
    errors.UserError: no count above zero, or one below.

  >>> ranked(np.array([0, 2, 5, 1])).tolist()
  [5, 2, 1]
  """
  counts = np.asarray(counts)
  if (counts < 0).any():
    raise errors.UserError(
      f"a count is {counts.min()}; frequencies are counts from 0 up"
    )
  found = np.sort(counts[counts > 0])[::-1]
  if not len(found):
    raise errors.UserError(
      "frequencies were asked for and there are none; give a text of at least "
      "1 symbol"
    )
  return found


def line(x: np.ndarray, y: np.ndarray) -> Line:
  """Least squares of log y on log x.

  Args:
    x: positive, at least two different values.
    y: positive, one for each.

  Raises:
    errors.UserError: fewer than two different places.

  >>> round(line(np.array([1, 2, 4]), np.array([8.0, 4.0, 2.0])).slope, 12)
  -1.0
  """
  if len(np.unique(x)) < 2:
    raise errors.UserError(
      f"a line was to be fitted to {len(np.unique(x))} places; give a text "
      "with at least 2 different symbols, or wider limits"
    )
  logs, values = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
  centred = logs - logs.mean()
  slope = float(centred @ values / (centred @ centred))
  intercept = float(values.mean() - slope * logs.mean())
  rest = values - intercept - slope * logs
  spread = float(np.sum((values - values.mean()) ** 2))
  explained = 1.0 - float(rest @ rest) / spread if spread else 1.0
  return Line(slope, intercept, explained, len(logs))


def least_squares(
  frequencies: np.ndarray,
  *,
  first: int = 1,
  last: int | None = None,
  least_count: int = 1,
) -> Line:
  """Zipf's line through the ranks `first` to `last`; alpha is `-slope`.

  Args:
    frequencies: n_1, n_2, ... of `ranked`.
    first: rank that it begins with; the head is often off the line.
    last: rank that it ends with; None for all.
    least_count: symbols seen less often are left out.

  Raises:
    errors.UserError: fewer than two ranks are left.

  >>> round(-least_squares(np.array([60, 30, 20, 15, 12])).slope, 12)
  1.0
  """
  ranks = np.arange(1, len(frequencies) + 1)
  kept = (ranks >= first) & (frequencies >= least_count)
  if last is not None:
    kept &= ranks <= last
  return line(ranks[kept], frequencies[kept])


def law(exponent: float, types: int, shift: float = 0.0) -> np.ndarray:
  """p(i) of the truncated law, in proportion to (i + c)^-alpha.

  Args:
    exponent: alpha.
    types: R.
    shift: c, 0 for Zipf's own.

  Returns:
    float64 `[R]`.

  >>> law(1.0, 2).round(4).tolist()
  [0.6667, 0.3333]
  """
  return _shares(exponent, np.log(np.arange(1, types + 1) + shift))


def maximum_likelihood(
  frequencies: np.ndarray, *, shift: float = 0.0
) -> Likeliest:
  """The truncated law over all ranks that explains the counts best.

  Args:
    frequencies: n_1, n_2, ... of `ranked`, at least two.
    shift: c, known.

  Raises:
    errors.UserError: fewer than two symbols, or a shift below 0.
  """
  if len(frequencies) < 2 or shift < 0:
    raise errors.UserError(
      f"Zipf's law was to be fitted to {len(frequencies)} symbols, shifted by "
      f"{shift:g}; give a text with at least 2 different ones and a shift from "
      "0 up"
    )
  logs = np.log(np.arange(1, len(frequencies) + 1) + shift)
  total = float(np.sum(frequencies))
  observed = float(frequencies @ logs) / total
  low, high, exponent = 0.0, _STEEPEST, 1.0
  for _ in range(100):
    shares = _shares(exponent, logs)
    mean = float(shares @ logs)
    variance = float(shares @ (logs - mean) ** 2)
    # The mean of the logs falls as the law steepens.
    if mean > observed:
      low = exponent
    else:
      high = exponent
    before, exponent = exponent, exponent + (mean - observed) / variance
    if not low <= exponent <= high:  # Newton's step leads away
      exponent = (low + high) / 2
    if abs(exponent - before) < 1e-12:
      break
  shares = _shares(exponent, logs)
  spread = float(shares @ (logs - shares @ logs) ** 2)
  nats = exponent * (observed - logs[0]) - float(np.log(shares[0]))
  return Likeliest(exponent, 1.0 / math.sqrt(total * spread), nats)


def mandelbrot(frequencies: np.ndarray) -> tuple[float, Likeliest]:
  """The shift c of the greatest likelihood, and the law with it.

  Args:
    frequencies: n_1, n_2, ... of `ranked`, at least two.

  Raises:
    errors.UserError: fewer than two symbols.
  """

  def nats(place: float) -> float:
    return maximum_likelihood(frequencies, shift=math.expm1(place)).nats

  # By golden section on log(1 + c), from 0 to as many as there are ranks.
  golden = (math.sqrt(5) - 1) / 2
  low, high = 0.0, math.log1p(len(frequencies))
  left, right = high - golden * (high - low), low + golden * (high - low)
  lower, upper = nats(left), nats(right)
  while high - low > 1e-4:
    if lower < upper:
      high, right, upper = right, left, lower
      left = high - golden * (high - low)
      lower = nats(left)
    else:
      low, left, lower = left, right, upper
      right = low + golden * (high - low)
      upper = nats(right)
  # The best may be no shift at all, which the section only comes near.
  best = min((low + high) / 2, 0.0, key=nats)
  shift = math.expm1(best)
  return shift, maximum_likelihood(frequencies, shift=shift)


def _shares(exponent: float, logs: np.ndarray) -> np.ndarray:
  powers = -exponent * logs
  shares = np.exp(powers - powers.max())
  return shares / shares.sum()


def growth(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Different symbols among the first N, for each N of `lengths`.

  Args:
    tokens: ids `[number of tokens]`.
    lengths: N, from 0 to the number of tokens.

  >>> growth(np.array([4, 4, 7, 4, 9]), np.array([0, 2, 3, 5])).tolist()
  [0, 1, 2, 3]
  """
  _, first = np.unique(tokens, return_index=True)
  return np.searchsorted(first[np.argsort(first)], lengths)


def shuffled_growth(frequencies: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Different symbols expected among N drawn from a text without its order.

      sum_i 1 - C(M - n_i, N) / C(M, N),    M = sum_i n_i

  Where the text itself has fewer, that is its order: a word that has come tends
  to come again soon.

  Args:
    frequencies: n_1, n_2, ...
    lengths: N, from 0 to M.

  >>> shuffled_growth(np.array([2, 1]), np.array([1, 2, 3])).round(4).tolist()
  [1.0, 1.6667, 2.0]
  """
  sizes, types = np.unique(frequencies, return_counts=True)
  total = int(np.sum(frequencies))

  def missed(size: int, length: int) -> float:
    """The chance that none of a symbol's `size` is among the N."""
    if size > total - length:
      return 0.0
    return math.exp(
      math.lgamma(total - size + 1)
      - math.lgamma(total - size - length + 1)
      - math.lgamma(total + 1)
      + math.lgamma(total - length + 1)
    )

  return np.array(
    [
      sum(
        n * (1.0 - missed(int(size), int(length)))
        for size, n in zip(sizes, types, strict=True)
      )
      for length in lengths
    ]
  )


def share(frequencies: np.ndarray, chosen: np.ndarray) -> float:
  """Share of all occurrences that are of the chosen symbols.

  Args:
    frequencies: counts `[R]`.
    chosen: bool `[R]`.

  >>> share(np.array([6, 3, 1]), np.array([True, False, True]))
  0.7
  """
  return float(np.sum(frequencies[chosen]) / np.sum(frequencies))


def named(length: int) -> str:
  """What n-grams of a length are called on the page."""
  return {1: "single", 2: "pairs", 3: "triples"}.get(
    length, f"{length} in a row"
  )


def words(
  study: run.Study, counts: ngram_counts.NGramCounts
) -> list[results.Row]:
  """Zipf's law of words and of words in a row; rows of the fits."""
  settings, page = study.config.settings, study.lesson
  page.section("Zipf's law")
  page.say("""
    Sort the types by count. The i-th has rank i. Zipf observed in 1935 that the
    count falls as a power of the rank, with an exponent near 1 for words:
  """)
  page.shown("""
    n_i = K i^-alpha       log n_i = log K - alpha log i
  """)
  page.say(f"""
    On two logarithmic axes that is a falling line with slope -alpha. The
    exponent depends on how the line is fitted. Least squares over all ranks
    lets the long plateau of types seen once decide; over ranks
    {settings.first_rank} to {settings.last_rank:,} it follows the straight
    part; with counts of at least 5 it leaves the plateau out. Maximum
    likelihood takes the law as a distribution over the ranks and weighs every
    token alike; theory gives it a standard error. R² is the share of the
    variance of log n that a line explains. Mandelbrot put i + c in the place of
    i, which bends the head of the line down; alpha and c are again those of the
    greatest likelihood.
  """)
  exponents, rows = _fitted(study, "words", counts, lines=True)
  page.say(f"""
    By maximum likelihood alpha is {", ".join(exponents)}. Longer n-grams are
    expected to have a smaller exponent: combinations are many, each is rare,
    and the counts lie flatter. The first few ranks are off the line: the law
    is one of the middle. How much of that a shift c repairs, the rows at the
    end of this page tell: the perplexity of a token under a law is never below
    that under the text's own frequencies, and the nearer, the better the law.
  """)
  return rows


def characters(
  study: run.Study, counts: ngram_counts.NGramCounts
) -> list[results.Row]:
  """The same of characters, which have no such law; rows of the fits."""
  page = study.lesson
  page.say("""
    A few dozen ranks make no power law: on logarithmic axes the curve bends
    down, and each fit says something else. Runs of characters, which begin to
    be words, come nearer to a line.
  """)
  exponents, rows = _fitted(study, "characters", counts, lines=False)
  page.say(f"""
    By maximum likelihood: {", ".join(exponents)}. A number for alpha can always
    be had; the figure says whether it means anything. So does a shift c of
    about the number of types, the largest that is tried: a law that needs it is
    no power law.
  """)
  return rows


def _fitted(
  study: run.Study,
  level: str,
  counts: ngram_counts.NGramCounts,
  *,
  lines: bool,
) -> tuple[list[str], list[results.Row]]:
  """The table of exponents and the figure; (exponents in words, rows)."""
  settings, page = study.config.settings, study.lesson
  first, last = settings.first_rank, settings.last_rank
  drawn: dict[str, figures.Curve] = {}
  # Gaps between the lines, so that they share one entry of the legend.
  places: list[float] = []
  values: list[float] = []
  body, exponents, rows = [], [], []
  for length in range(1, counts.order + 1):
    start = time.perf_counter()
    name, times = named(length), ranked(counts.table(length)[1])
    likeliest = maximum_likelihood(times)
    shift, shifted = mandelbrot(times)
    every = least_squares(times)
    middle = _line_or_none(times, first=first, last=last)
    often = _line_or_none(times, first=first, least_count=5)
    body.append(
      [
        name,
        *(
          f"{-fit.slope:.3f} ({fit.r_squared:.2f})" if fit else "n/a"
          for fit in (every, middle, often)
        ),
        f"{likeliest.exponent:.3f} ± {likeliest.standard_error:.1g}",
        f"{shifted.exponent:.3f}, c = {shift:.1f}",
      ]
    )
    exponents.append(f"{likeliest.exponent:.3f} for {name}")
    drawn[name] = (np.arange(1, len(times) + 1), times)
    shown = middle or every
    # Not below the axis: a count of less than one is none.
    lowest = (shown.intercept - np.log(0.7)) / max(-shown.slope, 1e-9)
    ends = np.array([1, np.exp(min(np.log(len(times)), lowest))])
    places += [*ends, np.nan]
    values += [*shown.at(ends), np.nan]
    total = int(times.sum())
    shares = times / total
    rows += [
      results.row(
        f"{level}, {name}: {what}",
        split="train",
        evaluation="fitted",
        metric="perplexity",
        value=units.perplexity(nats, 1),
        count=total,
        seconds=time.perf_counter() - start,
      )
      for what, nats in (
        ("truncated Zipf law", likeliest.nats),
        ("Zipf-Mandelbrot law", shifted.nats),
        ("own frequencies", float(-shares @ np.log(shares))),
      )
    ]
  page.table(
    [
      "alpha (R²) of",
      "least squares, all ranks",
      f"ranks {first} to {last:,}",
      f"counts of 5 up, ranks {first} up",
      "maximum likelihood",
      "Mandelbrot's",
    ],
    body,
  )
  caption = f"Count against rank of {level}, alone and in a row."
  if lines:
    drawn["~least squares"] = (places, values)
    caption += (
      f" The grey lines are least squares over ranks {first} to {last:,} (all "
      "ranks of a text too short for that), drawn on in both directions."
    )
  figures.curves(
    page.figure(f"zipf_{level}", caption),
    f"Rank and frequency of {level}",
    drawn,
    x="rank",
    y="count",
    log_x=True,
    log_y=True,
  )
  return exponents, rows


def _line_or_none(times: np.ndarray, **limits: int) -> Line | None:
  """The fit, or None where a short text leaves fewer than two ranks."""
  try:
    return least_squares(times, **limits)
  except errors.UserError:
    return None


def recovery(study: run.Study) -> None:
  """Both estimators on tokens whose law is known."""
  settings, page, random = study.config.settings, study.lesson, study.random
  page.section("Can the fits be trusted?")
  page.say(f"""
    To see, draw {settings.synthetic_tokens:,} tokens from an exact Zipf law
    over {settings.synthetic_types:,} types, whose exponent is known, and fit.
  """)
  body = []
  for exponent in settings.synthetic_exponents:
    shares = law(exponent, settings.synthetic_types)
    drawn = random.choice(
      settings.synthetic_types, p=shares, size=settings.synthetic_tokens
    )
    times = ranked(np.bincount(drawn))
    likeliest = maximum_likelihood(times)
    body.append(
      [
        float(exponent),
        -least_squares(times).slope,
        f"{likeliest.exponent:.3f} ± {likeliest.standard_error:.1g}",
      ]
    )
  page.table(["true alpha", "least squares", "maximum likelihood"], body)
  page.say("""
    Maximum likelihood comes near. What it misses is more than its standard
    error allows, since the sample also sorts the ranks. Least squares over all
    ranks is further off: the tail, which sampling bends, weighs too much in it.
    Compare exponents only where one method has fitted them.
  """)


def add_growth(study: run.Study, ids: np.ndarray) -> None:
  """Heaps' law: the vocabulary of longer and longer beginnings of a text."""
  page = study.lesson
  lengths = np.unique(
    np.geomspace(
      min(100, len(ids)), len(ids), study.config.settings.lengths
    ).astype(int)
  )
  types = growth(ids, lengths)
  heaps = line(lengths, types)
  page.section("Longer documents")
  page.say("How many types does a text of N tokens have? Heaps' law says")
  page.shown("types(N) = K N^beta,    beta < 1")
  page.say("""
    Counted over longer and longer beginnings of the text, with alpha by maximum
    likelihood:
  """)
  body = []
  for length, found in zip(lengths, types, strict=True):
    times = ranked(np.bincount(ids[:length]))
    body.append(
      [
        f"{length:,}",
        f"{found:,}",
        float(found / length),
        float(np.mean(times == 1)),
        float(times[0] / length),
        maximum_likelihood(times).exponent,
      ]
    )
  page.table(
    [
      "tokens",
      "types",
      "types a token",
      "share of types seen once",
      "share of the commonest word",
      "alpha",
    ],
    body,
  )
  shuffled = shuffled_growth(ranked(np.bincount(ids)), lengths)
  figures.curves(
    page.figure(
      "growth",
      "Types among the first N tokens: of the text, of the same words in "
      "random order (expected), and Heaps' law fitted to the text.",
    ),
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
  first, last, middle = body[0], body[-1], len(lengths) // 2
  page.say(f"""
    Fitted: beta = {heaps.slope:.3f} (R² {heaps.r_squared:.3f}). From the
    shortest to the longest, types a token go from {first[2]:.3f} to
    {last[2]:.3f} and alpha from {first[5]:.3f} to {last[5]:.3f}, while the
    share of the commonest word goes from {first[4]:.3f} to {last[4]:.3f}. So
    the number of types, and the fitted exponent, say little of a text without
    its length; texts are compared at equal lengths, or by the shares of
    frequent words. At {lengths[middle]:,} tokens the text has {types[middle]:,}
    types; {shuffled[middle]:,.0f} would be expected had its words no order. A
    word that has come tends to come again soon. Where the rarest words of a
    corpus were replaced by `<unk>`, as in the Penn Treebank, its growth comes
    to an end.
  """)
