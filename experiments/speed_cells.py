"""Cells of the benchmark's tables: spreads, ratios, shares, megabytes."""

from experiments import timing
from seqmodels.io import report


def ratio(found: timing.Spread) -> str:
  """Two decimals, with the quartiles.

  >>> ratio(timing.Spread(1.0, 2.0, 3.0))
  '2.00 (1.00 to 3.00)'
  """
  low, middle, high = (f"{value:.2f}" for value in found)
  return f"{middle} ({low} to {high})"


def spread(found: timing.Spread) -> str:
  """Four digits, with the quartiles.

  >>> spread(timing.Spread(1.0, 2.0, 3.0))
  '2.000 (1.000 to 3.000)'
  """
  low, middle, high = (report.figure(value) for value in found)
  return f"{middle} ({low} to {high})"


def milliseconds(found: timing.Spread) -> str:
  """Of seconds, with the quartiles."""
  return spread(timing.Spread(*(1e3 * value for value in found)))


def megabytes(count: int | None) -> str | None:
  """Of bytes, where they are known.

  >>> megabytes(1_500_000)
  '1.5'
  """
  return None if count is None else f"{count / 1e6:,.1f}"


def share(part: float | None) -> str | None:
  """A part of 1 in percent, where it is known.

  >>> share(0.5)
  '50.0%'
  """
  return None if part is None else f"{part:.1%}"
