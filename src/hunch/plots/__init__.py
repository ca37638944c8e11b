"""Results to figures and pages (extra `plot`)."""

from hunch.plots.panel import (
    BLACK,
    BLUE,
    CYCLE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    band,
    panel,
    to_svg,
)

__all__ = [
    "BLACK",
    "BLUE",
    "CYCLE",
    "GRAY",
    "GREEN",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "band",
    "panel",
    "to_svg",
]
