"""The study `autoregressive`: `study` runs it, the others are its parts."""
