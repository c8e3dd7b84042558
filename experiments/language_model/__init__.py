"""Language models: train, evaluate, sample, report."""
