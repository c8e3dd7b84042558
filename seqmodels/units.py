"""Nats inside, bits and perplexity when reported: the only log 2 there is."""

import math

LOG2 = math.log(2.0)


def bits(nats: float) -> float:
  """Nats to bits.

  >>> round(bits(math.log(8.0)), 12)
  3.0
  """
  return nats / LOG2


def bits_per_symbol(total_nats: float, count: int) -> float:
  """Mean bits a symbol; `nan` when nothing was scored.

  >>> bits_per_symbol(2 * LOG2, 4)
  0.5
  """
  return bits(total_nats) / count if count else math.nan


def perplexity(total_nats: float, count: int) -> float:
  """exp of the mean nats a symbol: 1 at best, `inf` at worst.

  >>> perplexity(0.0, 10), perplexity(math.inf, 10)
  (1.0, inf)
  """
  if not count:
    return math.nan
  mean = total_nats / count
  return math.inf if mean >= 709.0 else math.exp(mean)  # NaN stays NaN
