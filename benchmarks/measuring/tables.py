"""Tables in markdown, as `hunch bench` reads them: the first column names the row."""

from __future__ import annotations

from collections.abc import Sequence

from measuring.turns import Spread


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table, each with a line break."""
    return "".join([line(head), "|---" * len(head) + "|\n", *map(line, rows)])


def line(cells: Sequence[str]) -> str:
    """One of them."""
    return f"| {' | '.join(cells)} |\n"


def with_spread(found: Spread, digits: int = 3) -> str:
    """A median and the middle half, such as "3.10 (3.02–3.25)"."""
    median, low, high = (rounded(number, digits) for number in found)
    return f"{median} ({low}–{high})"


def rounded(number: float, digits: int = 3) -> str:
    """A number with so many digits that count, and no exponent."""
    places = max(0, digits - len(f"{abs(number):.0f}")) if abs(number) >= 1 else digits - 1
    return f"{number:,.{places}f}"
