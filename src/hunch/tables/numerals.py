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

from hunch.tables.calendars import in_ascii_figures
from hunch.tables.cells import (
    DASHES,
    Flags,
    Floats,
    first_coded,
    first_that,
    flags,
    says_nothing,
    spread,
    typed_numbers,
)

# A currency may be absent from a cell; any other sign changes what a number is, so that all cells
# have it or none.
_CURRENCIES: Final = (
    "EUR|USD|GBP|CHF|JPY|CNY|RMB|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|RUB|UAH|INR|BRL|MXN|CAD"
    "|AUD|NZD|ZAR|KRW|SGD|HKD|TWD|THB|IDR|MYR|PHP|VND|ILS|AED|SAR|EGP|NGN|KES|MAD|RSD|CLP|COP|PEN"
    r"|Euro|euros|kr\.|kr|K\x{10d}|z\x{142}|Ft|Fr\.|R\$|US\$|A\$|C\$|S\$|HK\$|NT\$|Rs\.?|Rp"
    r"|\x{440}\x{443}\x{431}\.?|\x{433}\x{440}\x{43d}\.?|\x{43b}\x{432}\.?|\x{5186}|\x{5143}|\x{c6d0}"
    r"|\p{Sc}"
)
_UNIT: Final = rf"%|\x{{2030}}|{_CURRENCIES}"
# Other units stand behind the digits: km, m², °C, km/h, sq ft.
# Without a bound on their number, which RE2 would write out: the pattern is made for each column.
_WORD: Final = r"[\p{L}\x{b0}\x{b5}][^0-9,;:()'\x{2019}+-]*[23]?"
_LONGEST: Final = 24  # letters of a unit
_THOUSAND: Final = ("k", "K", "Tsd", "Tsd.", "tsd", "tsd.")
_MAGNITUDES: Final = {
    **dict.fromkeys(_THOUSAND, 1e3),
    **dict.fromkeys(("M", "Mio", "Mio.", "mio", "mio.", "mln", "mln.", "million", "millions"), 1e6),
    **dict.fromkeys(("Millionen", "Mill.", "millones", "milioni"), 1e6),
    **dict.fromkeys(("bn", "Bn", "Mrd", "Mrd.", "mrd", "mrd."), 1e9),
    "": 1.0,
}
_SCALE: Final = "|".join(m.replace(".", r"\.") for m in sorted(_MAGNITUDES, key=len)[:0:-1])
_SPACE: Final = r"\p{Zs}"  # no-break, narrow and thin ones too
_BODY: Final = r"[0-9.,][0-9., '\x{2019}]*(?:[eE][+-]?[0-9]+)?|(?i:inf(?:inity)?)"
# `5,-` and `5.\u2013` are prices without cents, no minus: the dash stands for the decimals.
_NO_CENTS: Final = rf"([0-9][.,])(?:--?|\x{{2013}}|\x{{2014}})( ?(?:{_UNIT})?\)?)$"
# A sign, a unit and digits; the unit before or behind, the sign anywhere, a bracket for a minus.
_PARTS: Final = (
    rf"^(?P<open>\(?)(?P<sign>[+-]?) ?(?P<before>(?:{_UNIT})?) ?(?P<inner>[+-]?) ?"
    rf"(?P<body>{_BODY}) ?(?:(?P<scale>(?:{_SCALE})?) ?(?P<behind>(?:{_UNIT})?)|(?P<word>{_WORD}))"
    r"(?P<close>\)?)(?P<last>-?)$"
)
# Digits of other scripts and full-width signs; a dot between digits in the middle of the line.
_OTHER_SCRIPTS: Final = (
    r"[\x{660}-\x{669}\x{6f0}-\x{6f9}\x{966}-\x{96f}\x{9e6}-\x{9ef}\x{e50}-\x{e59}]"
    r"|[\x{ff05}\x{ff0b}-\x{ff0e}\x{ff10}-\x{ff19}]|[0-9]\x{b7}[0-9]"
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
        unit: what stands beside the digits, as `%`, `€` or `km`.
        scaled: whether thousands and millions stand beside plain numbers, as `1.2k` and `3M`.
    """

    marks: tuple[str, ...]
    open: str = ""
    unit: str = ""
    scaled: bool = False


@dataclass(frozen=True)
class _Parts:
    """What each text is made of, `(texts,)` each; its digits are empty if it is no number.

    Args:
        signs: 1 or −1.
        units: a percent sign or a currency.
        words: any other unit.
        scales: a word such as `k` or `Mio`.
        bodies: the digits and marks.
        none: whether it says that there is no number.
    """

    signs: Floats
    units: npt.NDArray[np.object_]
    words: npt.NDArray[np.object_]
    scales: npt.NDArray[np.object_]
    bodies: pa.Array
    none: Flags

    def own_units(self, *, scaled: bool) -> npt.NDArray[np.object_]:
        """All that stands beside the digits, but the scale if that is multiplied out."""
        parts = [self.words, self.units] if scaled else [self.words, self.scales, self.units]
        return np.array([" ".join(filter(None, own)) for own in zip(*parts, strict=True)], object)

    @property
    def factors(self) -> Floats:
        """What the scales stand for."""
        return np.array([_MAGNITUDES[scale] for scale in self.scales], float)


def numbers(
    column: pa.Array,
    *,
    decimal: str = "",
    unit: str = "",
    scaled: bool = False,
    whole: bool = False,
) -> Floats:
    """Clean cells as numbers, NaN where missing.

    A text that stands for a number beyond what a float holds becomes the largest float.

    Args:
        column: clean cells, of any flat type.
        decimal: the mark, `"."` or `","`; empty: a full stop, and commas group nothing, which is
            how programs write numbers.
        unit: a unit, which each cell must have, or a currency, which it may.
        scaled: whether words such as `k` are multiplied out.
        whole: whether only whole numbers are known so far, so that `1.234` may be 1234; taken as it
            stands if another cell proves that its point is a decimal mark.

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
    strict = must_be_written(unit)
    if not pa.types.is_dictionary(column.type):
        if strict:  # of 12 % nobody knows whether it is 12 or 0.12 here, of 12 km whether 12,000
            raise first_that(column, np.ones(len(column), bool))
        return typed_numbers(column)
    text = column.dictionary
    plain = None if strict or decimal == "," else _as_programs_write(text)
    if plain is not None:
        if whole:
            _check_no_groups(column, text)
        return spread(column, plain)
    parts = _parts(text)
    if whole and not decimal:
        _check_no_groups(column, parts.bodies)
    fits = _matches(parts.bodies, _MARKED[decimal or "."])
    if not decimal:
        fits &= ~_matches(parts.bodies, ",")
    units = parts.own_units(scaled=scaled)
    fits &= (units == unit) | ((units == "") & (not strict))
    if not (fits | parts.none).all():
        raise first_coded(column, ~(fits | parts.none))
    values = parts.signs * _values(parts.bodies, decimal or ".")
    values *= parts.factors if scaled else 1.0
    return spread(column, np.where(parts.none, np.nan, values))


def _check_no_groups(column: pa.DictionaryArray, bodies: pa.Array) -> None:
    """Refuse a point that may as well group digits, where no cell says that it does not."""
    groups = _matches(bodies, r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$")
    if groups.any() and not (flags(pc.match_substring(bodies, ".")) & ~groups).any():
        raise first_coded(column, groups)


def must_be_written(unit: str) -> bool:
    """Whether a unit changes what a number is, so that each cell must have it.

    Example:
        >>> must_be_written("%"), must_be_written("\u20ac"), must_be_written("")
        (True, False, False)
    """
    return bool(unit) and not _is_currency(unit)


def look_at_numbers(column: pa.DictionaryArray) -> Numerals:
    """What the cells of a text column say about how its numbers are written.

    Raises:
        NotThatKindError: if they are not numbers, whichever way they are read.

    Example:
        >>> from hunch.tables.cells import clean
        >>> look_at_numbers(clean(pa.chunked_array([["3,606", "580"]])))
        Numerals(marks=('.', ','), open='3,606', unit='', scaled=False)
        >>> look_at_numbers(clean(pa.chunked_array([["3,606", "0,5"]]))).marks
        (',',)
    """
    if _as_programs_write(column.dictionary) is not None:
        return _plain_numerals(column.dictionary)
    parts = _parts(column.dictionary)
    bodies, none = parts.bodies, parts.none
    either = {mark: _matches(bodies, form) for mark, form in _MARKED.items()}
    numeric = either["."] | either[","]
    fits = numeric | none
    if not fits.all() or not numeric.any():
        dashes = flags(pc.is_in(column.dictionary, value_set=pa.array(DASHES, bodies.type)))
        if not fits.all() or not dashes.all():  # of words that say nothing alone, each says itself
            raise first_coded(column, ~fits if not fits.all() else none)
    marks = tuple(mark for mark, found in either.items() if (found | none).all())
    if not marks:
        # Each cell is a number by itself, but the decimal mark of some groups digits in others.
        raise first_coded(column, ~either["."] & ~none)
    undecided = _matches(bodies, r"[.,]") & ~none & (len(marks) == 2)
    scaled = _is_scaled(set(parts.scales[~none]))
    unit = _one_unit(column, parts.own_units(scaled=scaled), none)
    return Numerals(marks, _first(column.dictionary, undecided), unit, scaled)


def _is_scaled(scales: set[str]) -> bool:
    """Whether words of scale stand for different factors, as thousands do beside millions.

    A plain number beside thousands is one; beside millions alone it may be of millions.
    """
    factors = {_MAGNITUDES[scale] for scale in scales}
    return len(factors) > 1 and (1.0 not in factors or not scales.isdisjoint(_THOUSAND))


def units_in_words(column: pa.DictionaryArray) -> list[str]:
    """The units of cells that are numbers but for their units, which differ; none if some are not.

    Example:
        >>> from hunch.tables.cells import clean
        >>> units_in_words(clean(pa.chunked_array([["12 km", "500 m"]])))
        ['km', 'm']
    """
    parts = _parts(column.dictionary)
    fits = _matches(parts.bodies, _MARKED["."]) | _matches(parts.bodies, _MARKED[","])
    if not (fits | parts.none).all() or not (parts.words[~parts.none] != "").all():
        return []
    return sorted(set(parts.own_units(scaled=False)[~parts.none]))


def are_numbers(text: pa.Array) -> Flags:
    """Which texts are numbers in some way of writing; those that are missing are none.

    Example:
        >>> are_numbers(pa.array(["1", "2,5", "about 3", None]))
        array([ True,  True, False, False])
    """
    parts = _parts(pc.fill_null(text, ""))
    fits = _matches(parts.bodies, _MARKED["."]) | _matches(parts.bodies, _MARKED[","])
    plain: Flags = fits & (parts.words == "")
    return plain


def share_of_numbers(column: pa.DictionaryArray) -> float:
    """Of the cells that are not missing, how many are numbers in some way of writing.

    Example:
        >>> from hunch.tables.cells import clean
        >>> share_of_numbers(clean(pa.chunked_array([["1", "2,5", "about 3", "4"]])))
        0.75
    """
    found = spread(column, are_numbers(column.dictionary).astype(float))
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
    known = units[~none].astype(str)
    found = sorted(set(known) - {""})
    if not found:
        return ""
    # Not a currency alone: what most texts have is what the others do not.
    names, counts = np.unique(known, return_counts=True)
    unit = found[0] if len(found) == 1 and _is_currency(found[0]) else str(names[counts.argmax()])
    same = (units == unit) | ((units == "") & _is_currency(unit)) | none
    if not same.all():
        raise first_coded(column, ~same)
    return unit


def _is_currency(unit: str) -> bool:
    return bool(_matches(pa.array([unit]), f"^(?:{_CURRENCIES})$")[0])


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


def _parts(text: pa.Array) -> _Parts:
    none = says_nothing(text)
    even = pc.replace_substring_regex(_in_one_script(text), _SPACE, " ")
    even = pc.replace_substring(even, "\u2212", "-")
    even = pc.replace_substring_regex(even, r"^\x{2013} ?([0-9])", r"-\1")
    even = pc.replace_substring_regex(even, _NO_CENTS, r"\10\2")
    found = pc.extract_regex(even, _PARTS)
    part = {name: pc.fill_null(pc.struct_field(found, name), "") for name in _NAMES}
    before, behind = _objects(part["before"]), _objects(part["behind"])
    minus = [_matches(part[name], "-") for name in ("sign", "inner", "last")]
    opened, closed = _matches(part["open"], r"\("), _matches(part["close"], r"\)")
    signed = [~_matches(part[name], "^$") for name in ("sign", "inner", "last", "open")]
    words = _objects(part["word"])
    # One minus at most, brackets in pairs, one unit.
    odd = (np.sum(signed, axis=0) > 1) | (opened != closed)
    odd |= pc.greater(pc.utf8_length(part["word"]), _LONGEST).to_numpy(zero_copy_only=False)
    odd |= (before != "") & ((behind != "") | (words != ""))
    bodies = pc.if_else(pa.array(odd), "", pc.utf8_rtrim(part["body"], " "))
    negative = np.any(minus, axis=0) | opened
    return _Parts(
        np.where(negative, -1.0, 1.0),
        np.where(before != "", before, behind),
        words,
        _objects(part["scale"]),
        bodies,
        none,
    )


def _in_one_script(text: pa.Array) -> pa.Array:
    """The texts with the digits of other scripts as ASCII has them."""
    strange = _matches(text, _OTHER_SCRIPTS)
    if not strange.any():
        return text
    told = [
        in_ascii_figures(t) if odd else t for t, odd in zip(text.to_pylist(), strange, strict=True)
    ]
    return pa.array(told, text.type)


_NAMES: Final = (
    *("open", "sign", "before", "inner", "body", "scale", "behind", "word", "close", "last"),
)


def _matches(text: pa.Array, pattern: str) -> Flags:
    # RE2's patterns take time in proportion to the text, whatever it is.
    return flags(pc.match_substring_regex(text, pattern))


def _objects(column: pa.Array) -> npt.NDArray[np.object_]:
    found: npt.NDArray[np.object_] = column.to_numpy(zero_copy_only=False).astype(object)
    return found
