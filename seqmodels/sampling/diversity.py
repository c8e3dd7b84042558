"""How much a text repeats itself."""

from collections.abc import Sequence

from seqmodels import errors


def distinct(symbols: Sequence[int], n: int) -> float:
  """Share of a text's n-grams that are different (Li et al., 2016).

      distinct-n = different n-grams / n-grams

  1 where none occurs twice, near 0 in a loop. It falls with the length of a
  text, so compare texts of one length.

  Args:
    symbols: ids, or anything that can be compared.
    n: symbols of an n-gram.

  Raises:
    errors.UserError: n is below 1, or the text is shorter than n.

  >>> distinct([0, 1, 0, 1, 0, 1], 2)
  0.4
  """
  count = len(symbols) - n + 1
  if n < 1 or count < 1:
    raise errors.UserError(
      f"distinct-{n} was asked of {len(symbols)} symbols; n must be at least 1 "
      "and the text at least that long"
    )
  grams = {tuple(symbols[i : i + n]) for i in range(count)}
  return len(grams) / count
