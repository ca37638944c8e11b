"""UCI's tables for regression with their standard splits, as a folder on disk has them.

The layout is that of the published splits: a folder a table with `data.txt` (numbers between
blanks), `index_features.txt`, `index_target.txt`, and for each split the rows of its test part in
`index_test_K.txt`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hunch.errors import DataError
from hunch.storage import expanded

Array = npt.NDArray[Any]
FILES: Final = ("data.txt", "index_features.txt", "index_target.txt", "index_test_0.txt")


class Part(NamedTuple):
    """Features `(rows, features)` and targets `(rows,)`."""

    x: Array
    y: Array


class UciTable:
    """A table of such a folder.

    Args:
        data: the folder of all tables.
        name: of the table, which is a folder in it.

    Raises:
        DataError: if it is not there, or files are missing.
    """

    def __init__(self, data: str | os.PathLike[str], name: str) -> None:
        self.name, self._folder = name, expanded(data) / name
        absent = [file for file in FILES if not (self._folder / file).is_file()]
        if absent:
            raise DataError(
                f"{str(self._folder)!r} has no {absent[0]}; expected a folder of UCI tables with "
                f"{', '.join(FILES)} and so on in {name!r} (--data)."
            )

    @property
    def splits(self) -> int:
        """How many there are."""
        return len(list(self._folder.glob("index_test_*.txt")))

    def split(self, number: int) -> tuple[Part, Part]:
        """Training rows, which are all others, and test rows of a split.

        Raises:
            DataError: if a file does not hold the numbers that are expected.
        """
        table = self._read("data.txt")
        columns = self._places("index_features.txt", table.shape[1])
        (target,) = self._places("index_target.txt", table.shape[1])
        test = self._places(f"index_test_{number}.txt", len(table))
        train = np.setdiff1d(np.arange(len(table)), test)
        known, asked = (
            Part(table[rows][:, columns], table[rows, target]) for rows in (train, test)
        )
        return known, asked

    def _places(self, file: str, below: int) -> npt.NDArray[np.intp]:
        found = self._read(file).reshape(-1)
        places = found.astype(np.intp)
        if (places != found).any() or places.min() < 0 or places.max() >= below:
            raise DataError(
                f"{str(self._folder / file)!r} names a place that {self.name!r} does not have; "
                f"expected whole numbers from 0 to {below - 1}."
            )
        return places

    def _read(self, file: str) -> Array:
        place: Path = self._folder / file
        try:
            return np.loadtxt(place, ndmin=2)
        except (OSError, ValueError) as error:
            raise DataError(f"{str(place)!r} cannot be read as numbers: {error}.") from error
