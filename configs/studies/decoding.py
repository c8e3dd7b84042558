"""The study `decoding`: greedy, temperature, top-k, nucleus, beam search."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # Random models that beams of these widths, and one wide enough, search.
  "models": 200,
  "widths": (1, 2, 3, 4, 6, 8, 16, 64),
  # The character model: units, rows, characters a segment.
  "features": 128,
  "batch": 32,
  "segment": 50,
  "steps": 3000,
  "learning_rate": 3e-2,
  "schedule": "cosine",
  # The prefix of all texts, characters written after it, draws of each kind.
  "prefix": "the ",
  "length": 200,
  "draws": 8,
  "beams": (4, 16),
  # A search that ends at this character, and its longest continuation.
  "end": " ",
  "beam": 32,
  "longest": 16,
}

SMOKE: dict[str, Any] = {
  "models": 2,
  "widths": (1, 2),
  "features": 6,
  "batch": 4,
  "segment": 8,
  "steps": 4,
  "length": 12,
  "draws": 2,
  "beams": (2,),
  "beam": 2,
  "longest": 8,
}
