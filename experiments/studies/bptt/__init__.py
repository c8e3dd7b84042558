"""The study `bptt`: `study` runs it, the others are its parts."""
