"""Cells as numbers, dates and words, whether they came as text or typed."""

from __future__ import annotations

import datetime
import re
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]

# Compared in lower case, without space around.
MISSING: Final = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "?")
TRUE: Final = ("true", "yes", "t", "y")
FALSE: Final = ("false", "no", "f", "n")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_DAY: Final = 86_400.0
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class NotThatKindError(ValueError):
    """A cell is not of the kind it was asked for as.

    Args:
        row: its number in the column, from 0.
        value: what it holds.
    """

    def __init__(self, row: int, value: object) -> None:
        super().__init__(f"row {row} holds {value!r}")
        self.row, self.value = row, value


def is_flat(kind: pa.DataType) -> bool:
    """Whether cells of this type are numbers, words, booleans or dates, or none at all.

    Example:
        >>> is_flat(pa.float32()), is_flat(pa.list_(pa.int8()))
        (True, False)
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        _is_text,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_boolean,
        pa.types.is_null,
        pa.types.is_timestamp,
        pa.types.is_date,
    )
    return any(test(kind) for test in tests)


def clean(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece; text without space around, and null where it says "missing".

    Example:
        >>> clean(pa.chunked_array([["a ", "NA"], ["?"]])).to_pylist()
        ['a', None, None]
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array.type):
        array = pc.utf8_trim_whitespace(array.cast(pa.string()))
        missing = pc.is_in(pc.utf8_lower(array), value_set=pa.array(MISSING))
        return pc.if_else(missing, None, array)
    if pa.types.is_floating(array.type):
        return pc.if_else(pc.is_nan(array), None, array)
    return array


def words(column: pa.Array) -> pa.Array:
    """Clean cells as text, null where missing.

    Example:
        >>> words(pa.array([1, None])).to_pylist()
        ['1', None]
    """
    return column if _is_text(column.type) else column.cast(pa.string())


def numbers(column: pa.Array) -> Floats:
    """Clean cells as numbers, NaN where missing.

    Raises:
        NotThatKindError: if one is none.

    Example:
        >>> numbers(pa.array(["1.5", None, "-2e3"]))
        array([ 1.5e+00,      nan, -2.0e+03])
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        raise _first(column, lambda value: False)
    if pa.types.is_boolean(column.type):
        raise _first(column, lambda value: False)
    try:
        cast = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        raise _first(column, lambda value: bool(_NUMBER.fullmatch(str(value)))) from None
    return _with_nan(cast)


def booleans(column: pa.Array) -> Floats:
    """Clean cells as 1 for true or yes and 0 for false or no, NaN where missing.

    Raises:
        NotThatKindError: if one is neither.

    Example:
        >>> booleans(pa.array(["Yes", None, "no"]))
        array([ 1., nan,  0.])
    """
    if pa.types.is_boolean(column.type):
        return _with_nan(column.cast(pa.float64()))
    lower = pc.utf8_lower(words(column))
    true = pc.is_in(lower, value_set=pa.array(TRUE))
    false = pc.is_in(lower, value_set=pa.array(FALSE))
    known = pc.or_(pc.or_(true, false), pc.is_null(column))
    if not pc.all(known, min_count=0).as_py():
        raise _first(column, lambda value: str(value).lower() in TRUE + FALSE)
    return _with_nan(pc.if_else(pc.is_valid(column), true, None).cast(pa.float64()))


def dates(column: pa.Array) -> Floats:
    """Clean cells as days since 1970, NaN where missing; text must be a date after ISO 8601.

    Times of day are fractions; a date without a time zone is taken as UTC.

    Raises:
        NotThatKindError: if one is no date.

    Example:
        >>> dates(pa.array(["1970-01-02", None, "1970-01-01T12:00"]))
        array([1. , nan, 0.5])
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        micro = column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64())
        return _with_nan(micro) / (_DAY * 1e6)
    if not _is_text(column.type):
        raise _first(column, lambda value: False)
    coded = column.dictionary_encode()
    try:
        days = [_days(text) for text in coded.dictionary.to_pylist()]
    except ValueError:
        raise _first(column, _is_date) from None
    place = coded.indices.fill_null(len(days)).to_numpy(zero_copy_only=False)
    found: Floats = np.array([*days, np.nan])[place]
    return found


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _with_nan(column: pa.Array) -> Floats:
    found: Floats = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
    return found


def _days(text: str) -> float:
    # A digit string of eight would do for Python, and is a number here.
    if len(text) < 10 or text[4] != "-":
        raise ValueError(text)
    moment = datetime.datetime.fromisoformat(text)
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return (zoned - _EPOCH).total_seconds() / _DAY


def _is_date(value: object) -> bool:
    try:
        _days(str(value))
    except ValueError:
        return False
    return True


def _first(column: pa.Array, fits: object) -> NotThatKindError:
    """The error that names the first cell which does not fit."""
    test = fits if callable(fits) else bool
    for row, value in enumerate(column.to_pylist()):
        if value is not None and not test(value):
            return NotThatKindError(row, value)
    return NotThatKindError(0, None)
