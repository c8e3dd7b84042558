"""Named ways to cut a corpus into train, valid and test.

`mikolov` takes the files as they come, one a split (Penn Treebank). The others
cut one sequence of symbols: `graves` into 96 % train and 4 % valid (the 96M and
4M bytes of enwik8 in Graves 2013, section 3.3; no test set), `standard` into
90 %, 5 % and 5 % (the usual 90M, 5M and 5M bytes), `fractions` as told.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from seqmodels import errors

SPLITS = ("train", "valid", "test")


class Range(NamedTuple):
  """Half-open [start, stop) in symbols."""

  start: int
  stop: int


PARTITIONS: dict[str, tuple[float, ...]] = {
  "mikolov": (),
  "graves": (0.96, 0.04),
  "standard": (0.90, 0.05, 0.05),
  "fractions": (0.90, 0.05, 0.05),
}

# (source, tokenizer, partition) -> symbols a split of the complete data set.
SIZES: dict[tuple[str, str, str], dict[str, int]] = {
  ("ptb", "characters", "mikolov"): {
    "train": 5_017_482,
    "valid": 393_042,
    "test": 442_423,
  },
  ("ptb", "words", "mikolov"): {
    "train": 929_589,
    "valid": 73_760,
    "test": 82_430,
  },
  ("enwik8", "bytes", "graves"): {"train": 96_000_000, "valid": 4_000_000},
  ("enwik8", "bytes", "standard"): {
    "train": 90_000_000,
    "valid": 5_000_000,
    "test": 5_000_000,
  },
}


def ranges(
  name: str, length: int, *, fractions: Sequence[float] | None = None
) -> dict[str, Range]:
  """Where each split begins and ends; the splits cover every symbol once.

  >>> ranges("graves", 100)
  {'train': Range(start=0, stop=96), 'valid': Range(start=96, stop=100)}
  >>> ranges("fractions", 10, fractions=(0.5, 0.5))["valid"]
  Range(start=5, stop=10)

  Args:
    name: `graves`, `standard` or `fractions`.
    length: number of symbols.
    fractions: for `fractions`, the share of train, valid and, where there is
      one, test; they add up to 1.

  Raises:
    UserError: an unknown name, `mikolov` (which needs three files), bad
      fractions, or a split that would be empty.
  """
  if name not in PARTITIONS:
    raise errors.UserError(
      f"unknown partition {name!r}" + errors.closest(name, PARTITIONS)
    )
  if name == "mikolov":
    raise errors.UserError(
      "partition 'mikolov' takes a corpus of three files and this one is a "
      "single sequence; use graves, standard or fractions"
    )
  shares = PARTITIONS[name]
  if fractions is not None and name == "fractions":
    shares = tuple(fractions)
  if (
    not 1 <= len(shares) <= len(SPLITS)
    or not all(share > 0 for share in shares)
    or abs(sum(shares) - 1.0) > 1e-9
  ):
    raise errors.UserError(
      f"fractions are {shares}; give one to three positive numbers (train, "
      "valid, test) that add up to 1"
    )
  edges = [round(length * sum(shares[:i])) for i in range(len(shares))]
  pairs = zip(edges, [*edges[1:], length], strict=True)
  found = {
    split: Range(*pair) for split, pair in zip(SPLITS, pairs, strict=False)
  }
  empty = [split for split, (start, stop) in found.items() if start == stop]
  if empty:
    raise errors.UserError(
      f"{length} symbols are too few for partition {name!r}: "
      f"{' and '.join(empty)} would be empty; give a longer text"
    )
  return found


def check_sizes(
  sizes: Mapping[str, int], *, source: str, tokenizer: str, partition: str
) -> None:
  """Compares the splits of a complete published data set with its known sizes.

  Raises:
    UserError: they differ.
  """
  known = SIZES.get((source, tokenizer, partition))
  if known is not None and dict(sizes) != known:
    raise errors.UserError(
      f"{source} read as {tokenizer} has splits of {_listing(sizes)} symbols "
      f"where the published data has {_listing(known)}; the files were changed"
    )


def _listing(sizes: Mapping[str, int]) -> str:
  return " / ".join(f"{sizes[split]:,}" for split in sizes)
