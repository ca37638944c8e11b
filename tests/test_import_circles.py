"""No file of the package imports, however far around, a file that imports it."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "import_circles.py"
SPEC = importlib.util.spec_from_file_location("import_circles", TOOL)
circles = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(circles)

FILES = {
    "__init__.py": "",
    "a.py": "import shut.b",
    "b.py": "from shut import c",
    "c.py": "",
    "deep/__init__.py": "from shut.deep.d import x",
    "deep/d.py": "from ..a import y",
}
AT_MODULE, IN_FUNCTION, BY_NAME, FOR_TYPES = (
    "from .a import z",
    "def f():\n    from shut import a",
    'def f():\n    importlib.import_module("shut.a")',
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shut.a import z",
)


def package(folder, **changed):
    for name, text in {**FILES, **{f"{key}.py": text for key, text in changed.items()}}.items():
        path = folder / "shut" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "shut"


def test_no_circle_is_closed_at_module_level_inside_functions_or_for_types():
    assert circles.circles_of(circles.graph_of(circles.PACKAGE, circles.KINDS)) == []


def test_figures_import_experiments_and_never_back():
    graph = circles.graph_of(circles.PACKAGE, circles.KINDS)
    back = {
        name: target
        for name, targets in graph.items()
        for target in targets
        if name.startswith("hunch.experiments.")
        and not name.startswith("hunch.experiments.figures")
        and target.startswith("hunch.experiments.figures.")
    }
    # For its type alone, the registry's way to draw names what it returns.
    assert set(back) <= {"hunch.experiments.claims.drawing"}


@pytest.mark.parametrize(
    ("back", "counts"),
    [
        (AT_MODULE, (1, 1, 1)),
        (IN_FUNCTION, (0, 1, 1)),
        (BY_NAME, (0, 1, 1)),
        (FOR_TYPES, (0, 0, 1)),
    ],
)
def test_a_circle_is_found_and_its_kind_told_apart(tmp_path, back, counts, capsys):
    shut = package(tmp_path, c=back)
    found = [circles.circles_of(circles.graph_of(shut, circles.KINDS[: i + 1])) for i in range(3)]
    assert tuple(map(len, found)) == counts
    assert found[-1] == [["shut.a", "shut.b", "shut.c"]]
    assert circles.main(shut) == counts[0]
    assert "3 files: shut.a, shut.b, shut.c" in capsys.readouterr().out


def test_a_line_of_imports_and_a_package_that_gathers_its_files_are_no_circle(tmp_path):
    shut = package(tmp_path)
    graph = circles.graph_of(shut, circles.KINDS)
    assert graph["shut.deep.d"] == {"shut.a"}
    assert graph["shut.deep"] == {"shut.deep.d"}
    assert circles.circles_of(graph) == []
