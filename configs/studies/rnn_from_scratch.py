"""The study `rnn_from_scratch`: equations, gates and depth."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # Of the network in plain arrays and in ten lines.
  "small_features": 32,
  "small_segment": 32,
  "small_steps": 200,
  # Of the character models: units, rows, characters a segment.
  "features": 128,
  "batch": 32,
  "segment": 35,
  "steps": 1000,
  "learning_rate": 1e-2,
  "schedule": "cosine",
  # Which of them are trained; the last one writes.
  "networks": (
    "RNN",
    "RNN, embedding",
    "GRU, reset gate only",
    "GRU, update gate only",
    "GRU",
    "GRU, two layers",
    "LSTM",
  ),
  # Symbols of the longest context that the counting model beside them has.
  "ngram_order": 6,
  # Width of the embedding that one of them has.
  "embedding": 16,
  # Rectified units whose recurrent weights have deviation scale / sqrt(units).
  "stress_features": 32,
  "stress_scale": 1.3,
  "stress_batch": 128,
  "stress_segment": 32,
  "stress_steps": 60,
  "stress_seeds": 3,
  # Networks whose causality is tested.
  "causal": ("RNN", "GRU", "LSTM", "RNN, two layers", "LSTM, two layers"),
  # Bidirectional networks, and the share of characters to be filled in.
  "reader_features": 64,
  "reader_steps": 400,
  "blank_share": 0.15,
  # Length of a text from a source whose law is known.
  "chain_symbols": 200_000,
  # Networks of the textbook in its own setting, such as ("RNN", "GRU", "LSTM"):
  # with --config.data.source=timemachine its numbers come out. A minute each.
  "textbook": (),
  "textbook_epochs": 100,
  "textbook_windows": (10_000, 5_000),
  "textbook_batch": 1024,
  # The prefix that is continued, and by how many characters.
  "prefix": "the ",
  "sample_length": 200,
}

SMOKE: dict[str, Any] = {
  "small_features": 4,
  "small_segment": 4,
  "small_steps": 4,
  "features": 4,
  "batch": 4,
  "segment": 8,
  "steps": 4,
  "networks": ("GRU", "GRU, reset gate only", "LSTM"),
  "ngram_order": 2,
  "embedding": 3,
  "stress_features": 6,
  "stress_batch": 4,
  "stress_segment": 8,
  "stress_steps": 4,
  "stress_seeds": 2,
  "causal": ("RNN", "LSTM, two layers"),
  "reader_features": 4,
  "reader_steps": 4,
  "chain_symbols": 1_000,
  "sample_length": 8,
}
