"""Colors of a chart: those of the page it stands on, else Okabe & Ito's, distinct to all eyes."""

from __future__ import annotations

from typing import Final

BLUE: Final = "var(--blue,#0072b2)"
ORANGE: Final = "var(--orange,#e69f00)"
GREEN: Final = "var(--green,#009e73)"
RED: Final = "var(--red,#d55e00)"
PURPLE: Final = "var(--purple,#cc79a7)"
SKY: Final = "var(--sky,#56b4e9)"
GRAY: Final = "var(--soft,#666666)"
INK: Final = "currentColor"
CYCLE: Final = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GRAY)
