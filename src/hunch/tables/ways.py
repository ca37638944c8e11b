"""What the cells of each column are, decided by all of them and by the rest of the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import ConfigurationError, DataError
from hunch.sklearn.rows import LARGEST
from hunch.tables.cells import (
    Floats,
    NotThatKindError,
    booleans,
    clean,
    first_that,
    is_date,
    is_flat,
    words,
)
from hunch.tables.choices import Said, few
from hunch.tables.figures import (
    codes_in_words,
    days_in_figures,
    months_in_words,
    padded_in_words,
)
from hunch.tables.moments import (
    ORDERS,
    Moments,
    dates,
    look_at_dates,
    shown,
    unread_dates,
    unusual,
)
from hunch.tables.numerals import (
    Numerals,
    look_at_numbers,
    must_be_written,
    numbers,
    share_of_numbers,
    units_in_words,
)

Kind = Literal["number", "boolean", "date", "category"]
Decimal = Literal["auto", "point", "comma"]
DateOrder = Literal["auto", "dmy", "mdy", "ymd"]

_MARKS: Final = {"point": ".", "comma": ","}
_SHOWN: Final = 8  # columns in a line
_MOSTLY: Final = 0.5  # a share of numbers from which text is worth a word
_ORDER_WORDS: Final = {
    "dmy": ", the day before the month",
    "mdy": ", the month before the day",
    "ymd": ", the year first",
    "": "",
}


# A day that no other order can mean.
_EXAMPLES: Final = {"dmy": "31/12/2024", "mdy": "12/31/2024", "ymd": "2024/12/31", "": "2024-12-31"}
_OPTIONS: Final = {"number": "--numeric", "prediction": "--prediction", "weight": "--weights"}


@dataclass(frozen=True)
class Way:
    """How the cells of a column are read.

    Args:
        kind: what they are.
        decimal: mark of numbers, `"."` or `","`; empty if nothing in the file tells it.
        unit: what stands beside the digits of numbers, as `%`, `€` or `km`.
        order: of day, month and year, where dates leave it open.
        example: a cell that shows it, and what it is taken for.
        note: what the user should know about it.
        asked: whether the user said the kind.
        scaled: whether words such as `k` and `Mio` are multiplied out.
        whole: whether all numbers are whole, and no cell tells the decimal mark.
    """

    kind: Kind
    decimal: str = ""
    unit: str = ""
    order: str = ""
    example: str = ""
    note: str = ""
    asked: bool = False
    scaled: bool = False
    whole: bool = False

    def read(self, cells: pa.Array) -> Floats:
        """Clean cells of a number, boolean or date as floats, NaN where missing.

        Raises:
            NotThatKindError: if one is of another kind, or written in another way.

        Example:
            >>> Way("number", ",").read(clean(pa.chunked_array([["1,5", ""]])))
            array([1.5, nan])
        """
        if cells.null_count == len(cells):
            return np.full(len(cells), np.nan)
        if self.kind == "number":
            return numbers(
                cells,
                decimal=self.decimal,
                unit=self.unit,
                scaled=self.scaled,
                whole=self.whole,
            )
        return dates(cells, order=self.order) if self.kind == "date" else booleans(cells)

    @property
    def expected(self) -> str:
        """In words, for a message about a cell that is none."""
        if self.kind == "boolean":
            return "true or false, yes or no"
        if self.kind == "date":
            return f"a date such as {_EXAMPLES[self.order]}{_ORDER_WORDS[self.order]}"
        comma = " with a decimal comma" if self.decimal == "," else ""
        if must_be_written(self.unit):
            example = "12,5" if self.decimal == "," else "12.5"
            return f"a number{comma} with its unit in the cell, such as '{example} {self.unit}'"
        return f"a number{comma}{f' in {self.unit}' if self.unit else ''}"


def learn_ways(
    table: pa.Table,
    *,
    decimal: Decimal = "auto",
    date_order: DateOrder = "auto",
    delimiter: str | None = None,
    kinds: Mapping[str, Said] | None = None,
) -> dict[str, Way]:
    """Decide how each flat column is read, by all of its cells.

    What a column leaves open is decided by `decimal` and `date_order`, else by the other columns of
    the file, of which one shows how its writer writes, else by the delimiter: with a comma between
    cells, the decimal mark is a point. Where that tells nothing, the user is asked.

    Args:
        table: all rows there are.
        decimal: the mark in columns that leave it open.
        date_order: of day, month and year in columns that leave it open.
        delimiter: between the cells of the file; None if there is none.
        kinds: what the user says that columns are.

    Raises:
        DataError: if a column can be read in two ways and nothing tells which, or is not what the
            user says.

    Example:
        >>> ways = learn_ways(pa.table({"a": ["3,606", "580"], "b": ["0,5", "7,25"]}))
        >>> ways["a"].decimal, ways["a"].example
        (',', "'3,606' is 3.606")
    """
    if decimal not in ("auto", *_MARKS):
        raise ConfigurationError(f"`decimal` got {decimal!r}; expected auto, point or comma.")
    if date_order not in ("auto", *ORDERS):
        raise ConfigurationError(f"`date_order` got {date_order!r}; expected auto, dmy, mdy, ymd.")
    cells = {name: clean(table[name]) for name in table.column_names if is_flat(table[name].type)}
    kinds = kinds or {}
    looks = {
        name: _look_as(name, kinds[name], column) if name in kinds else _look(column)
        for name, column in cells.items()
    }
    mark = _MARKS.get(decimal) or _only(look.marks for look in _those(looks, Numerals))
    order = date_order.replace("auto", "") or _only(look.orders for look in _those(looks, Moments))
    ways = {}
    for name, look in looks.items():
        if isinstance(look, Numerals):
            ways[name] = _number(name, cells[name], look, mark, delimiter)
        elif isinstance(look, Moments):
            ways[name] = _date(name, cells[name], look, order)
        else:
            ways[name] = look
        if name in kinds:
            ways[name] = replace(ways[name], asked=True)
        if ways[name].kind == "number":
            values = ways[name].read(cells[name])
            check_size(name, values, cells[name])
            ways[name] = replace(ways[name], whole=_are_whole(ways[name], values, cells[name]))
    return ways


def check_size(name: str, values: Floats, cells: pa.Array, first_row: int = 0) -> None:
    """Refuse a number that later sums of squares could not hold.

    Args:
        name: of the column.
        values: its numbers.
        cells: the clean cells that they were read from.
        first_row: how many rows came before, for the message.

    Raises:
        DataError: naming the cell.

    Example:
        >>> check_size("a", np.array([1e200]), clean(pa.chunked_array([["1e200"]])))
        Traceback (most recent call last):
        hunch.errors.DataError: column 'a' holds '1e200' in row 1; expected numbers up to 1e+150...
    """
    beyond = np.isfinite(values) & (np.abs(values) > LARGEST)
    if beyond.any():
        found = first_that(cells, beyond)
        raise DataError(
            f"column {name!r} holds {found.value!r} in row {first_row + found.row + 1}; "
            f"expected numbers up to {LARGEST:g}; leave the cell empty if it is not known, or "
            "write the column in a larger unit."
        )


def told(ways: Mapping[str, Way], names: Sequence[str]) -> list[str]:
    """What the columns are taken for, in lines for the user.

    Args:
        ways: how columns are read.
        names: those that are spoken of.

    Example:
        >>> ways = learn_ways(pa.table({"a": ["3,606", "0,5"], "b": ["x", "y"], "c": [1, 2]}))
        >>> for line in told(ways, ["a", "b", "c"]):
        ...     print(line)
        taken for numbers with a decimal comma: 'a' ('3,606' is 3.606)
        taken for text: 'b'
        taken for numbers: 'c'
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        way = ways[name]
        example = f" ({way.example})" if way.example else ""
        groups.setdefault(_plural(way), []).append(f"{name!r}{example}")
    lines = []
    for what, columns in groups.items():
        more = f" and {len(columns) - _SHOWN:,} more" if len(columns) > _SHOWN else ""
        lines.append(f"taken for {what}: {', '.join(columns[:_SHOWN])}{more}")
    return lines + [f"column {name!r}: {ways[name].note}" for name in names if ways[name].note]


def _plural(way: Way) -> str:
    if way.asked:
        return f"{_plural(replace(way, asked=False))}, as asked"
    if way.kind == "boolean":
        return "true or false"
    if way.kind == "date":
        return f"dates{_ORDER_WORDS[way.order]}"
    if way.kind == "category":
        return "text"
    shows = way.decimal and any(mark in way.example for mark in ".,")
    mark = f" with a decimal {'comma' if way.decimal == ',' else 'point'}" if shows else ""
    return f"numbers{mark}{f' in {way.unit}' if way.unit else ''}"


def _look_as(name: str, kind: Said, cells: pa.Array) -> Way | Numerals:
    """What the user says of the cells, once they are seen to be that."""
    if kind == "category":
        return Way("category")
    try:
        if pa.types.is_dictionary(cells.type):
            return look_at_numbers(cells)
        numbers(cells)
    except NotThatKindError as error:
        if error.value is None:  # no cell holds anything
            return Way("number")
        raise DataError(
            f"column {name!r} holds {error.value!r} in row {error.row + 1}; expected a number "
            f"written like the others, since {_OPTIONS[kind]} names the column; empty the cell, or "
            "leave the option out."
        ) from error
    return Way("number")


def _look(cells: pa.Array) -> Way | Numerals | Moments:
    """What the cells say by themselves."""
    in_figures = days_in_figures(cells)
    if in_figures is not None:
        return look_at_dates(in_figures)
    if not pa.types.is_dictionary(cells.type):
        typed = "date" if is_date(cells.type) else "number"
        kind = "boolean" if pa.types.is_boolean(cells.type) else typed
        return Way(kind, note=months_in_words(cells))  # type: ignore[arg-type]
    if said := codes_in_words(cells):
        return Way("category", note=said)
    try:
        return look_at_numbers(cells)
    except NotThatKindError as error:
        stranger = error
    try:
        booleans(cells)
    except NotThatKindError:
        pass
    else:
        return Way("boolean")
    try:
        return look_at_dates(cells)
    except NotThatKindError:
        return Way("category", note=_why_text(cells, stranger))


def _why_text(cells: pa.DictionaryArray, stranger: NotThatKindError) -> str:
    """Why cells that look like something else are taken for text; empty for mere words."""
    if date := unread_dates(cells):
        return (
            f"most of its cells look like dates, but {date!r} is none that hunch reads (months of "
            "which language, a zone by its name, a day that is none?), so all are taken for text; "
            "write dates as 2024-12-31, and empty cells that are not known"
        )
    if units := units_in_words(cells):
        return (
            f"its cells are numbers in different units ({few(units)}), so all are taken for text; "
            "write them in one"
        )
    share = share_of_numbers(cells)
    if share < _MOSTLY:
        return ""
    return (
        f"{100 * share:.3g} % of its cells are numbers, but {stranger.value!r} in row "
        f"{stranger.row + 1} is not one like the others, so all are taken for text"
    )


def _number(
    name: str, cells: pa.DictionaryArray, look: Numerals, mark: str, delimiter: str | None
) -> Way:
    decimal = mark
    if len(look.marks) == 1:
        decimal = look.marks[0]
    elif look.open:
        decimal = mark or ("." if delimiter == "," or len(cells.dictionary) == 1 else "")
    if look.open and not decimal:
        point, comma = (_value(cells, look, m) for m in (".", ","))
        raise DataError(
            f"column {name!r} holds {look.open!r}, which is {point} with a decimal point and "
            f"{comma} with a decimal comma, and nothing in the file tells which; say it with "
            "--decimal point or --decimal comma."
        )
    odd = _odd_number(cells, decimal)
    if odd is None and decimal == ".":
        decimal = ""  # as programs write them, and so as a typed column holds them
    note = padded_in_words(cells) or months_in_words(cells)
    way = Way("number", decimal, look.unit, note=note, scaled=look.scaled)
    if odd is None:
        return way
    value = way.read(odd)[0]
    return replace(way, example=f"{odd[0].as_py()!r} is {value:.15g}")


def _value(cells: pa.DictionaryArray, look: Numerals, mark: str) -> str:
    found = clean(pa.chunked_array([[look.open]]))
    return f"{numbers(found, decimal=mark, unit=look.unit, scaled=look.scaled)[0]:.15g}"


def _odd_number(cells: pa.DictionaryArray, decimal: str) -> pa.Array | None:
    """A cell that is not written as programs write numbers."""
    digits = "[0-9]" if decimal == "," else "[0-9.]"
    usual = pc.match_substring_regex(cells.dictionary, rf"^[+-]?{digits}+(?:[eE][+-]?[0-9]+)?$")
    odd = cells.dictionary.filter(pc.invert(usual))
    # The longest has most of what there is to show.
    odd = [text for text in odd.to_pylist() if len(text) < 40 and any(c.isdigit() for c in text)]
    return clean(pa.chunked_array([[max(odd, key=len)]])) if odd else None


def _date(name: str, cells: pa.DictionaryArray, look: Moments, order: str) -> Way:
    if not look.orders:
        text = words(cells)
        odd = next((t for t in text.drop_null()[:1].to_pylist() if unusual(t)), "")
        example = f"{odd!r} is {shown(odd, 'ymd')}" if odd else ""
        return Way("date", order=order, example=example)
    if len(look.orders) > 1 and look.open and order not in look.orders:
        meanings = " and ".join(f"{shown(look.open, o)} with {o}" for o in look.orders)
        raise DataError(
            f"column {name!r} holds {look.open!r}, which is {meanings}, and nothing in the file "
            f"tells which; say it with --date-order {' or '.join(look.orders)}."
        )
    chosen = order if order in look.orders else look.orders[0]
    texts = cells.dictionary.to_pylist()
    example = look.open or next(text for text in texts if shown(text, chosen))
    return Way("date", order=chosen, example=f"{example!r} is {shown(example, chosen)}")


def _are_whole(way: Way, values: Floats, cells: pa.Array) -> bool:
    """Whether numbers are whole and none is written with a point that may group digits."""
    known = values[np.isfinite(values)]
    if way.decimal or not len(known) or (known != np.floor(known)).any():
        return False
    try:
        replace(way, whole=True).read(cells)
    except NotThatKindError:
        return False
    return True


def _those(looks: Mapping[str, Any], kind: type[Any]) -> list[Any]:
    return [look for look in looks.values() if isinstance(look, kind)]


def _only(choices: Iterable[Sequence[str]]) -> str:
    """What all columns that leave one choice agree on; empty if there is none or they do not."""
    found = {choice[0] for choice in choices if len(choice) == 1}
    return found.pop() if len(found) == 1 else ""
