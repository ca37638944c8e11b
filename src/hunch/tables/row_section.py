"""The section of the page that shows single test rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hunch.plots.page import Beside, Block, Figures, Section, Table
from hunch.tables import pictures
from hunch.tables.verdict import number, percent

_LONGEST: Final = 24  # characters of a class beside others


def section_of_rows(summary: Mapping[str, Any]) -> Section:
    """Predicted against actual: many rows in a figure, ten of them in a table."""
    return Section("rows", "Predicted and actual", _drawn_rows(summary), _rows(summary))


def _drawn_rows(summary: Mapping[str, Any]) -> str:
    count = len(summary["test"]["examples"])
    return f"Rows that the model has not seen, and {count} of them drawn at random."


def _rows(summary: Mapping[str, Any]) -> list[Block]:
    test, target = summary["test"], summary["target"]
    if target["task"] == "regression":
        drawn = pictures.scattered(test["scatter"], target["name"])
    else:
        drawn = pictures.confused(test["confusion"], target["classes"], target["name"])
    return [Beside([Figures({"predicted": drawn})], [_examples(summary)])]


def _examples(summary: Mapping[str, Any]) -> Table:
    rows, regression = summary["test"]["examples"], summary["target"]["task"] == "regression"
    ids = list(rows[0]["ids"])
    outcome = (
        ["actual", "predicted", "90 % interval", "inside?"]
        if regression
        else ["actual", "predicted", "right?"]
    )
    tell = _number_row if regression else _class_row
    body = [
        [
            f"{', '.join(row['ids'].values()) or format(row['row'], ',')}\n{_cells(row)}",
            *tell(row),
        ]
        for row in rows
    ]
    head = [", ".join(f"`{name}`" for name in ids) or "row", *outcome]
    return Table(head, body, " ".join(_about_examples(summary)))


def _about_examples(summary: Mapping[str, Any]) -> Iterator[str]:
    first = summary["test"]["examples"][0]
    if not first["ids"]:
        where = f" of `{summary['test_file']}`" if summary.get("test_file") else ""
        yield f"Rows{where} are counted from 1, without the header."
    if first["cells"]:
        shown = ", ".join(f"`{name}`" for name in first["cells"])
        yield f"Small: {shown}, which drive the prediction most."
    if summary["target"]["task"] == "classification":
        yield "Small below a class: the probability that it was given."


def _cells(row: Mapping[str, Any]) -> str:
    return ", ".join(cell or "–" for cell in row["cells"].values())


def _number_row(row: Mapping[str, Any]) -> list[str]:
    interval = f"{number(row['lower'])} to {number(row['upper'])}"
    inside = "yes" if row["inside"] else "no"
    return [number(row["actual"]), number(row["predicted"]), interval, inside]


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _class_row(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{_cut(row['actual'])}\n{percent(row['probability_of_actual'])}",
        f"{_cut(row['predicted'])}\n{percent(row['probability'])}",
        "yes" if row["right"] else "no",
    ]
