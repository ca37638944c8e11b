"""Parts of a long run, kept as they come, so that a run that was ended goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hunch.errors import FolderError
from hunch.storage import expanded


class Kept:
    """Rows of plain values, one line of a file each; a line that was cut off is passed over.

    What was kept is taken as it is: for a run of other code give another folder.

    Args:
        folder: made if it is not there; empty to keep nothing.
        name: of the claim, whose file is `NAME.jsonl`.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> Kept(folder, "tables").add({"split": 0, "loss": 0.5})
        >>> list(Kept(folder, "tables"))
        [{'split': 0, 'loss': 0.5}]
        >>> list(Kept("", "tables"))
        []
    """

    def __init__(self, folder: str | os.PathLike[str], name: str) -> None:
        self.place: Path | None = None
        if not os.fspath(folder):
            return
        self.place = expanded(folder) / f"{name}.jsonl"
        with _refusing(self.place):
            self.place.parent.mkdir(parents=True, exist_ok=True)
            self.place.touch()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.place is None:
            return
        with _refusing(self.place):
            lines = self.place.read_text("utf-8", errors="replace").splitlines()
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, from now on for every run with this folder."""
        if self.place is None:
            return
        # Behind a line that was cut off, a line of its own.
        with _refusing(self.place), self.place.open("a+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            whole = file.read() in (b"", b"\n")
            file.write((b"" if whole else b"\n") + json.dumps(row).encode() + b"\n")


@contextmanager
def _refusing(place: Path) -> Iterator[None]:
    """One sentence where the file cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise FolderError(
            f"cannot keep rows in {str(place)!r}: {error.strerror or error}; name a folder that "
            "can be written (--keep)."
        ) from error
