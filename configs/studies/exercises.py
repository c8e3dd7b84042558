"""The study `exercises`: exact networks, copying and adding."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # Exact networks: a language of strings, and a chain.
  "symbols": 3,
  "word_length": 4,
  "order": 3,
  # c, fillers, c again; and the longest n-gram for runs of even length.
  "recall_symbols": 2,
  "fillers": 8,
  "longest": 12,
  # Trained networks: as they come, and changed at the start.
  "cells": ("Elman", "GRU", "LSTM"),
  "changed": (
    "Elman, orthogonal start",
    "GRU, reset gate only",
    "GRU, update gate only",
    "LSTM, forget bias 5",
  ),
  "features": 32,
  "batch": 32,
  "rate": 0.01,
  "recall_steps": 1500,
  "recall_fillers": (2, 4, 8, 16),
  "memory_steps": 600,
  "lags": (5, 10, 20, 40),
  "adding_lengths": (10, 20, 40),
  # What is done about gradients that fade or explode: on copying over a lag.
  "remedies": (
    "no remedy",
    "clipping",
    "smaller steps",
    "penalty",
    "descent",
    "descent, clipping",
  ),
  "remedy_lag": 20,
  "remedy_runs": 3,  # seeds
  # A text learned by heart, and others scored; files may be added to them.
  "by_heart": 5_000,  # characters
  "unseen": 5_000,
  "heart_features": 128,
  "heart_length": 35,
  "heart_rate": 0.005,
  "heart_steps": 800,
  "other_texts": (),
  "hand_length": 1000,  # steps that gates set by hand hold a number
  "gradient_length": 64,
}

SMOKE: dict[str, Any] = {
  "symbols": 2,
  "word_length": 3,
  "order": 2,
  "fillers": 3,
  "longest": 6,
  "cells": ("Elman",),
  "changed": ("Elman, orthogonal start",),
  "features": 8,
  "batch": 4,
  "recall_steps": 50,
  "recall_fillers": (1, 3),
  "memory_steps": 50,
  "lags": (3, 5),
  "adding_lengths": (3, 5),
  "remedies": ("penalty",),
  "remedy_lag": 5,
  "remedy_runs": 2,
  "by_heart": 200,
  "unseen": 300,
  "heart_features": 8,
  "heart_length": 10,
  "heart_steps": 32,
  "hand_length": 50,
  "gradient_length": 8,
}
