"""What the benchmarks share: taking turns, the machine's own rates, tables.

A folder, because every file beside it is one of the tables that `hunch bench` lists.
"""

from measuring.limits import Rates, rate_ways
from measuring.tables import line, rounded, table, with_spread
from measuring.turns import Spread, Way, ratio, spread, turns

__all__ = [
    "Rates",
    "Spread",
    "Way",
    "line",
    "rate_ways",
    "ratio",
    "rounded",
    "spread",
    "table",
    "turns",
    "with_spread",
]
