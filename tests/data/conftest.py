"""Property tests on a machine that does other things too."""

import hypothesis

# A limit on the time of one example measures the machine's load.
hypothesis.settings.register_profile(
  "unhurried",
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")
