"""Recurrent cells and sequence kernels: pure functions of arrays."""
