"""Static and dynamic evaluation, and the baselines beside them."""
