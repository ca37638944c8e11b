"""How good a model is on rows it has not seen, and whether its error bars hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from hunch.seeding import numpy_generator
from hunch.sklearn.rows import Scale
from hunch.tables.baselines import CONSTANT, Forecast, class_baselines, regression_baselines
from hunch.tables.breakdown import by_size, by_subgroup, equal_groups
from hunch.tables.cells import Floats
from hunch.tables.drivers import along, drivers, tied
from hunch.tables.examples import Named, confusion, examples, scatter
from hunch.tables.losses import LEVELS, grade, judged, losses_of_classes, losses_of_numbers
from hunch.tables.model import TableModel
from hunch.tables.parts import figures_by_part
from hunch.tables.ties import NO_TIES, Ties

SHIFTS: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 25.0, 50.0)
_PROBED: Final = 1_000  # test rows for what takes many passes


@dataclass(frozen=True)
class Split:
    """Features and targets of the two parts of a table.

    Args:
        x: training features `(rows, features)`.
        y: training numbers or class numbers.
        test_x: test features.
        test_y: test targets.
        ties: what ties training rows together.
        test_ties: what ties test rows together.
        named: the cells of the test rows, if the report is to show some.
    """

    x: Floats
    y: Floats
    test_x: Floats
    test_y: Floats
    ties: Ties = NO_TIES
    test_ties: Ties = NO_TIES
    named: Named | None = None


def assess(model: TableModel, split: Split, seed: int) -> dict[str, Any]:
    """All figures of the report, as plain values.

    Args:
        model: trained on the split's training part.
        split: the features.
        seed: decides every draw.

    Returns:
        `scores` of all models on the test part, their `ranges` and how far ours is `ahead`, as
        `judged` has them, and its `grade`; `curve`, promise against truth, and the same in parts of
        the rows (`coverage_by`, `subgroups`); `drivers` of the prediction, and those of the doubt
        (`unsure`) with where it is largest; `examples`; `far`: how the doubt grows away from the
        data; and what `figures_by_part` finds.
    """
    said = model.predict_features(split.test_x)
    rows = numpy_generator(seed, "probed").permutation(len(split.test_x))[:_PROBED]
    found = drivers(model, split.test_x[rows], seed)
    foremost = list(found["prediction"])
    common = {
        "drivers": {"prediction": found["prediction"], "aleatoric": found["aleatoric"]},
        "tied": tied(model.columns, split.test_x[rows], foremost),
        "unsure": {
            "drivers": found["epistemic"],
            "along": along(model, split.test_x, said["epistemic"], found["epistemic"]),
        },
        "examples": examples(model.target, said, split.test_y, split.named, foremost, seed),
        "far": _far(model, split, rows, seed),
        **figures_by_part(model.target, said, split.test_y, split.test_ties),
    }
    if model.target.task == "regression":
        return _regression(split, said, model, seed) | common
    return _classes(split, said, model, seed) | common


def _regression(
    split: Split, said: Mapping[str, Floats], model: TableModel, seed: int
) -> dict[str, Any]:
    own = Forecast("hunch", "", said["mean"], said["std"])
    forecasts = [own, *regression_baselines(split.x, split.y, split.test_x, seed, split.ties)]
    y = split.test_y
    # Our intervals are not Gaussian, so they are scored as they are given.
    ends = {f.name: [_gaussian_ends(f, level) for level in LEVELS] for f in forecasts}
    ends["hunch"] = model.intervals(split.test_x, LEVELS)
    losses = {f.name: losses_of_numbers(f, ends[f.name], y) for f in forecasts}
    curve = {
        name: [float(share) for share in own.parts["inside"].mean(axis=0)]
        for name, own in losses.items()
        if name != CONSTANT
    }
    lower, upper = ends["hunch"][LEVELS.index(0.9)]
    inside, width = (lower <= y) & (y <= upper), upper - lower
    return {
        **_graded(judged(losses, seed, _numbered(split.test_ties))),
        "notes": {f.name: f.note for f in forecasts if f.note},
        "curve": {"levels": list(LEVELS), "observed": curve},
        "error_by_std": _error_by_std(said["std"], np.abs(y - said["mean"])),
        "coverage_by": {
            "predicted": by_size(said["mean"], inside),
            "std": by_size(said["std"], inside),
        },
        "subgroups": by_subgroup(model.columns, split.test_x, inside, {"width": width}),
        "scatter": scatter({**said, "lower": lower, "upper": upper}, y, seed),
    }


def _classes(split: Split, said: Mapping[str, Any], model: TableModel, seed: int) -> dict[str, Any]:
    classes = model.target.classes
    probs = np.stack([said[f"probability_{name}"] for name in classes], axis=1)
    y, test_y = split.y.astype(np.int64), split.test_y.astype(np.int64)
    forecasts = [
        Forecast("hunch", probs=probs),
        *class_baselines(split.x, y, split.test_x, len(classes), seed),
    ]
    losses = {f.name: losses_of_classes(f, test_y) for f in forecasts}
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == test_y
    return {
        **_graded(judged(losses, seed, _numbered(split.test_ties))),
        "notes": {f.name: f.note for f in forecasts if f.note},
        "curve": {f.name: _reliability(f, test_y) for f in forecasts if f.name != CONSTANT},
        "error_by_std": _error_by_std(said["entropy"], ~right),
        "subgroups": by_subgroup(model.columns, split.test_x, right, {"promised": sure}),
        "confusion": confusion(probs, test_y),
    }


def _graded(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "grade": grade(found["scores"], found["deciding"], found["ahead"])}


def _numbered(ties: Ties) -> npt.NDArray[np.intp] | None:
    """Numbers of the groups of rows that leave together; None if each row stands alone."""
    if ties.groups is None:
        return None
    return np.unique(np.asarray(ties.groups, dtype=object), return_inverse=True)[1]


def _reliability(forecast: Forecast, y: npt.NDArray[np.int64]) -> dict[str, list[float]]:
    """How often the likeliest class is right, in groups of equal size by its probability."""
    probs = np.asarray(forecast.probs)
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == y
    parts = equal_groups(confidence)
    return {
        "confidence": [float(confidence[part].mean()) for part in parts],
        "accuracy": [float(right[part].mean()) for part in parts],
    }


def _error_by_std(unsure: Floats, error: npt.NDArray[Any]) -> dict[str, list[float]]:
    """The mean error in groups of equal size by how unsure the model is."""
    parts = equal_groups(unsure)
    return {
        "unsure": [float(unsure[part].mean()) for part in parts],
        "error": [float(error[part].mean()) for part in parts],
    }


def _far(model: TableModel, split: Split, rows: npt.NDArray[np.intp], seed: int) -> dict[str, Any]:
    """What is said of test rows that are moved away from the data in random directions.

    Medians, and what eight tenths of the rows lie between: of the epistemic part, and for classes
    of the largest probability.
    """
    std = Scale.without_odd_cells(split.x, None).std
    start = split.test_x[rows]
    way = numpy_generator(seed, "directions").normal(size=start.shape)
    way *= np.sqrt(start.shape[1]) / np.linalg.norm(way, axis=1, keepdims=True)
    parts = [model.predict_features(start + shift * std * way) for shift in SHIFTS]
    found = {"shift": list(SHIFTS), "epistemic": _middle([part["epistemic"] for part in parts])}
    if model.target.task == "classification":
        names = [f"probability_{name}" for name in model.target.classes]
        largest = [np.max([part[name] for name in names], axis=0) for part in parts]
        found["probability"] = _middle(largest)
    return found


def _middle(parts: Sequence[Floats]) -> dict[str, list[float]]:
    quantiles = {"low": 0.1, "median": 0.5, "high": 0.9}
    return {name: [float(np.quantile(part, q)) for part in parts] for name, q in quantiles.items()}


def _gaussian_ends(forecast: Forecast, level: float) -> tuple[Floats, Floats]:
    mean, std = np.asarray(forecast.mean), np.asarray(forecast.std)
    quantile = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64))
    half = float(quantile) * std
    return mean - half, mean + half
