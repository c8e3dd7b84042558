"""The study `ngram`: counting, smoothing, Kneser-Ney."""

from typing import Any

SETTINGS: dict[str, Any] = {
  "levels": ("words", "characters"),
  "orders": (1, 2, 3, 4, 5, 6),
  # Words that are rarer in training become <unk>.
  "min_frequency": 2,
  # What validation chooses among: k of add k, e of pseudo-counts.
  "added": (1.0, 0.1, 0.01, 0.001),
  "pseudo_counts": (1.0, 3.0, 10.0, 30.0, 100.0),
  # Symbols drawn from each order.
  "sample": {"words": 30, "characters": 150},
  # Run folders of language models of the same text, separated by commas, whose
  # scores are set beside these.
  "beside": "",
  # Least counts of a word that are compared.
  "min_frequencies": (1, 2, 3, 5, 10),
}

SMOKE: dict[str, Any] = {
  "orders": (1, 2, 3),
  "added": (1.0, 0.1),
  "pseudo_counts": (3.0, 30.0),
  "sample": {"words": 5, "characters": 10},
  "min_frequencies": (1, 2),
}
