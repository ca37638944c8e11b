"""Gradient boosting beside the networks, fitted five times so that each row is judged unseen.

scikit-learn grows the trees. What is kept of them are plain arrays, which this file asks by itself,
so that a saved estimator needs no pickle and no particular version of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from hunch.inference.bootstrap import scattered
from hunch.seeding import derive
from hunch.sklearn.compiled_trees import Laid, add_compiled, laid_out
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays

Ints = npt.NDArray[np.int32]
Steps = list[list[Any]]  # scikit-learn's predictors by step of boosting and output

FEWEST: Final = 40  # rows; of fewer, trees learn next to nothing
_FOLDS: Final = 5
_STRIDE: Final = 10  # steps between those that may be the last
_RATE: Final = 0.1
_DEEPEST: Final = 8
# Up to so many rows: so many steps at most, and leaves a tree.
_SIZES: Final = ((2_000, 120, 15), (np.inf, 200, 31))
_LONG: Final = 20_000  # rows, from which on all threads that torch may take grow the trees
_AT_ONCE: Final = 2**22  # leaves, trees times rows, that are held at a time
_BLOCK: Final = (16, 512)  # trees and rows that go down together


@dataclass(frozen=True)
class Trees(Arrays):
    """Boosted trees of several folds as flat arrays; a leaf is its own child on both sides.

    Args:
        feature: which feature each node looks at, `(nodes,)`.
        threshold: rows up to it go to the left.
        left: the node there.
        right: the node on the other side.
        value: what a leaf adds.
        root: the first node of each tree, `(trees,)`.
        place: which fold and output each tree adds to, as `fold · outputs + output`, `(trees,)`.
        start: what trees add to, `(folds, outputs)`.
        depth: how many steps the longest way down has, `(1,)`.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    root: Ints
    place: Ints
    start: Floats
    depth: Ints

    @classmethod
    def of(cls, folds: list[Steps], starts: Floats) -> Trees:
        """Those of scikit-learn's predictors, by fold, step and output."""
        parts: dict[str, list[npt.NDArray[Any]]] = {
            name: [] for name in ("feature", "threshold", "left", "right", "value")
        }
        roots, places, count, depth = [], [], 0, 0
        outputs = starts.shape[1]
        for fold, steps in enumerate(folds):
            for step in steps:
                for output, predictor in enumerate(step):
                    if predictor is None:
                        continue
                    nodes = predictor.nodes
                    own, leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
                    parts["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
                    parts["threshold"].append(np.where(leaf, np.inf, nodes["num_threshold"]))
                    parts["left"].append(count + np.where(leaf, own, nodes["left"]))
                    parts["right"].append(count + np.where(leaf, own, nodes["right"]))
                    parts["value"].append(np.where(leaf, nodes["value"], 0.0))
                    roots.append(count)
                    places.append(fold * outputs + output)
                    count, depth = count + len(nodes), max(depth, int(nodes["depth"].max()))

        def joined(name: str, kind: type[Any]) -> npt.NDArray[Any]:
            return np.concatenate([np.empty(0), *parts[name]]).astype(kind)

        return cls(
            feature=joined("feature", np.int32),
            threshold=joined("threshold", np.float64),
            left=joined("left", np.int32),
            right=joined("right", np.int32),
            value=joined("value", np.float64),
            root=np.array(roots, np.int32),
            place=np.array(places, np.int32),
            start=starts,
            depth=np.array([depth], np.int32),
        )

    def at(self, x: Floats) -> Floats:
        """What each fold's trees say about rows `(rows, features)`: `(folds, rows, outputs)`."""
        folds, outputs = self.start.shape
        found = np.zeros((folds * outputs, len(x)))
        self.add_to(found, x)
        found += self.start.reshape(-1, 1)
        return found.reshape(folds, outputs, len(x)).transpose(0, 2, 1)

    def add_to(self, found: Floats, x: Floats) -> None:
        """Add what trees say about rows to sums `(folds · outputs, rows)`, tree by tree."""
        if not add_compiled(self._laid, self.root, self.place, found, x):
            self.add_plainly(found, x)

    @cached_property
    def _laid(self) -> Laid | None:
        return laid_out(vars(self))

    def add_plainly(self, found: Floats, x: Floats) -> None:
        """The same without the compiled kernel."""
        size = max(1, _AT_ONCE // max(1, len(self.root)))
        for begin in range(0, len(x), size):
            leaves = self.value[self._leaves(x[begin : begin + size])]
            for place, own in zip(self.place, leaves, strict=True):
                found[place, begin : begin + size] += own

    def _leaves(self, x: Floats) -> npt.NDArray[np.intp]:
        """Where each row ends in each tree, `(trees, rows)`; blocks of both stay in the cache."""
        found = np.empty((len(self.root), len(x)), np.intp)
        sides = np.stack([self.left, self.right], axis=1).ravel().astype(np.intp)
        feature, root = self.feature.astype(np.intp), self.root.astype(np.intp)
        for begin in range(0, len(x), _BLOCK[1]):
            rows = np.ascontiguousarray(x[begin : begin + _BLOCK[1]])
            cells, width = rows.ravel(), rows.shape[1]
            for first in range(0, len(root), _BLOCK[0]):
                roots = root[first : first + _BLOCK[0]]
                node = np.repeat(roots, len(rows))
                place = np.tile(np.arange(len(rows)) * width, len(roots))
                for _ in range(int(self.depth[0])):
                    value = cells.take(place + feature.take(node))
                    node = sides.take(2 * node + (value > self.threshold.take(node)))
                block = found[first : first + _BLOCK[0], begin : begin + _BLOCK[1]]
                block[:] = node.reshape(block.shape)
        return found

    def out_of_fold(self, x: Floats, fold: Ints) -> Floats:
        """What those trees say about each row that have not seen it, `(rows, outputs)`."""
        found = np.empty((len(x), self.start.shape[1]))
        for number in range(len(self.start)):
            own = np.flatnonzero(fold == number)
            if len(own):
                found[own] = self._of_fold(number).at(x[own])[0]
        return found

    def _of_fold(self, number: int) -> Trees:
        outputs = self.start.shape[1]
        kept = self.some(self.place // outputs == number)
        return kept._of_these_nodes(place=kept.place % outputs, start=self.start[[number]])

    def some(self, kept: npt.NDArray[np.bool_] | slice) -> Trees:
        """Some of the trees."""
        return self._of_these_nodes(root=self.root[kept], place=self.place[kept])

    def _of_these_nodes(self, **changes: Any) -> Trees:
        other = replace(self, **changes)
        vars(other)["_laid"] = self._laid  # made once
        return other


def fold_of(ids: npt.NDArray[np.int64], seed: int) -> Ints:
    """The fold in which each row is left out, by its number, so that groups leave together.

    Example:
        >>> fold_of(np.array([3, 4, 3]), seed=0).tolist()
        [4, 1, 4]
    """
    mixed = scattered(ids.astype(np.uint64) ^ np.uint64(derive(seed, "folds") % 2**63))
    return (mixed % np.uint64(_FOLDS)).astype(np.int32)


def boosted_numbers(
    x: Floats, y: Floats, weight: Floats | None, fold: Ints, seed: int
) -> tuple[Trees, Floats]:
    """Boosting for a target `(rows,)`, and what is said of each row by those not fitted on it.

    The number of steps is the one that is best on the rows left out.

    Returns:
        The trees, and `(rows,)`.
    """
    part = _cross_fit(_number_model(len(x), seed), x, y, weight, fold)
    return Trees.of(part.predictors, part.starts), part.left_out[:, 0]


def boosted_classes(
    x: Floats, y: npt.NDArray[Any], weight: Floats | None, fold: Ints, classes: int, seed: int
) -> tuple[Trees, Floats]:
    """The same for class numbers `(rows,)`: what is said are logarithms of probabilities.

    Returns:
        The trees, and logarithms for the rows left out, `(rows, classes)`.
    """
    part = _cross_fit(_class_model(len(x), seed), x, y, weight, fold, classes=classes)
    return Trees.of(part.predictors, part.starts), part.left_out


def log_probabilities(raw: Floats) -> Floats:
    """Of classes, given what trees say: one number for two classes, else one for each.

    Example:
        >>> log_probabilities(np.zeros((1, 1))).round(3)
        array([[-0.693, -0.693]])
    """
    if raw.shape[-1] == 1:
        raw = np.concatenate([np.zeros_like(raw), raw], axis=-1)
    top = raw.max(axis=-1, keepdims=True)
    found: Floats = raw - top - np.log(np.exp(raw - top).sum(axis=-1, keepdims=True))
    return found


@dataclass(frozen=True)
class _Part:
    """Boosting of one target: predictors by fold and step, what they add to, what was left out."""

    predictors: list[Steps]
    starts: Floats
    left_out: Floats


def _number_model(num_rows: int, seed: int) -> Callable[[], Any]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return lambda: HistGradientBoostingRegressor(**_settings(num_rows, seed))


def _class_model(num_rows: int, seed: int) -> Callable[[], Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return lambda: HistGradientBoostingClassifier(**_settings(num_rows, seed))


def _settings(num_rows: int, seed: int) -> dict[str, Any]:
    steps, leaves = next(sizes for most, *sizes in _SIZES if num_rows <= most)
    return {
        "learning_rate": _RATE,
        "max_iter": steps,
        "max_leaf_nodes": leaves,
        "max_depth": _DEEPEST,
        "min_samples_leaf": 10,
        "early_stopping": False,
        "random_state": derive(seed, "boosting") % 2**32,
    }


def _cross_fit(
    make: Callable[[], Any],
    x: Floats,
    y: npt.NDArray[Any],
    weight: Floats | None,
    fold: Ints,
    *,
    classes: int = 0,
) -> _Part:
    """Fit without each fold, and stop where the rows left out are predicted best."""
    from threadpoolctl import threadpool_limits

    most = make().max_iter
    outputs = 1 if classes in (0, 2) else classes
    said = np.empty((1 + most // _STRIDE, len(y), outputs))
    predictors, starts = [], []
    # Each thread sums over features of its own, so that numbers are the same whatever their count.
    # On short tables threads wait for each other more than they work.
    threads = torch.get_num_threads() if len(x) >= _LONG else 1
    with threadpool_limits(threads, user_api="openmp"):
        for number in range(_FOLDS):
            seen, absent = fold != number, np.flatnonzero(fold == number)
            own, start = _fitted(
                make, x[seen], y[seen], None if weight is None else weight[seen], classes, outputs
            )
            predictors.append(own)
            starts.append(start)
            if len(absent):
                said[:, absent] = _staged(own, start, x[absent], len(said))
    best = int(np.argmin([_loss(raw, y, weight, classes) for raw in said]))
    kept = [own[: best * _STRIDE] for own in predictors]
    left_out = log_probabilities(said[best]) if classes else said[best]
    return _Part(kept, np.stack(starts), left_out)


def _fitted(
    make: Callable[[], Any],
    x: Floats,
    y: npt.NDArray[Any],
    weight: Floats | None,
    classes: int,
    outputs: int,
) -> tuple[Steps, Floats]:
    """Predictors by step and output, None for a class that is not among the rows; and the start."""
    present = np.unique(y).astype(int) if classes else np.zeros(1, int)
    if classes and len(present) < 2:
        place = present if outputs > 1 else np.zeros(1, int)
        start = np.full(outputs, -np.log(len(y)) if outputs > 1 or present[0] == 0 else np.inf)
        start[place] = np.log(len(y)) * (1 if outputs > 1 or present[0] == 1 else -1)
        return [], start
    model = make().fit(x, y, sample_weight=weight)
    raw = np.asarray(model._baseline_prediction, np.float64).ravel()
    if outputs == 1:
        return model._predictors, raw
    # Two of more classes share one number, the logit of the second.
    place = present[1:] if len(present) == 2 else present
    start = np.full(outputs, min(raw.min(), 0.0) - np.log(len(y)))
    start[present] = 0.0
    start[place] = raw
    steps = [[None] * outputs for _ in model._predictors]
    for step, own in zip(steps, model._predictors, strict=True):
        for output, predictor in zip(place, own, strict=True):
            step[output] = predictor
    return steps, start


def _staged(steps: Steps, start: Floats, x: Floats, stages: int) -> Floats:
    """What is said after every `_STRIDE` steps, `(stages, rows, outputs)`."""
    trees = Trees.of([steps], start[None])
    grown = np.cumsum([0, *(len(step) - step.count(None) for step in steps)])
    said = np.empty((stages, len(x), len(start)))
    total = np.repeat(trees.start.T, len(x), axis=1)
    said[0] = total.T
    for stage in range(1, stages):
        first, last = (min(s * _STRIDE, len(steps)) for s in (stage - 1, stage))
        trees.some(slice(grown[first], grown[last])).add_to(total, x)
        said[stage] = total.T
    return said


def _loss(raw: Floats, y: npt.NDArray[Any], weight: Floats | None, classes: int) -> float:
    if classes:
        each = -np.take_along_axis(log_probabilities(raw), y[:, None].astype(int), axis=1)[:, 0]
    else:
        each = (raw[:, 0] - y) ** 2
    return float(np.average(each, weights=weight))
