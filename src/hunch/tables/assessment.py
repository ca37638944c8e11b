"""How good a model is on rows it has not seen, and whether its error bars hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from hunch.inference import accuracy, expected_calibration_error, interval_coverage
from hunch.seeding import numpy_generator
from hunch.sklearn.rows import Scale
from hunch.tables.baselines import Forecast, class_baselines, regression_baselines
from hunch.tables.cells import Floats
from hunch.tables.model import TableModel
from hunch.tables.scoring import class_losses, number_losses

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SHIFTS: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 25.0, 50.0)
_PROBED: Final = 1_000  # test rows for what takes many passes
_BINS: Final = 10
_MOST_DRIVERS: Final = 200  # columns, of which each takes a prediction of all probed rows
_LEAST_IN_BIN: Final = 20  # test rows; a mean of fewer errors says little


@dataclass(frozen=True)
class Split:
    """Features and targets of the two parts of a table.

    Args:
        x: training features `(rows, features)`.
        y: training numbers or class numbers.
        test_x: test features.
        test_y: test targets.
    """

    x: Floats
    y: Floats
    test_x: Floats
    test_y: Floats


def assess(model: TableModel, split: Split, seed: int) -> dict[str, Any]:
    """All figures of the report, as plain values.

    Args:
        model: trained on the split's training part.
        split: the features.
        seed: decides every draw.

    Returns:
        `scores` of all models on the test part; `curve`, promise against truth; `unsure`: which
        columns drive the model's epistemic part and where it is largest; `far`: how it grows away
        from the data.
    """
    said = model.predict_features(split.test_x)
    rows = numpy_generator(seed, "probed").permutation(len(split.test_x))[:_PROBED]
    drivers = _drivers(model, split.test_x[rows], seed)
    common = {
        "unsure": {"drivers": drivers, "along": _along(model, split, said["epistemic"], drivers)},
        "far": _far(model, split, rows, seed),
    }
    if model.target.task == "regression":
        return _regression(split, said, model, seed) | common
    return _classes(split, said, model, seed) | common


def _regression(
    split: Split, said: Mapping[str, Floats], model: TableModel, seed: int
) -> dict[str, Any]:
    own = Forecast("hunch", "", said["mean"], said["std"])
    forecasts = [own, *regression_baselines(split.x, split.y, split.test_x, seed)]
    y = split.test_y
    curve = {f.name: [_gaussian_coverage(f, y, level) for level in LEVELS] for f in forecasts}
    scores = {f.name: _regression_scores(f, y) for f in forecasts}
    center = said.get("corrected", said["mean"])  # where the mean is somebody else's prediction
    ends = [model.interval(center, said["std"], level) for level in LEVELS]
    curve["hunch"] = [_inside(lower, upper, y) for lower, upper in ends]
    # Its intervals are not Gaussian, so they are scored as they are given.
    scores["hunch"]["coverage_90"] = curve["hunch"][LEVELS.index(0.9)]
    lower, upper = ends[LEVELS.index(0.9)]
    scores["hunch"]["width_90"] = float(np.mean(upper - lower))
    for name, observed in curve.items():
        gap = np.abs(np.subtract(observed, LEVELS))
        scores[name]["calibration_error"] = float(gap.mean())
    return {
        "scores": scores,
        "notes": {f.name: f.note for f in forecasts if f.note},
        "curve": {"levels": list(LEVELS), "observed": curve},
        "error_by_std": _error_by_std(said["std"], np.abs(y - said["mean"])),
    }


def _regression_scores(forecast: Forecast, y: Floats) -> dict[str, float]:
    mean, std, truth = _tensor(forecast.mean), _tensor(forecast.std), _tensor(y)
    losses = number_losses(mean, std, truth)
    squares = losses["squared_error"]
    return {
        "rmse": float(squares.mean().sqrt()),
        "mae": float(losses["absolute_error"].mean()),
        "r2": 1 - float(squares.sum() / (truth - truth.mean()).square().sum()),
        "crps": float(losses["crps"].mean()),
        "coverage_90": _gaussian_coverage(forecast, y, 0.9),
        "width_90": float(2 * _normal(0.95) * std.mean()),
    }


def _classes(split: Split, said: Mapping[str, Any], model: TableModel, seed: int) -> dict[str, Any]:
    classes = model.target.classes
    probs = np.stack([said[f"probability_{name}"] for name in classes], axis=1)
    y, test_y = split.y.astype(np.int64), split.test_y.astype(np.int64)
    forecasts = [
        Forecast("hunch", probs=probs),
        *class_baselines(split.x, y, split.test_x, len(classes), seed),
    ]
    return {
        "scores": {f.name: _class_scores(f, test_y) for f in forecasts},
        "notes": {f.name: f.note for f in forecasts if f.note},
        "curve": {f.name: _reliability(f, test_y) for f in forecasts},
        "error_by_std": _error_by_std(said["entropy"], probs.argmax(axis=1) != test_y),
    }


def _class_scores(forecast: Forecast, y: npt.NDArray[np.int64]) -> dict[str, float]:
    probs, truth = _tensor(forecast.probs), torch.from_numpy(y)
    losses = class_losses(probs, truth)
    return {
        "accuracy": float(accuracy(probs, truth)),
        "log_loss": float(losses["log_loss"].mean()),
        "brier": float(losses["brier"].mean()),
        "calibration_error": float(expected_calibration_error(probs, truth)),
    }


def _reliability(forecast: Forecast, y: npt.NDArray[np.int64]) -> dict[str, list[float]]:
    """How often the likeliest class is right, in groups of equal size by its probability."""
    probs = np.asarray(forecast.probs)
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == y
    parts = _groups(confidence)
    return {
        "confidence": [float(confidence[part].mean()) for part in parts],
        "accuracy": [float(right[part].mean()) for part in parts],
    }


def _error_by_std(unsure: Floats, error: npt.NDArray[Any]) -> dict[str, list[float]]:
    """The mean error in groups of equal size by how unsure the model is."""
    parts = _groups(unsure)
    return {
        "unsure": [float(unsure[part].mean()) for part in parts],
        "error": [float(error[part].mean()) for part in parts],
    }


def _groups(values: Floats) -> list[npt.NDArray[np.intp]]:
    """Rows by their value in groups of equal size, of which there are fewer where rows are few."""
    count = min(max(len(values) // _LEAST_IN_BIN, 2), _BINS)
    return np.array_split(np.argsort(values, kind="stable"), count)


def _drivers(model: TableModel, x: Floats, seed: int) -> dict[str, float]:
    """Each column's share in how the epistemic part varies, largest first.

    Of very many columns those are tried that vary most with it, for each takes a prediction of all
    rows. Shuffling a column among rows leaves everything but its tie to the row; half the mean
    squared change over the variance is the column's total share after Sobol', from 0 to about 1.
    """
    before = model.predict_features(x)["epistemic"]
    variance = max(float(before.var()), np.finfo(np.float64).tiny)
    found = {}
    for name, place in _foremost(model.columns.groups(), x, before).items():
        shuffled = x.copy()
        order = numpy_generator(seed, "shuffled", name).permutation(len(x))
        shuffled[:, place] = x[order, place]
        change = model.predict_features(shuffled)["epistemic"] - before
        found[name] = float(np.mean(change**2)) / (2 * variance)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _foremost(groups: dict[str, slice], x: Floats, epistemic: Floats) -> dict[str, slice]:
    """Columns whose distance from the middle goes most with the epistemic part, at most 200."""
    if len(groups) <= _MOST_DRIVERS:
        return groups
    distance = np.abs(x - x.mean(axis=0))
    centered, part = distance - distance.mean(axis=0), epistemic - epistemic.mean()
    size = np.linalg.norm(centered, axis=0) * np.linalg.norm(part)
    tie = np.abs(part @ centered) / np.maximum(size, np.finfo(np.float64).tiny)
    best = sorted(groups, key=lambda name: -float(tie[groups[name]].max()))[:_MOST_DRIVERS]
    return {name: groups[name] for name in best}


def _along(
    model: TableModel, split: Split, epistemic: Floats, drivers: Mapping[str, float]
) -> dict[str, Any]:
    """For the three columns that drive it most, the epistemic part along their values."""
    found: dict[str, Any] = {}
    columns = {column.name: column for column in model.columns.used}
    for name in list(drivers)[:3]:
        column, place = columns[name], model.columns.groups()[name]
        values = split.test_x[:, place]
        # Rows without a value hold the median, and are a group of their own.
        absent = values[:, -1] == 1 if column.missing else np.zeros(len(values), bool)
        present = np.flatnonzero(~absent)
        if column.kind in ("number", "date"):
            parts = [present[part] for part in _bins(values[present, 0])]
            at: list[Any] = [float(np.median(values[part, 0])) for part in parts]
        elif column.kind == "boolean":
            parts = [present[values[present, 0] == v] for v in (0, 1)] + [np.flatnonzero(absent)]
            at = ["false", "true", "missing"]
        else:
            parts = [np.flatnonzero(feature) for feature in values.T]
            at = [feature.removeprefix(f"{name} = ") for feature in column.features]
            if column.missing:
                at[-1] = "missing"
        kept = [i for i, part in enumerate(parts) if len(part)]
        found[name] = {
            "kind": column.kind,
            "at": [at[i] for i in kept],
            "epistemic": [float(epistemic[parts[i]].mean()) for i in kept],
            "missing": float(epistemic[absent].mean()) if absent.any() else None,
        }
    return found


def _bins(values: Floats) -> list[npt.NDArray[np.intp]]:
    """Rows by their value; where there are many, in ten parts of equal size."""
    different = np.unique(values)
    if len(different) <= _BINS:
        return [np.flatnonzero(values == value) for value in different]
    return np.array_split(np.argsort(values, kind="stable"), _BINS)


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


def _middle(parts: list[Floats]) -> dict[str, list[float]]:
    quantiles = {"low": 0.1, "median": 0.5, "high": 0.9}
    return {name: [float(np.quantile(part, q)) for part in parts] for name, q in quantiles.items()}


def _gaussian_coverage(forecast: Forecast, y: Floats, level: float) -> float:
    mean, std = np.asarray(forecast.mean), np.asarray(forecast.std)
    half = _normal((1 + level) / 2) * std
    return _inside(mean - half, mean + half, y)


def _inside(low: Floats, high: Floats, y: Floats) -> float:
    return float(interval_coverage(_tensor(low), _tensor(high), _tensor(y)))


def _normal(level: float) -> float:
    return float(torch.special.ndtri(torch.tensor(level, dtype=torch.float64)))


def _tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))
