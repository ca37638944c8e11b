"""Dates as countries and offices write them: ISO 8601, 14/03/2011, 14. März 2011, 2011Q1."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from hunch.tables.calendars import (
    MONTH,
    century,
    day_in_figures,
    evened,
    is_season,
    looks_like_a_date,
    month_of,
    period,
)
from hunch.tables.cells import (
    DAY,
    Floats,
    NotThatKindError,
    first_coded,
    says_nothing,
    spread,
    typed_dates,
    words,
)

# What stands first, second and third: day, month, year.
ORDERS: Final = ("dmy", "mdy", "ymd")
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LONGEST: Final = 40  # characters of a date with a time and a zone
_TIME: Final = (
    r"(?:[T,]? ?(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?)? ?(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"(?: ?(?P<zone>Z|UTC|GMT|(?:UTC|GMT)?[+-][0-9]{2}:?[0-9]{2}))?)?"
)
_FIGURES: Final = re.compile(
    r"([0-9]{4}|[0-9]{1,2})([./-])([0-9]{1,2})\2([0-9]{4}|[0-9]{1,2})" + _TIME
)
_NAMED: Final = tuple(
    re.compile(pattern + _TIME, re.IGNORECASE)
    for pattern in (
        r"(?P<day>[0-9]{1,2})(?:\.|st|nd|rd|th|er|º|°)?[ -]?(?:de |of )?"
        rf"{MONTH}[ -]?(?:de |del )?(?P<year>[0-9]{{4}}|[0-9]{{2}})",
        rf"{MONTH} ?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?,? (?P<year>[0-9]{{4}})",
        rf"(?P<year>[0-9]{{4}})[ -]{MONTH}[ -](?P<day>[0-9]{{1,2}})",
    )
)
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_IN_UTC: Final = re.compile(r" ?(?:UTC|GMT)$")
_PROBED: Final = 1_000  # different texts among which dates are sought


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
    if pa.types.is_integer(column.type):
        column = words(column).dictionary_encode()  # days in figures, such as 20210314
    if not pa.types.is_dictionary(column.type):
        return typed_dates(column)
    days = [_under(text, order) for text in column.dictionary.to_pylist()]
    strange = np.array([day is None for day in days], bool) & ~says_nothing(column.dictionary)
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
    orders, undecided, found, seasons = list(ORDERS), [], False, True
    nothing = says_nothing(column.dictionary)
    for place, text in enumerate(column.dictionary.to_pylist()):
        if nothing[place]:
            continue
        days = _possible(text)
        orders = [order for order in orders if order in days]
        if not orders:
            raise first_coded(column, np.arange(len(column.dictionary)) == place)
        if _depends(days):
            undecided.append((text, days))
        found = True
        seasons = seasons and is_season(text)
    if not found or seasons:
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


def day_in_words(days: float) -> str:
    """The day of a number of days since 1970, also of years that Python does not know.

    Example:
        >>> day_in_words(1.5), day_in_words(2932896)
        ('1970-01-02', '9999-12-31')
    """
    return str(np.datetime64(int(days // 1), "D"))


def _depends(days: dict[str, float]) -> bool:
    """Whether it takes an order to tell which date it is."""
    return len(days) < len(ORDERS) or len(set(days.values())) > 1


def _under(text: str, order: str) -> float | None:
    days = _possible(text)
    if order:
        return days.get(order)
    return days["dmy"] if not _depends(days) else None


def unread_dates(column: pa.DictionaryArray) -> str:
    """A text that looks like a date and is none, if most do; empty if most do not, or all are read.

    Example:
        >>> from hunch.tables.cells import clean
        >>> unread_dates(clean(pa.chunked_array([["30.01.2021", "31.02.2021"]])))
        '31.02.2021'
    """
    texts = column.dictionary.to_pylist()[:_PROBED]
    like = [text for text in texts if len(text) <= _LONGEST and looks_like_a_date(text)]
    unread = [text for text in like if not _possible(text)]
    return unread[0] if 2 * len(like) > len(texts) and unread else ""


def unusual(text: str) -> bool:
    """Whether a date is not written as ISO 8601 does.

    Example:
        >>> unusual("2021-03-14"), unusual("2021Q3")
        (False, True)
    """
    return _ISO.match(text) is None


def _possible(text: str) -> dict[str, float]:
    """The orders under which the text is a date, and the date as days."""
    if not 5 <= len(text) <= _LONGEST:
        return {}
    if len(text) >= 10 and text[4] == "-":
        try:
            moment = datetime.datetime.fromisoformat(_with_offset(text))
        except ValueError:
            pass
        else:
            zoned = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
            return dict.fromkeys(ORDERS, _days(zoned))
    text = evened(text)
    figures = _FIGURES.fullmatch(text)
    if figures:
        return _dates(figures, _in_figures(*figures.group(1, 2, 3, 4)))
    for pattern in _NAMED:
        named = pattern.fullmatch(text)
        if named:
            month = str(month_of(named["name"]))
            return _dates(named, dict.fromkeys(ORDERS, (named["year"], month, named["day"])))
    first = period(text) or day_in_figures(text)
    if first is None:
        return {}
    return dict.fromkeys(ORDERS, float(first.toordinal() - _EPOCH.toordinal()))


def _with_offset(text: str) -> str:
    return _IN_UTC.sub("+00:00", text) if text[-1:] in "CT" else text


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
            found[order] = _days(_moment(match, century(year), int(month), int(day)))
        except ValueError:
            continue
    return found


def _moment(match: re.Match[str], year: int, month: int, day: int) -> datetime.datetime:
    hour = int(match["hour"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(match.string)
        hour = hour % 12 + 12 * (match["half"][0] in "Pp")
    micro = int((match["fraction"] or "").ljust(6, "0")[:6])
    minute, second = int(match["minute"] or 0), int(match["second"] or 0)
    zone = _zone(match["zone"] or "")
    return datetime.datetime(year, month, day, hour, minute, second, micro, zone)


def _zone(text: str) -> datetime.timezone:
    digits = "".join(filter(str.isdigit, text))
    if not digits:
        return datetime.UTC
    offset = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return datetime.timezone(-offset if "-" in text else offset)


def _days(moment: datetime.datetime) -> float:
    return (moment - _EPOCH).total_seconds() / DAY
