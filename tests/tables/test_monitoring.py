"""`hunch monitor`: new rows held against what was promised, with a stated rate of false alarms."""

import json

import numpy as np
import pandas as pd
import pytest

from hunch.cli.main import DONE, WRONG_USE, run
from hunch.tables import TableModel, fit_table, monitor_table
from hunch.tables.column import Column
from hunch.tables.drift import Tally, drift
from hunch.tables.monitoring import FALSE_ALARMS, drifted


def houses(count, seed, shift=0.0, more=0.0, city=("U", "B", "K"), noise=10.0):
    rng = np.random.default_rng(seed)
    size = rng.uniform(40, 160, count) + shift
    where = rng.choice(list(city), count)
    price = 3 * size + 50 * (where == "U") + more + noise * rng.normal(size=count)
    dear = np.where(price + 60 * rng.normal(size=count) > 330, "yes", "no")
    return pd.DataFrame(
        {"size": size.round(2), "city": where, "price": price.round(2), "dear": dear}
    )


@pytest.fixture(scope="module", autouse=True)
def unshown():
    """Fits without a page, which takes a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hunch.tables.fitting.table_report", lambda _: "")
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    settings = {"members": 5, "progress": False}
    fit_table(houses(600, 0), "price", folder / "price", drop="dear", **settings)
    fit_table(houses(600, 0), "dear", folder / "dear", drop="price", **settings)
    return folder


@pytest.mark.parametrize("target", ["price", "dear"])
def test_rows_as_those_of_training_say_keep(target, models):
    found = monitor_table(models / target, houses(300, 1), progress=False)
    assert found["verdict"] == "keep", found["sentence"]
    assert found["scores"]["rows"] == found["rows"] == 300
    assert "no column has drifted" in found["sentence"]


def test_rows_without_truth_are_compared_all_the_same(models):
    new = houses(300, 1).drop(columns=["price", "dear"])
    found = monitor_table(models / "price", new, progress=False)
    assert (found["verdict"], found["scores"]) == ("keep", None)
    assert "no truth to judge by" in found["sentence"]
    far = monitor_table(models / "price", new.assign(size=new["size"] / 2), progress=False)
    assert far["verdict"] == "watch"
    assert "drifted: 'size' by" in far["sentence"]
    assert far["columns"]["size"]["distance"] > 0.3


@pytest.mark.parametrize(
    ("target", "new"),
    [
        ("price", houses(300, 1, more=40)),
        ("dear", houses(300, 1).assign(dear=lambda t: t["dear"][::-1].values)),
    ],
)
def test_errors_that_grew_say_retrain(target, new, models):
    found = monitor_table(models / target, new, progress=False)
    assert found["verdict"] == "retrain"
    assert "on rows held out at fit" in found["sentence"] or "of rows held out" in found["sentence"]


def test_drift_that_does_no_harm_says_watch(models):
    new = houses(300, 1, city=("U",))
    found = monitor_table(models / "price", new, progress=False)
    assert found["verdict"] == "watch"
    assert "'city' by" in found["sentence"]


def test_missing_cells_and_new_values_are_counted(models):
    new = houses(200, 1)
    new.loc[:99, "city"] = "Rome"
    new.loc[:49, "size"] = np.nan
    found = monitor_table(models / "price", new, progress=False)["columns"]
    assert found["city"]["new"] == 0.5
    assert (found["size"]["missing"], found["size"]["missing_before"]) == (0.25, 0.0)
    assert found["size"]["p_value"] < 1e-6


def test_rare_values_that_training_lacked_are_no_alarm_and_a_new_one_is(tmp_path):
    """A third of 90 rows is of values that are there once, so that new rows have others."""

    def flats(count, seed):
        rng = np.random.default_rng(seed)
        district = rng.choice([f"d{i}" for i in range(5)], count).astype(object)
        rare = rng.uniform(size=count) < 0.2
        district[rare] = [f"r{i}" for i in rng.integers(0, 1000, rare.sum())]
        size = rng.uniform(40, 160, count).round(2)
        return pd.DataFrame({"size": size, "district": district, "price": (3 * size).round(1)})

    fit_table(flats(90, 0), "price", tmp_path / "model", members=2, progress=False)
    columns = TableModel.load(tmp_path / "model").columns
    assert not columns.used[1].other  # so that a value which is not known is outside
    for rows in (10, 40):
        new = flats(rows, 1).drop(columns="price")
        found = monitor_table(tmp_path / "model", new, progress=False)
        assert found["verdict"] == "keep", found["sentence"]
        assert found["outside"] > 0.05 * rows
        assert "which chance explains" in found["sentence"]
        new.loc[: rows // 2, "district"] = "Atlantis"
        found = monitor_table(tmp_path / "model", new, progress=False)
        assert found["verdict"] == "watch", found["sentence"]
        assert "are outside the training data, by 'district'." in found["sentence"]
        assert found["outside_by"]["district"]["rows"] == found["outside"]


def test_time_that_goes_on_is_no_drift(tmp_path):
    def dated(count, seed, year):
        day = [f"{year}-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(count)]
        first = 0 if year == 2021 else 5_000
        return (
            houses(count, seed)
            .assign(day=day, house_id=range(first, first + count))
            .drop(columns="dear")
        )

    fit_table(dated(400, 0, 2021), "price", tmp_path / "model", members=5, progress=False)
    new = dated(200, 1, 2022).drop(columns="price")
    found = monitor_table(tmp_path / "model", new, progress=False)
    assert (found["verdict"], found["outside"]) == ("keep", 0), found["sentence"]
    assert found["later"] == {"day": 200}
    assert set(found["columns"]) == {"size", "city"}


def test_few_rows_tell_nothing(models):
    found = monitor_table(models / "price", houses(5, 1, more=500), progress=False)
    assert found["verdict"] == "keep"
    assert "5 rows are too few to tell drift" in found["sentence"]


def test_the_command_prints_the_sentence_and_always_exits_with_0(models, tmp_path, capsys):
    houses(300, 1, more=40).to_csv(tmp_path / "new.csv", index=False)
    words = ["monitor", str(models / "price"), str(tmp_path / "new.csv"), "--quiet"]
    assert run(words) == DONE
    said = capsys.readouterr().out
    assert said.startswith("Retrain: ")
    assert run([*words, "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert found["sentence"] in said
    (tmp_path / "new.csv").write_text("a,b\n1,2\n")
    assert run(words) == WRONG_USE
    assert "'size', 'city' are missing" in capsys.readouterr().err


def test_a_folder_of_before_says_what_cannot_be_told(models, tmp_path):
    import shutil

    from hunch.storage import sealed, unsealed

    old = tmp_path / "old"
    shutil.copytree(models / "price", old)
    (old / "training.json").unlink()  # as the first versions wrote none
    place = old / "hunch.json"
    manifest = unsealed(json.loads(place.read_text()), place)
    del manifest["files"]["training.json"]
    place.write_text(json.dumps(sealed(manifest)))
    said = []
    found = monitor_table(old, houses(300, 1, more=40), progress=False, say=said.append)
    assert "drift cannot be told" in said[0]
    assert (found["verdict"], found["columns"]) == ("retrain", None)


def tally(counts):
    return Tally(counts, 0, np.zeros(0, np.int64))


def test_chance_alone_is_seldom_called_drift():
    """Of 400 files whose columns are as in training, at most 6 have any column named.

    1 is expected at the stated rate of one in 400; more than 6 come in one of 10,000 runs.
    """
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(400):
        found = {}
        for name, parts in (("a", 11), ("b", 3), ("c", 35)):
            share = rng.dirichlet(np.ones(parts))
            before, after = (rng.multinomial(n, share) for n in (800, 120))
            found[name] = drift(Column(name, "number"), tally(before), tally(after))
        named += bool(drifted(found))
    assert named <= 6
    assert FALSE_ALARMS == 0.01


def test_the_test_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    before, after = np.array([5000, 3000, 2000, 1000]), np.array([600, 330, 270, 150])
    expected = stats.chi2_contingency(np.stack([before, after]), correction=False).pvalue
    found = drift(Column("a", "number"), tally(before), tally(after))
    assert found.p_value == pytest.approx(expected, rel=1e-9)
