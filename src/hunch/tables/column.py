"""What becomes of each column of a table: rules learned on training rows, kept as plain values.

- Numbers stay; missing or infinite ones become the median, and a second feature says which.
- Booleans (true/false, yes/no) are 1 and 0.
- Dates become days, the phase of the year and week, and of the day if there are
  times.
- Text of few values becomes one feature a value; of many, the 20 most frequent ones have a feature
  each, as have up to 108 more that come five times, and the rest share one. Text where most rows
  differ is dropped.
- Columns that are empty, constant or the same as an earlier one are dropped.
- What the user says of a column goes before what its cells look like.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import DataError
from hunch.sklearn.rows import odd_cells
from hunch.tables.cells import Floats, NotThatKindError, spread, words
from hunch.tables.numerals import are_numbers
from hunch.tables.ways import Kind, Way, check_size

MOST_VALUES: Final = 32  # of a text column of which each value gets a feature
_FREQUENT: Final = 20  # values that get one where there are more,
_MAYBE: Final = 128  # and values that get one if they come often,
_OFTEN: Final = 5  # which is in so many rows
_MOST_CODES: Final = 20
_LARGEST_ID: Final = 2**53  # beyond, floats leave whole numbers out
_MARGIN: Final = 0.25  # how far beyond the training range, in its width, is far outside
# A word of a name that says that the cells name rows: patient_id, customerID, order no, Lfd. Nr.
_ID: Final = re.compile(
    r"(?i:(?:^|[^a-z])(?:id|ids|uid|key|no|nr|num|index|idx|row|serial)\.?$)|[a-z](?:ID|Id)$"
    r"|^(?:id|ID|Id)(?:[^A-Za-z]|$)|(?i:(?:number|nummer|n[úu]mero|num[ée]ro)$)"
)
# A number whose point may be a decimal mark or group digits.
_GROUPED: Final = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}\.[0-9]{3}(?![0-9.,])")
# What libraries call a column of row numbers that has no name.
_UNNAMED: Final = re.compile(r"\s*|Unnamed: \d+|__index_level_\d+__")
# A phase as a point on a circle, so that the end of a year is close to its beginning.
_PHASE: Final[dict[str, Callable[[Floats], Floats]]] = {"sine": np.sin, "cosine": np.cos}


@dataclass(frozen=True)
class Column:
    """How one column becomes features.

    Args:
        name: in the header.
        kind: what its cells are.
        fill: what a missing number or date becomes, the training median.
        low: least training value of a number or date.
        high: largest.
        missing: whether a feature says that the cell is missing.
        values: of a category, those with a feature each, most frequent first.
        other: whether all other values share one more feature.
        clock: whether dates have times of day.
        decimal: mark of numbers in text, as in `Way`.
        unit: what stands beside numbers, as in `Way`.
        order: of day, month and year, as in `Way`.
        scaled: whether words of scale are multiplied out, as in `Way`.
        counts: whether its numbers name rows, by its name and since all differ, so that new rows
            lie behind those of training.
        codes: numbers far from all others that training holds repeatedly, as -999 for "unknown";
            they are not outside.
        whole: whether all numbers are whole, as in `Way`.
    """

    name: str
    kind: Kind
    fill: float = 0.0
    low: float = 0.0
    high: float = 0.0
    missing: bool = False
    values: tuple[str, ...] = ()
    other: bool = False
    clock: bool = False
    decimal: str = ""
    unit: str = ""
    order: str = ""
    scaled: bool = False
    counts: bool = False
    codes: tuple[float, ...] = ()
    whole: bool = False

    @property
    def way(self) -> Way:
        """How its cells are read."""
        return Way(
            self.kind, self.decimal, self.unit, self.order, scaled=self.scaled, whole=self.whole
        )

    @property
    def features(self) -> list[str]:
        """Names of the features it becomes."""
        if self.kind == "category":
            names = [f"{self.name} = {value}" for value in self.values]
            names += [f"{self.name} = other"] if self.other else []
        elif self.kind == "date":
            phases = [f"{f} of {period}" for period in _periods(self.clock) for f in _PHASE]
            names = [f"{self.name} {part}" for part in ("in days", *phases)]
        else:
            names = [self.name]
        return names + ([f"{self.name} missing"] if self.missing else [])

    def to_json(self) -> dict[str, Any]:
        """As plain values; without what is newer than the first of such folders, where unused.

        Example:
            >>> Column("a", "number").to_json()["kind"]
            'number'
        """
        values = {**dataclasses.asdict(self), "values": list(self.values)}
        values["codes"] = list(self.codes)
        newer = ("scaled", "counts", "codes", "whole")
        return {k: v for k, v in values.items() if k not in newer or v}

    def encode(self, column: pa.Array, first_row: int = 0) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Features `(rows, features)` of clean cells, and which rows are far outside training.

        Args:
            column: the cells.
            first_row: how many rows came before, for messages.

        Raises:
            DataError: if a cell is of another kind than in training.
        """
        if self.kind == "category":
            return self._encode_category(column)
        try:
            values = self.way.read(column)
        except NotThatKindError as error:
            place = f"column {self.name!r} holds {error.value!r} in row {first_row + error.row + 1}"
            if self.whole and (found := _GROUPED.search(error.value or "")):
                raise DataError(
                    f"{place}, whose point may group digits, since training had whole numbers and "
                    f"no cell here tells; write {found[0].replace('.', '')}, or {found[0]}0 if it "
                    "is a fraction."
                ) from error
            raise DataError(f"{place}; expected {self.way.expected}, as in training.") from error
        check_size(self.name, values, column, first_row)
        unknown = ~np.isfinite(values)
        values = np.where(unknown, self.fill, values)
        outside = self.far_numbers(values)
        parts = [values]
        if self.kind == "date":
            for period in _periods(self.clock).values():
                parts += [phase(2 * math.pi * values / period) for phase in _PHASE.values()]
        if self.missing:
            parts.append(unknown.astype(np.float64))
        return np.stack(parts, axis=1), outside

    def far_numbers(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Which numbers, or dates in days, are far outside the training data; NaN is not.

        Example:
            >>> Column("a", "number", low=0.0, high=4.0).far_numbers(np.array([-1.5, 4.5, np.nan]))
            array([ True, False, False])
        """
        margin = _MARGIN * (self.high - self.low)
        outside = values < self.low - margin
        # Later than training is where dates and ids of new rows belong.
        if self.kind != "date" and not self.counts:
            outside |= values > self.high + margin
        if self.codes:
            outside &= ~np.isin(values, self.codes)
        found: npt.NDArray[np.bool_] = outside
        return found

    def far_words(self, column: pa.Array, unknown: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which clean cells of a category are far outside the training data.

        Args:
            column: the cells.
            unknown: which of them hold something that is none of `values`, `(rows,)`.
        """
        if not self.other:
            return unknown
        # A rare value is nothing new, but a number among words is.
        found: npt.NDArray[np.bool_] = unknown & self._strange_numbers(column)
        return found

    def _encode_category(self, column: pa.Array) -> tuple[Floats, npt.NDArray[np.bool_]]:
        place = pc.index_in(words(column), value_set=pa.array(self.values, pa.large_string()))
        absent = column.is_null().to_numpy(zero_copy_only=False)
        index = place.fill_null(-1).to_numpy(zero_copy_only=False)
        other = (index < 0) & ~absent
        features = np.zeros((len(column), len(self.features)))
        features[np.arange(len(column)), index] = 1.0
        features[index < 0] = 0.0
        if self.other:
            features[other, len(self.values)] = 1.0
        if self.missing:
            features[absent, -1] = 1.0
        return features, self.far_words(column, other)

    def _strange_numbers(self, column: pa.Array) -> npt.NDArray[np.bool_]:
        """Which cells are numbers, where those of training were words."""
        if not pa.types.is_dictionary(column.type):
            column = words(column).dictionary_encode()
        found: npt.NDArray[np.bool_] = (
            spread(column, are_numbers(column.dictionary).astype(float)) == 1.0
        )
        if found.any() and are_numbers(pa.array(self.values, pa.large_string())).any():
            return np.zeros(len(column), bool)
        return found


@dataclass(frozen=True)
class Dropped:
    """A column that the model does not use, and why.

    Args:
        name: in the header.
        why: in a few words.
    """

    name: str
    why: str


def _periods(clock: bool) -> dict[str, float]:
    """The cycles that a date has a phase in, and their length in days."""
    return {"year": 365.2425, "week": 7.0} | ({"day": 1.0} if clock else {})


def learn_column(name: str, way: Way, cells: pa.Array) -> Column | Dropped:
    """Look at the training cells of a column and decide what becomes of it.

    Args:
        name: of the column.
        way: how its cells are read.
        cells: clean ones.

    Example:
        >>> from hunch.tables.cells import clean
        >>> learn_column("a", Way("number"), clean(pa.chunked_array([["5", "5"]])))
        Dropped(name='a', why='constant')
    """
    if cells.null_count == len(cells):
        return Dropped(name, "empty")
    if way.kind == "category":
        return _learn_category(name, cells, asked=way.asked)
    return _learn_numbers(name, way, cells)


def _learn_numbers(name: str, way: Way, cells: pa.Array) -> Column | Dropped:
    values = way.read(cells)
    known = values[np.isfinite(values)]
    missing = len(known) < len(values)
    if not len(known):
        return Dropped(name, "empty")
    low, high = float(known.min()), float(known.max())
    usual, codes = _usual_range(known)
    if _UNNAMED.fullmatch(name) and not way.asked and _counts(values):
        return Dropped(name, "an index without a name, which numbers the rows")
    large = max(-low, high) > _LARGEST_ID and not way.asked
    if large and _num_different(cells) > len(np.unique(known)):
        return Dropped(name, "an id: its values differ in digits beyond those of a number")
    if low == high and not missing:
        return Dropped(name, "constant")
    return Column(
        name,
        way.kind,
        fill=float(np.median(known)),
        low=usual[0] if way.kind == "number" else low,
        high=usual[1] if way.kind == "number" else high,
        missing=missing,
        clock=way.kind == "date" and bool((known % 1 != 0).any()),
        decimal=way.decimal,
        unit=way.unit,
        order=way.order,
        scaled=way.scaled,
        counts=_names_rows(name, values) and not way.asked,
        codes=codes if way.kind == "number" else (),
        whole=way.whole,
    )


def _usual_range(known: Floats) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Ends of the numbers but the odd ones, and those of these that stand there repeatedly."""
    odd = odd_cells(known[:, None])[:, 0]
    usual = known[~odd]
    values, counts = np.unique(known[odd], return_counts=True)
    codes = values[counts > 1][:_MOST_CODES]
    return (float(usual.min()), float(usual.max())), tuple(codes.tolist())


def _names_rows(name: str, values: Floats) -> bool:
    if not _ID.search(name):
        return False
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) == len(values)


def _counts(values: Floats) -> bool:
    """Whether whole numbers grow from row to row."""
    return bool((values == np.floor(values)).all() and (np.diff(values) > 0).all())


def _num_different(cells: pa.Array) -> int:
    places = cells.indices if pa.types.is_dictionary(cells.type) else cells
    return int(pc.count_distinct(places).as_py())


def _learn_category(name: str, cells: pa.Array, *, asked: bool) -> Column | Dropped:
    text = words(cells).drop_null()
    counted = sorted((-e["counts"], e["values"]) for e in text.value_counts().to_pylist())
    missing = len(text) < len(cells)
    if len(counted) == 1 and not missing:
        return Dropped(name, "constant")
    many = len(counted) > MOST_VALUES
    if many and not asked and len(counted) > len(text) / 2:
        return Dropped(name, f"text with {len(counted):,} different values in {len(text):,} rows")
    often = sum(-count >= _OFTEN for count, _ in counted[:_MAYBE])
    kept = counted[: max(_FREQUENT, often)] if many else counted
    values = tuple(value for _, value in kept)
    rest = len(values) < len(counted)
    return Column(name, "category", missing=missing, values=values, other=rest)
