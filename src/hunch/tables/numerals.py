"""Numbers as countries and offices write them: decimal marks, groups of digits, units.

A column is read as a whole. `1,5` says that its comma is a decimal mark and `1,234,567` that it
groups digits; `3,606` says neither, and if no cell of a column does, the column leaves it open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hunch.tables.cells import DASHES, Flags, Floats, first_coded, flags, spread, typed_numbers

# A sign of scale changes what a number is, so all cells have it or none; a currency does not.
SCALES: Final = ("%", "\u2030")
_CURRENCIES: Final = (
    "EUR|USD|GBP|CHF|JPY|CNY|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|RUB|UAH|INR|BRL|MXN|CAD|AUD"
    r"|NZD|ZAR|KRW|Euro|kr\.|kr|K\x{10d}|z\x{142}|Ft|Fr\.|R\$|US\$|\p{Sc}"
)
_UNIT: Final = rf"%|\x{{2030}}|{_CURRENCIES}"
_SPACE: Final = r"\p{Zs}"  # no-break, narrow and thin ones too
_BODY: Final = r"[0-9.,][0-9., '\x{2019}]*(?:[eE][+-]?[0-9]+)?|(?i:inf(?:inity)?)"
# `5,-` and `5.\u2013` are prices without cents, no minus: the dash stands for the decimals.
_NO_CENTS: Final = rf"([0-9][.,])(?:--?|\x{{2013}}|\x{{2014}})( ?(?:{_UNIT})?\)?)$"
# A sign, a unit and digits; the unit before or behind, the sign anywhere, a bracket for a minus.
_PARTS: Final = (
    rf"^(?P<open>\(?)(?P<sign>[+-]?) ?(?P<before>(?:{_UNIT})?) ?(?P<inner>[+-]?) ?"
    rf"(?P<body>{_BODY}) ?(?P<behind>(?:{_UNIT})?)(?P<close>\)?)(?P<last>-?)$"
)


def _forms(mark: str, other: str) -> str:
    """The pattern of digits whose decimal mark is `mark`: bare, or in groups."""
    bare = rf"(?:[0-9]+(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    end = rf"(?:{mark}[0-9]*)?"
    groups = "|".join(f"(?:{by}[0-9]{{3}})+" for by in (other, " ", r"'", r"\x{2019}"))
    lakhs = rf"[1-9][0-9]?(?:{other}[0-9]{{2}})+{other}[0-9]{{3}}"
    return rf"^(?:{bare}|[1-9][0-9]{{0,2}}(?:{groups}){end}|{lakhs}{end}|(?i:inf(?:inity)?))$"


_MARKED: Final = {".": _forms(r"\.", ","), ",": _forms(",", r"\.")}
_LARGEST: Final = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Numerals:
    """What the cells of a column say about how its numbers are written.

    Args:
        marks: the decimal marks under which every cell is a number.
        open: a cell that is another number under each; empty if there is none.
        unit: the sign of a scale or a currency.
    """

    marks: tuple[str, ...]
    open: str = ""
    unit: str = ""


def numbers(column: pa.Array, *, decimal: str = "", unit: str = "") -> Floats:
    """Clean cells as numbers, NaN where missing.

    A text that stands for a number beyond what a float holds becomes the largest float.

    Args:
        column: clean cells, of any flat type.
        decimal: the mark, `"."` or `","`; empty: a full stop, and commas group nothing, which is
            how programs write numbers.
        unit: the sign of a scale, which each cell must have, or of a currency, which it may.

    Raises:
        NotThatKindError: if one is none.

    Example:
        >>> from hunch.tables.cells import clean
        >>> numbers(clean(pa.chunked_array([["1.5", None, "-2e3"]])))
        array([ 1.5e+00,      nan, -2.0e+03])
        >>> cells = clean(pa.chunked_array([["1.234,5 %", "\u22123 %"]]))
        >>> numbers(cells, decimal=",", unit="%")
        array([1234.5,   -3. ])
    """
    if not pa.types.is_dictionary(column.type):
        return typed_numbers(column)
    text = column.dictionary
    plain = None if unit in SCALES or decimal == "," else _as_programs_write(text)
    if plain is not None:
        return spread(column, plain)
    signs, units, bodies, none = _parts(text)
    fits = _matches(bodies, _MARKED[decimal or "."])
    if not decimal:
        fits &= ~_matches(bodies, ",")
    fits &= (units == unit) | ((units == "") & (unit not in SCALES))
    if not (fits | none).all():
        raise first_coded(column, ~(fits | none))
    values = signs * _values(bodies, decimal or ".")
    return spread(column, np.where(none, np.nan, values))


def look_at_numbers(column: pa.DictionaryArray) -> Numerals:
    """What the cells of a text column say about how its numbers are written.

    Raises:
        NotThatKindError: if they are not numbers, whichever way they are read.

    Example:
        >>> from hunch.tables.cells import clean
        >>> look_at_numbers(clean(pa.chunked_array([["3,606", "580"]])))
        Numerals(marks=('.', ','), open='3,606', unit='')
        >>> look_at_numbers(clean(pa.chunked_array([["3,606", "0,5"]]))).marks
        (',',)
    """
    if _as_programs_write(column.dictionary) is not None:
        return _plain_numerals(column.dictionary)
    _, units, bodies, none = _parts(column.dictionary)
    either = {mark: _matches(bodies, form) for mark, form in _MARKED.items()}
    fits = either["."] | either[","] | none
    if not fits.all():
        raise first_coded(column, ~fits)
    marks = tuple(mark for mark, found in either.items() if (found | none).all())
    if not marks:
        # Each cell is a number by itself, but the decimal mark of some groups digits in others.
        raise first_coded(column, ~either["."] & ~none)
    undecided = _matches(bodies, r"[.,]") & ~none & (len(marks) == 2)
    return Numerals(marks, _first(column.dictionary, undecided), _one_unit(column, units, none))


def share_of_numbers(column: pa.DictionaryArray) -> float:
    """Of the cells that are not missing, how many are numbers in some way of writing.

    Example:
        >>> from hunch.tables.cells import clean
        >>> share_of_numbers(clean(pa.chunked_array([["1", "2,5", "about 3", "4"]])))
        0.75
    """
    _, _, bodies, _ = _parts(column.dictionary)
    fits = _matches(bodies, _MARKED["."]) | _matches(bodies, _MARKED[","])
    found = spread(column, fits.astype(float))
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def _plain_numerals(text: pa.Array) -> Numerals:
    """As `look_at_numbers`, of numbers that Python and C would read: the usual case, quickly."""
    groups = _matches(text, r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$")
    if (flags(pc.match_substring(text, ".")) & ~groups).any():
        return Numerals((".",))
    return Numerals(tuple(_MARKED), _first(text, groups))


def _first(text: pa.Array, chosen: Flags) -> str:
    """The first of the chosen ones, empty if there is none."""
    return str(text[int(chosen.argmax())].as_py()) if chosen.any() else ""


def _one_unit(column: pa.DictionaryArray, units: npt.NDArray[np.object_], none: Flags) -> str:
    """The unit of all cells; cells of two are no numbers that can be compared."""
    found = sorted(set(units[~none]) - {""})
    if not found:
        return ""
    unit = str(found[0])
    same = (units == unit) | ((units == "") & (unit not in SCALES)) | none
    if not same.all():
        raise first_coded(column, ~same)
    return unit


def _as_programs_write(text: pa.Array) -> Floats | None:
    """All texts as floats if each is written as Python and C write them: the usual case."""
    try:
        values = text.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    return _in_range(values, text)


def _values(bodies: pa.Array, decimal: str) -> Floats:
    other = "," if decimal == "." else r"\."
    digits = pc.replace_substring_regex(bodies, f"[{other} '\u2019]", "")
    digits = pc.replace_substring(digits, ",", ".") if decimal == "," else digits
    usable = pc.if_else(pc.match_substring_regex(digits, _MARKED["."]), digits, None)
    values = usable.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return _in_range(values, bodies)


def _in_range(values: Floats, text: pa.Array) -> Floats:
    """Infinite only where the text says so."""
    if not np.isinf(values).any():
        return values
    beyond = np.isinf(values) & ~_matches(text, "(?i)inf")
    return np.where(beyond, np.copysign(_LARGEST, values), values)


def _parts(text: pa.Array) -> tuple[Floats, npt.NDArray[np.object_], pa.Array, Flags]:
    """Sign, unit and digits of each text, empty where it has no such parts, and who says "none"."""
    none = flags(pc.is_in(text, value_set=pa.array(DASHES, text.type)))
    even = pc.replace_substring_regex(text, _SPACE, " ")
    even = pc.replace_substring(even, "\u2212", "-")
    even = pc.replace_substring_regex(even, _NO_CENTS, r"\10\2")
    found = pc.extract_regex(even, _PARTS)
    part = {name: pc.fill_null(pc.struct_field(found, name), "") for name in _NAMES}
    before, behind = _objects(part["before"]), _objects(part["behind"])
    minus = [_matches(part[name], "-") for name in ("sign", "inner", "last")]
    opened, closed = _matches(part["open"], r"\("), _matches(part["close"], r"\)")
    signed = [~_matches(part[name], "^$") for name in ("sign", "inner", "last", "open")]
    # One minus at most, brackets in pairs, one unit.
    odd = (np.sum(signed, axis=0) > 1) | (opened != closed) | ((before != "") & (behind != ""))
    bodies = pc.if_else(pa.array(odd), "", pc.utf8_rtrim(part["body"], " "))
    negative = np.any(minus, axis=0) | opened
    return np.where(negative, -1.0, 1.0), np.where(before != "", before, behind), bodies, none


_NAMES: Final = ("open", "sign", "before", "inner", "body", "behind", "close", "last")


def _matches(text: pa.Array, pattern: str) -> Flags:
    # RE2's patterns take time in proportion to the text, whatever it is.
    return flags(pc.match_substring_regex(text, pattern))


def _objects(column: pa.Array) -> npt.NDArray[np.object_]:
    found: npt.NDArray[np.object_] = column.to_numpy(zero_copy_only=False).astype(object)
    return found
