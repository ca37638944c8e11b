"""Dates as countries and offices write them: ISO 8601, 14/03/2011, 14.03.2011, 14-Mar-2011."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from hunch.tables.cells import (
    DASHES,
    DAY,
    Floats,
    NotThatKindError,
    first_coded,
    spread,
    typed_dates,
)

# What stands first, second and third: day, month, year.
ORDERS: Final = ("dmy", "mdy", "ymd")
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LONGEST: Final = 40  # characters of a date with a time and a zone
_TIME: Final = (
    r"(?:[T,]? ?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})"
    r"(?:[.,](?P<fraction>\d{1,9}))?)? ?(?P<half>[AaPp]\.?[Mm]\.?)?)?"
)
_FIGURES: Final = re.compile(r"(\d{4}|\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{1,2})" + _TIME, re.ASCII)
# By themselves: those of the `calendar` module are in the language of the process.
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_NAME: Final = "(?P<name>" + "|".join(f"{m[:3]}(?:{m[3:]})?" for m in _MONTHS) + r"|sept)\.?"
_NAMED: Final = tuple(
    re.compile(pattern + _TIME, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"(?P<day>\d{{1,2}})\.?[ -]?{_NAME}[ -]?(?P<year>\d{{4}}|\d{{2}})",
        rf"{_NAME} ?(?P<day>\d{{1,2}}),? (?P<year>\d{{4}})",
    )
)
_PIVOT: Final = 69  # of years of two digits those from here on are of the last century


@dataclass(frozen=True)
class Moments:
    """What the cells of a column say about how its dates are written.

    Args:
        orders: of day, month and year, under which every cell is a date; empty if all cells are
            the same date under each order.
        open: a cell that is another date under two of the orders; empty if there is none.
    """

    orders: tuple[str, ...] = ()
    open: str = ""


def dates(column: pa.Array, *, order: str = "") -> Floats:
    """Clean cells as days since 1970, NaN where missing.

    Times of day are fractions; a date without a time zone is taken as UTC.

    Args:
        column: clean cells, of any flat type.
        order: of day, month and year where the text leaves it open; empty: it must not.

    Raises:
        NotThatKindError: if one is no date.

    Example:
        >>> from hunch.tables.cells import clean
        >>> dates(clean(pa.chunked_array([["1970-01-02", None, "1970-01-01T12:00"]])))
        array([1. , nan, 0.5])
        >>> dates(clean(pa.chunked_array([["02/01/1970", "2 Jan 1970"]])), order="dmy")
        array([1., 1.])
    """
    if not pa.types.is_dictionary(column.type):
        return typed_dates(column)
    texts = column.dictionary.to_pylist()
    days = [_under(text, order) for text in texts]
    strange = np.array([d is None and t not in DASHES for d, t in zip(days, texts, strict=True)])
    if strange.any():
        raise first_coded(column, strange)
    return spread(column, np.array([np.nan if day is None else day for day in days], float))


def look_at_dates(column: pa.DictionaryArray) -> Moments:
    """What the cells of a text column say about how its dates are written.

    Raises:
        NotThatKindError: if they are not dates, whichever way they are read.

    Example:
        >>> from hunch.tables.cells import clean
        >>> look_at_dates(clean(pa.chunked_array([["03/04/2011", "14/03/2011"]])))
        Moments(orders=('dmy',), open='')
        >>> look_at_dates(clean(pa.chunked_array([["03/04/2011"]])))
        Moments(orders=('dmy', 'mdy'), open='03/04/2011')
    """
    orders, undecided, found = list(ORDERS), [], False
    for place, text in enumerate(column.dictionary.to_pylist()):
        if text in DASHES:
            continue
        days = _possible(text)
        orders = [order for order in orders if order in days]
        if not orders:
            raise first_coded(column, np.arange(len(column.dictionary)) == place)
        if _depends(days):
            undecided.append((text, days))
        found = True
    if not found:
        raise NotThatKindError(0, None)
    differ = [text for text, days in undecided if len({days[order] for order in orders}) > 1]
    return Moments(tuple(orders) if undecided else (), differ[0] if differ else "")


def shown(text: str, order: str) -> str:
    """A date as ISO 8601, with its time if it has one.

    Example:
        >>> shown("3/4/2011", "dmy"), shown("3/4/2011 17:30", "mdy")
        ('2011-04-03', '2011-03-04T17:30:00')
    """
    days = _under(text, order)
    if days is None:
        return ""
    moment = _EPOCH.replace(tzinfo=None) + datetime.timedelta(days=days)
    return (moment.date() if days % 1 == 0 else moment).isoformat()


def _depends(days: dict[str, float]) -> bool:
    """Whether it takes an order to tell which date it is."""
    return len(days) < len(ORDERS) or len(set(days.values())) > 1


def _under(text: str, order: str) -> float | None:
    days = _possible(text)
    if order:
        return days.get(order)
    return days["dmy"] if not _depends(days) else None


def _possible(text: str) -> dict[str, float]:
    """The orders under which the text is a date, and the date as days."""
    if not 6 <= len(text) <= _LONGEST:
        return {}
    # A digit string of eight would do for Python, and is a number here.
    if len(text) >= 10 and text[4] == "-":
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            return {}
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return dict.fromkeys(ORDERS, _days(zoned))
    figures = _FIGURES.fullmatch(text)
    if figures:
        return _dates(figures, _in_figures(*figures.group(1, 2, 3, 4)))
    for pattern in _NAMED:
        named = pattern.fullmatch(text)
        if named:
            month = str(1 + [m[:3] for m in _MONTHS].index(named["name"][:3].lower()))
            return _dates(named, dict.fromkeys(ORDERS, (named["year"], month, named["day"])))
    return {}


def _in_figures(first: str, mark: str, second: str, third: str) -> dict[str, tuple[str, str, str]]:
    """Year, month and day under each order that is possible."""
    if len(first) == 4:
        short = len(third) <= 2
        return dict.fromkeys(ORDERS, (first, second, third)) if short else {}
    day_first = (third, second, first)
    if mark == ".":
        # Nobody writes 3.14.2011; of `1.2.11`, which numbers a chapter, both must have two digits.
        usual = len(third) == 4 or len(first) == len(second) == len(third) == 2
        return dict.fromkeys(ORDERS, day_first) if usual else {}
    found = {"dmy": day_first, "mdy": (third, first, second)} if len(third) != 1 else {}
    if len(first) == 2 and len(third) <= 2:
        found["ymd"] = (first, second, third)
    return found


def _dates(match: re.Match[str], fields: dict[str, tuple[str, str, str]]) -> dict[str, float]:
    found = {}
    for order, (year, month, day) in fields.items():
        try:
            found[order] = _days(_moment(match, _century(year), int(month), int(day)))
        except ValueError:
            continue
    return found


def _century(year: str) -> int:
    if len(year) == 4:
        return int(year)
    return int(year) + (1900 if int(year) >= _PIVOT else 2000)


def _moment(match: re.Match[str], year: int, month: int, day: int) -> datetime.datetime:
    hour = int(match["hour"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(match.string)
        hour = hour % 12 + 12 * (match["half"][0] in "Pp")
    micro = int((match["fraction"] or "").ljust(6, "0")[:6])
    minute, second = int(match["minute"] or 0), int(match["second"] or 0)
    return datetime.datetime(year, month, day, hour, minute, second, micro, datetime.UTC)


def _days(moment: datetime.datetime) -> float:
    return (moment - _EPOCH).total_seconds() / DAY
