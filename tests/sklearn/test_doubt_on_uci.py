"""Doubt about boosting and forests on UCI's tables, beside conformal intervals from the same rows.

    HUNCH_UCI=FOLDER pytest -m proof tests/sklearn/test_doubt_on_uci.py -s

FOLDER holds a folder a table, in the form of the published splits (`data.txt`,
`index_features.txt`, `index_target.txt`, `index_test_K.txt`). Of the training rows of a split, at
most 4,000 taken at random, one half fits the model and the other half is for intervals: all of it
for the doubt and for split conformal; for normalized conformal (a forest on the size of errors) and
conformalized quantile regression (boosting on the error) half to learn and half to calibrate. Test
rows are at most 2,000.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from hunch import DoubtRegressor
from hunch.inference import conformal_quantile, interval_score, split_conformal

TABLES = (
    "concrete",
    "energy",
    "kin8nm",
    "naval-propulsion-plant",
    "power-plant",
    "protein-tertiary-structure",
    "wine-quality-red",
    "yacht",
)
MODELS = {"boosting": HistGradientBoostingRegressor, "forest": RandomForestRegressor}
SPLITS = 2
COVERAGE = 0.9
DATA = os.environ.get("HUNCH_UCI", "")


def split_of(table, number):
    """Rows to fit the model on, rows for intervals, and test rows, each with its targets."""
    folder = Path(DATA) / table
    data = np.loadtxt(folder / "data.txt")
    columns = np.loadtxt(folder / "index_features.txt").astype(int)
    target = int(np.loadtxt(folder / "index_target.txt"))
    test = np.loadtxt(folder / f"index_test_{number}.txt").astype(int)
    rng = np.random.default_rng(number)
    train = rng.permutation(np.setdiff1d(np.arange(len(data)), test))[:4000]
    half = len(train) // 2
    parts = train[:half], train[half:], rng.permutation(test)[:2000]
    return [(data[rows][:, columns], data[rows, target]) for rows in parts]


def with_plain(model, x, y, new):
    calibration = split_conformal(tensor(model.predict(x)), tensor(y))
    low, high = calibration.interval(tensor(model.predict(new)), coverage=COVERAGE)
    return low.numpy(), high.numpy()


def with_size(model, x, y, new):
    half = len(y) // 2
    errors = np.abs(y - model.predict(x))
    learned = RandomForestRegressor(min_samples_leaf=5, random_state=0).fit(x[:half], errors[:half])
    least = errors[:half].mean() / 20
    scale = [tensor(learned.predict(rows) + least) for rows in (x[half:], new)]
    calibration = split_conformal(tensor(model.predict(x[half:])), tensor(y[half:]), scale=scale[0])
    ends = calibration.interval(tensor(model.predict(new)), scale=scale[1], coverage=COVERAGE)
    return ends[0].numpy(), ends[1].numpy()


def with_quantiles(model, x, y, new):
    half = len(y) // 2
    features, errors = with_prediction(model, x), y - model.predict(x)
    ends = []
    for level in (0.05, 0.95):
        learned = HistGradientBoostingRegressor(loss="quantile", quantile=level, random_state=0)
        learned.fit(features[:half], errors[:half])
        ends.append(
            [learned.predict(features[half:]), learned.predict(with_prediction(model, new))]
        )
    (low, new_low), (high, new_high) = ends
    score = np.maximum(low - errors[half:], errors[half:] - high)
    wider = float(conformal_quantile(tensor(score), COVERAGE))
    return model.predict(new) + new_low - wider, model.predict(new) + new_high + wider


def with_doubt(model, x, y, new):
    doubt = DoubtRegressor(model, random_state=0).fit(x, y)
    np.testing.assert_array_equal(doubt.predict(new), model.predict(new))
    return doubt.predict_interval(new, COVERAGE)


METHODS = {
    "split conformal": with_plain,
    "normalized": with_size,
    "quantiles": with_quantiles,
    "doubt": with_doubt,
}


def with_prediction(model, x):
    return np.column_stack([x, model.predict(x)])


def tensor(values):
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


def judged(low, high, y):
    """Share inside, mean width and mean interval score."""
    low, high, y = map(tensor, (low, high, y))
    score = interval_score(low, high, y, coverage=COVERAGE)
    return [float(v.mean()) for v in (((low <= y) & (y <= high)).double(), high - low, score)]


@pytest.mark.proof
@pytest.mark.skipif(not DATA, reason="needs HUNCH_UCI, the folder of UCI's tables")
def test_intervals_are_at_least_15_percent_narrower_than_split_conformals():
    ratios, covered = {name: [] for name in METHODS}, {name: [] for name in METHODS}
    print(f"\n{'table, model':36s}" + "".join(f"{name:>24s}" for name in METHODS))
    for table in TABLES:
        for kind, make in MODELS.items():
            found = []
            for number in range(SPLITS):
                (x, y), fresh, (new, truth) = split_of(table, number)
                model = make(random_state=number).fit(x, y)
                ends = [how(model, *fresh, new) for how in METHODS.values()]
                found.append([judged(*one, truth) for one in ends])
            inside, widths, scores = np.moveaxis(np.array(found), 2, 0)
            widths = np.exp(np.log(widths / widths[:, :1]).mean(axis=0))
            scores = np.exp(np.log(scores / scores[:, :1]).mean(axis=0))
            cells = zip(inside.mean(axis=0), widths, scores, strict=True)
            line = "".join("{:10.3f}{:7.3f}{:7.3f}".format(*cell) for cell in cells)
            print(f"{table + ', ' + kind:36s}{line}", flush=True)
            for i, name in enumerate(METHODS):
                ratios[name].append((widths[i], scores[i]))
                covered[name].append(inside[:, i].mean())
    print(f"{'geometric mean':36s}", end="")
    for name, both in ratios.items():
        width, score = np.exp(np.log(both).mean(axis=0))
        print(f"{np.mean(covered[name]):10.3f}{width:7.3f}{score:7.3f}", end="")
    width, _ = np.exp(np.log(ratios["doubt"]).mean(axis=0))
    for name in ("doubt", "split conformal"):
        assert 0.88 <= np.mean(covered[name]) <= 0.92
    assert width <= 0.85
    assert np.mean([own for own, _ in ratios["doubt"]]) <= 0.85
