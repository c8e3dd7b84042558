"""The study `exercises`: `study` runs it, the others are its parts."""
