"""Environments: opened, copied, compared, stepped side by side, and checked."""
