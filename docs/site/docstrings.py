"""Docstrings as Sphinx wants them: ours are plain text with backticks and Unicode equations."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

import public
from mathml import latex

_SECTION: Final = re.compile(
    r"(Args|Attributes|Returns|Yields|Raises|Warns|Note|Example|Examples|Shape|Reference):$"
)
# How Sphinx writes `NDArray[...]`: a tilde before a dotted name shows its last part.
_ARRAY: Final = re.compile(
    r"(~?[\w.]*ndarray)\[tuple\[~?[\w.]*Any, \.\.\.\], ~?[\w.]*dtype\[[~\w.]*(?:\[[~\w.]*\])?\]\]"
)
_TICK: Final = "\x01"  # stands for the backticks of roles until those of code are done
# A letter with an index, as w_ki or σ_bj, as it stands in prose.
_INDEXED: Final = re.compile(r"(?<![\w`])([^\W\d_])_([a-z]{1,3}|[A-Z0])(?![A-Za-z0-9_`])")


def convert(lines: list[str]) -> list[str]:
    """The lines of a docstring in reStructuredText, sections left to napoleon."""
    made: list[str] = []
    place = 0
    while place < len(lines):
        line = lines[place]
        if _begins_doctest(line):
            end = _end_of_block(lines, place)
            made += lines[place:end]
        elif _begins_display(lines, place):
            end = _end_of_block(lines, place)
            pad = " " * (_indent(line) - 4)
            block = lines[place:end]
            if all(part.isascii() for part in block):
                made += [f"{pad}.. code-block:: python", "", *block, ""]
            else:
                made += [text for part in block for text in (f"{pad}.. math:: {latex(part)}", "")]
        else:
            end = place + 1
            made.append(line)
        place = end
    return _prose(made)


def _begins_doctest(line: str) -> bool:
    return line.lstrip().startswith(">>> ")


def _end_of_block(lines: list[str], place: int) -> int:
    while place < len(lines) and lines[place].strip():
        place += 1
    return place


def _begins_display(lines: list[str], place: int) -> bool:
    """Whether an equation or code begins: a paragraph indented by 4 beyond the one before it."""
    if place < 2 or not lines[place].strip() or lines[place - 1].strip():
        return False
    before = lines[place - 2]
    if not before.strip() or _SECTION.match(before.strip()):
        return False
    return _indent(lines[place]) == _indent(before) + 4


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _prose(lines: list[str]) -> list[str]:
    """Mark up all that is neither a doctest nor an equation; code may run over a line's end."""
    text: list[str] = []
    inside = False  # a piece of code that the line before has opened
    doctest = False
    for line in lines:
        doctest = bool(line.strip()) and (doctest or _begins_doctest(line))
        if doctest or line.lstrip().startswith(".. "):
            text.append(line.replace("`", _TICK))
            continue
        if not line.strip():
            inside = False
        parts = line.split("`")
        made = []
        for part in parts:
            made.append(part if inside else _escaped(part))
            made.append("`")
            inside = not inside
        inside = not inside
        made.pop()
        text.append("".join(made))
    whole = "\n".join(text)
    whole = re.sub(r"(?<![`\\])`([^`]+)`(?!`)", _code, whole)
    return whole.replace(_TICK, "`").split("\n")


def _escaped(text: str) -> str:
    text = (
        re.sub(r"(?<!\\)([*|])", r"\\\1", text) if not re.match(r"\s*\*{1,2}\w+:", text) else text
    )
    text = re.sub(r"(?<=\w)_(?=[\s.,;:)]|$)", r"\\_", text)
    return _INDEXED.sub(rf"\1\\ :sub:{_TICK}\2{_TICK}\\ ", text)


@cache
def _homes() -> dict[str, str]:
    """Where a public name is documented, by the name alone and by its full one."""
    homes: dict[str, str] = {}
    for package in public.PACKAGES:
        for name in public.names_of(package):
            homes.setdefault(name, f"{package.module}.{name}")
            homes[f"{package.module}.{name}"] = f"{package.module}.{name}"
    for name in ("RandomizedPriorRegressor", "RandomizedPriorClassifier"):
        homes[f"hunch.{name}"] = f"hunch.sklearn.{name}"
    return homes


def _code(found: re.Match[str]) -> str:
    code = " ".join(found[1].split())
    if code.isdigit() or "`" in code:
        return f"``{code}``"
    home = _homes().get(code)
    # Short words, as `noise`, are more often an argument than the function of that name.
    if home and ("." in code or code[0].isupper() or "_" in code):
        return f":py:obj:`{code} <{home}>`"
    return f"``{code}``"


def _process(_app: Any, what: str, _name: str, thing: Any, _options: Any, lines: list[str]) -> None:
    if what == "data" and "\n".join(lines).strip() == (type(thing).__doc__ or "").strip():
        lines.clear()  # what Python says of every dictionary
    lines[:] = convert(lines)


def _skip(_app: Any, _what: str, _name: str, thing: Any, skip: bool, _options: Any) -> bool:
    """Leave out what another library's base class brings along."""
    function = getattr(thing, "fget", thing)
    return skip or not str(getattr(function, "__module__", "hunch")).startswith("hunch")


def _shorten(
    _app: Any, _what: str, _name: str, _object: Any, _options: Any, signature: str, returns: str
) -> tuple[str | None, str | None]:
    """Say `ndarray` where the type of an array says nothing more."""

    def short(text: str | None) -> str | None:
        return text and _ARRAY.sub(r"\1", text)

    return short(signature), short(returns)


def _resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Types in signatures name the file of a class; its entry is under the package's name."""
    home = _homes().get(str(node.get("reftarget", "")).rpartition(".")[2])
    if node.get("refdomain") != "py" or not home:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", home, node, content)


def setup(app: Any) -> None:
    """Convert before napoleon (500) reads the sections."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-signature", _shorten)
    app.connect("missing-reference", _resolve)
