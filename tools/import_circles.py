"""Circles of imports between files of the package: `python tools/import_circles.py [FOLDER]`.

A circle is a set of files each of which imports, in one step or several, every other. Three kinds
of imports are told apart, as they do harm of different kinds:

- at module level: runs when the file is loaded, so a circle may break, and nobody can read one file
  without the others. There is to be none: the exit code is 1 if there is one.
- inside a function, or by `import_module("…")`: runs later; a circle that only these close is
  counted and shown.
- under `if TYPE_CHECKING:`: never runs; counted and shown likewise.

An import of a package (`from hunch.rl import DQN`) is one of its `__init__.py`; an import of a file
is not one of the `__init__.py` above it, though Python runs that too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

MODULE, FUNCTION, TYPES = "at module level", "inside functions", "for types"
KINDS = (MODULE, FUNCTION, TYPES)
PACKAGE = Path(__file__).parents[1] / "src" / "hunch"

Graph = dict[str, set[str]]


def files_of(package: Path) -> dict[str, Path]:
    """Every file of a package by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """The package's own files that a file imports, each with the kind of import."""
    is_package = path.name == "__init__.py"
    for node, kind in _walked(ast.parse(path.read_text("utf-8")), MODULE):
        if isinstance(node, ast.Call):
            targets = [node.args[0].value]  # type: ignore[attr-defined]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                above = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*above, *([base] if base else [])])
            # `from package import name` is an import of the file of that name, where there is one.
            targets = [
                f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names
            ]
        for target in targets:
            if target in known and target != name:
                yield target, kind


Imports = ast.Import | ast.ImportFrom | ast.Call


def _walked(node: ast.AST, kind: str) -> Iterator[tuple[Imports, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom) or _imports_by_name(child):
            yield child, kind
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _walked(child, FUNCTION if kind == MODULE else kind)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from _walked(ast.Module([part], []), TYPES)
            for part in child.orelse:
                yield from _walked(ast.Module([part], []), kind)
        else:
            yield from _walked(child, kind)


def _imports_by_name(node: ast.AST) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr == "import_module" and isinstance(node.args[0], ast.Constant)


def graph_of(package: Path, kinds: tuple[str, ...] = (MODULE,)) -> Graph:
    """For every file the files that it imports in these ways."""
    known = files_of(package)
    return {
        name: {target for target, kind in imports_of(name, path, known) if kind in kinds}
        for name, path in known.items()
    }


def circles_of(graph: Graph) -> list[list[str]]:
    """The sets of two or more files that reach each other (strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            circle = sorted(stack[at:])
            del stack[at:]
            if len(circle) > 1:
                found.append(circle)

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return sorted(found)


def main(package: Path) -> int:
    """Print the circles of each kind; 1 if there is one at module level."""
    counts = []
    for i, kind in enumerate(KINDS):
        graph = graph_of(package, KINDS[: i + 1])
        circles = circles_of(graph)
        counts.append(len(circles))
        imports = sum(map(len, graph.values()))
        also = "" if i == 0 else ", those above included"
        print(f"{kind}{also}: {imports} imports, {len(circles)} circles")
        for circle in circles:
            print(f"  {len(circle)} files: " + ", ".join(circle))
    return 1 if counts[0] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE))
