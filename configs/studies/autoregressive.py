"""The study `autoregressive`: windows, latent states, Markov models."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # The noisy sine, and what learns from it.
  "length": 1000,
  "noise": 0.2,
  "window": 4,
  "pairs": 600,  # to learn from; what comes later is the test
  "horizons": (1, 4, 16, 64),
  "batch": 16,
  "epochs": 5,  # of the window models
  "hidden": 16,  # units of the recurrent ones
  "stretch": 64,  # steps that they learn from at a time
  "network_epochs": 30,
  "series": 8,  # over which models are compared
  "repeats": 200,  # series behind each mean of the linear models
  "windows": (1, 2, 3, 4, 8, 16, 32, 64, 128),
  # Investors, chains and hidden chains.
  "walks": 1000,
  "chain": 100_000,  # symbols to count, and as many to score
  "longest_order": 5,
  "hidden_chain": 100_000,
  "longest_window": 14,
  "rnn_epochs": 6,
}

SMOKE: dict[str, Any] = {
  "length": 300,
  "pairs": 200,
  "epochs": 1,
  "hidden": 4,
  "stretch": 16,
  "network_epochs": 1,
  "series": 2,
  "repeats": 5,
  "windows": (1, 4, 16),
  "walks": 50,
  "chain": 2000,
  "hidden_chain": 4000,
  "longest_window": 8,
  "rnn_epochs": 1,
}
