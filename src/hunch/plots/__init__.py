"""Results to figures (extra `plot`) and to pages."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hunch.plots.diagnosis import diagnosis_figure
from hunch.plots.page import (
    Beside,
    Block,
    Claim,
    Code,
    Facts,
    Figures,
    Film,
    Films,
    Notice,
    Section,
    Table,
    Text,
    Video,
    render_page,
)
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

if TYPE_CHECKING:
    from hunch.plots.results import plot as plot

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
    "Beside",
    "Block",
    "Claim",
    "Code",
    "Facts",
    "Figures",
    "Film",
    "Films",
    "Notice",
    "Section",
    "Table",
    "Text",
    "Video",
    "band",
    "diagnosis_figure",
    "panel",
    "plot",
    "render_page",
    "to_svg",
]


def __getattr__(name: str) -> Any:
    if name == "plot":  # it knows all kinds of results, agents' among them
        return importlib.import_module("hunch.plots.results").plot
    raise AttributeError(f"module 'hunch.plots' has no attribute {name!r}")
