"""Rows to read a network's numbers by: n-grams and common compressors."""

from experiments import evaluations
from seqmodels.io import report


def rows(context: evaluations.Context) -> list[report.Row]:
  """Baseline rows."""
  del context
  return []
