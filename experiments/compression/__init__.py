"""Lossless compression of files."""
