"""The rules of a whole table: its columns as features, kept as plain values."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import DataError
from hunch.sklearn.unseen import Category
from hunch.tables.cells import Floats, clean, is_flat, words
from hunch.tables.choices import NOTHING_SAID, Choices, few, near_names
from hunch.tables.column import Column, Dropped, learn_column
from hunch.tables.ways import Way, learn_ways

_LONGEST: Final = 60  # characters of a cell that is given as a reason


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
            found = learn_column(name, ways[name], cells)
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
        for option, names in (("--time", said.time), ("--calibrate-by", said.calibrate_by)):
            for name in {*names} - {column.name for column in used}:
                why = next((d.why for d in dropped if d.name == name), "missing")
                raise DataError(
                    f"{option} names {name!r}, which is {why}; expected a column of use."
                )
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

    @property
    def categories(self) -> list[Category]:
        """Where the columns of text are of which a later cell may be none of the values."""
        places = self.groups()
        return [
            Category(places[c.name].start, len(c.values), places[c.name].stop)
            for c in self.used
            if c.kind == "category" and len(c.values) > 1 and not c.other
        ]

    @property
    def place_of_time(self) -> int:
        """Which feature is the time that the user named, in days or in the column's numbers."""
        return int(self.groups()[self.said.time[0]].start)

    @property
    def places_to_calibrate_by(self) -> list[int] | None:
        """Which features are the column for whose values intervals are to hold; None if none is."""
        for name in self.said.calibrate_by:
            place = self.groups()[name]
            return [*range(place.start, place.stop)]
        return None

    def groups(self) -> dict[str, slice]:
        """Which features each column became."""
        found, start = {}, 0
        for column in self.used:
            stop = start + len(column.features)
            found[column.name], start = slice(start, stop), stop
        return found

    def encode(self, table: pa.Table, first_row: int = 0) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Features `(rows, features)`, and which rows are far outside the training data.

        A row is far outside if a number lies beyond the training range by more than a quarter of
        its width, or a date as far before it, or a category is one that training has not seen.

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
            features[:, place], far = column.encode(clean(table[column.name]), first_row)
            if far.any() and column.name not in self.said.time:
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
            near = {name: n[0] for name in missing if (n := near_names(name, names))}
            hint = f" The table has {few(list(near.values()))}: rename it." if near else ""
            raise DataError(
                f"{what.format(few(missing))} missing; the model was trained with {them}, and "
                f"columns are matched by name.{hint}"
            )
        known = {c.name for c in self.used} | {d.name for d in self.dropped}
        return [name for name in names if name not in known]

    def to_json(self) -> dict[str, Any]:
        """The rules as plain values."""
        said = self.said.to_json()
        return {
            "used": [c.to_json() for c in self.used],
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
        used = tuple(
            Column(**{**c, "values": tuple(c["values"]), "codes": tuple(c.get("codes", ()))})
            for c in values["used"]
        )
        dropped = tuple(Dropped(**d) for d in values["dropped"])
        return cls(used, dropped, Choices.from_json(values.get("said", {})))


def _and_because(because: pa.Array, name: str, column: pa.ChunkedArray, far: pa.Array) -> pa.Array:
    """The reasons so far and the cells of one more column, where these are far outside."""
    text = pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(words(column)), 0, _LONGEST)
    what, between, nothing = (pa.scalar(t, pa.large_string()) for t in (f"{name} = ", "; ", ""))
    own = pc.binary_join_element_wise(what, text, nothing)
    # Joined with null it is null. (To skip nulls loses rows that have nothing else, in pyarrow 26.)
    both = pc.if_else(because.is_null(), own, pc.binary_join_element_wise(because, own, between))
    return pc.if_else(far, both, because)


def _of_a_type(name: str, kind: pa.DataType) -> Dropped:
    text = str(kind)
    return Dropped(name, f"of type {text if len(text) <= 60 else text[:57] + '...'}")
