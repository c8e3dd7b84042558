"""The study `ngram`: `study` runs it, the others are its parts."""
