"""Sections of the page that tell of the table: what it holds, what became of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hunch.plots.page import Beside, Block, Figures, Section, Table, Text
from hunch.tables import pictures
from hunch.tables.pictures import day
from hunch.tables.target import without_target_in_words
from hunch.tables.verdict import number, percent

_KINDS: Final = {
    "number": "numbers",
    "boolean": "true or false",
    "date": "dates",
    "category": "categories (text)",
}


def section_of_data(summary: Mapping[str, Any]) -> Section:
    """What the table holds before anything is learned from it."""
    return Section("data", "What is in the table", _origin(summary), _data(summary))


def section_of_columns(summary: Mapping[str, Any]) -> Section:
    """What each column became."""
    return Section("columns", "What became of the columns", "", _columns(summary))


def _data(summary: Mapping[str, Any]) -> list[Block]:
    found, rows = summary["overview"], summary["rows"]
    kinds = [
        [f"columns: {_KINDS.get(kind, kind)}", f"{count:,}"]
        for kind, count in found["kinds"].items()
    ]
    facts = [
        ["rows to learn from", f"{rows['train']:,}"],
        ["rows to judge on", f"{rows['test']:,}"],
        *kinds,
        ["features made of them", f"{summary['features']:,}"],
    ]
    of_target = found["target"]
    if "quantiles" in of_target:
        quantiles = of_target["quantiles"]
        facts += [
            ["target: mean", number(of_target["mean"])],
            [
                "target: nine tenths lie in",
                f"{number(quantiles['0.05'])} to {number(quantiles['0.95'])}",
            ],
            ["target: least and largest", f"{number(quantiles['0'])} and {number(quantiles['1'])}"],
        ]
    return [
        Beside(
            [Table(["", ""], facts), Text(_missing(found["missing"]))],
            [Figures({"target": pictures.distribution(of_target, summary["target"])})],
        )
    ]


def _missing(shares: Mapping[str, float]) -> str:
    if not shares:
        return "No cell of a column in use is missing."
    most = list(shares.items())[:6]
    named = ", ".join(f"`{name}` {percent(share)}" for name, share in most)
    more = f" and {len(shares) - len(most)} more columns less" if len(shares) > len(most) else ""
    return f"Missing cells: {named}{more}. The model sees that they are missing."


def _origin(summary: Mapping[str, Any]) -> str:
    rows = summary["rows"]
    without = summary.get("without_target", 0)
    sampled = rows["used"] + without
    taken = "" if sampled == rows["file"] else f", of which {sampled:,} were taken"
    left_out = f"; {without_target_in_words(without, sampled)}" if without else ""
    return (
        f"{rows['file']:,} rows{taken}{left_out}; {summary['features']} features. "
        f"Seed {summary['seed']}."
    )


def _columns(summary: Mapping[str, Any]) -> list[Block]:
    said = summary["columns"].get("said", {})
    asked = {*said.get("categorical", []), *said.get("numeric", [])}
    used = [
        [f"`{c['name']}`", _what(c) + (", as asked" if c["name"] in asked else "")]
        for c in summary["columns"]["used"]
    ]
    dropped = [[f"`{c['name']}`", f"dropped: {c['why']}"] for c in summary["columns"]["dropped"]]
    return [Table(["column", "became"], used + dropped, words=True)]


def _what(column: Mapping[str, Any]) -> str:
    if column["kind"] == "category":
        said = f"{len(column['values'])} values" + (" and a rest" if column["other"] else "")
    elif column["kind"] == "boolean":
        said = "true or false"
    else:
        show = day if column["kind"] == "date" else number
        said = f"{column['kind']}, {show(column['low'])} to {show(column['high'])}"
    if column["decimal"] == ",":
        said += ", with a decimal comma"
    if column["unit"]:
        said += f", in {column['unit']}"
    if column["order"]:
        said += f", written {'/'.join(column['order'])}"
    return said + (", and whether it is missing" if column["missing"] else "")
