"""Other people's methods: the same columns for all, distributions that hold, scores by hand."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from hunch.experiments.tables.peers import (
    BOOSTING,
    CATBOOST,
    CV_PLUS,
    FOREST,
    GP,
    LEVELS,
    NGBOOST,
    PEERS,
    Features,
    peers_here,
    predict_classes,
    predict_numbers,
    predicts,
)
from hunch.experiments.tables.scores import LEAST, score_classes, score_numbers

pandas = pytest.importorskip("pandas")


def frame():
    return pandas.DataFrame(
        {
            "size": [1.0, np.nan, 3.0],
            "flag": [True, False, True],
            "day": ["2000-01-02", "1999-12-31", None],
            "city": ["Rome", None, "Oslo"],
        }
    )


def test_columns_are_numbers_days_and_categories():
    features = Features.of(frame(), frame().iloc[:1])
    np.testing.assert_array_equal(features.numbers[0], [[1, 1, 1], [np.nan, 0, -1], [3, 1, np.nan]])
    assert features.categories[0].tolist() == [["Rome"], ["missing"], ["Oslo"]]
    train, test = features.filled()
    np.testing.assert_array_equal(train[:, :3], [[1, 1, 1], [2, 0, -1], [3, 1, 0]])
    assert (train[:, 3:].sum(axis=1) == 1).all()
    assert test.shape == (1, 6)
    train, _, which = features.ordinal()
    assert which == [False, False, False, True]
    assert np.isnan(train[1, 0])
    native, _, places = features.native()
    assert places == [3]
    assert native[3].tolist() == ["Rome", "missing", "Oslo"]


def test_a_category_that_training_has_not_seen_is_no_error():
    new = frame().assign(city=["Paris", "Rome", "Oslo"])
    features = Features.of(frame(), new)
    assert np.isfinite(features.filled()[1]).all()
    assert np.isnan(features.ordinal()[1][0, 3])


def noisy_line(rows, seed):
    rng = np.random.default_rng(seed)
    x = pandas.DataFrame({"a": rng.normal(size=rows), "b": rng.choice(["u", "v"], rows)})
    y = 10 + 3 * x["a"].to_numpy() + 4 * (x["b"] == "u").to_numpy() + rng.normal(size=rows)
    return x, y


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_forecasts_a_noisy_line(peer):
    if peer not in peers_here():
        pytest.skip(f"{peer} is not installed")
    (x, y), (new, y_new) = noisy_line(200, 0), noisy_line(300, 1)
    said = predict_numbers(peer, Features.of(x, new), y, seed=0)
    assert said.quantiles.shape == (300, 19)
    assert (np.diff(said.quantiles, axis=1) >= 0).all()
    scores = score_numbers(said.mean, said.quantiles, LEVELS, y_new)
    assert scores["rmse"] < 2  # the noise has 1, the targets 3.7
    # Sharp ones cover too little at their defaults, most a forest whose leaves hold one row each.
    assert scores["covered"] > 0.4
    assert scores["pinball"] < 0.6  # 0.28 at best


@pytest.mark.parametrize("peer", [p for p in PEERS if p != CV_PLUS])
def test_every_peer_tells_classes_apart(peer):
    if peer not in peers_here():
        pytest.skip(f"{peer} is not installed")
    (x, y), (new, y_new) = noisy_line(120, 0), noisy_line(100, 1)
    classes, truth = (np.digitize(values, (9, 13)) for values in (y, y_new))
    said = predict_classes(peer, Features.of(x, new), classes, seed=0)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    assert score_classes(said, truth)["accuracy"] > 0.55


def test_which_peer_answers_what():
    assert all(predicts(peer, "regression") for peer in PEERS)
    assert [peer for peer in PEERS if not predicts(peer, "classification")] == [CV_PLUS]
    assert {BOOSTING, FOREST, CV_PLUS, GP} <= set(peers_here()) <= set(PEERS)


def test_a_peer_that_is_not_installed_is_not_here(monkeypatch):
    monkeypatch.setattr("hunch.experiments.tables.peers.find_spec", lambda name: None)
    assert set(PEERS) - set(peers_here()) == {NGBOOST, CATBOOST}


def test_scores_are_those_by_hand():
    levels = np.array([0.05, 0.5, 0.95])
    quantiles = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    scores = score_numbers(np.array([1.0, 1.0]), quantiles, levels, np.array([1.5, 4.0]))
    losses = [0.05 * 1.5, 0.5 * 0.5, 0.05 * 0.5, 0.05 * 4, 0.5 * 3, 0.95 * 2]
    assert scores["pinball"] == pytest.approx(np.mean(losses))
    assert scores["covered"] == 0.5
    assert scores["width"] == 2
    assert scores["interval"] == pytest.approx((2 + 2 + 20 * 2) / 2)
    assert scores["rmse"] == pytest.approx(np.sqrt((0.25 + 9) / 2))
    ends = np.array([0.0, 0.0]), np.array([1.0, 4.0])
    own = score_numbers(np.ones(2), quantiles, levels, np.array([1.5, 4.0]), ends)
    assert own["pinball"] == scores["pinball"]
    assert own["interval"] == pytest.approx((1 + 20 * 0.5 + 4) / 2)


def test_a_zero_probability_counts_as_the_least():
    found = score_classes(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert found["log_loss"] == pytest.approx(-(np.log(LEAST) + np.log(1 - LEAST)) / 2)
    assert found["accuracy"] == 0.5
