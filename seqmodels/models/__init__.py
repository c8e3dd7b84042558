"""Models: what predicts the next symbol."""
