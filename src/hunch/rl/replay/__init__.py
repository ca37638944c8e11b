"""Transitions kept until they are learned from."""
