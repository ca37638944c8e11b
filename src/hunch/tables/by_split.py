"""Sections of the page that only some fits have: by group, by time, by the value of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hunch.plots.page import Block, Section, Table, Text
from hunch.tables.verdict import percent, period, rounded

_MOST_GROUPS: Final = 20
_NAMES: Final = {
    "coverage_90": "covered by 90 %",
    "width_90": "mean width",
    "mae": "mean absolute error",
    "accuracy": "right",
    "log_loss": "log loss",
}
_IN_PERCENT: Final = ("coverage_90", "accuracy")


def sections_by_split(summary: Mapping[str, Any]) -> list[Section]:
    """How good it is in each group that it had never seen, and as time goes on."""
    test, column = summary["test"], summary.get("split", {}).get("column")
    found = []
    if groups := test.get("by_group"):
        shown = groups[:_MOST_GROUPS]
        source = f"Groups of `{column}`, of which none was learned from"
        if len(shown) < len(groups):
            source += f"; the {len(shown)} largest of {len(groups):,}"
        blocks = _table(shown, "group")
        if over := test.get("group_scores"):
            blocks.append(Text(_over_groups(over)))
        found.append(Section("groups", "Group by group", f"{source}.", blocks))
    if times := test.get("by_time"):
        source = (
            f"Test rows in {len(times)} parts in the order of `{column}`; all are later than what "
            "was learned from."
        )
        found.append(Section("time", "As time goes on", source, _table(times, "when")))
    for i, (name, records) in enumerate(test.get("by_subgroup", {}).items()):
        source = f"Test rows by their value of `{name}`, as asked."
        blocks = _table(records[:_MOST_GROUPS], "value")
        found.append(Section(f"subgroups-{i + 1}", f"By `{name}`", source, blocks))
    return found


def _over_groups(over: Mapping[str, Any]) -> str:
    """Means in which a group of many rows counts no more than one of few."""
    said = ", ".join(f"{_NAMES[key]} {_shown(key, over[key])}" for key in _NAMES if key in over)
    least = over.get("least_covered")
    worst = "" if least is None else f" Covered least of all is `{least}`."
    return f"If each of the {over['groups']:,} groups counts once: {said}.{worst}"


def _shown(key: str, value: float) -> str:
    return percent(value) if key in _IN_PERCENT else rounded(value)


def _table(records: Sequence[Mapping[str, Any]], what: str) -> list[Block]:
    keys = [key for key in _NAMES if key in records[0]]
    rows = [
        [
            _of(record),
            f"{record['rows']:,}",
            *(_shown(key, record[key]) for key in keys),
        ]
        for record in records
    ]
    return [Table([what, "rows", *(_NAMES[key] for key in keys)], rows)]


def _of(record: Mapping[str, Any]) -> str:
    return record["value"] if "value" in record else period(record["from"], record["to"])
