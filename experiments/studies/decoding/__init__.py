"""The study `decoding`: `study` runs it, the others are its parts."""
