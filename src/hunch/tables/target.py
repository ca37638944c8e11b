"""The column to predict: which task it sets, and what its cells mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import DataError
from hunch.tables.cells import Flags, Floats, NotThatKindError, clean, flags, is_flat, words
from hunch.tables.ways import Way, check_size, learn_ways

Task = Literal["regression", "classification"]

_FEW: Final = 10  # different whole numbers that are taken for classes
_MOST: Final = 100  # classes


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Args:
        name: of the column.
        task: a number, or one of the classes.
        classes: as they stand in the table, in order; empty for a number. Where one number or truth
            value is written in several ways, the most frequent one.
        why: how the task was chosen, for the user.
        decimal: mark of numbers in text, as in `Way`.
        unit: what stands beside numbers, as in `Way`.
        scaled: whether words of scale are multiplied out, as in `Way`.
        lower: the least possible value of a number; None if none is known.
        upper: the largest.
    """

    name: str
    task: Task
    classes: tuple[str, ...] = ()
    why: str = ""
    decimal: str = ""
    unit: str = ""
    scaled: bool = False
    lower: float | None = None
    upper: float | None = None

    def within(self, values: Floats) -> Floats:
        """Predictions, none of them beyond the bounds.

        Example:
            >>> Target("y", "regression", lower=0.0).within(np.array([-1.0, 2.0]))
            array([0., 2.])
        """
        if self.lower is None and self.upper is None:
            return values
        return np.clip(values, self.lower, self.upper)

    def read(self, column: pa.ChunkedArray) -> Floats:
        """Numbers, or class numbers as floats, `(rows,)`; a class that is not known is NaN."""
        return self._read(clean(column))[0]

    def truth(self, column: pa.ChunkedArray, first_row: int = 0) -> tuple[Floats, Flags]:
        """The same of rows that were not trained on, and which of them are of unknown classes.

        Args:
            column: cells; of a missing one the truth is NaN.
            first_row: how many rows of the file came before, for messages.

        Raises:
            DataError: if a cell is not what the target holds.

        Example:
            >>> target = Target("y", "classification", ("a", "b"))
            >>> target.truth(pa.chunked_array([["b", "c", ""]]))
            (array([ 1., nan, nan]), array([False,  True, False]))
        """
        cells = clean(column)
        try:
            values, missing = self._read(cells)
        except NotThatKindError as error:
            raise DataError(
                f"target {self.name!r} holds {error.value!r} in row {first_row + error.row + 1}; "
                f"expected {self._way.expected}, as in training."
            ) from error
        if self.task == "regression":
            check_size(self.name, values, cells, first_row)
            _check_finite(self.name, values, first_row)
        return values, np.isnan(values) & ~missing

    @property
    def _way(self) -> Way:
        return Way("number", self.decimal, self.unit, scaled=self.scaled)

    def _read(self, cells: pa.Array) -> tuple[Floats, Flags]:
        """What the clean cells hold, and which hold nothing."""
        if self.task == "regression":
            values = self._way.read(cells)
            return values, np.isnan(values)
        for same in (self._way, Way("boolean")):
            # 1, 1.0 and 01 are one class, as are yes and Yes.
            try:
                known = same.read(clean(pa.chunked_array([self.classes])))
                values = same.read(cells)
                return _places(values, known), np.isnan(values)
            except NotThatKindError:
                continue
        classes = pa.array(self.classes, pa.large_string())
        place = pc.index_in(words(cells), value_set=classes).cast(pa.float64())
        found: Floats = place.fill_null(np.nan).to_numpy(zero_copy_only=False)
        return found, flags(cells.is_null())

    def to_json(self) -> dict[str, Any]:
        """As plain values; without what is newer than the first of such folders, where unused."""
        newer = ("scaled", "lower", "upper")
        values = {**dataclasses.asdict(self), "classes": list(self.classes)}
        return {
            k: v for k, v in values.items() if k not in newer or (v is not None and v is not False)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Target:
        """What `to_json` was called on.

        Example:
            >>> target = Target("y", "classification", ("a", "b"))
            >>> Target.from_json(target.to_json()) == target
            True
        """
        return cls(**{**values, "classes": tuple(values["classes"])})


def learn_target(
    name: str,
    column: pa.ChunkedArray,
    task: Literal["auto"] | Task,
    way: Way | None = None,
    *,
    allow_missing: bool = False,
) -> tuple[Target, npt.NDArray[np.float64]]:
    """Decide the task and read the column.

    With `"auto"` text, booleans and at most ten different whole numbers without a unit are classes,
    and all else is a number.

    Args:
        name: of the column.
        column: its cells.
        task: `"auto"`, or the task that is wanted.
        way: how its cells are read; None to learn it from them.
        allow_missing: whether cells may be empty, of which nothing is learned.

    Returns:
        The target, and numbers or class numbers `(rows,)`, NaN where cells are empty.

    Raises:
        DataError: if cells are missing or infinite, do not vary, or are not what the task needs.

    Example:
        >>> target, y = learn_target("y", pa.chunked_array([["b", "a", "b"]]), "auto")
        >>> target.classes, y
        (('a', 'b'), array([1., 0., 1.]))
        >>> learn_target("y", pa.chunked_array([["1", "1.0", "0"]]), "auto")[0].classes
        ('0', '1')
    """
    check_target_type(name, column.type)
    way = way or learn_ways(pa.table({name: column}))[name]
    cells = clean(column)
    values = way.read(cells) if way.kind in ("number", "boolean") else None
    absent = cells.is_null().to_numpy(zero_copy_only=False)
    absent = absent if values is None else np.isnan(values)
    if not allow_missing:
        check_none_missing(name, absent)
    if absent.all():
        raise DataError(f"target {name!r} has no value in any row; expected some to learn from.")
    if values is not None:
        _check_finite(name, values)
    known = None if values is None else values[~absent]
    measured = known if way.kind == "number" else None
    chosen, why = _choose(measured, task, way)
    if chosen == "regression":
        if values is None or measured is None:
            stranger = _first_word(cells)
            raise DataError(
                f"target {name!r} holds {stranger.value!r} in row {stranger.row + 1}; expected "
                "numbers. For classes use --task classification."
            )
        if measured.min() == measured.max():
            raise DataError(
                f"target {name!r} is {measured[0]:g} in every row; expected it to vary."
            )
        return Target(name, "regression", (), why, way.decimal, way.unit, way.scaled), values
    present = cells.filter(pa.array(~absent)) if absent.any() else cells
    classes = _classes(name, words(present), known)
    target = Target(name, "classification", classes, why, way.decimal, way.unit, way.scaled)
    return target, target.read(column)


def check_none_missing(name: str, absent: Flags) -> None:
    """Refuse a target that some rows do not have.

    Raises:
        DataError: with the number of these rows.

    Example:
        >>> check_none_missing("y", np.array([False, True]))
        Traceback (most recent call last):
        hunch.errors.DataError: target 'y' has 1 of 2 rows without a value, the first in row 2; ...
    """
    if absent.any():
        raise DataError(
            f"target {name!r} has {absent.sum():,} of {len(absent):,} rows without a value, "
            f"the first in row {absent.argmax() + 1}; remove these rows, or leave them out with "
            "--drop-missing-target."
        )


def _check_finite(name: str, values: Floats, first_row: int = 0) -> None:
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise DataError(
            f"target {name!r} holds {values[row]} in row {first_row + row + 1}; expected finite "
            "numbers."
        )


def without_target_in_words(count: int, of: int) -> str:
    """How many rows are left out, as the terminal and the report say it.

    Example:
        >>> without_target_in_words(1, 2000)
        '1 of 2,000 rows has no target, and is left out'
    """
    has, are = ("has", "is") if count == 1 else ("have", "are")
    return f"{count:,} of {of:,} rows {has} no target, and {are} left out"


def check_target_type(name: str, kind: pa.DataType) -> None:
    """Refuse a target whose cells are of a type that holds neither numbers nor text.

    Raises:
        DataError: naming the type.

    Example:
        >>> check_target_type("y", pa.list_(pa.int8()))
        Traceback (most recent call last):
        hunch.errors.DataError: target 'y' holds cells of type list<item: int8>; expected ...
    """
    if not is_flat(kind):
        raise DataError(f"target {name!r} holds cells of type {kind}; expected numbers or text.")


def _first_word(cells: pa.Array) -> NotThatKindError:
    """The cell that is not a number as the others may be."""
    try:
        Way("number").read(cells)
    except NotThatKindError as error:
        return error
    return NotThatKindError(0, None)


def _choose(values: Floats | None, task: str, way: Way) -> tuple[Task, str]:
    if task == "regression":
        return "regression", "as asked"
    if task == "classification":
        return "classification", "as asked"
    if values is None:
        what = "dates" if way.kind == "date" else "text" if way.kind == "category" else "yes or no"
        return "classification", f"the target is {what}"
    different = np.unique(values)
    if way.unit:
        return "regression", f"the target holds numbers in {way.unit}"
    if len(different) <= _FEW and (different == np.floor(different)).all():
        return (
            "classification",
            f"the target holds {len(different)} different whole numbers; for a number use "
            "--task regression",
        )
    return "regression", f"the target holds {len(different):,} different numbers"


def _classes(name: str, text: pa.Array, values: Floats | None) -> tuple[str, ...]:
    """Each different number, truth value or text once, in order, as it is mostly written."""
    counted = {e["values"]: e["counts"] for e in text.value_counts().to_pylist()}
    spellings: dict[Any, list[str]] = {}
    keys = text.to_pylist() if values is None else values.tolist()
    for spelling, key in dict(zip(text.to_pylist(), keys, strict=True)).items():
        spellings.setdefault(key, []).append(spelling)
    if len(spellings) == 1:
        one = next(iter(spellings.values()))[0]
        raise DataError(f"target {name!r} is {one!r} in every row; expected at least two classes.")
    if len(spellings) > _MOST:
        raise DataError(
            f"target {name!r} has {len(spellings):,} different values; expected at most {_MOST} "
            "classes, or numbers with --task regression."
        )
    usual = {
        key: min(written, key=lambda word: (-counted[word], len(word), word))
        for key, written in spellings.items()
    }
    return tuple(usual[key] for key in sorted(usual))


def _places(values: Floats, known: Floats) -> Floats:
    """Where each value stands among those that are known, NaN if it does not."""
    order = np.argsort(known)
    place = order[np.searchsorted(known[order], values).clip(0, len(known) - 1)]
    return np.where(known[place] == values, place.astype(float), np.nan)
