"""State, optimisers, steps and stopping."""
