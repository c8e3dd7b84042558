"""Densities that a network's outputs stand for."""
