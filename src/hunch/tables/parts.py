"""What a model is worth on each part of the rows it is judged on: a group, or a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from hunch.tables.cells import Floats
from hunch.tables.scoring import class_losses
from hunch.tables.target import Target
from hunch.tables.ties import Ties

_MOST_PARTS: Final = 200  # that are listed
_PERIODS: Final = 5

Losses = dict[str, Floats]


def figures_by_part(
    target: Target, said: Mapping[str, Any], y: Floats, ties: Ties
) -> dict[str, Any]:
    """The figures of the rows judged on by what ties them together; nothing if nothing does.

    Args:
        target: what is predicted.
        said: the predictions, with intervals of 90 %.
        y: the truth.
        ties: of these rows.

    Returns:
        With groups `by_group`, the largest first, and `group_scores`, means in which each group
        counts once; with time `by_time`, five parts of about equal size, the earliest first; with
        kinds `by_subgroup`, for each column what `by_group` is for groups.
    """
    found: dict[str, Any] = {}
    losses = _losses(target, said, y)
    if ties.groups is not None:
        records = _by_value(losses, ties.groups)
        found |= {"by_group": records[:_MOST_PARTS], "group_scores": _over_groups(records)}
    if ties.times is not None:
        found["by_time"] = _by_time(losses, ties.times, ties)
    if ties.kinds:
        found["by_subgroup"] = {
            name: _by_value(losses, values)[:_MOST_PARTS] for name, values in ties.kinds.items()
        }
    return found


def _by_time(losses: Losses, times: Floats, ties: Ties) -> list[dict[str, Any]]:
    found = []
    for rows in _periods(times):
        ends = (ties.when(end) for end in (times[rows].min(), times[rows].max()))
        found.append(dict(zip(("from", "to"), ends, strict=True)) | _means(losses, rows))
    return found


def _losses(target: Target, said: Mapping[str, Any], y: Floats) -> Losses:
    """Of each row, under the names of their means."""
    if target.task == "regression":
        mean, lower, upper = said["mean"], said["lower"], said["upper"]
        return {
            "coverage_90": ((lower <= y) & (y <= upper)).astype(np.float64),
            "width_90": upper - lower,
            "mae": np.abs(y - mean),
        }
    columns = [said[f"probability_{name}"] for name in target.classes]
    probs, truth = torch.from_numpy(np.stack(columns, axis=1)), torch.from_numpy(y.astype(np.int64))
    right: npt.NDArray[np.bool_] = (probs.argmax(dim=1) == truth).numpy()
    return {
        "accuracy": right.astype(np.float64),
        "log_loss": class_losses(probs, truth)["log_loss"].numpy(),
    }


def _means(losses: Losses, rows: npt.NDArray[np.intp]) -> dict[str, Any]:
    return {"rows": len(rows)} | {name: float(loss[rows].mean()) for name, loss in losses.items()}


def _by_value(losses: Losses, values: Iterable[str]) -> list[dict[str, Any]]:
    """A record of each value, those of most rows first."""
    names, place = np.unique(np.asarray(values, dtype=object), return_inverse=True)
    parts = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
    found = [
        {"value": name} | _means(losses, rows) for name, rows in zip(names, parts, strict=True)
    ]
    return sorted(found, key=lambda record: -record["rows"])


def _over_groups(records: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in records[0] if name not in ("value", "rows")]
    found: dict[str, Any] = {"groups": len(records)}
    found |= {name: float(np.mean([record[name] for record in records])) for name in names}
    if "coverage_90" in found:
        least = min(records, key=lambda record: (record["coverage_90"], -record["rows"]))
        found["least_covered"] = least["value"]
    return found


def _periods(times: Floats) -> list[npt.NDArray[np.intp]]:
    """Rows in order of time in parts of about equal size; rows of one time stay together."""
    order = np.argsort(times, kind="stable")
    ends = np.searchsorted(times[order], times[order][_cuts(len(times))], side="left")
    return [part for part in np.split(order, np.unique(ends)) if len(part)]


def _cuts(count: int) -> npt.NDArray[np.intp]:
    return np.arange(1, _PERIODS) * count // _PERIODS
