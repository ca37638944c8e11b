"""Agents that explore, and what they stand on."""
