"""Few padded lengths for many sequences, with as little padding as can be."""

import numpy as np


def lengths(
  sizes: np.ndarray, *, multiple: int = 1, shapes: int = 16
) -> np.ndarray:
  """The padded lengths that add the fewest steps to these sequences.

  Every padded length is a program to compile; too few of them are steps
  computed for nothing. Of all sets of at most `shapes` multiples, the one found
  here has the smallest sum of padded lengths (by dynamic programming over the
  multiples).

  >>> lengths(np.array([10, 11, 12, 40]), shapes=2).tolist()
  [12, 40]

  Args:
    sizes: int [L], lengths of at least 1.
    multiple: padded lengths are multiples of it.
    shapes: the largest number of them.

  Returns:
    int64, rising; the last is the first multiple that holds the longest.
  """
  units = -(-np.asarray(sizes, np.int64) // multiple)
  candidates, counts = np.unique(units, return_counts=True)
  if len(candidates) <= shapes:
    return candidates * multiple
  # One shape may always serve all below it: cost[j] is the sum of padded
  # lengths of the sequences up to candidate j, of which j is the last shape.
  below = np.concatenate([[0], np.cumsum(counts)])
  cost = candidates * below[1:]
  choices = []
  for _ in range(shapes - 1):
    # [last shape, the shape before it]; a later one cannot come before.
    both = cost[None, :] + candidates[:, None] * (
      below[1:, None] - below[None, 1:]
    )
    both[np.triu_indices(len(candidates))] = np.iinfo(np.int64).max
    best = both.argmin(axis=1)
    better = both[np.arange(len(candidates)), best]
    choices.append(np.where(better < cost, best, -1))
    cost = np.minimum(cost, better)
  place, chosen = len(candidates) - 1, [len(candidates) - 1]
  for choice in reversed(choices):
    if choice[place] >= 0:
      place = int(choice[place])
      chosen.append(place)
  return candidates[chosen[::-1]] * multiple
