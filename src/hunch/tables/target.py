"""The column to predict: which task it sets, and what its cells mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import DataError
from hunch.tables.cells import Floats, NotThatKindError, clean, is_flat, numbers, words

Task = Literal["regression", "classification"]

_FEW: Final = 10  # different whole numbers that are taken for classes
_MOST: Final = 100  # classes


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Args:
        name: of the column.
        task: a number, or one of the classes.
        classes: as they stand in the table, in order; empty for a number.
        why: how the task was chosen, for the user.
    """

    name: str
    task: Task
    classes: tuple[str, ...] = ()
    why: str = ""

    def read(self, column: pa.ChunkedArray) -> Floats:
        """Numbers, or class numbers as floats, `(rows,)`; a class that is not known is NaN."""
        cells = clean(column)
        if self.task == "regression":
            return numbers(cells)
        place = pc.index_in(words(cells), value_set=pa.array(self.classes, pa.string()))
        found: Floats = place.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name, "task": self.task, "classes": list(self.classes), "why": self.why
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Target:
        """What `to_json` was called on.

        Example:
            >>> target = Target("y", "classification", ("a", "b"))
            >>> Target.from_json(target.to_json()) == target
            True
        """
        return cls(values["name"], values["task"], tuple(values["classes"]), values["why"])


def learn_target(
    name: str, column: pa.ChunkedArray, task: Literal["auto"] | Task
) -> tuple[Target, npt.NDArray[np.float64]]:
    """Decide the task and read the column.

    With `"auto"` text, booleans and at most ten different whole numbers are classes, and all else
    is a number.

    Args:
        name: of the column.
        column: its cells.
        task: `"auto"`, or the task that is wanted.

    Returns:
        The target, and numbers or class numbers `(rows,)`.

    Raises:
        DataError: if cells are missing or infinite, do not vary, or are not what the task needs.

    Example:
        >>> target, y = learn_target("y", pa.chunked_array([["b", "a", "b"]]), "auto")
        >>> target.classes, y
        (('a', 'b'), array([1., 0., 1.]))
    """
    if not is_flat(column.type):
        raise DataError(
            f"target {name!r} holds cells of type {column.type}; expected numbers or text."
        )
    cells = clean(column)
    if cells.null_count:
        row = cells.is_null().to_pylist().index(True)
        raise DataError(
            f"target {name!r} has {cells.null_count:,} of {len(cells):,} rows without a value, "
            f"the first in row {row + 1}; remove these rows."
        )
    values, stranger = _as_numbers(cells)
    if values is not None and not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(
            f"target {name!r} holds {values[row]} in row {row + 1}; expected finite numbers."
        )
    chosen, why = _choose(values, task)
    if chosen == "regression":
        if values is None:
            raise DataError(
                f"target {name!r} holds {stranger.value!r} in row {stranger.row + 1}; expected "
                "numbers. For classes use --task classification."
            )
        if values.min() == values.max():
            raise DataError(f"target {name!r} is {values[0]:g} in every row; expected it to vary.")
        return Target(name, "regression", (), why), values
    target = Target(name, "classification", _classes(name, words(cells), values), why)
    return target, target.read(column)


def _as_numbers(cells: pa.Array) -> tuple[Floats | None, NotThatKindError]:
    try:
        return numbers(cells), NotThatKindError(0, None)
    except NotThatKindError as error:
        return None, error


def _choose(values: Floats | None, task: str) -> tuple[Task, str]:
    if task == "regression":
        return "regression", "as asked"
    if task == "classification":
        return "classification", "as asked"
    if values is None:
        return "classification", "the target is text"
    different = np.unique(values)
    if len(different) <= _FEW and (different == np.floor(different)).all():
        return (
            "classification",
            f"the target holds {len(different)} different whole numbers; for a number use "
            "--task regression",
        )
    return "regression", f"the target holds {len(different):,} different numbers"


def _classes(name: str, text: pa.Array, values: Floats | None) -> tuple[str, ...]:
    different = sorted(pc.unique(text).to_pylist())
    if len(different) == 1:
        raise DataError(
            f"target {name!r} is {different[0]!r} in every row; expected at least two classes."
        )
    if len(different) > _MOST:
        raise DataError(
            f"target {name!r} has {len(different):,} different values; expected at most {_MOST} "
            "classes, or numbers with --task regression."
        )
    return tuple(different if values is None else sorted(different, key=float))
