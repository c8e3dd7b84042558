"""Noise for training: on weights, on activations, and what it costs in nats."""
