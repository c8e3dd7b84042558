"""The study `partitioning`: `study` runs it, the others are its parts."""
