"""Recurrent sequence models in JAX: cells, kernels, training, evaluation."""
