"""Tables for `results/NAME.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """A Markdown table.

    Args:
        head: names of the columns.
        rows: one cell for each column.
        note: what stands below it.

    Example:
        >>> print(table(["N", "solved"], [[10, "5 of 5"]], "Of five seeds."))
        | N | solved |
        |---|---|
        | 10 | 5 of 5 |
        <BLANKLINE>
        Of five seeds.
    """
    lines = [_line(head), "|---" * len(head) + "|", *(_line(row) for row in rows)]
    return "\n".join([*lines, "", note] if note else lines)


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def listed(values: Iterable[int | None]) -> str:
    """Numbers with commas between them, a dash where there is none.

    Example:
        >>> listed([3, None])
        '3, –'
    """
    return ", ".join("–" if value is None else str(value) for value in values)
