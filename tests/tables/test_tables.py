"""Rules of columns, the same answers after a folder, streams, the page and the program."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hunch.cli.main import run
from hunch.errors import DataError
from hunch.tables import Column, Columns, TableModel, fit_table, predict_table
from hunch.tables import reading as reading_module
from hunch.tables.target import learn_target
from hunch.tables.verdict import rounded

CITIES = ["Ulm", "Bonn", "Kiel"]


def houses(n, seed=0):
    rng = np.random.default_rng(seed)
    size, city = rng.uniform(40, 160, n), rng.integers(0, 3, n)
    garden = rng.random(n) < 0.4
    rooms = rng.integers(1, 7, n).astype(float)
    rooms[rng.random(n) < 0.2] = np.nan
    sold = np.datetime64("2020-01-01") + rng.integers(0, 900, n)
    price = 3 * size + 50 * (city == 0) + 20 * garden + 10 * rng.normal(size=n)
    return pa.table(
        {
            "id": [f"house {i}" for i in range(n)],
            "size": size,
            "rooms": pa.array(rooms, from_pandas=True),
            "city": [CITIES[c] for c in city],
            "garden": ["yes" if g else "no" for g in garden],
            "sold": sold.astype(str).tolist(),
            "again": size,
            "land": ["DE"] * n,
            "notes": pa.nulls(n, pa.string()),
            "price": price,
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    pyarrow.csv.write_csv(houses(300), folder / "a.csv")
    pq.write_table(houses(300), folder / "a.parquet")
    return folder


@pytest.fixture(scope="module")
def summary(place):
    return fit_table(place / "a.csv", "price", place / "model", members=6, progress=False)


@pytest.fixture(scope="module")
def classes(place):
    return fit_table(place / "a.csv", "city", place / "cities", members=6, progress=False)


@pytest.fixture
def unjudged(summary, classes, monkeypatch):
    """Fits without baselines and a page, which take most of the time: figures are of before."""
    known = {"price": summary["test"], "city": classes["test"]}
    monkeypatch.setattr(
        "hunch.tables.fitting.assess", lambda model, split, seed: known[model.target.name]
    )
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")


def test_every_column_becomes_what_the_rules_say(summary):
    used = {c["name"]: c for c in summary["columns"]["used"]}
    kinds = {name: c["kind"] for name, c in used.items()}
    assert kinds == {
        "size": "number",
        "rooms": "number",
        "city": "category",
        "garden": "boolean",
        "sold": "date",
    }
    assert [name for name, c in used.items() if c["missing"]] == ["rooms"]
    dropped = {c["name"]: c["why"] for c in summary["columns"]["dropped"]}
    assert dropped == {
        "id": "text with 240 different values in 240 rows",
        "again": "the same as 'size'",
        "land": "constant",
        "notes": "empty",
    }


def test_rules_come_from_the_training_part_alone(place, summary):
    table = houses(300)
    sizes = table["size"].to_numpy()
    (size,) = [c for c in summary["columns"]["used"] if c["name"] == "size"]
    assert size["low"] >= sizes.min()
    assert size["fill"] != np.median(sizes)
    assert summary["rows"] == {"file": 300, "used": 300, "train": 240, "test": 60}


def test_what_is_learned_from_rows_comes_with_their_features():
    for table in (houses(50).drop_columns(["price"]), houses(50).select(["size", "rooms"])):
        rules, features = Columns.learn_and_encode(table)
        assert rules == Columns.learn(table)
        np.testing.assert_array_equal(features, rules.encode(table)[0])
        assert features.flags.c_contiguous  # sums round by the order in memory


def test_a_fit_encodes_each_row_once_by_the_rules_of_all_and_once_by_those_of_the_model(
    unjudged, tmp_path, monkeypatch
):
    x = np.random.default_rng(0).normal(size=(100, 10))
    pq.write_table(
        pa.table({f"c{i}": c for i, c in enumerate(x.T)} | {"price": x[:, 0]}),
        tmp_path / "t.parquet",
    )
    rows, whole = {}, Column.encode

    def encode(column, cells, *rest, **options):
        rows[column.name] = rows.get(column.name, 0) + len(cells)
        return whole(column, cells, *rest, **options)

    monkeypatch.setattr(Column, "encode", encode)
    fit_table(tmp_path / "t.parquet", "price", tmp_path / "m", members=2, progress=False)
    assert rows == {f"c{i}": 200 for i in range(10)}


def test_numbers_take_the_median_and_say_that_they_were_missing():
    table = pa.table({"a": ["1", "NA", "9", "inf", "2"]})
    columns = Columns.learn(table)
    assert columns.features == ["a", "a missing"]
    assert columns.encode(table)[0].tolist() == [[1, 0], [2, 1], [9, 0], [2, 1], [2, 0]]


def test_a_column_that_is_missing_or_one_value_tells_which():
    columns = Columns.learn(pa.table({"a": ["7", "", "7"]}))
    assert columns.encode(pa.table({"a": ["7", ""]}))[0].tolist() == [[7, 0], [7, 1]]


def test_many_words_keep_the_frequent_ones_and_share_the_rest():
    words = [f"w{i}" for i in range(50)] * 3 + ["w7"] * 9 + ["w3"] * 4
    columns = Columns.learn(pa.table({"a": words}))
    (column,) = columns.used
    assert column.values[:3] == ("w7", "w3", "w0")
    assert (len(column.values), column.other) == (20, True)
    features, outside = columns.encode(pa.table({"a": ["w7", "never seen", ""]}))
    assert features[0].nonzero()[0].tolist() == [0]
    assert features[1].nonzero()[0].tolist() == [20]
    assert not features[2].any()
    assert not outside.any()


def test_a_date_is_days_and_two_phases():
    table = pa.table({"d": ["2024-01-01", "2024-12-31", "2020-06-30"]})
    columns = Columns.learn(table)
    assert columns.features == [
        "d in days",
        "d sine of year",
        "d cosine of year",
        "d sine of week",
        "d cosine of week",
    ]
    features, _ = columns.encode(table)
    assert features[1, 0] - features[0, 0] == 365
    near = np.linalg.norm(features[0, 1:3] - features[1, 1:3])
    far = np.linalg.norm(features[0, 1:3] - features[2, 1:3])
    assert near < 0.1 < 1.9 < far


def test_dates_in_parquet_and_text_are_the_same():
    text = ["2024-02-29T12:00:00", "1969-12-31T00:00:00"]
    typed = pa.array(np.array(text, "datetime64[us]"))
    columns = Columns.learn(pa.table({"d": text}))
    assert columns.used[0].clock
    assert (
        columns.encode(pa.table({"d": text}))[0] == columns.encode(pa.table({"d": typed}))[0]
    ).all()


def test_far_outside_are_numbers_beyond_the_range_and_words_never_seen():
    columns = Columns.learn(pa.table({"a": [0.0, 100.0], "b": ["x", "y"]}))
    new = pa.table({"a": [50.0, 124.0, 126.0, -26.0, 50.0], "b": ["x", "x", "x", "x", "z"]})
    assert columns.encode(new)[1].tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 5, "classification"),
        (["yes", "no"] * 5, "classification"),
        (["0", "1", "2"] * 5, "classification"),
        ([str(i) for i in range(11)], "regression"),
        (["0.5", "1.5"] * 5, "regression"),
    ],
)
def test_the_task_follows_from_the_target(values, task):
    assert learn_target("y", pa.chunked_array([values]), "auto")[0].task == task


def test_classes_of_numbers_are_in_the_order_of_numbers():
    values = [str(i) for i in (10, 9, 2, 10)]
    target, y = learn_target("y", pa.chunked_array([values]), "classification")
    assert target.classes == ("2", "9", "10")
    assert y.tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize("name", ["model", "cities"])
def test_a_loaded_model_says_the_same_to_the_last_bit(name, place, unjudged, monkeypatch):
    kept = {}
    put = TableModel.put

    def keep(model, folder):
        kept["model"] = model
        put(model, folder)

    monkeypatch.setattr(TableModel, "put", keep)
    target = "price" if name == "model" else "city"
    fit_table(place / "a.csv", target, place / f"{name} 2", members=6, progress=False)
    table = houses(50, seed=1)
    loaded = TableModel.load(place / f"{name} 2").predict(table)
    assert loaded.equals(kept["model"].predict(table))
    # The same seed gives the same model, whatever was fitted in between.
    assert loaded.equals(TableModel.load(place / name).predict(table))


def test_csv_and_parquet_give_the_same_model(place, unjudged):
    fit_table(place / "a.parquet", "price", place / "parquet", members=6, progress=False)
    csv, parquet = (TableModel.load(place / name) for name in ("model", "parquet"))
    assert csv.columns == parquet.columns
    assert csv.predict(houses(50, seed=6)).equals(parquet.predict(houses(50, seed=6)))


def test_a_stream_in_small_parts_says_what_one_part_says(place, summary, tmp_path, monkeypatch):
    model = TableModel.load(place / "model")
    new = houses(90, seed=2).drop_columns(["price"])
    pyarrow.csv.write_csv(new, tmp_path / "new.csv")
    pq.write_table(new, tmp_path / "new.parquet")
    predict_table(model, tmp_path / "new.csv", tmp_path / "whole.csv", progress=False)
    monkeypatch.setattr(reading_module, "CHUNK_ROWS", 7)
    for name in ("new.csv", "new.parquet"):
        found = predict_table(model, tmp_path / name, tmp_path / "parts.csv", progress=False)
        assert found.rows == 90
        whole = pyarrow.csv.read_csv(tmp_path / "whole.csv")
        parts = pyarrow.csv.read_csv(tmp_path / "parts.csv")
        assert whole.select(new.column_names) == parts.select(new.column_names)
        assert whole["outside_because"].to_pylist() == parts["outside_because"].to_pylist()
        for column in model.output_names[:-1]:
            a, b = whole[column].to_numpy(), parts[column].to_numpy()
            # Matrix products of other sizes round otherwise.
            assert np.allclose(a, b, rtol=1e-9), column


def test_columns_may_come_in_another_order_and_more_of_them(place, summary, tmp_path):
    model = TableModel.load(place / "model")
    new = houses(30, seed=3)
    shuffled = new.select(["sold", "garden", "city", "rooms", "size"]).append_column(
        "extra", pa.array(range(30))
    )
    assert model.predict(shuffled).equals(model.predict(new))
    pyarrow.csv.write_csv(shuffled, tmp_path / "new.csv")
    said = []
    predict_table(
        model, tmp_path / "new.csv", tmp_path / "out.csv", progress=False, say=said.append
    )
    assert said == ["not used, since training did not have them: 'extra'"]


def test_wider_coverage_gives_wider_intervals_that_cover(place, summary):
    model, table = TableModel.load(place / "model"), houses(1000, seed=4)
    y = table["price"].to_numpy()
    narrow, wide = (model.predict(table, coverage=c) for c in (0.5, 0.9))
    # Six members are few, so that intervals are wide.
    for found, least, most in ((narrow, 0.35, 0.75), (wide, 0.8, 0.99)):
        low, high = found["lower"].to_numpy(), found["upper"].to_numpy()
        assert least < np.mean((low <= y) & (y <= high)) < most
    assert (wide["upper"].to_numpy() > narrow["upper"].to_numpy()).all()


def test_parts_of_the_uncertainty_add_up(place, summary, classes):
    table = houses(40, seed=5)
    found = TableModel.load(place / "model").predict(table)
    parts = np.hypot(found["epistemic"].to_numpy(), found["aleatoric"].to_numpy())
    assert np.allclose(parts, found["std"].to_numpy())
    found = TableModel.load(place / "cities").predict(table)
    total = found["epistemic"].to_numpy() + found["aleatoric"].to_numpy()
    assert np.allclose(total, found["entropy"].to_numpy())
    probabilities = [found[f"probability_{c}"].to_numpy() for c in sorted(CITIES)]
    assert np.allclose(np.sum(probabilities, axis=0), 1)


def test_it_learns_and_knows_what_it_does_not_know(summary):
    scores = summary["test"]["scores"]
    assert scores["hunch"]["r2"] > 0.9
    others = {"linear", "gradient boosting", "Gaussian process", "constant"}
    assert set(scores) == {"hunch", *others}
    far = summary["test"]["far"]["epistemic"]["median"]
    assert far[-1] > 3 * far[0]


def test_a_long_file_is_sampled_and_that_is_said(place, unjudged, tmp_path):
    found = fit_table(
        place / "a.csv", "price", tmp_path / "m", members=2, max_rows=100, progress=False
    )
    assert found["rows"] == {"file": 300, "used": 100, "train": 80, "test": 20}


@pytest.mark.parametrize("name", ["model", "cities"])
def test_the_page_shows_the_figures_of_the_summary(name, place, summary, classes):
    figures = summary if name == "model" else classes
    page = (place / name / "report.html").read_text("utf-8")
    assert json.loads((place / name / "summary.json").read_text()) == figures
    for own in figures["test"]["scores"].values():
        for key, value in own.items():
            percent = key in ("accuracy", "coverage_90")
            shown = f"{100 * value:.1f} %" if percent else rounded(value)
            shown = f"{round(value, 3) + 0.0:.3f}" if key == "r2" else shown
            assert f"<td>{shown}<" in page  # its range may follow
    assert re.findall(r'(?:src|href)="(https?:[^"]*)"', page) == []


def test_the_program_prints_the_summary_as_json(place, unjudged, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["fit", str(place / "a.csv"), "--target=price", "--members=6", "--json"]
    assert run(words) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert printed == json.loads((tmp_path / "model" / "summary.json").read_text())
    assert "not using column 'land': constant" in captured.err
    assert run(["predict", "model", str(place / "a.csv"), "--out=p.csv", "--json"]) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert printed.pop("scores")["rows"] == 300
    assert printed == {"rows": 300, "outside": 0, "out": "p.csv"}
    # Older predictions are replaced.
    assert run(["predict", "model", str(place / "a.csv"), "--out=p.csv"]) == 0
    assert capsys.readouterr().out.startswith("300 rows predicted into p.csv\nOn 300 rows whose ")


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_help_has_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    assert f"Example: hunch {command} " in capsys.readouterr().out


def test_without_a_package_the_error_names_the_remedy(monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in [name for name in sys.modules if name.startswith("hunch.tables")]:
        monkeypatch.delitem(sys.modules, name)
    assert run(["fit", "a.csv", "--target=y"]) == 2
    assert 'pip install "torch-hunch[tabular]"' in capsys.readouterr().err


def test_no_column_left_names_each_reason():
    with pytest.raises(DataError, match="'a' is constant; 'b' is empty"):
        Columns.learn(pa.table({"a": ["1", "1"], "b": ["", ""]}))
