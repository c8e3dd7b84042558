"""The study `autoregressive`: windows, latent states, Markov models."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # Toy problems, by their shape.
  "toys": ("fixed target", "fixed input", "aligned", "unaligned", "density"),
  "toy_units": 48,
  "toy_bits": 10,
  "toy_letters": 3,
  "toy_length": 6,
  "toy_steps": 2000,
  "toy_batch": 128,
  # The noisy sine, and what learns from it.
  "length": 1000,
  "noise": 0.2,
  "window": 4,
  "pairs": 600,  # to learn from; what comes later is the test
  "horizons": (1, 4, 16, 64),
  "batch": 16,
  "epochs": 5,  # of the window models
  "networks": ("RNN", "GRU", "LSTM"),  # recurrent ones
  "hidden": 16,  # units of each
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
  # The drifting sine: values to learn from, and half as many for the test.
  "drifting": 8000,
  "drifting_stretch": 100,
  "drifting_epochs": 2,
}

SMOKE: dict[str, Any] = {
  # As little as finds the rules of these.
  "toys": ("fixed target", "aligned", "unaligned"),
  "toy_units": 24,
  "toy_bits": 8,
  "toy_length": 5,
  "toy_steps": 700,
  "toy_batch": 64,
  "length": 300,
  "pairs": 200,
  "epochs": 1,
  "networks": ("GRU",),
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
  "drifting": 200,
  "drifting_stretch": 16,
  "drifting_epochs": 1,
}
