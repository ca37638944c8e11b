"""Cells of every Arrow type as text, numbers, truth values and dates that the rest can rely on."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Compared in lower case, without space around.
MISSING: Final = (
    *("", "na", "n/a", "n.a.", "nan", "<na>", "nat", "null", "(null)", "none", "nil", "?", "\\n"),
    *(
        "#n/a",
        "#nv",
        "#null!",
        "#div/0!",
        "#value!",
        "#ref!",
        "#name?",
        "#num!",
        "#wert!",
        "#bezug!",
    ),
)
# What offices put where a number or a date is not known, in lower case; elsewhere it may be a word.
DASHES: Final = ("-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "\u2026", ":")
_NOTHING: Final = (
    *(*DASHES, "*", "**", "/", "x"),
    *("k.a.", "k. a.", "n. a.", "n.d.", "n/d", "nd", "n.v.", "s/d", "s.d.", "n.k.", "tba", "tbd"),
)
TRUE: Final = ("true", "yes", "t", "y")
FALSE: Final = ("false", "no", "f", "n")
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DAY: Final = 86_400.0  # seconds
_FURTHEST_YEAR: Final = 32_766  # that pyarrow's calendar surely holds
_SHOWN: Final = 60  # characters of a cell in a message
_TEXT: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_NUMBER: Final = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_time,
    pa.types.is_duration,
    pa.types.is_null,
)
_DATE: Final = (pa.types.is_timestamp, pa.types.is_date)


class NotThatKindError(ValueError):
    """A cell is not of the kind it was asked for as.

    Args:
        row: its number in the column, from 0.
        value: what it holds as text, the beginning of a long one; None if it holds nothing.
    """

    def __init__(self, row: int, value: str | None) -> None:
        super().__init__(f"row {row} holds {value!r}")
        self.row, self.value = row, value


def is_flat(kind: pa.DataType) -> bool:
    """Whether cells of this type are numbers, words, booleans or dates, or none at all.

    Times of day and durations are numbers of seconds. Bytes, lists, structs, maps, unions and
    calendar intervals are none of these.

    Example:
        >>> is_flat(pa.float32()), is_flat(pa.duration("s")), is_flat(pa.list_(pa.int8()))
        (True, True, False)
    """
    kind = _core(kind)
    return any(test(kind) for test in (*_TEXT, *_NUMBER, *_DATE, pa.types.is_boolean))


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of this type are text, however it is stored.

    Example:
        >>> is_text(pa.dictionary(pa.int8(), pa.string_view())), is_text(pa.binary())
        (True, False)
    """
    return any(test(_core(kind)) for test in _TEXT)


def is_date(kind: pa.DataType) -> bool:
    """Whether cells of this type are dates or moments.

    Example:
        >>> is_date(pa.timestamp("ns", "UTC")), is_date(pa.time32("s"))
        (True, False)
    """
    return any(test(_core(kind)) for test in _DATE)


def unwrapped(column: pa.Array | pa.ChunkedArray, *, coded: bool = True) -> pa.Array:
    """The cells in one array of a plain type.

    Args:
        column: cells of any type.
        coded: text comes as a dictionary of `large_string`; else as it is.

    Example:
        >>> unwrapped(pa.chunked_array([["a"], ["a"]])).dictionary.to_pylist()
        ['a']
    """
    coded = coded and is_text(column.type)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_plain(chunk, coded=coded) for chunk in chunks]
    if not parts:
        core = _core(column.type)
        return _plain(pa.array([], core if is_flat(core) else pa.null()), coded=coded)
    if len(parts) == 1:
        return parts[0]
    return pa.chunked_array(parts).unify_dictionaries().combine_chunks()


def clean(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece and without what it is wrapped in, null where it says "missing".

    Text comes out coded, each different one once and without space around, so that a long text
    that many rows repeat is neither copied nor looked at more than once.

    Example:
        >>> clean(pa.chunked_array([["a ", "NA"], ["?"]])).to_pylist()
        ['a', None, None]
    """
    array = unwrapped(column)
    if pa.types.is_dictionary(array.type):
        text = pc.utf8_trim_whitespace(array.dictionary)
        known = pa.array(MISSING, text.type)
        text = pc.if_else(pc.is_in(pc.utf8_lower(text), value_set=known), None, text)
        again = text.dictionary_encode()
        return pa.DictionaryArray.from_arrays(again.indices.take(array.indices), again.dictionary)
    if pa.types.is_floating(array.type):
        if pa.types.is_float16(array.type):
            array = array.cast(pa.float32())  # pyarrow has few functions of so narrow numbers
        return pc.if_else(pc.is_nan(array), None, array)
    return array


def words(column: pa.Array) -> pa.Array:
    """Cells as text, null where missing.

    Example:
        >>> words(pa.array([1, None])).to_pylist()
        ['1', None]
    """
    array = unwrapped(column, coded=False)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return _moments_in_words(array)
    return array.cast(pa.large_string())


def _moments_in_words(array: pa.Array) -> pa.Array:
    kind = array.type
    unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    counted = _integers(array).fill_null(0).to_numpy(zero_copy_only=False)
    moments = counted.astype(f"datetime64[{unit}]")
    # Of other years pyarrow gives a note in place of the text, or under a zone another year.
    year = moments.astype("datetime64[Y]").astype(np.int64) + 1970
    far = abs(year) > _FURTHEST_YEAR
    near = pc.if_else(pa.array(far), None, array) if far.any() else array
    try:
        text = near.cast(pa.large_string())
    except pa.ArrowInvalid:
        # A time zone that this system does not know; the moment is the same in UTC.
        text = near.cast(pa.timestamp(unit, "UTC")).cast(pa.large_string())
    if not far.any():
        return text
    if pa.types.is_date(kind):
        moments = moments.astype("datetime64[D]")
    zone = "Z" if pa.types.is_timestamp(kind) and kind.tz else ""
    theirs = [f"{moment}{zone}".replace("T", " ") for moment in moments]
    told = pa.array(theirs, pa.large_string(), mask=~far)
    return pc.if_else(pa.array(far), told, text)


def typed_numbers(column: pa.Array) -> Floats:
    """Clean cells of a type that holds numbers as such; times and durations in seconds.

    Raises:
        NotThatKindError: if the type holds none.

    Example:
        >>> typed_numbers(pa.array([1, None])), typed_numbers(pa.array([90_000], pa.time32("ms")))
        (array([ 1., nan]), array([90.]))
    """
    kind = column.type
    if not any(test(kind) for test in _NUMBER):
        raise first_that(column, np.ones(len(column), bool))
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return _with_nan(_integers(column)) / _PER_SECOND[kind.unit]
    return _with_nan(column.cast(pa.float64(), safe=False))


def booleans(column: pa.Array) -> Floats:
    """Clean cells as 1 for true or yes and 0 for false or no, NaN where missing.

    Raises:
        NotThatKindError: if one is neither.

    Example:
        >>> booleans(clean(pa.chunked_array([["Yes", None, "no"]])))
        array([ 1., nan,  0.])
    """
    if pa.types.is_boolean(column.type):
        return _with_nan(column.cast(pa.float64()))
    if not pa.types.is_dictionary(column.type):
        raise first_that(column, np.ones(len(column), bool))
    lower = pc.utf8_lower(column.dictionary)
    true = flags(pc.is_in(lower, value_set=pa.array(TRUE, lower.type)))
    false = flags(pc.is_in(lower, value_set=pa.array(FALSE, lower.type)))
    none = flags(pc.is_in(lower, value_set=pa.array(DASHES, lower.type)))
    if not (true | false | none).all():
        raise first_coded(column, ~(true | false | none))
    if not (true | false).any():
        raise first_coded(column, none)
    return spread(column, np.where(none, np.nan, true.astype(float)))


def typed_dates(column: pa.Array) -> Floats:
    """Clean cells of a type that holds dates as days since 1970; times of day are fractions.

    Raises:
        NotThatKindError: if the type holds none.

    Example:
        >>> typed_dates(pa.array([36], pa.timestamp("s"))) * 86_400
        array([36.])
    """
    kind = column.type
    if pa.types.is_date32(kind):
        return _with_nan(column.cast(pa.int32()))
    if pa.types.is_date64(kind):
        return _with_nan(_integers(column)) / (DAY * 1e3)
    if not pa.types.is_timestamp(kind):
        raise first_that(column, np.ones(len(column), bool))
    if kind.unit == "ns":
        # To whole microseconds, so that the days are those of the same moment as text.
        micro = _integers(column).fill_null(0).to_numpy(zero_copy_only=False) // 1000
        return np.where(flags(column.is_null()), np.nan, micro / (DAY * 1e6))
    return _with_nan(_integers(column)) / (DAY * _PER_SECOND[kind.unit])


def says_nothing(text: pa.Array) -> Flags:
    """Which texts stand where a number or a date is not known, such as a dash.

    Example:
        >>> says_nothing(pa.array(["-", "k.A.", "5"]))
        array([ True,  True, False])
    """
    return flags(pc.is_in(pc.utf8_lower(text), value_set=pa.array(_NOTHING, text.type)))


def spread(column: pa.DictionaryArray, values: Floats) -> Floats:
    """To each row of coded text the value of its text, NaN where missing.

    Example:
        >>> spread(clean(pa.chunked_array([["a", "", "b", "a"]])), np.array([1.0, 2.0]))
        array([ 1., nan,  2.,  1.])
    """
    place = column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    found: Floats = np.append(values, np.nan)[place]
    return found


def first_coded(column: pa.DictionaryArray, strange: Flags) -> NotThatKindError:
    """The error that names the first cell whose text is strange.

    Example:
        >>> first_coded(clean(pa.chunked_array([["a", "b"]])), np.array([False, True])).row
        1
    """
    return first_that(column, spread(column, strange.astype(float)) == 1.0)


def first_that(column: pa.Array, strange: Flags) -> NotThatKindError:
    """The error that names the first strange cell that is not missing.

    Example:
        >>> first_that(pa.array([None, 5, 6]), np.array([True, True, True])).value
        '5'
    """
    rows = np.flatnonzero(strange & flags(pc.is_valid(column)))
    if not len(rows):
        return NotThatKindError(0, None)
    row = int(rows[0])
    text = words(column.slice(row, 1))[0].as_py()
    return NotThatKindError(row, text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _core(kind: pa.DataType) -> pa.DataType:
    """The type of the cells, without what they are wrapped in."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


def _plain(array: pa.Array, *, coded: bool) -> pa.Array:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage, coded=coded)
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array), coded=coded)
    if pa.types.is_dictionary(kind):
        values = _plain(array.dictionary, coded=False)
        # Nothing can be taken from views.
        values = values.cast(pa.large_string()) if is_text(values.type) else values
        if not coded:
            return values.take(array.indices)
        return pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), values)
    return array.cast(pa.large_string()).dictionary_encode() if coded else array


def _integers(column: pa.Array) -> pa.Array:
    """What is counted; seconds of a day can only be cast to an integer of their own width."""
    return column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64()).cast(pa.int64())


def _with_nan(column: pa.Array) -> Floats:
    absent = flags(column.is_null())
    found: Floats = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64)
    found[absent] = np.nan
    return found


def flags(column: pa.Array) -> Flags:
    """Booleans without nulls, as numpy's.

    Example:
        >>> flags(pa.array([True, False]))
        array([ True, False])
    """
    found: Flags = column.to_numpy(zero_copy_only=False).astype(bool)
    return found
