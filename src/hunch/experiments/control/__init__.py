"""Agents on poles, carts and pendulums."""
