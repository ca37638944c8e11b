"""A category that training has not seen may be like any of those it has, and that is doubted."""

import itertools
import warnings
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import torch

from hunch.errors import HunchWarning
from hunch.sklearn import RandomizedPriorClassifier, RandomizedPriorRegressor
from hunch.sklearn.learned import LearnedNetworks
from hunch.sklearn.unseen import Category, stand_ins

LEVELS = dict(zip("ABCDE", (-6.0, -3.0, 0.0, 3.0, 6.0), strict=True))
SMALL = dict(max_iter=40, random_state=0)


def towns(n=300, seed=0, names="ABCDE"):
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["x", "y"], n)
    frame = pd.DataFrame({"town": rng.choice(list(names), n), "kind": kinds, "size": rng.random(n)})
    level = frame["town"].map(LEVELS) + (kinds == "x") + frame["size"]
    return frame, (level + 0.2 * rng.normal(size=n)).to_numpy()


FRAME, Y = towns()
REGRESSOR = RandomizedPriorRegressor(**SMALL).fit(FRAME, Y)
CLASSIFIER = RandomizedPriorClassifier(**SMALL).fit(FRAME, Y > 0.5)
pytestmark = pytest.mark.filterwarnings(
    "ignore:`X` has a value", "ignore:`X` has nothing in column"
)


def test_the_spread_between_known_values_is_what_is_not_known():
    known = np.stack([REGRESSOR.predict(FRAME.assign(town=t)) for t in LEVELS])
    new = REGRESSOR.predict_distribution(FRAME.assign(town="Z"))
    np.testing.assert_allclose(new.mean.numpy(), known.mean(axis=0), atol=1e-4)
    # One more of five values: their mean square about the mean, times 6/4.
    between = np.sqrt(1.5 * known.var(axis=0))
    epistemic = new.epistemic.numpy()
    assert (epistemic > 0.95 * between).all()
    assert epistemic.mean() < 1.3 * between.mean()
    usual = REGRESSOR.predict_distribution(FRAME)
    assert new.std.min() > 2 * usual.std.max()
    low, high = REGRESSOR.predict_interval(FRAME.assign(town="Z"))
    assert (high - low).mean() > 12  # where the levels are from -6 to 6
    assert new.aleatoric.mean() < 1.5 * usual.aleatoric.mean()


@pytest.mark.proof
@pytest.mark.parametrize("left_out", LEVELS)
def test_rows_of_a_town_that_was_left_out_are_within(left_out):
    rest = "".join(set(LEVELS) - {left_out})
    X, y = towns(names=rest)
    model = RandomizedPriorRegressor(**SMALL).fit(X, y)
    new, truth = towns(seed=1, names=left_out)
    low, high = model.predict_interval(new, 0.95)
    assert np.mean((low <= truth) & (truth <= high)) > 0.9


def test_classes_are_unsure_where_known_values_say_different_ones():
    new, usual = (CLASSIFIER.predict_distribution(f) for f in (FRAME.assign(town="Z"), FRAME))
    assert new.epistemic.mean() > 0.25 > 3 * usual.epistemic.mean()
    np.testing.assert_allclose(new.probs.sum(dim=1).numpy(), 1)
    assert (new.entropy > 0.4).all()


def test_a_missing_cell_where_none_was_is_doubted_too():
    gap = REGRESSOR.predict_distribution(FRAME.assign(town=None))
    new = REGRESSOR.predict_distribution(FRAME.assign(town="Z"))
    torch.testing.assert_close(gap.mean, new.mean)
    torch.testing.assert_close(gap.std, new.std)


@pytest.mark.parametrize("model", [REGRESSOR, CLASSIFIER])
def test_a_row_is_told_by_itself_and_known_rows_stay_to_the_bit(model, monkeypatch):
    mixed = FRAME.assign(town=np.where(np.arange(len(FRAME)) % 3, FRAME["town"], "Z"))
    together = model.predict_members(mixed)
    few = [3, 6, 7, 8]
    exact = 0 if model is REGRESSOR else 1e-12  # logarithms round by their place in a batch
    np.testing.assert_allclose(model.predict_members(mixed.iloc[few]), together[:, few], exact)
    again = type(model).from_state(*model.to_state())
    np.testing.assert_array_equal(again.predict_members(mixed), together)
    # Without the rule rows of known values are told the same.
    monkeypatch.setattr(LearnedNetworks, "_unseen_in", lambda self, x: ())
    known = np.arange(len(FRAME)) % 3 > 0
    np.testing.assert_array_equal(model.predict_members(mixed)[:, known], together[:, known])


def test_two_unseen_cells_are_doubted_together():
    one = REGRESSOR.predict_distribution(FRAME.assign(town="Z")).epistemic
    both = REGRESSOR.predict_distribution(FRAME.assign(town="Z", kind="z")).epistemic
    assert both.mean() > one.mean()


def test_stand_ins_have_each_known_value_as_often():
    x = torch.zeros(2, 203, dtype=torch.float64)
    x[0, 0] = x[0, 3] = x[1, 202] = 1  # the first row has a value of both, the second of none
    columns = [Category(0, 2, 3), Category(3, 199, 202)]
    zero, one = np.zeros(203), np.ones(203)
    (found,) = stand_ins(x, columns, zero, one, seed=0)
    assert found.rows.tolist() == [1]
    assert found.x.shape == (64, 1, 203)
    assert found.x[:, 0, :2].sum(dim=0).tolist() == [32, 32]
    assert found.x[:, 0, 3:202].sum(dim=0).max() == 1
    assert (found.x[:, 0, 202] == 1).all()
    (again,) = stand_ins(x[1:], columns, zero, one, seed=0)
    assert torch.equal(again.x, found.x)
    pairs = [Category(0, 2, 3), Category(3, 4, 7)]
    (whole,) = stand_ins(x[1:, :8], pairs, zero[:8], one[:8], seed=0)
    held = {tuple(row.nonzero().flatten().tolist()) for row in whole.x[:, 0]}
    assert held == set(itertools.product((0, 1), (3, 4, 5, 6)))


def test_a_value_that_fit_has_not_seen_is_warned_of():
    with pytest.warns(HunchWarning, match=r"value in column 'town' in 2 rows that no row of `fit`"):
        REGRESSOR.predict(FRAME.assign(town=["Z", "Y", *FRAME["town"][2:]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        REGRESSOR.predict(FRAME)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["26/03/2021", "1/4/2021"], "holds dates as text in column 'c', .*parse_dates"),
        (["2021-03-26", "2021-04-01 12:00"], "holds dates as text in column 'c'"),
        (["10 %", "2.5 %"], "holds percentages as text in column 'c', .*Remove the signs"),
    ],
)
def test_dates_and_percentages_as_text_are_warned_of(cells, said):
    frame = pd.DataFrame({"c": cells * 10, "n": np.arange(20.0)})
    with pytest.warns(HunchWarning, match=said):
        RandomizedPriorRegressor(2, max_iter=1).fit(frame, np.arange(20.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", HunchWarning)
        asked = frame.astype({"c": "category"})
        RandomizedPriorRegressor(2, max_iter=1).fit(asked, np.arange(20.0))


def test_text_in_an_array_is_sent_to_a_data_frame():
    with pytest.raises(ValueError, match=r"could not convert string .*pass a data frame"):
        RandomizedPriorRegressor().fit(FRAME.to_numpy(), Y)


def test_what_is_said_of_rows_shows_itself_in_a_line():
    said = repr(REGRESSOR.predict_distribution(FRAME))
    assert "\n" not in said
    assert len(said) < 200


@pytest.mark.proof
def test_a_district_of_flats_that_was_left_out_is_doubted(monkeypatch):
    flats = pd.read_csv(files("hunch") / "samples" / "flats.csv", parse_dates=["sold"])
    X, y = flats.drop(columns=["flat", "price"]), flats["price"].to_numpy(float)
    held: dict[str, list[float]] = {"after": [], "before": []}
    for district in X["district"].unique():
        new = (X["district"] == district).to_numpy()
        model = RandomizedPriorRegressor(random_state=0).fit(X[~new], y[~new])
        for name, kept in held.items():
            with monkeypatch.context() as patch:
                if name == "before":
                    patch.setattr(LearnedNetworks, "_unseen_in", lambda self, x: ())
                low, high = model.predict_interval(X[new])
            kept.append(np.mean((low <= y[new]) & (y[new] <= high)))
    assert np.mean(held["after"]) > 0.7 > 0.6 > np.mean(held["before"])
