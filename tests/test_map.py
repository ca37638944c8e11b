"""The map in CONTRIBUTING is of the tree as it is: `tools/draw_map.py` draws it from the imports."""

import html
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from draw_map import OUT, SHOWN, boxes_of, described, direct, levels_of
from import_circles import PACKAGE, graph_of


def test_the_committed_map_says_what_the_imports_say():
    said = html.unescape(OUT.read_text("utf-8"))
    assert described(graph_of(PACKAGE, SHOWN)) in said, "draw it again: python tools/draw_map.py"


def test_a_box_stands_above_all_that_it_imports_and_no_line_is_implied_by_others():
    graph = {
        "p.a.x": {"p.b.y", "p.c", "q"},
        "p.b.y": {"p.c", "p.b.z"},
        "p.b.z": set(),
        "p.c": set(),
        "p": {"p.a.x"},
    }
    boxes = boxes_of("p", graph)
    assert boxes == {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert levels_of(boxes) == {"a": 2, "b": 1, "c": 0}
    assert direct(boxes) == [("a", "b"), ("b", "c")]
