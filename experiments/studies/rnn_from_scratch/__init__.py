"""The study `rnn_from_scratch`: `study` runs it, the others are its parts."""
