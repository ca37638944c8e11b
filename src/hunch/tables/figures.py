"""Cells of digits alone that are no numbers: codes, days as 20210314, months as 202103."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from hunch.tables.calendars import day_in_figures
from hunch.tables.cells import flags, words

_FEWEST: Final = 3  # different ones, which by chance are hardly all days, or all months
_DAYS: Final = r"^(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])$"
_MONTHS: Final = r"^(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])$"
_MONTHS_FIRST: Final = r"^(?:0[1-9]|1[0-2])\.(?:19|20)[0-9]{2}$"


def days_in_figures(cells: pa.Array) -> pa.DictionaryArray | None:
    """The cells as coded text if all are days as 20210314, or months as 03.2021; None else.

    Example:
        >>> from hunch.tables.cells import clean
        >>> days = ["20210314", "20211231", "20200229"]
        >>> days_in_figures(clean(pa.chunked_array([days]))) is None
        False
        >>> days_in_figures(clean(pa.chunked_array([["20210314", "20211399", "1"]]))) is None
        True
    """
    coded = _coded(cells, 19000101, 20991231)
    if coded is None:
        return None
    text = coded.dictionary
    if _all_are(text, _DAYS):
        return coded if all(map(day_in_figures, text.to_pylist())) else None
    # No number is written with a zero in front and two figures before the mark.
    zero = pc.any(pc.starts_with(text, "0")).as_py()
    return coded if zero and _all_are(text, _MONTHS_FIRST, at_least=1) else None


def months_in_words(cells: pa.Array) -> str:
    """What to say of numbers that may be months, as 202103; empty if they are not.

    Example:
        >>> months_in_words(pa.array([202103, 202104, 202112]))
        "all its numbers are like 202103: if they are months, write them as '2021-03'"
    """
    coded = _coded(cells, 190001, 209912)
    if coded is None or not _all_are(coded.dictionary, _MONTHS):
        return ""
    first = coded.dictionary[0].as_py()
    month = f"{first[:4]}-{first[4:]}"
    return f"all its numbers are like {first}: if they are months, write them as {month!r}"


def codes_in_words(cells: pa.DictionaryArray) -> str:
    """What to say of digits of which some begin with 0, as codes do; empty if they are no codes.

    They are if all are of one length, or all begin so: postcodes, telephone numbers.

    Example:
        >>> from hunch.tables.cells import clean
        >>> codes_in_words(clean(pa.chunked_array([["007", "123"]])))
        "cells such as '007' are taken for codes, not for numbers; else say --numeric"
    """
    text = cells.dictionary
    padded = _padded(text)
    if not len(padded) or not _all_digits(text):
        return ""
    if pc.count_distinct(pc.utf8_length(text)).as_py() > 1 and len(padded) < len(text):
        return ""
    return (
        f"cells such as {padded[0].as_py()!r} are taken for codes, not for numbers; else say "
        "--numeric"
    )


def padded_in_words(cells: pa.DictionaryArray) -> str:
    """What to say of numbers of which some begin with a 0 that a number has no need of.

    Example:
        >>> from hunch.tables.cells import clean
        >>> padded_in_words(clean(pa.chunked_array([["0123", "45"]])))
        "'0123' is taken for a number; if such cells are codes, say --categorical"
    """
    padded = _padded(cells.dictionary)
    if not len(padded) or not _all_digits(cells.dictionary):
        return ""
    return (
        f"{padded[0].as_py()!r} is taken for a number; if such cells are codes, say --categorical"
    )


def _coded(cells: pa.Array, least: int, most: int) -> pa.DictionaryArray | None:
    """Coded text of text or of whole numbers of a range; None of anything else."""
    if pa.types.is_dictionary(cells.type):
        return cells
    if not pa.types.is_integer(cells.type) or cells.null_count == len(cells):
        return None
    ends = pc.min_max(cells).as_py()
    if not least <= ends["min"] <= ends["max"] <= most:
        return None
    return words(cells).dictionary_encode()


def _all_are(text: pa.Array, pattern: str, at_least: int = _FEWEST) -> bool:
    text = text.drop_null()
    return len(text) >= at_least and bool(flags(pc.match_substring_regex(text, pattern)).all())


def _padded(text: pa.Array) -> pa.Array:
    return text.filter(pc.match_substring_regex(text, "^0[0-9]+$"))


def _all_digits(text: pa.Array) -> bool:
    return bool(flags(pc.match_substring_regex(text.drop_null(), "^[0-9]+$")).all())
