"""Results of an evaluation: totals and counts, divided once, at the end."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodels import units

# Symbols of a stream, at least, for its score to be compared with others.
FEWEST_OF_STREAM = 100


@dataclasses.dataclass(frozen=True)
class Totals:
  """Sums over a split. Python floats, hence float64.

  Attributes:
    nats: total cross-entropy.
    count: scored symbols.
    errors: scored symbols that were not the predictor's likeliest.
    seconds: wall time of the evaluation, its compilation included.

  >>> half = Totals(nats=10 * math.log(2.0), count=5, errors=1, seconds=1.0)
  >>> whole = half.merge(half)
  >>> whole.count, whole.bits_per_symbol, whole.error_rate, whole.seconds
  (10, 2.0, 0.2, 2.0)
  >>> round(whole.perplexity, 12)
  4.0
  """

  nats: float = 0.0
  count: int = 0
  errors: int = 0
  seconds: float = 0.0

  def merge(self, other: "Totals") -> "Totals":
    """Totals of both parts together."""
    return Totals(
      nats=self.nats + other.nats,
      count=self.count + other.count,
      errors=self.errors + other.errors,
      seconds=self.seconds + other.seconds,
    )

  @property
  def nats_per_symbol(self) -> float:
    """Mean nats a symbol; `nan` when nothing was scored."""
    return self.nats / self.count if self.count else math.nan

  @property
  def bits_per_symbol(self) -> float:
    """Mean bits a symbol: bits per character or per byte where they are."""
    return units.bits_per_symbol(self.nats, self.count)

  @property
  def perplexity(self) -> float:
    """exp of the mean nats a symbol."""
    return units.perplexity(self.nats, self.count)

  @property
  def error_rate(self) -> float:
    """Share of wrong first guesses, 0 to 1."""
    return self.errors / self.count if self.count else math.nan

  @property
  def finite(self) -> bool:
    """Whether the nats are a number: an evaluation that learns can diverge."""
    return math.isfinite(self.nats)


class Scores(NamedTuple):
  """The same sums segment by segment, in reading order: a curve to plot.

  Attributes:
    nats: float32 `[S]`.
    counts: int32 `[S]`.
    errors: int32 `[S]`.
    seconds: wall time of all of it.
    by_stream: float64 `[2, B]`, nats and counts of each stream over all
      segments, where that is known.

  >>> nats, counts = np.float32([1.5, 2.5]), np.int32([2, 3])
  >>> Scores(nats, counts, errors=np.int32([0, 1])).totals()
  Totals(nats=4.0, count=5, errors=1, seconds=0.0)
  """

  nats: np.ndarray
  counts: np.ndarray
  errors: np.ndarray
  seconds: float = 0.0
  by_stream: np.ndarray | None = None

  def totals(self) -> Totals:
    """Their sums, taken in float64."""
    return Totals(
      nats=float(np.sum(self.nats, dtype=np.float64)),
      count=int(np.sum(self.counts, dtype=np.int64)),
      errors=int(np.sum(self.errors, dtype=np.int64)),
      seconds=self.seconds,
    )

  def lost_streams(self) -> dict[int, float]:
    """Streams more than 1 bit a symbol above the others' median, with bits.

    All are of one text, so a stream that is so much worse than most shows a
    state that the network never found its way out of. (One that is as much
    better is an easy part of the text.) Streams of fewer than
    `FEWEST_OF_STREAM` symbols differ by chance and are left out.

    >>> by_stream = np.array([[140.0, 2000.0, 150.0], [100, 100, 100]])
    >>> scores = Scores(*np.zeros((3, 1)), by_stream=by_stream)
    >>> {n: round(bits, 1) for n, bits in scores.lost_streams().items()}
    {1: 28.9}
    """
    if self.by_stream is None:
      return {}
    nats, counts = self.by_stream
    long = np.flatnonzero(counts >= FEWEST_OF_STREAM)
    if not long.size:
      return {}
    bits = nats[long] / counts[long] / units.LOG2
    if bits.size < 2:
      return {}
    others = [np.nanmedian(np.delete(bits, n)) for n in range(bits.size)]
    # Not >, so that NaN is lost, too.
    lost = ~(bits - np.array(others) <= 1.0)
    return dict(zip(long[lost].tolist(), bits[lost].tolist(), strict=True))

  @classmethod
  def concatenate(
    cls, parts: Sequence["Scores"], *, seconds: float | None = None
  ) -> "Scores":
    """Scores of consecutive stretches as one.

    Args:
      parts: the stretches, in order; none at all gives empty scores.
      seconds: wall time of the whole, else the sum over the parts.
    """
    if seconds is None:
      seconds = sum(part.seconds for part in parts)

    def joined(name: str, dtype: type) -> np.ndarray:
      # concatenate refuses no arrays at all.
      empty: np.ndarray = np.zeros(0, dtype=dtype)
      return np.concatenate([empty, *(getattr(part, name) for part in parts)])

    known = [part.by_stream for part in parts if part.by_stream is not None]
    return cls(
      joined("nats", np.float32),
      joined("counts", np.int32),
      joined("errors", np.int32),
      seconds,
      np.sum(known, axis=0) if known else None,
    )
