"""Logs of Stable-Baselines3: `monitor.csv`, a row for each training episode."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hunch.comparison.statistics import Array
from hunch.errors import FolderError

_NAME: Final = "monitor.csv"
_COLUMNS: Final = ("r", "l", "t")  # return, length, seconds since the log was begun
UNNAMED: Final = "an environment without a name"


@dataclass(frozen=True)
class Monitored:
    """The training episodes of one agent, in the order of time.

    Args:
        environment: as the logs name it.
        returns: of each episode.
        ends: environment steps, those of all environments together, when it ended.
    """

    environment: str
    returns: Array
    ends: Array


def is_monitor(file: Path) -> bool:
    """Whether a file is named as `stable_baselines3.common.monitor.Monitor` names its logs.

    Example:
        >>> is_monitor(Path("0.monitor.csv")), is_monitor(Path("monitors.csv"))
        (True, False)
    """
    return file.name == _NAME or file.name.endswith("." + _NAME)


def read_monitors(files: Sequence[Path]) -> Monitored:
    r"""Read the logs of one training, a file for each of its environments.

    Args:
        files: at least one.

    Raises:
        FolderError: if one is not as Stable-Baselines3 writes it, or they are of several
            environments.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "monitor.csv"
        >>> _ = file.write_text('#{"t_start": 0.0, "env_id": "A-v0"}\nr,l,t\n1.5,10,2.0\n')
        >>> read_monitors([file])
        Monitored(environment='A-v0', returns=array([1.5]), ends=array([10.]))
    """
    logs = [_read(file) for file in files]
    names = {name for name, _ in logs}
    if len(names) > 1:
        raise FolderError(
            f"the monitors in {str(files[0].parent)!r} are of several environments "
            f"({', '.join(sorted(names))}); expected those of one training in a folder."
        )
    rows = np.concatenate([own for _, own in logs])
    rows = rows[np.argsort(rows[:, 2], kind="stable")]
    return Monitored(names.pop(), rows[:, 0], np.cumsum(rows[:, 1]))


def _read(file: Path) -> tuple[str, Array]:
    """The environment's name, and `(episodes, 3)`: return, length, time of its end."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        head = json.loads(lines[0].removeprefix("#"))
        name, begun = str(head.get("env_id")), float(head.get("t_start", 0.0))
        table = csv.reader(lines[1:])
        columns = next(table)
        places = [columns.index(column) for column in _COLUMNS]
        # A training that was killed may have left half a line.
        rows = [row for row in table if row]
        if rows and not lines[-1].endswith("\n"):
            rows.pop()
        values = np.array([[float(row[i]) for i in places] for row in rows]).reshape(-1, 3)
        if not np.isfinite(values).all():
            raise ValueError("a number is not finite")
    except (OSError, ValueError, IndexError, AttributeError, StopIteration, csv.Error) as error:
        raise FolderError(
            f"{str(file)!r} is no monitor log of Stable-Baselines3: {error or 'it is too short'}; "
            "expected a line of JSON behind #, then columns r, l and t."
        ) from error
    values[:, 2] += begun
    return UNNAMED if name == "None" else name, values
