"""What becomes of each column of a table: rules learned on training rows, kept as plain values.

- Numbers stay; missing or infinite ones become the median, and a second feature says which.
- Booleans (true/false, yes/no) are 1 and 0.
- Dates become days, the phase of the year and week, and of the day if there are
  times.
- Text of few values becomes one feature a value; of many values the 20 most frequent ones have a
  feature each and the rest share one. Text where most rows differ is dropped.
- Columns that are empty, constant or the same as an earlier one are dropped.
- What the user says of a column goes before what its cells look like.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import DataError
from hunch.tables.cells import Floats, NotThatKindError, clean, is_flat, words
from hunch.tables.choices import NOTHING_SAID, Choices, few
from hunch.tables.numerals import numbers
from hunch.tables.ways import Kind, Way, check_size, learn_ways

MOST_VALUES: Final = 32  # of a text column of which each value gets a feature
_FREQUENT: Final = 20  # values that get one where there are more
_LARGEST_ID: Final = 2**53  # beyond, floats leave whole numbers out
_MARGIN: Final = 0.25  # how far beyond the training range, in its width, is far outside
_LONGEST: Final = 60  # characters of a cell that is given as a reason
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
        unit: sign of a scale or currency, as in `Way`.
        order: of day, month and year, as in `Way`.
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

    @property
    def way(self) -> Way:
        """How its cells are read."""
        return Way(self.kind, self.decimal, self.unit, self.order)

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

    def encode(
        self, column: pa.Array, first_row: int = 0, *, any_text: bool = False
    ) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Features `(rows, features)` of clean cells, and which rows are far outside training.

        Args:
            column: the cells.
            first_row: how many rows came before, for messages.
            any_text: whether the cells of a category may all be numbers, though those of training
                were words.

        Raises:
            DataError: if a cell is of another kind than in training.
        """
        if self.kind == "category":
            if not any_text:
                self._check_words(column, first_row)
            return self._encode_category(column)
        try:
            values = self.way.read(column)
        except NotThatKindError as error:
            raise DataError(
                f"column {self.name!r} holds {error.value!r} in row {first_row + error.row + 1}; "
                f"expected {self.way.expected}, as in training."
            ) from error
        check_size(self.name, values, column, first_row)
        unknown = ~np.isfinite(values)
        values = np.where(unknown, self.fill, values)
        margin = _MARGIN * (self.high - self.low)
        outside = (values < self.low - margin) | (values > self.high + margin)
        parts = [values]
        if self.kind == "date":
            for period in _periods(self.clock).values():
                parts += [phase(2 * math.pi * values / period) for phase in _PHASE.values()]
        if self.missing:
            parts.append(unknown.astype(np.float64))
        return np.stack(parts, axis=1), outside

    def _check_words(self, column: pa.Array, first_row: int) -> None:
        if _all_numbers(column) and not any(map(_is_number, self.values)):
            raise DataError(
                f"column {self.name!r} holds numbers from row {first_row + 1} on; expected text "
                f"such as {self.values[0]!r}, as in training."
            )

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
        return features, np.zeros(len(column), bool) if self.other else other


@dataclass(frozen=True)
class Dropped:
    """A column that the model does not use, and why.

    Args:
        name: in the header.
        why: in a few words.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Columns:
    """The rules of a whole table.

    Args:
        used: the columns that become features, in the order of the features.
        dropped: those that do not.
        said: what the user said of columns.
    """

    used: tuple[Column, ...]
    dropped: tuple[Dropped, ...]
    said: Choices = NOTHING_SAID

    @classmethod
    def learn(
        cls,
        table: pa.Table,
        ways: Mapping[str, Way] | None = None,
        left_out: Mapping[str, pa.DataType] | None = None,
        said: Choices = NOTHING_SAID,
    ) -> Columns:
        """Look at the training rows and decide what becomes of each column.

        Args:
            table: the training rows, without the target.
            ways: how their cells are read; None to learn it from these rows.
            left_out: columns that the table need not have, since none of their cells can be used.
            said: what the user says of columns, which are checked already; those that are not
                learned from the table need not have either.

        Raises:
            DataError: if no column can be used, or one can be read in two ways.

        Example:
            >>> table = pa.table({"a": ["1", "2"], "b": ["x", "y"], "c": ["5", "5"]})
            >>> rules = Columns.learn(table)
            >>> [(c.name, c.kind) for c in rules.used], rules.dropped
            ([('a', 'number'), ('b', 'category')], (Dropped(name='c', why='constant'),))
            >>> rules.encode(table)[0]
            array([[1., 1., 0.],
                   [2., 0., 1.]])
        """
        return cls.learn_and_encode(table, ways, left_out, said)[0]

    @classmethod
    def learn_and_encode(
        cls,
        table: pa.Table,
        ways: Mapping[str, Way] | None = None,
        left_out: Mapping[str, pa.DataType] | None = None,
        said: Choices = NOTHING_SAID,
    ) -> tuple[Columns, Floats]:
        """As `learn`, with the features `(rows, features)` of the rows that were looked at."""
        used: list[Column] = []
        features: list[Floats] = []
        asked = said.why_dropped
        dropped = [Dropped(name, why) for name, why in asked.items()]
        rest = {name: kind for name, kind in (left_out or {}).items() if name not in asked}
        dropped += [_of_a_type(name, kind) for name, kind in rest.items()]
        seen: dict[bytes, str] = {}
        table = table.drop_columns([name for name in asked if name in table.column_names])
        ways = learn_ways(table, kinds=said.kinds) if ways is None else ways
        for name in table.column_names:
            if not is_flat(table[name].type):
                dropped.append(_of_a_type(name, table[name].type))
                continue
            cells = clean(table[name])
            found = _learn_column(name, ways[name], cells)
            if isinstance(found, Dropped):
                dropped.append(found)
                continue
            own, _ = found.encode(cells)
            first = seen.setdefault(hashlib.sha256(own.tobytes()).digest(), name)
            if first != name:
                dropped.append(Dropped(name, f"the same as {first!r}"))
                continue
            used.append(found)
            features.append(own)
        if not used:
            raise DataError(
                "no column can be used: "
                + ("; ".join(f"{d.name!r} is {d.why}" for d in dropped) or "there is none")
                + ". Expected at least one that varies."
            )
        # Row by row in memory, as `encode` has them: sums round by the order.
        together = np.ascontiguousarray(np.concatenate(features, axis=1))
        return cls(tuple(used), tuple(dropped), said), together

    @property
    def features(self) -> list[str]:
        """Names of all features."""
        return [feature for column in self.used for feature in column.features]

    def groups(self) -> dict[str, slice]:
        """Which features each column became."""
        found, start = {}, 0
        for column in self.used:
            stop = start + len(column.features)
            found[column.name], start = slice(start, stop), stop
        return found

    def encode(self, table: pa.Table, first_row: int = 0) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Features `(rows, features)`, and which rows are far outside the training data.

        A row is far outside if a number or date lies beyond the training range by more than a
        quarter of its width, or a category is one that training has not seen.

        Args:
            table: with all columns in use.
            first_row: how many rows came before, for messages.

        Raises:
            DataError: if a cell is of another kind than in training.
        """
        features, far = self._encode(table, first_row)
        outside = np.zeros(table.num_rows, bool)
        for flags in far.values():
            outside |= flags
        return features, outside

    def encode_and_explain(
        self, table: pa.Table, first_row: int = 0
    ) -> tuple[Floats, pa.Array, pa.Array]:
        """As `encode`, and of each row outside which cells make it so, as `size = 900; city = X`.

        Example:
            >>> columns = Columns.learn(pa.table({"a": ["1", "2"], "b": ["x", "y"]}))
            >>> new = pa.table({"a": ["9", "1"], "b": ["z", "y"]})
            >>> columns.encode_and_explain(new)[2].to_pylist()
            ['a = 9; b = z', None]
        """
        features, far = self._encode(table, first_row)
        because = pa.nulls(table.num_rows, pa.large_string())
        for name, flags in far.items():
            because = _and_because(because, name, table[name], pa.array(flags))
        return features, because.is_valid(), because

    def _encode(
        self, table: pa.Table, first_row: int
    ) -> tuple[Floats, dict[str, npt.NDArray[np.bool_]]]:
        """Features, and of each column with cells far outside which ones these are."""
        features = np.empty((table.num_rows, len(self.features)))
        outside = {}
        for column, place in zip(self.used, self.groups().values(), strict=True):
            features[:, place], far = column.encode(
                clean(table[column.name]),
                first_row,
                any_text=column.name in self.said.categorical,
            )
            if far.any():
                outside[column.name] = far
        return features, outside

    def check_names(self, names: Sequence[str]) -> list[str]:
        """Refuse a table that lacks a column in use; return those it need not have.

        Raises:
            DataError: naming the missing columns.

        Example:
            >>> Columns((Column("a", "number"),), ()).check_names(["b", "a"])
            ['b']
        """
        given = set(names)
        missing = [column.name for column in self.used if column.name not in given]
        if missing:
            what, them = ("column {} is", "it") if len(missing) == 1 else ("columns {} are", "them")
            raise DataError(
                f"{what.format(few(missing))} missing; the model was trained with {them}, and "
                "columns are matched by name."
            )
        known = {c.name for c in self.used} | {d.name for d in self.dropped}
        return [name for name in names if name not in known]

    def to_json(self) -> dict[str, Any]:
        """The rules as plain values."""
        said = self.said.to_json()
        return {
            "used": [{**dataclasses.asdict(c), "values": list(c.values)} for c in self.used],
            "dropped": [dataclasses.asdict(d) for d in self.dropped],
            **({"said": said} if said else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Columns:
        """What `to_json` was called on.

        Example:
            >>> rules = Columns((Column("a", "category", values=("x",)),), (Dropped("b", "empty"),))
            >>> Columns.from_json(rules.to_json()) == rules
            True
        """
        used = tuple(Column(**{**c, "values": tuple(c["values"])}) for c in values["used"])
        dropped = tuple(Dropped(**d) for d in values["dropped"])
        return cls(used, dropped, Choices.from_json(values.get("said", {})))


def _periods(clock: bool) -> dict[str, float]:
    """The cycles that a date has a phase in, and their length in days."""
    return {"year": 365.2425, "week": 7.0} | ({"day": 1.0} if clock else {})


def _learn_column(name: str, way: Way, cells: pa.Array) -> Column | Dropped:
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
    large = max(-low, high) > _LARGEST_ID and not way.asked
    if large and _num_different(cells) > len(np.unique(known)):
        return Dropped(name, "an id: its values differ in digits beyond those of a number")
    if low == high and not missing:
        return Dropped(name, "constant")
    return Column(
        name,
        way.kind,
        fill=float(np.median(known)),
        low=low,
        high=high,
        missing=missing,
        clock=way.kind == "date" and bool((known % 1 != 0).any()),
        decimal=way.decimal,
        unit=way.unit,
        order=way.order,
    )


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
    kept = counted[:_FREQUENT] if many else counted
    values = tuple(value for _, value in kept)
    return Column(name, "category", missing=missing, values=values, other=many)


def _and_because(because: pa.Array, name: str, column: pa.ChunkedArray, far: pa.Array) -> pa.Array:
    """The reasons so far and the cells of one more column, where these are far outside."""
    text = pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(words(column)), 0, _LONGEST)
    what, between, nothing = (pa.scalar(t, pa.large_string()) for t in (f"{name} = ", "; ", ""))
    own = pc.binary_join_element_wise(what, text, nothing)
    # Joined with null it is null. (To skip nulls loses rows that have nothing else, in pyarrow 26.)
    both = pc.if_else(because.is_null(), own, pc.binary_join_element_wise(because, own, between))
    return pc.if_else(far, both, because)


def _is_number(text: str) -> bool:
    return _all_numbers(clean(pa.chunked_array([[text]])))


def _all_numbers(column: pa.Array) -> bool:
    if column.null_count == len(column):
        return False
    try:
        numbers(column)
    except NotThatKindError:
        return False
    return True


def _of_a_type(name: str, kind: pa.DataType) -> Dropped:
    text = str(kind)
    return Dropped(name, f"of type {text if len(text) <= 60 else text[:57] + '...'}")
