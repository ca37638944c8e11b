"""Value functions that what was seen does not rule out, one of which plays an episode."""
