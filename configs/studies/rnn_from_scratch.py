"""The study `rnn_from_scratch`: equations, gates and depth."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # Of the network in plain arrays and in ten lines.
  "small_features": 32,
  "small_steps": 100,
  # Of the character models: units, rows, characters a segment.
  "features": 128,
  "batch": 32,
  "segment": 35,
  "steps": 1200,
  "learning_rate": 3e-3,
  "schedule": "constant",
  # Width of the embedding that one of them has.
  "embedding": 16,
  # Rectified units whose recurrent weights have deviation scale / sqrt(units).
  "stress_features": 32,
  "stress_scale": 1.3,
  "stress_batch": 128,
  "stress_segment": 32,
  "stress_steps": 60,
  # Bidirectional networks, and the share of characters to be filled in.
  "reader_features": 64,
  "reader_steps": 400,
  "blank_share": 0.15,
  # What is gone on from, and by how many characters.
  "prefix": "The ",
  "sample_length": 200,
}

SMOKE: dict[str, Any] = {
  "small_features": 4,
  "small_steps": 4,
  "features": 6,
  "batch": 4,
  "segment": 8,
  "steps": 4,
  "embedding": 3,
  "stress_features": 6,
  "stress_batch": 4,
  "stress_segment": 8,
  "stress_steps": 4,
  "reader_features": 4,
  "reader_steps": 4,
  "sample_length": 8,
}
