"""A sidebar that unfolds where the reader is, and nowhere else.

The theme puts the whole tree of 300 pages into each of them, which took half of the building time.
"""

from __future__ import annotations

from typing import Any


def _fold(_app: Any, _page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    whole = context.get("toctree")
    if whole is not None:
        context["toctree"] = lambda **how: whole(**{**how, "collapse": True})


def setup(app: Any) -> None:
    """Fold before the theme (500) asks for the tree."""
    app.connect("html-page-context", _fold, priority=400)
