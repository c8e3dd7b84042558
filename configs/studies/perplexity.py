"""The study `perplexity`: what it is; scoring continuations."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # n-grams of characters, each smoothed with pseudo-counts of the shorter.
  "orders": (1, 2, 3, 4, 5, 6),
  "pseudo_count": 5.0,
  # Run folder of a language model to be asked as well; empty asks none.
  "restore": "",
  "prefix": "It is raining",
  "continuations": ("outside", "banana tree", "piouw;kcj pwepoiut"),
  # A text file in their place: the prefix, then a continuation a line.
  "continuations_file": "",
  # Characters of the test text that are drawn, and that are coded.
  "passage": 120,
  "coded": 2_000,
  # Sizes of the batches whose perplexities are averaged, wrongly.
  "batches": (10, 100, 1_000),
}

SMOKE: dict[str, Any] = {
  "orders": (1, 2, 3),
  "passage": 40,
  "coded": 50,
  "batches": (10, 30),
}
