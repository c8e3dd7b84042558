"""Handwriting: train, evaluate, write."""
