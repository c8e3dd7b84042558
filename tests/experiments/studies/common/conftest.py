"""The brute-force Elman network of the evaluation tests, here as well."""

from tests.evaluation.conftest import elman, numpy_elman, params

__all__ = ["elman", "numpy_elman", "params"]
