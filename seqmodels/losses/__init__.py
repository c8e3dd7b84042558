"""Losses: totals and counts in nats."""
