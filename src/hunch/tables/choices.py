"""What the user says of columns: which to leave out, which name rows, what their cells are."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyarrow as pa

from hunch.errors import ConfigurationError, DataError
from hunch.tables.cells import clean, is_flat, words
from hunch.validation import shown

Said = Literal["number", "category", "prediction", "weight"]

_OPTIONS: Final = {
    "prediction": "--prediction",
    "drop": "--drop",
    "ids": "--ids",
    "categorical": "--categorical",
    "numeric": "--numeric",
    "weights": "--weights",
    "groups": "--groups",
    "time": "--time",
}
_LONGEST: Final = 60  # characters of an id in a sentence


@dataclass(frozen=True)
class Choices:
    """What the user says of columns, by their names.

    Args:
        prediction: what a model of the user's predicts, which is a number. At most one.
        drop: not learned from, and not looked at.
        ids: not learned from; they name rows where a report speaks of some.
        categorical: text, of which each value may be a feature, whatever the cells look like.
        numeric: numbers; a cell that is none is refused.
        weights: how much rows count in training, one column at most; not learned from.
        groups: not learned from; its cells name the group that a row is of. At most one.
        time: when a row was, which never makes it be far outside. At most one.
        subgroups: figures are given for each of their values; else they are columns like any.
        calibrate_by: intervals hold for each of its values; else it is a column like any. At most
            one.

    Example:
        >>> choices = Choices.of(drop="notes", categorical=["zip"])
        >>> choices.why_dropped, choices.kinds
        ({'notes': 'left out, as asked'}, {'zip': 'category'})
    """

    prediction: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    calibrate_by: tuple[str, ...] = ()

    @classmethod
    def of(cls, **names: str | Iterable[str]) -> Choices:
        """From one name or several for each, of which each counts once.

        Raises:
            ConfigurationError: if something else is given.
        """
        found = cls(**{key: _names(key, given) for key, given in names.items()})
        if len(found.weights) > 1:
            raise ConfigurationError(
                f"`weights` got {len(found.weights)} columns; expected one at most."
            )
        return found

    @property
    def why_dropped(self) -> dict[str, str]:
        """Columns that the model is not to use, and why."""
        return {
            **dict.fromkeys(self.drop, "left out, as asked"),
            **dict.fromkeys(self.ids, "an id, as asked"),
            **dict.fromkeys(self.groups, "names groups, as asked"),
            **dict.fromkeys(self.weights, "the weights of rows, as asked"),
        }

    @property
    def kinds(self) -> dict[str, Said]:
        """What the cells of columns are."""
        said: dict[str, Said] = dict.fromkeys(self.categorical, "category")
        said |= dict.fromkeys(self.numeric, "number")
        return said | dict.fromkeys(self.prediction, "prediction")

    @property
    def newer(self) -> bool:
        """Whether something is said that version 2 of a model's format does not know."""
        return bool(self.groups or self.time or self.subgroups or self.calibrate_by)

    def check(self, schema: pa.Schema, path: object, target: str) -> None:
        """Refuse names that the table does not have, or of which two things are said.

        Args:
            schema: of the table.
            path: of its file, for messages.
            target: the column to predict, of which nothing can be said here.

        Raises:
            DataError: naming the option and the column.
        """
        if len(self.groups + self.time) > 1:
            named = few(self.groups + self.time)
            raise DataError(
                f"--groups and --time name {named}; expected one column of either: rows to judge "
                "on are of new groups, or later ones."
            )
        for name in self.subgroups:
            _check_named(name, "--subgroups", schema, path, target)
        for name in self.calibrate_by:
            _check_named(name, "--calibrate-by", schema, path, target)
            if self.time or self.prediction:
                other = "--time" if self.time else "--prediction"
                raise DataError(
                    f"--calibrate-by and {other} are both given; expected one of them: what is "
                    "learned of errors there is too little to be told apart."
                )
        first: dict[str, str] = {}
        for key, option in _OPTIONS.items():
            for name in getattr(self, key):
                _check_named(name, option, schema, path, target)
                if name in first:
                    raise DataError(
                        f"{first[name]} and {option} both name {name!r}; expected one of them."
                    )
                first[name] = option

    def to_json(self) -> dict[str, list[str]]:
        """What was said, as plain values; nothing that was not."""
        return {key: list(names) for key, names in dataclasses.asdict(self).items() if names}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Choices:
        """What `to_json` was called on.

        Example:
            >>> choices = Choices(ids=("patient",))
            >>> Choices.from_json(choices.to_json()) == choices
            True
        """
        return cls.of(**values)


NOTHING_SAID: Final = Choices()


def check_column(name: str, names: Sequence[str], path: object, option: str = "") -> None:
    """Refuse a column that a table does not have.

    Args:
        name: of the column.
        names: of those that there are.
        path: of the file.
        option: that names it; empty for the target.

    Raises:
        DataError: with the nearest name.

    Example:
        >>> check_column("Price", ["price", "size"], "a.csv", "--drop")
        Traceback (most recent call last):
        hunch.errors.DataError: --drop: 'a.csv' has no column 'Price'; ... Did you mean 'price'?
    """
    if name in names:
        return
    meant = near_names(name, names)
    hint = f" Did you mean {meant[0]!r}?" if meant else ""
    if len(names) == 1:
        hint = (
            " One column only: cells must be separated by a comma, semicolon, tab or bar, and a "
            "title above the header be removed."
        )
    raise DataError(
        f"{option and f'{option}: '}{str(path)!r} has no column {name!r}; its columns are "
        f"{few(names, most=8)}.{hint}"
    )


def near_names(name: str, names: Sequence[str]) -> list[str]:
    """Those that differ from a name by little, or by their case or blanks alone.

    Example:
        >>> near_names("employees", ["Employees", "city"])
        ['Employees']
    """
    plain = {known: known.strip().lower() for known in names}
    close = difflib.get_close_matches(name.strip().lower(), plain.values(), n=1)
    return [known for known in names if plain[known] in close]


def _check_named(name: str, option: str, schema: pa.Schema, path: object, target: str) -> None:
    """Refuse a name of no column, of the target, or of a column of lists and the like."""
    check_column(name, schema.names, path, option)
    if name == target:
        raise DataError(
            f"{option} names {name!r}, which is the target; leave the option out, and say with "
            "--task what it is."
        )
    if option != "--drop" and not is_flat(schema.field(name).type):
        raise DataError(
            f"{option} names {name!r}, which holds cells of type {schema.field(name).type}; "
            "expected numbers or text."
        )


def _names(argument: str, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Iterable) or not all(isinstance(n, str) for n in (*names,)):
        raise ConfigurationError(
            f"`{argument}` got {shown(given)}; expected the name of a column, or a list of names."
        )
    return tuple(dict.fromkeys(names))


def row_in_words(ids: pa.Table | None, row: int) -> str:
    """A row as a sentence names it, by its number in the file and its ids.

    Example:
        >>> row_in_words(pa.table({"house": ["a 1", "a 2"]}), 1), row_in_words(None, 4999)
        ("row 2 (house 'a 2')", 'row 5,000')
    """
    said = f"row {row + 1:,}"
    if ids is None or not ids.num_columns:
        return said
    own = [f"{name} {_cell(ids[name].slice(row, 1))!r}" for name in ids.column_names]
    return f"{said} ({', '.join(own)})"


def _cell(column: pa.ChunkedArray) -> str:
    text = words(clean(column))[0].as_py() or ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def few(names: Sequence[str], most: int = 5) -> str:
    """Names in a message, of many the first.

    Example:
        >>> few(["a", "b", "c"], most=2)
        "'a', 'b' and 1 more"
    """
    first = ", ".join(repr(name) for name in names[:most])
    return first + (f" and {len(names) - most} more" if len(names) > most else "")
