"""Tables whose rows come in groups or in the order of time: what is held out, and what is said."""

import numpy as np
import pyarrow as pa
import pytest

from hunch.cli.main import run
from hunch.errors import DataError
from hunch.tables import TableModel, fit_table, predict_table
from hunch.tables.baselines import Forecast
from hunch.tables.target import Target
from hunch.tables.ties import Ties

NUMBER = Target("y", "regression")


def visits(n=120, groups=12, seed=0):
    """Each patient has a level of their own, which no column but their name tells."""
    rng = np.random.default_rng(seed)
    patient = rng.permutation(np.arange(n) % groups)
    age, own = rng.uniform(20, 90, n), rng.normal(size=groups)
    day = np.datetime64("2020-01-01") + rng.permutation(n)
    return {
        "patient": [f"p{i}" for i in patient],
        "day": [str(d) for d in day],
        "age": [f"{a:.1f}" for a in age],
        "cost": [f"{c:.4f}" for c in age / 30 + own[patient] + 0.2 * rng.normal(size=n)],
        "fate": ["ill" if v > 0 else "well" for v in own[patient] + rng.normal(size=n)],
    }


def write(place, columns):
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    place.write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture
def unjudged(monkeypatch):
    """Fits with constant baselines and without a page, which take most of the time."""

    def of_numbers(x, y, test, *_):
        mean, std = np.full(len(test), y.mean()), np.full(len(test), y.std())
        return [Forecast(name, "", mean, std) for name in ("linear", "constant")]

    def of_classes(x, y, test, classes, *_):
        probs = np.full((len(test), classes), 1 / classes)
        return [Forecast(name, probs=probs) for name in ("logistic", "constant")]

    monkeypatch.setattr("hunch.tables.assessment.regression_baselines", of_numbers)
    monkeypatch.setattr("hunch.tables.assessment.class_baselines", of_classes)
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")


def fit(place, target="cost", said=None, **options):
    notes = [] if said is None else said
    out = place.parent / "model"
    return fit_table(place, target, out, members=4, progress=False, say=notes.append, **options)


def test_whole_groups_are_held_out_and_judged_on_one_by_one(tmp_path, unjudged):
    said, columns = [], visits()
    found = fit(write(tmp_path / "a.csv", columns), said=said, groups="patient")
    assert found["split"] == {"by": "groups", "column": "patient", "train": 10, "test": 2}
    assert found["rows"] == {"file": 120, "used": 120, "train": 100, "test": 20}
    assert "not using column 'patient': names groups, as asked" in said
    records, scores = found["test"]["by_group"], found["test"]["group_scores"]
    assert [record["rows"] for record in records] == [10, 10]
    assert {record["value"] for record in records} < set(columns["patient"])
    for name in ("coverage_90", "width_90", "mae"):
        np.testing.assert_allclose(scores[name], np.mean([r[name] for r in records]))
    assert scores["groups"] == 2
    assert scores["least_covered"] in columns["patient"]
    model = TableModel.load(tmp_path / "model")
    assert model.columns.said.to_json() == {"groups": ["patient"]}
    new = {name: cells for name, cells in columns.items() if name not in ("patient", "cost")}
    found = predict_table(
        model, write(tmp_path / "new.csv", new), tmp_path / "p.csv", progress=False
    )
    assert found.outside == 0  # no row of a new patient is, nor is their name asked for


def test_classes_of_groups(tmp_path, unjudged):
    columns = visits()
    columns["fate"][7] = "unknown"  # one group alone has it, which then is trained on
    for seed in range(4):
        found = fit(
            write(tmp_path / "a.csv", columns), "fate", groups="patient", drop="cost", seed=seed
        )
        assert columns["patient"][7] not in [r["value"] for r in found["test"]["by_group"]]
        assert set(found["test"]["group_scores"]) == {"groups", "accuracy", "log_loss"}


def test_the_last_fifth_is_held_out_and_judged_on_in_parts(tmp_path, unjudged):
    columns = visits()
    found = fit(write(tmp_path / "a.csv", columns), time="day")
    assert found["split"] == {
        "by": "time",
        "column": "day",
        "train": ["2020-01-01", "2020-04-05"],
        "test": ["2020-04-06", "2020-04-29"],
    }
    parts = found["test"]["by_time"]
    assert [part["rows"] for part in parts] == [4, 5, 5, 5, 5]
    assert (parts[0]["from"], parts[-1]["to"]) == ("2020-04-06", "2020-04-29")
    model = TableModel.load(tmp_path / "model")
    later = columns | {"day": [d.replace("2020", "2024") for d in columns["day"]]}
    place = write(tmp_path / "later.csv", later)
    assert predict_table(model, place, tmp_path / "p.csv", progress=False).outside == 0


def test_rows_of_one_time_stay_together():
    ties = Ties("year", times=np.repeat(np.arange(8.0), 5))
    train, test = ties.split(np.arange(40.0), NUMBER, seed=0)
    assert (train.max(), test.min()) == (34, 35)
    with pytest.raises(DataError, match="0 rows are later than the first four fifths by 'year'"):
        Ties("year", times=np.repeat([0.0, 1.0], [5, 35])).split(np.arange(40.0), NUMBER, seed=0)


def test_copies_are_apart_in_other_groups_only():
    groups = np.array(["a", "a", "b", "b"], dtype=object)
    assert Ties("g", groups=groups).apart(np.array([0, 1, 0, 0])).tolist() == [0, 1, 2, 2]
    assert Ties().apart(np.array([0, 1, 0, 0])).tolist() == [0, 1, 0, 0]


def test_rows_of_a_file_to_judge_on_are_told_by_group(tmp_path, unjudged):
    said, columns = [], visits()
    other = visits(seed=1)
    other["patient"][20:] = [f"new {p}" for p in other["patient"][20:]]
    found = fit(
        write(tmp_path / "a.csv", columns),
        said=said,
        groups="patient",
        test=write(tmp_path / "b.csv", other),
    )
    assert found["split"] == {"by": "file", "column": "patient", "train": 12, "test": 0}
    assert (
        "'b.csv': 20 of 120 rows to judge on are of groups by 'patient' that training has" in said
    )
    assert sum(record["rows"] for record in found["test"]["by_group"]) == 120
    del other["patient"]
    found = fit(
        write(tmp_path / "a.csv", columns), groups="patient", test=write(tmp_path / "b.csv", other)
    )
    assert "by_group" not in found["test"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": "pateint"}, "--groups: .* has no column 'pateint'.* Did you mean 'patient'"),
        ({"groups": "cost"}, "--groups names 'cost', which is the target"),
        ({"groups": "three"}, "--groups: column 'three' names 3 groups; expected at least 5"),
        ({"groups": "holey"}, "--groups: column 'holey' is empty in row 5"),
        ({"groups": "patient", "time": "day"}, "--groups and --time name 'patient', 'day'; expect"),
        ({"groups": "patient", "ids": "patient"}, "--ids and --groups both name 'patient'"),
        ({"time": "patient"}, "--time names 'patient', which holds cells such as 'p"),
        ({"time": "gaps"}, "--time: column 'gaps' is empty in row 5"),
    ],
)
def test_what_ties_nothing_is_refused(options, said, tmp_path, unjudged):
    columns = visits()
    columns["three"] = [f"g{i % 3}" for i in range(120)]
    columns["holey"] = ["" if i == 4 else p for i, p in enumerate(columns["patient"])]
    columns["gaps"] = ["" if i == 4 else f"{i}.5" for i in range(120)]
    with pytest.raises(DataError, match=said):
        fit(write(tmp_path / "a.csv", columns), **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--groups=patient"], "On 20 rows held out, all of 2 new groups by 'patient':"),
        (["--time=day"], "On 24 rows held out, later by 'day' than all others:"),
    ],
)
def test_the_program_takes_them(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", visits())
    assert run(["fit", "a.csv", "--target=cost", "--members=2", *words]) == 0
    assert said in capsys.readouterr().out


def test_error_bars_of_the_baselines_are_measured_as_rows_are_held_out():
    from hunch.tables.baselines import regression_baselines

    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 10)
    x = np.eye(30)[group] + 0.01 * rng.normal(size=(300, 30))  # which tells groups apart
    y = 3 * rng.normal(size=30)[group] + 0.1 * rng.normal(size=300)
    names = np.array([f"g{i}" for i in group], dtype=object)
    known, new, later = (
        regression_baselines(x, y, x[:3], 0, ties)[0]
        for ties in (Ties(), Ties("g", groups=names), Ties("t", times=np.arange(300.0)))
    )
    assert known.std[0] < 1 < min(new.std[0], later.std[0])
    assert "from a tenth of the groups left out" in new.note
    assert "from the last tenth left out" in later.note


def test_figures_are_given_for_each_kind_of_rows_asked_for(tmp_path, unjudged):
    columns = visits()
    columns["sex"] = ["m" if i % 3 else "f" for i in range(120)]
    columns["sex"][5] = ""
    place = write(tmp_path / "a.csv", columns)
    found = fit(place, drop=["sex", "patient"], subgroups=["sex", "age"])
    assert "sex" not in [c["name"] for c in found["columns"]["used"]]
    by = found["test"]["by_subgroup"]
    assert {record["value"] for record in by["sex"]} <= {"m", "f", "missing"}
    assert [len(by["age"]), sum(record["rows"] for record in by["age"])] == [4, 24]
    assert by["age"][0].keys() == {"value", "rows", "coverage_90", "width_90", "mae"}
    assert TableModel.load(tmp_path / "model").columns.said.subgroups == ("sex", "age")
    with pytest.raises(DataError, match="--subgroups names 'cost', which is the target"):
        fit(place, subgroups="cost")


def test_what_looks_tied_is_said_unless_it_was(tmp_path, unjudged):
    place, said = write(tmp_path / "a.csv", visits(240, groups=24)), []
    found = fit(place, said=said)
    (note,) = found["dependence"]
    assert note in said
    assert "say --groups patient" in note
    assert found["split"] == {"by": "rows", "column": None}
    assert "--groups patient" in (tmp_path / "model" / "summary.json").read_text()
    assert fit(place, groups="patient")["dependence"] == []


def test_times_are_told_as_they_are_written():
    table = pa.table({"at": ["2020-01-01 06:00", "2020-01-02 00:00"]})
    from hunch.tables.choices import Choices
    from hunch.tables.ways import learn_ways

    ties = Ties.of(table, learn_ways(table), Choices(time=("at",)))
    assert ties.told(np.arange(2), np.arange(0))["train"] == ["2020-01-01T06:00:00", "2020-01-02"]
