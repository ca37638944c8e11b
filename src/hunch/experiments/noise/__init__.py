"""Noisy layers against their closed forms."""
