"""The study `zipf`: tokens, vocabularies, frequencies and their law."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # Words that are shown with their numbers.
  "example": "the time machine asdsa",
  # n-grams are counted up to this length.
  "order": 3,
  # Entries of the lists of the most frequent.
  "head": 10,
  "min_frequencies": (1, 2, 3, 5, 10, 20, 50),
  # Least squares over these ranks.
  "first_rank": 10,
  "last_rank": 1_000,
  # A law of known exponent, to try the fits on.
  "synthetic_types": 5_000,
  "synthetic_tokens": 33_000,
  "synthetic_exponents": (0.7, 1.0, 1.3),
  # Byte pairs that are learned, and the share of the text that they are
  # learned from; the rest is what is new to them.
  "merges": (100, 1_000),
  "learned_share": 0.9,
  # Beginnings of the text whose vocabularies are compared.
  "lengths": 10,
}

SMOKE: dict[str, Any] = {
  "head": 5,
  "min_frequencies": (1, 2),
  "synthetic_types": 500,
  "synthetic_tokens": 3_000,
  "merges": (10, 40),
  "lengths": 4,
}
