"""Speed against other libraries: `run` measures, the rest are its parts."""
