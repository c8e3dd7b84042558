"""The study `partitioning`: reading long sequences in minibatches."""

from typing import Any

SETTINGS: dict[str, Any] = {
  # A text of so many symbols, read in batches of so many rows of this length.
  "toy": (35, 2, 5),
  "toy_epochs": 2_000,
  "cell": "gru",
  "features": (96,),
  "batch": 32,
  "length": 16,
  "steps": 1_000,
  "dispatch": 50,
  "learning_rate": 3e-3,
  # Networks a reader, of seeds counted up; evaluations of each.
  "networks": 2,
  "evaluations": 5,
  # Rows that the validation text is scored in.
  "streams": 16,
  # Places after a cleared state that are told apart.
  "positions": 64,
}

SMOKE: dict[str, Any] = {
  "toy_epochs": 20,
  "features": (8,),
  "batch": 4,
  "steps": 4,
  "dispatch": 2,
  "networks": 1,
  "evaluations": 2,
  "streams": 2,
  "positions": 20,
}
