"""Zipf's law and Heaps' law, and estimates of their exponents.

    n_i = K (i + c)^-alpha      of the i-th most frequent symbol; Zipf has c = 0
    types(N) = K N^beta         different symbols among the first N (Heaps)

Two estimators of alpha: least squares of log n_i on log i, where every rank
weighs the same, and maximum likelihood of p(i) = i^-alpha / sum_j j^-alpha over
R ranks, where every occurrence does. The likelihood is concave in alpha and at
its maximum where the mean of log i under the law is the mean over the text; its
curvature, the variance of log i, gives the standard error. Ranks are sorted
counts of the same text, which bends the sample towards a steeper law.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from seqmodels import errors

# Exponents are looked for up to here: all but the first rank is gone.
_STEEPEST = 64.0


class Line(NamedTuple):
  """log y = intercept + slope log x, fitted to so many points."""

  slope: float  # -alpha of Zipf's law, beta of Heaps'
  intercept: float  # log K
  r_squared: float  # share of the variance of log y that it explains
  points: int

  def at(self, places: np.ndarray) -> np.ndarray:
    """y at x."""
    return np.exp(self.intercept + self.slope * np.log(places))


class Likeliest(NamedTuple):
  """The truncated Zipf law of the greatest likelihood."""

  exponent: float
  standard_error: float  # were the law true and the ranks known
  nats: float  # mean of -log p a symbol under the law


def ranked(counts: np.ndarray) -> np.ndarray:
  """Counts by falling size, those that are zero left out: n_1, n_2, ...

  >>> ranked(np.array([0, 2, 5, 1])).tolist()
  [5, 2, 1]
  """
  return np.sort(counts[counts > 0])[::-1]


def line(x: np.ndarray, y: np.ndarray) -> Line:
  """Least squares of log y on log x, both positive, at two places or more."""
  logs, values = np.log(x), np.log(y)
  slope, intercept = map(float, np.polyfit(logs, values, 1))
  rest, spread = values - intercept - slope * logs, float(np.var(values))
  explained = 1.0 - float(np.var(rest)) / spread if spread else 1.0
  return Line(slope, intercept, explained, len(logs))


def least_squares(
  frequencies: np.ndarray,
  *,
  first: int = 1,
  last: int | None = None,
  least_count: int = 1,
) -> Line | None:
  """Zipf's line through n_1, n_2, ...; alpha is `-slope`.

  Ranks from `first` to `last` are used, and counts from `least_count` up; None
  where fewer than two ranks are left.
  """
  ranks = np.arange(1, len(frequencies) + 1)
  kept = (ranks >= first) & (frequencies >= least_count)
  if last is not None:
    kept &= ranks <= last
  if kept.sum() < 2:
    return None
  return line(ranks[kept], frequencies[kept])


def law(exponent: float, types: int, shift: float = 0.0) -> np.ndarray:
  """p(i) of the truncated law over R types, in proportion to (i + c)^-alpha.

  >>> law(1.0, 2).round(4).tolist()
  [0.6667, 0.3333]
  """
  return _shares(exponent, np.log(np.arange(1, types + 1) + shift))


def maximum_likelihood(
  frequencies: np.ndarray, *, shift: float = 0.0
) -> Likeliest:
  """The truncated law, of known c, that explains n_1, n_2, ... best.

  Raises:
    UserError: fewer than two symbols.
  """
  if len(frequencies) < 2:
    raise errors.UserError(
      f"Zipf's law was to be fitted to {len(frequencies)} symbols; give a text "
      "with at least 2 different ones"
    )
  logs = np.log(np.arange(1, len(frequencies) + 1) + shift)
  total = float(np.sum(frequencies))
  observed = float(frequencies @ logs) / total

  def excess(exponent: float) -> float:
    """The mean of the logs under the law, which falls as that steepens."""
    return float(_shares(exponent, logs) @ logs) - observed

  exponent = 0.0
  if excess(0.0) > 0:
    exponent = optimize.brentq(excess, 0.0, _STEEPEST, xtol=1e-12)
  shares = _shares(exponent, logs)
  spread = float(shares @ (logs - shares @ logs) ** 2)
  nats = exponent * (observed - logs[0]) - float(np.log(shares[0]))
  return Likeliest(exponent, 1.0 / math.sqrt(total * spread), nats)


def mandelbrot(frequencies: np.ndarray) -> tuple[float, Likeliest]:
  """The shift c of the greatest likelihood, and the law with it."""

  def nats(place: float) -> float:
    return maximum_likelihood(frequencies, shift=math.expm1(place)).nats

  result = optimize.minimize_scalar(
    nats, bounds=(0.0, math.log1p(len(frequencies))), options={"xatol": 1e-4}
  )
  # The best may be no shift at all, which the search only comes near.
  shift = math.expm1(min(result.x, 0.0, key=nats))
  return shift, maximum_likelihood(frequencies, shift=shift)


def _shares(exponent: float, logs: np.ndarray) -> np.ndarray:
  powers = -exponent * logs
  shares = np.exp(powers - powers.max())
  return shares / shares.sum()


def growth(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Different symbols among the first N, for each N of `lengths`.

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

  >>> shuffled_growth(np.array([2, 1]), np.array([1, 2, 3])).round(4).tolist()
  [1.0, 1.6667, 2.0]
  """
  sizes, types = np.unique(frequencies, return_counts=True)
  total = int(np.sum(frequencies))
  others = total - np.asarray(lengths)[:, None]
  log = special.gammaln
  # The chance that none of a symbol's n_i is among the N.
  logs = log(others + 1) - log(np.maximum(others - sizes, 0) + 1)
  logs += log(total - sizes + 1) - log(total + 1)
  missed = np.where(others >= sizes, np.exp(logs), 0.0)
  return (1.0 - missed) @ types
