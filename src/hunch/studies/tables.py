"""A study's results for a terminal: a line for each cell, and one for each job that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hunch.studies.study import Status

_MOST_FIGURES: Final = {"train": 3, "fit": 3, "reproduce": 1}  # columns; all are in CSV and JSON
_NOT_SHOWN: Final = ("steps", "episodes", "finished")
_OF_JOBS: Final = (
    "job", "kind", "agent", "env", "settings", "seed", "state", "failures", "seconds", "reason",
)  # fmt: skip


_SET: Final = "set."  # in front of the settings of a trial


def lines_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    r"""The lines.

    Args:
        rows: of `Study.rows`.

    Example:
        >>> one = {"job": "dqn/0", "kind": "train", "agent": "dqn", "env": "CartPole-v1",
        ...        "settings": "", "seed": 0, "failures": 0}
        >>> done = one | {"state": "done", "last": 480.0}
        >>> failed = one | {"state": "failed", "reason": "no"}
        >>> print(*lines_of([done, failed]), sep="\n")
        agent  env          done  last
        dqn    CartPole-v1   1/2   480
        1 done, 0 running, 1 failed, 0 left
        dqn/0 failed: no
    """
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        lines += _table(own, _MOST_FIGURES[kind])
    lines += _best_trials(rows)
    status = Status.of_states([row["state"] for row in rows])
    failed = [f"{r['job']} failed: {r.get('reason')}" for r in rows if r["state"] == "failed"]
    return [*lines, str(status), *failed]


def _table(rows: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """Means over the seeds of each cell."""
    names = ["agent", "env", *(["settings"] if any(row["settings"] for row in rows) else [])]
    figures = list(
        dict.fromkeys(
            name
            for row in rows
            for name, value in row.items()
            if name not in (*_OF_JOBS, *_NOT_SHOWN)
            and not name.startswith(_SET)
            and isinstance(value, int | float)
        )
    )[:most]
    cells: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in names), []).append(row)
    table = [[*names, "done", *figures]]
    for labels, own in cells.items():
        done = [row for row in own if row["state"] == "done"]
        means = [
            _mean([row[name] for row in done if row.get(name) is not None]) for name in figures
        ]
        table.append([*labels, f"{len(done)}/{len(own)}", *means])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < len(names) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _best_trials(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each search the trial that does best by its last weights."""
    searches: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("last") is not None and any(name.startswith(_SET) for name in row):
            labels = tuple(filter(None, (row["agent"], row["env"], row["settings"])))
            searches.setdefault(labels, []).append(row)
    lines = []
    for labels, own in searches.items():
        best = max(own, key=lambda row: float(row["last"]))
        said = [f"{n.removeprefix(_SET)}={best[n]}" for n in best if n.startswith(_SET)]
        lines.append(
            f"best of {' '.join(labels)}: trial {best['seed']} with {best['last']:.4g} "
            f"({', '.join(said)})"
        )
    return lines


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if isinstance(values[0], bool):
        return f"{sum(values)}/{len(values)}"
    return f"{sum(values) / len(values):.4g}"
