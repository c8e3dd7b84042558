"""The study `perplexity`: `study` runs it, the others are its parts."""
