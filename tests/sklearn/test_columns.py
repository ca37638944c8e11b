"""Gaps, text and categories in what the estimators are given."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import get_tags

import hunch
from hunch.errors import DataError, HunchWarning
from hunch.sklearn.mixed import MANY, MixedTable, median_of
from hunch.sklearn.ranks import Ranks

SMALL = dict(n_estimators=4, max_iter=8, boosting=False, random_state=0)


def regressor(**settings):
    return hunch.RandomizedPriorRegressor(
        **(SMALL | dict(noise="constant", gaussian_process=False) | settings)
    )


def classifier(**settings):
    return hunch.RandomizedPriorClassifier(**(SMALL | settings))


def with_gaps(rows=200, seed=0):
    """Three columns, the first and last of which lack some cells."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 3))
    X[rng.random(rows) < 0.3, 0] = np.nan
    X[rng.random(rows) < 0.1, 2] = np.nan
    return X, rng.normal(size=rows) + np.isnan(X[:, 0]) + X[:, 1]


def filled(X, middles):
    """The first and third column filled, each with a sign beside it."""
    absent = np.isnan(X)
    X = np.where(absent, middles, X)
    return np.stack([X[:, 0], absent[:, 0], X[:, 1], X[:, 2], absent[:, 2]], axis=1)


def people(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    city = rng.choice(["Oslo", "Rome", "Lima"], rows).astype(object)
    city[rng.random(rows) < 0.2] = None
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 9, rows),
            "city": city,
            "grade": pd.Categorical(rng.integers(1, 4, rows)),
            "member": rng.random(rows) < 0.5,
        }
    )
    return frame, frame["age"].to_numpy() / 9 + 2 * (frame["city"] == "Rome") + frame["member"]


def by_hand(frame):
    return np.stack(
        [
            frame["age"],
            *(frame["city"] == city for city in ("Lima", "Oslo", "Rome")),
            frame["city"].isna(),
            *(frame["grade"] == grade for grade in (1, 2, 3)),
            frame["member"],
        ],
        axis=1,
    ).astype(np.float64)


@pytest.mark.parametrize("make", [regressor, classifier])
def test_gaps_are_the_median_and_a_sign_to_the_bit(make):
    X, y = with_gaps()
    y = y if make is regressor else y > 0.5
    middles = np.nanmedian(X, axis=0)
    model, hand = make().fit(X, y), make().fit(filled(X, middles), y)
    new, _ = with_gaps(seed=1)
    np.testing.assert_array_equal(
        model.predict_members(new), hand.predict_members(filled(new, middles))
    )
    assert (model.n_features_in_, hand.n_features_in_) == (3, 5)
    assert get_tags(model).input_tags.allow_nan
    frame = pd.DataFrame(X, columns=list("abc"))
    named = make().fit(frame, y).predict_members(frame)
    np.testing.assert_array_equal(named, model.predict_members(X))


@pytest.mark.parametrize("boosting", [False, True])
def test_what_a_gap_says_is_learned(boosting):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)).round()
    gap = rng.random(300) < 0.5
    y = X[:, 1] + 3 * gap + 0.1 * rng.normal(size=300)
    X[gap, 0] = np.nan
    settings = dict(max_iter=60, boosting=boosting)
    score = regressor(**settings).fit(X[:200], y[:200]).score(X[200:], y[200:])
    plain = np.where(np.isnan(X), np.nanmedian(X[:200], axis=0), X)
    without = regressor(**settings).fit(plain[:200], y[:200]).score(plain[200:], y[200:])
    assert score > 0.95
    assert without < 0.8


@pytest.mark.parametrize("make", [regressor, classifier])
def test_categories_are_a_feature_for_each_value_to_the_bit(make):
    frame, y = people()
    y = y if make is regressor else y > 5
    model, hand = make().fit(frame, y), make().fit(by_hand(frame), y)
    new = people(seed=1)[0]
    np.testing.assert_array_equal(model.predict_members(new), hand.predict_members(by_hand(new)))
    assert model.n_features_in_ == 4
    assert list(model.feature_names_in_) == list(frame)
    # Whole numbers are the same as floats.
    floats = new.assign(grade=new["grade"].astype(float))
    np.testing.assert_array_equal(model.predict_members(floats), model.predict_members(new))
    other_types = new.assign(grade=new["grade"].astype(str), city=new["city"].astype("category"))
    np.testing.assert_array_equal(model.predict_members(other_types), model.predict_members(new))


def test_of_many_values_the_frequent_ones_count_and_others_are_alike():
    frequent = [f"v{i:02}" for i in range(64)]
    frame = pd.DataFrame({"v": [*frequent * 2, "rare", "seldom"], "n": np.arange(130.0)})
    table = MixedTable.of(frame, None, MANY)
    column, _ = table.columns
    assert (column.values, column.other, column.missing) == (tuple(frequent), True, False)
    new = pd.DataFrame({"v": ["v63", "rare", "new", None], "n": 0.0})
    found = table.features(new)[:, :-1]
    assert found.shape == (4, 65)
    np.testing.assert_array_equal(found.argmax(axis=1), [63, 64, 64, 0])
    np.testing.assert_array_equal(found.sum(axis=1), [1, 1, 1, 0])
    # Of 64 values each has its own, and a new one has none.
    few = MixedTable.of(frame[:128], None, MANY)
    assert few.features(new).sum(axis=1).tolist() == [1, 0, 0, 0]


def noisy():
    return regressor(noise="learned")


@pytest.mark.parametrize("make", [noisy, classifier])
def test_a_state_keeps_what_becomes_of_columns(make):
    frame, y = people()
    frame.loc[::5, "age"] = np.nan
    model = make().fit(frame, y if make is noisy else y > 5)
    tensors, values = model.to_state()
    again = make().from_state(tensors, json.loads(json.dumps(values)))
    np.testing.assert_array_equal(again.predict_members(frame), model.predict_members(frame))
    part = (frame[:50], (y if make is noisy else y > 5)[:50])
    np.testing.assert_array_equal(
        again.partial_fit(*part).predict_members(frame),
        model.partial_fit(*part).predict_members(frame),
    )


def test_a_state_of_an_earlier_version_says_what_it_said():
    X, y = with_gaps()
    X = np.nan_to_num(X)
    model = regressor().fit(X, y)
    tensors, values = model.to_state()
    del values["columns"]
    old = regressor().from_state(tensors, values)
    np.testing.assert_array_equal(old.predict_members(X), model.predict_members(X))
    np.testing.assert_array_equal(
        old.partial_fit(X, y).predict_members(X), model.partial_fit(X, y).predict_members(X)
    )
    with pytest.raises(ValueError, match="contains NaN"):
        old.predict([[np.nan, 0.0, 0.0]])


@pytest.mark.parametrize("make", [regressor, classifier])
def test_weights_are_repetitions_and_the_order_of_rows_does_not_matter(make):
    frame, y = people(120)
    frame.loc[::4, "age"] = np.nan
    frame["size"] = np.random.default_rng(1).normal(size=120)  # no two rows are alike
    y = np.where(np.isnan(y), 0.0, y)
    y = y if make is regressor else y > 5
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, 120)
    weighted = make().fit(frame, y, sample_weight=weight)
    rows = rng.permutation(np.repeat(np.arange(120), weight))
    repeated = make().fit(frame.iloc[rows], np.asarray(y)[rows])
    np.testing.assert_array_equal(weighted.predict_members(frame), repeated.predict_members(frame))


def test_a_weighted_median_is_that_of_rows_written_down_so_often():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values, weight = rng.integers(0, 9, 12) / 7, rng.integers(0, 4, 12) + 1
        written = np.median(np.repeat(values, weight))
        assert median_of(values, weight * 1.0) == written
        assert median_of(values, weight * 0.1) == written  # only proportions count


def test_a_column_that_was_whole_in_training_and_has_gaps_later_is_named():
    X, y = with_gaps()
    model = regressor().fit(X, y)
    new = np.nan_to_num(X[:10])
    new[2:5, 1] = np.nan
    with pytest.warns(HunchWarning, match=r"nothing in column 1 in 3 rows, .* as its median there"):
        said = model.predict(new)
    new[2:5, 1] = np.median(X[:, 1])
    np.testing.assert_array_equal(said, model.predict(new))
    # So it is where no column of the training lacked anything.
    model = regressor().fit(pd.DataFrame(np.nan_to_num(X), columns=list("abc")), y)
    gap = pd.DataFrame({"a": [np.nan, 1.0], "b": 0.0, "c": [np.nan] * 2})
    with pytest.warns(HunchWarning, match="column 'a' in 1 rows, .*, as in 1 more columns"):
        model.predict(gap)
    frame, y = people()
    model = regressor().fit(frame.assign(city="Rome"), np.nan_to_num(y))
    with pytest.warns(HunchWarning, match=r"column 'city' in \d+ rows, .*any of its values"):
        model.predict(frame)


def test_columns_without_a_value_are_left_out():
    X, y = with_gaps()
    X[:, 1] = np.nan
    with pytest.warns(HunchWarning, match="`X` holds nothing in column 1; the model leaves"):
        model = regressor().fit(X, y)
    other = X.copy()
    other[:, 1] = 7.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(other), model.predict(X))
    with pytest.raises(DataError, match="`X` holds nothing in any column; expected"):
        regressor().fit(np.full((20, 2), np.nan), y[:20])
    # Rows of no weight are no rows.
    X[0, 1] = 1.0
    with pytest.warns(HunchWarning, match="holds nothing in column 1"):
        regressor().fit(X, y, sample_weight=np.arange(len(y)) > 0)


def test_misuse_is_refused_in_one_sentence():
    X, y = with_gaps()
    frame, target = people()
    model = regressor().fit(frame, target)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[frame.columns[::-1]])
    with pytest.raises(DataError, match="`X` holds text in column 'age'; expected numbers"):
        model.predict(frame.assign(age="old"))
    for bad in (np.inf, -np.inf):
        X[3, 1] = bad
        with pytest.raises(ValueError, match="contains infinity"):
            regressor().fit(X, y)
        with pytest.raises(ValueError, match="contains infinity"):
            regressor().fit(frame.assign(age=bad), target)
        with pytest.raises(ValueError, match="contains infinity"):
            model.predict(frame.assign(age=bad))
    with pytest.raises(ValueError, match=r"holds 1e\+160 in row 0, column 3"):
        model.predict(frame.assign(member=1e160))
    with pytest.raises(ValueError, match="could not convert string to float"):
        regressor().fit(frame.to_numpy(), target)  # an array has no types of columns


def test_an_odd_cell_is_named_by_its_column_of_the_table():
    frame, y = people()
    frame.insert(0, "code", frame["city"])
    frame.loc[7, "age"] = -99_999.0
    with pytest.warns(UserWarning, match="holds -99999 in row 7, column 'age'"):
        regressor().fit(frame, np.nan_to_num(y))


def test_numbers_that_are_text_are_categories_and_so_it_is_said():
    text = pd.DataFrame({"n": [str(i) for i in range(100)], "m": np.arange(100.0)})
    with pytest.warns(HunchWarning, match="numbers as text in column 'n', and more than 64"):
        regressor().fit(text, np.arange(100.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor().fit(text.astype({"n": "category"}), np.arange(100.0))


def test_other_types_of_columns():
    frame, y = people(60)
    names, y = list("ab"), np.nan_to_num(y)
    dates = pd.DataFrame(
        {"a": pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(60), "D"), "b": 0.5}
    )
    days = dates["a"].astype("datetime64[s]").astype(np.int64) / 86_400
    hand = regressor().fit(np.c_[days, np.full(60, 0.5)], y)
    np.testing.assert_array_equal(
        regressor().fit(dates, y).predict(dates), hand.predict(np.c_[days, np.full(60, 0.5)])
    )
    gaps = np.c_[np.where(np.arange(60) % 3, np.arange(60.0), np.nan), frame["age"]]
    hand = regressor().fit(gaps, y).predict(gaps)
    nullable = pd.DataFrame(gaps, columns=names).convert_dtypes()
    assert str(nullable.dtypes["a"]) == "Int64"
    objects = pd.DataFrame(gaps, columns=names).astype(object)
    objects = objects.where(objects.notna(), None)
    for table in (nullable, objects):
        np.testing.assert_array_equal(regressor().fit(table, y).predict(table), hand)


def test_frames_of_arrow_are_taken_too():
    pa = pytest.importorskip("pyarrow")
    frame, y = people()
    frame, y = frame[["age", "city", "member"]], np.nan_to_num(y)
    model = regressor().fit(frame, y)
    table = pa.Table.from_pandas(frame)
    np.testing.assert_array_equal(regressor().fit(table, y).predict(table), model.predict(frame))
    np.testing.assert_array_equal(model.predict(table), model.predict(frame))


def test_partial_fit_keeps_the_columns_of_its_first_call():
    frame, y = people()
    y = np.nan_to_num(y)
    model = regressor().partial_fit(frame[:100], y[:100])
    before = model._columns
    model.partial_fit(frame[100:].assign(city="Bonn"), y[100:])
    assert model._columns is before
    model.fit(frame[["age", "city"]], y)
    assert model.n_features_in_ == 2
    assert len(model._columns.columns) == 2


def test_a_doubt_takes_the_gaps_that_its_model_takes():
    X, y = with_gaps(240)
    y = y > 0.5
    holes = HistGradientBoostingClassifier(max_iter=5).fit(X[:80], y[:80])
    doubt = hunch.DoubtClassifier(holes, ensemble=classifier(), cv=2, random_state=0)
    weight = np.where(np.arange(160) < 40, 2, 1)
    p = doubt.fit(X[80:], y[80:], sample_weight=weight).predict_distribution(X)
    assert np.isfinite(p.probs.numpy()).all()
    rows = np.r_[np.arange(80, 240), np.arange(80, 120)]
    twice = hunch.DoubtClassifier(holes, ensemble=classifier(), cv=2, random_state=0)
    np.testing.assert_array_equal(
        twice.fit(X[rows], y[rows]).predict_members(X), doubt.predict_members(X)
    )


def test_ranks_leave_what_they_are_given():
    """One column, or columns in one piece each, are their own transposes."""
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=(50, 1)), np.asfortranarray(rng.normal(size=(50, 3)))):
        kept, ranks = x.copy(), Ranks.of(x, None)
        assert not np.array_equal(ranks.apply(x), kept)
        assert np.array_equal(x, kept)
