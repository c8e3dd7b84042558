"""The study `bptt`: gradients through time: full, truncated, randomised."""

from typing import Any

SETTINGS: dict[str, Any] = {
  "draws": 100_000,  # of randomised truncation
  # Gradients by distance: steps, units, spectral radii of the figure and more
  # of the table.
  "distance": 100,
  "features": 64,
  "radii": (0.9, 1.0, 1.1, 2.0),
  "other_radii": (0.1, 0.5, 1.5),
  "short_distance": 30,
  "textbook": (32, 256, 512),  # units at the textbook's initialisation
  "powers": 60,  # of a symmetric matrix
  "cost_cell": "lstm",
  "lengths": (128, 512, 2048, 8192),  # of sequences whose cost is taken
  # Training by each strategy.
  "runs": 3,  # seeds
  "hidden": 64,
  "batch": 32,
  "length": 35,
  "steps": 400,
  "rate": 0.005,
  "gradient_lengths": (2, 5, 10, 20),  # mean lengths that are compared
  "gradients": 100,  # draws of each
  "copy_lag": 20,
  "copy_steps": 500,
}

SMOKE: dict[str, Any] = {
  "draws": 500,
  "distance": 20,
  "features": 8,
  "radii": (0.9, 1.1),
  "other_radii": (2.0,),
  "short_distance": 6,
  "textbook": (8,),
  "powers": 20,
  "cost_cell": "elman",
  "lengths": (16, 64),
  "runs": 2,
  "hidden": 8,
  "batch": 4,
  "length": 12,
  "steps": 25,
  "gradient_lengths": (4,),
  "gradients": 3,
  "copy_lag": 6,
  "copy_steps": 25,
}
