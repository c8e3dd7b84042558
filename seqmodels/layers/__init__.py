"""Flax layers over the cells."""
