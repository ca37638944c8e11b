"""Classifiers and regressors far from their data, and that nothing changes at the data."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_iris, make_moons

from hunch import RandomizedPriorClassifier, RandomizedPriorRegressor
from hunch.experiments.tables import far_from_data
from hunch.experiments.tables.far_from_data import GROWING, LEVEL, NONE, WAYS
from hunch.sklearn.reach import Reach
from hunch.sklearn.training import members_at
from hunch.storage import dump_json


@pytest.fixture(scope="module")
def result():
    return far_from_data.run(far_from_data.Settings.quick(), progress=False)


@pytest.mark.slow
def test_on_six_tables_a_classifier_far_away_is_unsure_and_its_controls_are_not(result):
    assert len(result.settings.classes) == 6
    for table in result.settings.classes:
        for way in WAYS:
            medians = result.said[table, GROWING, way].medians
            # With 10 networks a probability is a share of 10 votes, give or take.
            assert result.said[table, GROWING, way].far <= 0.65
            assert max(medians[2:]) <= 0.7
            assert medians[0] > result.said[table, GROWING, way].far + 0.1
            assert result.said[table, GROWING, way].certain < 0.1
    for control in (LEVEL, NONE):
        stay = [result.said[table, control, "all"].far > 0.9 for table in result.settings.classes]
        assert sum(stay) >= 3


@pytest.mark.slow
def test_it_can_be_kept_and_printed(result):
    checks = far_from_data.check(result)
    assert dump_json({"checks": [c.to_json() for c in checks], "result": result.to_json()})
    assert len(checks) == 6
    assert all(table in result.to_markdown() for table in result.settings.classes)


@pytest.mark.slow
def test_nothing_changes_at_the_data(result):
    for table in result.settings.classes:
        assert result.costs[table].lost <= 1.5


@pytest.mark.slow
def test_the_band_of_a_number_grows_with_the_distance(result):
    for table in result.settings.numbers:
        for way in WAYS:
            here, _, *far = result.said[table, GROWING, way].medians
            assert all(np.diff([here, *far]) > 0)
            assert far[-1] > 3 * far[0]


@pytest.mark.slow
def test_the_noise_far_away_is_of_the_size_of_the_noise(result):
    x = np.random.default_rng(0).normal(size=(200, 2))
    y = x[:, 0] + np.exp(x[:, 1]) * np.random.default_rng(1).normal(size=200)
    model = RandomizedPriorRegressor(8, random_state=0).fit(x, y)
    far = model.predict_distribution(x * 1e4)
    # It was 0 here and infinite there: the logarithm went on as a straight line.
    assert 0.1 < far.aleatoric.min()
    assert far.aleatoric.max() < 30
    assert far.std.isfinite().all()


@pytest.fixture(scope="module")
def moons():
    x, y = make_moons(200, noise=0.2, random_state=0)
    return RandomizedPriorClassifier(10, random_state=0).fit(x, y), x


@pytest.mark.parametrize("distance", [1.0, 30.0, 1e8, 1e140])
def test_all_that_is_said_far_away_agrees(moons, distance):
    model, x = moons
    x = x[:20] * distance
    p, members = model.predict_distribution(x), model.predict_members(x)
    np.testing.assert_allclose(members.mean(axis=0), model.predict_proba(x))
    np.testing.assert_allclose(members.sum(axis=-1), 1)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(x)), model.predict_proba(x))
    torch.testing.assert_close(p.aleatoric + p.epistemic, p.entropy)
    assert (model.predict(x) == model.predict_proba(x).argmax(axis=1)).all()
    if distance > 10:
        assert p.epistemic.median() > 0.9 * np.log(2)  # members are at odds, not each unsure


def test_within_the_range_of_the_data_nothing_is_added(moons):
    x = moons[1]
    y = make_moons(200, noise=0.2, random_state=0)[1]
    alone = RandomizedPriorClassifier(8, boosting=False, random_state=0).fit(x, y)
    inside = np.clip(x, np.quantile(x, 0.2, axis=0), np.quantile(x, 0.8, axis=0))
    for rows in (x, inside):
        members = alone.predict_distribution(rows).logits
        torch.testing.assert_close(members, logits_of_networks(alone, rows))


def test_without_priors_there_is_nothing_to_grow():
    x, y = load_iris(return_X_y=True)
    settings = dict(prior_scale=0.0, boosting=False, random_state=0)
    model = RandomizedPriorClassifier(6, **settings).fit(x, y)
    far = x + 30 * x.std(axis=0)
    members = model.predict_distribution(far).logits
    torch.testing.assert_close(members, logits_of_networks(model, far))


def test_a_value_that_stands_alone_is_no_edge_to_be_sure_of():
    x = np.linspace(-1, 1, 101)[:, None]
    alone = np.append(x, [[25.0]], axis=0)
    at = torch.tensor([[30.0], [-10.0]], dtype=torch.float64)
    near, far = Reach.of(alone).distance(at)
    assert near < 0.1
    assert far > 2
    assert (Reach.of(x).distance(at) > 2).all()


def test_copies_of_rows_change_no_reach():
    x = np.random.default_rng(0).normal(size=(60, 40))
    one, four = Reach.of(x), Reach.of(np.repeat(x, 4, axis=0))
    for name, ends in vars(one).items():
        torch.testing.assert_close(ends, getattr(four, name), msg=name)


def test_rows_of_later_parts_are_near_once_they_are_seen():
    x, y = make_moons(200, noise=0.2, random_state=0)
    model = RandomizedPriorClassifier(6, random_state=0)
    model.partial_fit(x, y, classes=[0, 1])
    there = torch.from_numpy(model._input_scale.apply(x + 20))
    assert (model._reach.distance(there) > 1).all()
    model.partial_fit(x + 20, y)
    assert (model._reach.distance(there) == 0).all()
    assert (model._reach.distance(model._inputs(x)) == 0).all()


@pytest.mark.parametrize("kind", [RandomizedPriorClassifier, RandomizedPriorRegressor])
def test_a_kept_model_says_the_same_and_one_of_an_earlier_version_what_it_said(kind):
    x, y = load_breast_cancer(return_X_y=True)
    x, y = x[:150, :5], y[:150]
    if kind is RandomizedPriorRegressor:
        y = x[:, 1] - 20.0  # without ends, at which it would stop
    model = kind(4, max_iter=5, boosting=False, random_state=0).fit(x, y)
    far = np.concatenate([x, x + 30 * x.std(axis=0)])
    tensors, values = model.to_state()
    said = (
        (lambda m: m.predict_proba(far))
        if hasattr(model, "classes_")
        else (lambda m: np.stack(m.predict(far, return_std=True)))
    )
    np.testing.assert_array_equal(said(model.from_state(tensors, values)), said(model))
    earlier = {k: v for k, v in tensors.items() if not k.startswith("reach.")}
    values.pop("prior_strengths", None)
    old = model.from_state(earlier, values)
    assert not np.array_equal(said(old), said(model))
    np.testing.assert_array_equal(said(old)[..., : len(x), :2], said(model)[..., : len(x), :2])
    old.partial_fit(x, y)  # what it learned of distances would be of these rows alone
    assert old._reach is None


def logits_of_networks(model, x):
    """What networks say by themselves, where nothing stands beside them."""
    logits = members_at(model.ensemble_, model._inputs(x)) / model.temperature_
    return logits.log_softmax(dim=-1)


def with_a_lie(x):
    """The table with one cell of −999 for "unknown"."""
    x = x.copy()
    x[7, 0] = -999.0
    return x


@pytest.mark.filterwarnings("ignore:X holds -999")
def test_a_cell_that_lies_does_not_make_a_classifier_sure_far_away():
    x, y = make_moons(300, noise=0.2, random_state=0)
    lie = with_a_lie(x)
    model = RandomizedPriorClassifier(10, random_state=0).fit(lie, y)
    for sign in (-1, 1):
        medians = []
        for distance in (0, 12, 25, 50):
            far = x + np.array([sign * distance * x[:, 0].std(), 0])
            medians.append(np.median(model.predict_proba(far).max(axis=1)))
        # With 10 networks a probability is a share of 10 votes, give or take.
        assert medians[0] > 0.85
        assert max(medians[1:]) <= 0.7
    # Training rows, that with the cell too, and rows as odd as it are no further than they were.
    at = np.concatenate([lie, lie[7:8] * [2, 1]])
    assert (model._reach.distance(model._inputs(at)) == 0).all()
    again = model.from_state(*model.to_state())
    np.testing.assert_array_equal(again.predict_proba(at), model.predict_proba(at))
    np.testing.assert_array_equal(again.predict_proba(far), model.predict_proba(far))


@pytest.mark.filterwarnings("ignore:X holds -999")
def test_a_cell_that_lies_does_not_end_the_growth_of_a_band():
    x = load_breast_cancer().data[:300, :3]
    model = RandomizedPriorRegressor(8, max_iter=30, random_state=0).fit(with_a_lie(x), x[:, 1])
    widths = [
        np.median(model.predict(x + np.array([far, 0, 0]), return_std=True)[1])
        for far in x[:, 0].std() * np.array([0, 12, 25, 50])
    ]
    assert (np.diff(widths) > 0).all()
    assert widths[3] > 1.5 * widths[1]
