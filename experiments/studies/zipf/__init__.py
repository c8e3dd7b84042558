"""The study `zipf`: `study` runs it, the others are its parts."""
