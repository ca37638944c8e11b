"""Boosted trees asked by the compiled kernel, to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.kernel import Forest, kernel
from hunch.sklearn.rows import Floats

Parts = Mapping[str, npt.NDArray[Any]]
Places = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

_LEAVES: Final = 256  # of a tree, at most, as in _trees.c
_ROWS: Final = 64  # that go together, likewise
_MOST: Final = 2**15 - 1  # features, and thresholds of one; their numbers have 16 bits
_CHOICE: Final = [("feature", "u2"), ("threshold", "i2"), ("left", "u2"), ("right", "u2")]
_OF_NODES: Final = ("feature", "threshold", "left", "right", "value")


@dataclass(frozen=True)
class Laid:
    """The nodes of trees as the kernel takes them.

    Args:
        edge: thresholds of all features, of each one rising.
        first: where each feature's begin, `(features + 1,)`.
        choice: nodes that are no leaves, of all trees.
        value: of the leaves of all trees.
        choices: how many nodes before each are no leaves, `(nodes + 1,)`.
        end: where the tree ends that begins with a node, `(nodes,)`; 0 for other nodes.
    """

    edge: Floats
    first: Places
    choice: npt.NDArray[Any]
    value: Floats
    choices: Places
    end: Places


def laid_out(nodes: Parts) -> Laid | None:
    """Trees for the kernel; None if they are too large for it, or what was kept is damaged.

    Args:
        nodes: the arrays of `Trees` by their names.
    """
    feature, threshold, left, right, value = (nodes[name] for name in _OF_NODES)
    own = np.arange(len(feature))
    if any(len(nodes[name]) != len(own) for name in _OF_NODES):
        return None
    inner = (left != own) | (right != own)
    sides = np.stack([left, right])[:, inner].astype(np.int64)
    # One tree lies behind another, and children behind their parents: what is no child is a root.
    if (sides <= own[inner]).any() or (sides >= len(own)).any():
        return None
    is_root = np.ones(len(own), bool)
    is_root[sides] = False
    tree, roots = np.cumsum(is_root) - 1, np.flatnonzero(is_root)
    choices = np.append(0, np.cumsum(inner))
    end = np.zeros(len(own), np.int64)
    end[roots] = np.append(roots, len(own))[1:]
    start = roots[tree]
    before = np.where(inner, choices[:-1], own - choices[:-1])
    number = before - np.where(inner, choices[start], start - choices[start])
    used = feature[inner]
    if (
        (tree[sides] != tree[inner]).any()
        or (number >= _LEAVES).any()
        or not _are_places(used, _MOST)
    ):
        return None
    edge, first, rank = _ranked(used, threshold[inner])
    if np.diff(first).max(initial=0) > _MOST:
        return None
    choice = np.empty(len(used), _CHOICE)
    choice["feature"], choice["threshold"] = used, rank
    choice["left"], choice["right"] = (number + _LEAVES * inner)[sides]
    return Laid(edge, first, choice, np.ascontiguousarray(value[~inner], np.float64), choices, end)


def add_compiled(laid: Laid | None, root: Ints, place: Ints, found: Floats, x: Floats) -> bool:
    """As `Trees.add_plainly`; False, with nothing done, without a kernel or if it cannot take them.

    Args:
        laid: the trees' nodes.
        root: the first node of each tree that is asked.
        place: which sum each adds to.
        found: sums `(folds · outputs, rows)`, which are added to.
        x: rows `(rows, features)`.
    """
    library = kernel()
    if library is None or laid is None or len(laid.first) > x.shape[1] + 1:
        return False
    fits = len(root) == len(place) and _are_places(root, len(laid.end))
    if not fits or not laid.end[root].all() or not _are_places(place, len(found)):
        return False
    x = np.ascontiguousarray(x, np.float64)
    choices = laid.choices[root]
    count = laid.choices[laid.end[root]] - choices
    trees = choices, count, root - choices, np.ascontiguousarray(place, np.int64)
    nodes = laid.edge, laid.first, laid.choice, laid.value
    forest = Forest(
        *(array.ctypes.data for array in (*nodes, *trees)),
        len(root),
        len(laid.first) - 1,
        int(count.max(initial=0)) + 1,
    )
    rank = np.empty((len(laid.first), _ROWS), np.int16)
    library.hunch_trees(
        byref(forest),
        x.ctypes.data,
        len(x),
        x.shape[1],
        library.hunch_lanes(),
        rank.ctypes.data,
        found.ctypes.data,
    )
    return True


def _ranked(feature: npt.NDArray[Any], threshold: Floats) -> tuple[Floats, Places, Places]:
    """Thresholds of each feature without repetition, where each one's begin, and ranks there."""
    order = np.lexsort((threshold, feature))
    column, value = feature[order], threshold[order]
    new = np.append(True, (column[1:] != column[:-1]) | (value[1:] != value[:-1]))[: len(order)]
    features = int(feature.max(initial=-1)) + 1
    first = np.searchsorted(column[new], np.arange(features + 1)).astype(np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.cumsum(new) - 1
    return np.ascontiguousarray(value[new], np.float64), first, rank - first[feature]


def _are_places(at: npt.NDArray[Any], end: int) -> bool:
    return not len(at) or bool(at.min() >= 0 and at.max() < end)
