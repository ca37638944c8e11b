"""Results to figures and pages (extra `plot`)."""
