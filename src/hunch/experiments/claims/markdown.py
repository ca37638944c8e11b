"""Tables for `results/NAME.md`."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: str, rows: Iterable[str], note: str = "") -> str:
    """A Markdown table.

    Args:
        head: names of the columns, with ` | ` between them.
        rows: likewise, one cell for each column.
        note: what stands below it.

    Example:
        >>> print(table("N | solved", ["10 | 5 of 5"], "Of five seeds."))
        | N | solved |
        |---|---|
        | 10 | 5 of 5 |
        <BLANKLINE>
        Of five seeds.
    """
    rule = "|---" * (head.count("|") + 1) + "|"
    lines = [f"| {head} |", rule, *(f"| {row} |" for row in rows)]
    return "\n".join([*lines, "", note] if note else lines)


def cells(*values: object) -> str:
    """A row of cells, whose number is known only when it is made.

    Example:
        >>> cells("N", *range(2))
        'N | 0 | 1'
    """
    return " | ".join(map(str, values))


def listed(values: Iterable[int | None]) -> str:
    """Numbers with commas between them, a dash where there is none.

    Example:
        >>> listed([3, None])
        '3, –'
    """
    return ", ".join("–" if value is None else str(value) for value in values)
