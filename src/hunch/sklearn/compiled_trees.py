"""Boosted trees asked by the compiled kernel, six times as fast and to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import byref
from typing import Any

import numpy as np
import numpy.typing as npt

from hunch.kernel import Forest, kernel
from hunch.sklearn.rows import Floats

Parts = Mapping[str, npt.NDArray[Any]]


def add_compiled(trees: Parts, found: Floats, x: Floats) -> bool:
    """As `Trees.add_plainly`; False, with nothing done, without a kernel or if trees are damaged.

    Args:
        trees: the arrays of `Trees` by their names.
        found: sums `(folds · outputs, rows)`, which are added to.
        x: rows `(rows, features)`.
    """
    library = kernel()
    if library is None or not _in_range(trees, found, x):
        return False
    x = np.ascontiguousarray(x, np.float64)
    arrays = (
        np.ascontiguousarray(trees["feature"], np.int32),
        np.stack([trees["left"], trees["right"]], axis=1).astype(np.int32),
        np.ascontiguousarray(trees["threshold"], np.float64),
        np.ascontiguousarray(trees["value"], np.float64),
        np.ascontiguousarray(trees["root"], np.int32),
        np.ascontiguousarray(trees["place"], np.int32),
    )
    forest = Forest(
        *(array.ctypes.data for array in arrays), len(trees["root"]), int(trees["depth"][0])
    )
    library.hunch_trees(byref(forest), x.ctypes.data, len(x), x.shape[1], found.ctypes.data)
    return True


def _in_range(trees: Parts, found: Floats, x: Floats) -> bool:
    """Whether nothing beyond its arrays would be looked at: what was kept may have been damaged."""
    nodes = len(trees["feature"])
    same = all(
        len(part) == nodes
        for part in (trees["threshold"], trees["left"], trees["right"], trees["value"])
    )
    if not same or len(trees["place"]) != len(trees["root"]):
        return False
    ends = {"left": nodes, "right": nodes, "root": nodes}
    ends |= {"feature": x.shape[1], "place": len(found)}
    return all(_are_places(trees[name], end) for name, end in ends.items())


def _are_places(at: npt.NDArray[Any], end: int) -> bool:
    return not len(at) or bool(at.min() >= 0 and at.max() < end)
