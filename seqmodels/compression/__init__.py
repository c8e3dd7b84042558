"""Lossless compression: predict each byte, code it, learn from it.

Experts predict, a mixer weighs them, a range coder codes, a container keeps.
"""
