"""The claim on real tables: what ours is fed, the ratios, and that it can fail."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.tables import real_tables
from hunch.experiments.tables.peers import LEVELS, NEEDS, PEERS, predicts
from hunch.experiments.tables.pipeline import fit_and_predict
from hunch.experiments.tables.real import NAMED, TABLES
from hunch.experiments.tables.real_tables import OURS, Result, Settings, Trial, summary

pandas = pytest.importorskip("pandas")

SHOWN = [t.name for t in TABLES if t.role == "shown"]


def test_ours_learns_from_the_training_rows_alone():
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"x": rng.normal(size=60), "city": ["Rome", "Oslo"] * 30})
    frame["y"] = 2 * frame["x"] + (frame["city"] == "Rome")
    rows = np.arange(48), np.arange(48, 60)
    how = {"levels": LEVELS, "members": 4, "seed": 0}
    said = fit_and_predict(frame, "y", "regression", rows, **how)
    np.testing.assert_allclose(said.y, frame["y"][48:])
    assert said.mean.shape == (12,)
    assert said.quantiles.shape == (12, 19)
    other = frame.copy()
    other.loc[48:, "y"] += 100
    again = fit_and_predict(other, "y", "regression", rows, **how)
    np.testing.assert_array_equal(again.quantiles, said.quantiles)


def test_later_rows_are_asked_about_as_time_says():
    rng = np.random.default_rng(0)
    walk = np.abs(rng.normal(size=120).cumsum())
    frame = pandas.DataFrame({"when": np.arange(120), "x": rng.normal(size=120), "y": walk})
    rows = np.arange(90), np.arange(90, 120)
    how = {"levels": LEVELS, "members": 4, "seed": 0}
    blind, aware = (
        fit_and_predict(frame, "y", "regression", rows, time=t, **how) for t in (None, "when")
    )
    assert (np.diff(aware.quantiles, axis=1) >= 0).all()
    assert min(aware.quantiles.min(), aware.ends[0].min()) >= 0  # no target is below
    np.testing.assert_array_equal(aware.quantiles[:, [0, -1]], np.stack(aware.ends, axis=1))
    wide = [np.mean(said.ends[1] - said.ends[0]) for said in (aware, blind)]
    assert wide[0] > 1.2 * wide[1]


def of(table, method, loss, covered=0.9, splits=range(2)):
    if NAMED[table].task == "classification":
        scores = {"log_loss": loss, "accuracy": 0.8}
    else:
        scores = dict(pinball=loss, rmse=loss, covered=covered, width=1.0, interval=loss)
    return [Trial(table, method, split, {**scores, "rows": 100.0}) for split in splits]


def trials(ours=0.9, covered=0.9, tables=SHOWN, methods=PEERS):
    found = []
    for table in tables:
        found += of(table, OURS, ours, covered)
        for i, peer in enumerate(m for m in methods if predicts(m, NAMED[table].task)):
            found += of(table, peer, 1 + i / 10)
    return found


def holds(found):
    return [check.holds for check in real_tables.check(summary(Settings(), found))]


def test_the_claim_holds_where_ours_is_best_and_can_fail_in_each_part():
    assert all(holds(trials()))
    assert holds(trials(tables=SHOWN[:19]))[0] is False
    assert holds(trials(methods=PEERS[:5]))[2] is False
    assert holds(trials(ours=1.01))[3:5] == [False, True]
    assert holds(trials(ours=1.03))[3:5] == [False, False]
    assert holds(trials(covered=0.93))[5] is False
    assert not any(holds(trials(ours=9.0))[6:])
    unknown = real_tables.check(summary(Settings(), trials(methods=PEERS[:5])))[-1]
    assert not unknown.holds
    assert unknown.to_json()["value"] is None  # JSON has no NaN


def test_a_ratio_is_over_the_best_peer_on_common_splits_and_time_is_left_out_of_the_mean():
    found = trials(ours=2.0, tables=["tips", "economics"])
    found += of("tips", OURS, 50.0, splits=[7])  # no peer has that split
    found = [t for t in found if (t.table, t.method) != ("economics", PEERS[0])]
    found += of("economics", PEERS[0], 100.0)
    result = summary(Settings(), found)
    assert result.tables["tips"].best == PEERS[0]
    assert result.tables["tips"].ratios[PEERS[1]] == pytest.approx(2 / 1.1)
    assert result.geometric_mean("regression") == pytest.approx(2)
    assert result.ahead(PEERS[0]) == 0.5


def test_a_result_reads_back_whole_and_is_drawn():
    result = summary(Settings(), trials())
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert Result.from_json(values, Settings()).to_json() == values
    text = result.to_markdown()
    assert all(name in text for name in SHOWN)
    pytest.importorskip("matplotlib")
    drawn = figures("tables", result)
    assert set(drawn) == {"losses", "tables-classes", "tables-coverage"}
    tasks = ("regression", "classification", "regression")
    for (figure, _), task in zip(drawn.values(), tasks, strict=True):
        assert len(figure.axes[0].get_yticklabels()) == len(result.of(task))


def test_without_the_packages_it_is_said_how_to_get_them(monkeypatch):
    monkeypatch.setattr("hunch.experiments.tables.peers.find_spec", lambda name: None)
    assert set(NEEDS.values()) <= set(real_tables.missing(Settings()))
    text = summary(Settings(), trials()).to_markdown()
    assert "not being installed: `pip install" in text
    assert "ngboost catboost" in text
    absent = [t.name for t in TABLES if not t.version]
    if absent:
        with pytest.raises(MissingDependencyError, match=NAMED[absent[0]].package):
            real_tables.run(Settings(tables=(absent[0],)), progress=False)


def test_a_run_scores_every_method_and_goes_on_where_it_was_ended(tmp_path, monkeypatch):
    peer = "random forest"
    monkeypatch.setattr(real_tables, "peers_here", lambda: [peer])
    settings = Settings(**{**vars(Settings.quick()), "keep": str(tmp_path)})
    found = real_tables.score_all(settings, 0)
    assert [(t.table, t.method) for t in found] == [
        (table, method) for table in settings.tables for method in (OURS, peer)
    ]
    lines = (tmp_path / "tables.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "tables.jsonl").write_text("".join(lines[:-1]))
    ran = []
    run_one = real_tables._run_one
    monkeypatch.setattr(real_tables, "_run_one", lambda task: ran.append(task[:3]) or run_one(task))
    assert real_tables.score_all(settings, 0) == found
    assert ran == [("breast cancer", peer, 0)]
    assert real_tables.score_all(settings, 0) == found
    assert len(ran) == 1
    result = summary(settings, found)
    assert result.tables["diabetes"].scores[OURS]["below"] < 0.5
    assert 0.8 < result.tables["breast cancer"].scores[OURS]["accuracy"]
