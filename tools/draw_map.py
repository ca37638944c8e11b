"""The map of the source in CONTRIBUTING, drawn from its imports: `python tools/draw_map.py [OUT]`.

A box is a package or a file of `src/hunch`, with the first line of its docstring; it stands above
everything that it imports. A line is an import that no way over other boxes implies. What the map
says stands in it as text, too, by which `tests/test_map.py` knows a map of an earlier tree.
"""

from __future__ import annotations

import ast
import io
import sys
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
from import_circles import FUNCTION, MODULE, PACKAGE, Graph, graph_of
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

OUT = Path(__file__).parents[1] / "docs" / "figures" / "map.svg"
INK, PALE, LINE = "#1b2733", "#eef3f8", "#9fb3c8"
STYLE: Any = {
    "svg.fonttype": "none",  # text as text, so that it can be searched
    "svg.hashsalt": "map",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
}
# Each a folder, and its place in the figure: left, bottom, width, height.
PANELS = {
    "hunch": (0.0, 0.0, 0.53, 1.0),
    "hunch.rl": (0.54, 0.61, 0.46, 0.39),
    "hunch.gradients": (0.54, 0.32, 0.46, 0.27),
    "hunch.experiments": (0.54, 0.0, 0.46, 0.3),
}
SHOWN = (MODULE, FUNCTION)
HIGHEST, NAME, ROW, LETTER = 62, 18, 9, 4.1  # points: a box, its name, a row and a letter of text


def boxes_of(folder: str, graph: Graph) -> Graph:
    """The packages and files directly in a folder, each with those of them that it imports."""
    depth = folder.count(".") + 1

    def box(name: str) -> str | None:
        parts = name.split(".")
        inside = name.startswith(folder + ".") and len(parts) > depth
        return parts[depth] if inside and parts[depth] != "__main__" else None

    found: Graph = {own: set() for name in graph if (own := box(name))}
    for name, targets in graph.items():
        if own := box(name):
            found[own] |= {there for target in targets if (there := box(target))} - {own}
    return found


def levels_of(boxes: Graph) -> dict[str, int]:
    """The number of imports on the longest way down from each box."""
    levels: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in levels:
            levels[name] = max((level(below) + 1 for below in boxes[name]), default=0)
        return levels[name]

    for name in boxes:
        level(name)
    return levels


def direct(boxes: Graph) -> list[tuple[str, str]]:
    """The imports that are not implied by others."""

    def reached(name: str) -> set[str]:
        return boxes[name].union(*map(reached, boxes[name])) if boxes[name] else set()

    return [
        (name, below)
        for name in sorted(boxes)
        for below in sorted(boxes[name])
        if not any(below in reached(other) for other in boxes[name] - {below})
    ]


def sentence_of(folder: str, name: str) -> str:
    """The first line of the docstring of a box."""
    path = PACKAGE.parent.joinpath(*folder.split("."), name)
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return doc.split("\n")[0]


def draw_panel(axes: Axes, folder: str, boxes: Graph) -> None:
    """Draw the boxes of one folder, level upon level."""
    levels = levels_of(boxes)
    count = max(levels.values()) + 1
    places: dict[str, tuple[float, float]] = {}

    def middle(name: str) -> float:
        below = [places[other][0] for other in boxes[name]]
        return sum(below) / len(below) if below else 0.5

    rows = [[name for name in sorted(boxes) if levels[name] == i] for i in range(count)]
    for i, row in enumerate(rows):
        for j, name in enumerate(sorted(row, key=middle)):
            places[name] = ((j + 0.5) / len(row), (i + 0.5) / count)
    extent, points = axes.get_window_extent(), 72 / axes.figure.dpi
    wide, high = extent.width * points, extent.height * points
    width, height = 0.95 / max(*map(len, rows), 2), min(0.78 / count, HIGHEST / high)
    letters, most = int(width * wide / LETTER), int((height * high - NAME) / ROW)
    for name, below in direct(boxes):
        (x, y), (u, v) = places[name], places[below]
        axes.plot([x, u], [y - height / 2, v + height / 2], color=LINE, lw=0.9, zorder=1)
    for name, (x, y) in places.items():
        corner = (x - width / 2, y - height / 2)
        style = "round,pad=0,rounding_size=0.008"
        axes.add_patch(
            FancyBboxPatch(corner, width, height, style, fc=PALE, ec=LINE, lw=0.9, zorder=2)
        )
        top = (x, y + height / 2)
        at: Any = {"textcoords": "offset points", "ha": "center", "va": "top"}
        axes.annotate(name, top, (0, -4), weight="bold", size=9.5, **at)
        text = textwrap.fill(sentence_of(folder, name), letters, max_lines=most, placeholder=" …")
        axes.annotate(text, top, (0, -NAME), size=7, **at)
    axes.set_title(folder.replace(".", "/") + "/", loc="left", weight="bold", size=11)


def described(graph: Graph) -> str:
    """What the map says, in words."""
    said = []
    for folder in PANELS:
        boxes = boxes_of(folder, graph)
        said += [f"{folder}.{name}: {sentence_of(folder, name)}" for name in sorted(boxes)]
        said += [f"{folder}: {name} imports {below}" for name, below in direct(boxes)]
    return "\n".join(said)


def draw(graph: Graph) -> str:
    """The map as the text of an SVG."""
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(14, 16))
        for folder, (left, bottom, width, height) in PANELS.items():
            axes = figure.add_axes((left + 0.01, bottom + 0.01, width - 0.02, height - 0.045))
            axes.set(xlim=(0, 1), ylim=(0, 1))
            axes.axis("off")
            draw_panel(axes, folder, boxes_of(folder, graph))
        metadata: Any = {"Date": None, "Description": described(graph)}
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=metadata)
    return "\n".join(line.rstrip() for line in text.getvalue().split("\n"))


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.write_text(draw(graph_of(PACKAGE, SHOWN)), "utf-8")
    print(out)
