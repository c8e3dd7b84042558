"""Scores of an evaluation, segment by segment: a curve, and its totals."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from seqmodels import units
from seqmodels.losses import Metrics

# Symbols of a stream, at least, for its score to be compared with others.
FEWEST_OF_STREAM = 100


class Scores(NamedTuple):
  """Metrics segment by segment, in reading order: a curve to plot.

  Attributes:
    metrics: arrays `[S]` on the host, their times left out.
    seconds: wall time of all of it.
    by_stream: float64 `[2, B]`, nats and counts of each stream over all
      segments, where that is known.

  >>> nats, counts = np.float32([1.5, 2.5]), np.int32([2, 3])
  >>> Scores(Metrics(nats, counts, np.int32([0, 1]))).totals()
  Metrics(nats=4.0, count=5, errors=1, sums={}, seconds=0.0)
  """

  metrics: Metrics
  seconds: float = 0.0
  by_stream: np.ndarray | None = None

  def totals(self) -> Metrics:
    """Their sums, taken in float64."""
    return self.metrics.total()._replace(seconds=self.seconds)

  def lost_streams(self) -> dict[int, float]:
    """Streams more than 1 bit a symbol above the others' median, with bits.

    All are of one text, so a stream that is so much worse than most shows a
    state that the network never found its way out of. (One that is as much
    better is an easy part of the text.) Streams of fewer than
    `FEWEST_OF_STREAM` symbols differ by chance and are left out.

    >>> by_stream = np.array([[140.0, 2000.0, 150.0], [100, 100, 100]])
    >>> scores = Scores(Metrics(), by_stream=by_stream)
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
    known = [part.by_stream for part in parts if part.by_stream is not None]
    # concatenate refuses no arrays at all.
    nothing = Metrics(*np.zeros((3, 0)))
    metrics = [part.metrics for part in parts] or [nothing]
    return cls(
      jax.tree.map(
        lambda *leaves: np.concatenate(list(map(np.atleast_1d, leaves))),
        *metrics,
      ),
      seconds,
      np.sum(known, axis=0) if known else None,
    )
