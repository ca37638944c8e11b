"""Plain charts as SVG: lines, bands, bars and dots, drawn without any package but numpy."""

from hunch.charts.chart import Chart
from hunch.charts.colors import BLUE, CYCLE, GRAY, GREEN, INK, ORANGE, PURPLE, RED, SKY
from hunch.charts.lettering import cut
from hunch.charts.scales import plain_number
from hunch.charts.series import held, running_mean

__all__ = [
    "BLUE",
    "CYCLE",
    "GRAY",
    "GREEN",
    "INK",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "Chart",
    "cut",
    "held",
    "plain_number",
    "running_mean",
]
