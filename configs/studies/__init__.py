"""Settings of each study of the fundamentals, and what `smoke` changes."""
