"""Colors of a chart: those of the page it stands on, else Okabe & Ito's, distinct to all eyes."""

from __future__ import annotations

from typing import Final

PALETTE: Final = {
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "red": "#d55e00",
    "purple": "#cc79a7",
    "sky": "#56b4e9",
    "soft": "#666666",
}
CYCLE: Final = tuple(f"var(--{name},{color})" for name, color in PALETTE.items())
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GRAY = CYCLE
INK: Final = "currentColor"
