"""What the user says of columns: it goes before their looks, is kept, and is shown."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunch.cli.main import run
from hunch.errors import ConfigurationError, DataError
from hunch.storage import open_folder, read_json
from hunch.tables import Columns, TableModel, fit_table
from hunch.tables.choices import NOTHING_SAID, Choices
from hunch.tables.model import KIND
from hunch.tables.ways import learn_ways


def visits(n=60, seed=0):
    rng = np.random.default_rng(seed)
    age, clinic = rng.integers(20, 90, n).astype(float), rng.integers(1, 4, n)
    age[11] = -99_999
    return {
        "patient": [f"p{i}" for i in range(n)],
        "age": [f"{a:g}" for a in age],
        "clinic": [f"0{c}" for c in clinic],
        "remark": [f"see {i}" for i in range(n)],
        "cost": [f"{3 * c + rng.normal():.3f}" for c in clinic],
    }


def write(place, columns):
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    place.write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture
def unjudged(monkeypatch):
    """Fits without baselines and without a page, which take most of the time."""
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *_: {})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")


def fit(place, said=None, **options):
    notes = [] if said is None else said
    out = place.parent / "model"
    return fit_table(place, "cost", out, members=2, progress=False, say=notes.append, **options)


def test_what_is_said_is_done_kept_and_shown(tmp_path):
    said = []
    found = fit(
        write(tmp_path / "a.csv", visits()),
        said,
        drop="remark",
        ids=["patient"],
        categorical=["clinic"],
        numeric="age",
    )
    assert found["columns"]["dropped"] == [
        {"name": "remark", "why": "left out, as asked"},
        {"name": "patient", "why": "an id, as asked"},
    ]
    used = {c["name"]: (c["kind"], c["values"]) for c in found["columns"]["used"]}
    assert used.keys() == {"age", "clinic"}
    assert (used["age"][0], used["clinic"][0]) == ("number", "category")
    assert sorted(used["clinic"][1]) == ["01", "02", "03"]
    assert "taken for numbers, as asked: 'age'" in said
    assert "taken for text, as asked: 'clinic'" in said
    assert "not using column 'patient': an id, as asked" in said
    choices = {
        "drop": ["remark"],
        "ids": ["patient"],
        "categorical": ["clinic"],
        "numeric": ["age"],
    }
    assert TableModel.load(tmp_path / "model").columns.said.to_json() == choices
    page = (tmp_path / "model" / "report.html").read_text("utf-8")
    assert "3 values, as asked" in page
    assert "dropped: an id, as asked" in page


def test_ids_name_the_rows_that_notes_speak_of(tmp_path, unjudged):
    for ids, where in [((), "row 12,"), (("patient", "remark"), "row 12 (patient 'p11', remark")]:
        said = []
        fit(write(tmp_path / "a.csv", visits()), said, ids=ids)
        assert any(f"column 'age' holds -99999 in {where}" in line for line in said)


def test_ids_and_dropped_columns_leave_no_row_outside_and_may_be_absent(tmp_path, unjudged):
    columns = visits()
    columns["patient"] = [str(i) for i in range(60)]
    fit(write(tmp_path / "a.csv", columns), ids="patient", drop=["remark", "clinic"])
    model = TableModel.load(tmp_path / "model")
    new = {"age": ["30", "31"], "patient": ["70000", "x"], "clinic": ["unseen", ""]}
    assert model.predict(pa.table(new))["outside"].to_pylist() == [False, False]
    assert model.columns.check_names(["age"]) == []


def test_a_dropped_column_is_not_looked_at(tmp_path, unjudged):
    columns = visits() | {"sold": ["03/04/2011"] * 30 + ["05/06/2012"] * 30}
    place = write(tmp_path / "a.csv", columns)
    with pytest.raises(DataError, match="say it with --date-order"):
        fit(place)
    for option in ("drop", "ids"):
        fit(place, **{option: "sold"})


def test_text_that_is_said_to_be_categories_is_kept_however_often_it_differs():
    words = [f"w{i}" for i in range(60)]
    table = pa.table({"a": words})
    with pytest.raises(DataError, match="text with 60 different values"):
        Columns.learn(table)
    (column,) = Columns.learn(table, said=Choices(categorical=("a",))).used
    assert (len(column.values), column.other) == (20, True)


@pytest.mark.parametrize(
    "cells", [["1", "2", "1"], pa.array([1, 2, 1]), pa.array([True, False, True])]
)
def test_cells_of_any_type_may_be_categories(cells):
    table = pa.table({"a": cells})
    columns = Columns.learn(table, said=Choices(categorical=("a",)))
    (column,) = columns.used
    assert column.kind == "category"
    features, outside = columns.encode(table)
    assert features.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert not outside.any()


def test_codes_that_are_numbers_are_no_other_kind_in_a_column_of_categories():
    table, new = pa.table({"a": ["7a", "7b", "7a"]}), pa.table({"a": ["9", "7b"]})
    columns = Columns.learn(table, said=Choices(categorical=("a",)))
    assert columns.encode(pa.table({"a": ["9", "10"]}))[1].tolist() == [True, True]
    assert columns.encode(new)[0].tolist() == [[0, 0], [0, 1]]
    # They are no words of training whatever the user says.
    assert Columns.learn(table).encode(pa.table({"a": ["9", "10"]}))[1].tolist() == [True, True]


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (["1", "2", "unknown"], "'unknown' in row 3"),
        (["yes", "no"], "'yes' in row 1"),
        (["2024-01-01", "2024-01-02"], "'2024-01-01' in row 1"),
        (["1.234,5", "1,234.5"], "'1.234,5' in row 1"),
        (pa.array([True, False]), "'true' in row 1"),
        (pa.array([0], pa.date32()), "'1970-01-01' in row 1"),
    ],
)
def test_a_cell_that_is_no_number_is_refused_in_a_column_of_numbers(cells, named):
    with pytest.raises(DataError, match="since --numeric names the column") as refused:
        learn_ways(pa.table({"a": cells}), kinds={"a": "number"})
    assert f"column 'a' holds {named}; expected a number" in str(refused.value)


@pytest.mark.parametrize("cells", [["1,5", "", "-"], ["", ""], pa.array([1, None])])
def test_numbers_are_read_as_ever_in_a_column_of_numbers(cells):
    way = learn_ways(pa.table({"a": cells}), kinds={"a": "number"})["a"]
    plain = learn_ways(pa.table({"a": cells}))["a"]
    assert (way.kind, way.decimal) == ("number", plain.decimal)


def test_a_number_of_many_digits_is_kept_if_it_is_said_to_be_one():
    ids = pa.table(
        {"a": [str(9_007_199_254_740_993_000 + 100 * i) for i in range(60)], "b": range(60)}
    )
    assert [d.name for d in Columns.learn(ids).dropped] == ["a"]
    used = Columns.learn(ids, said=Choices(numeric=("a",))).used
    assert [c.name for c in used] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--drop=Remarks"], "--drop: 'a.csv' has no column 'Remarks'; "),
        (["--ids=pateint"], "Did you mean 'patient'?"),
        (["--numeric=cost"], "--numeric names 'cost', which is the target"),
        (["--drop=age", "--numeric=age"], "--drop and --numeric both name 'age'"),
        (["--numeric=clinic", "--numeric=remark"], "column 'remark' holds 'see 0' in row 1"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", visits())
    assert run(["fit", "a.csv", "--target=cost", *words]) == 2
    lines = [s for s in capsys.readouterr().err.splitlines() if "loading torch" not in s]
    assert len(lines) == 1
    assert expected in lines[0]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("names", [5, [5], None, b"age"])
def test_what_is_no_name_is_refused(names, tmp_path):
    with pytest.raises(ConfigurationError, match=r"`drop` got .*; expected the name of a column"):
        fit(write(tmp_path / "a.csv", visits()), drop=names)


def test_where_all_is_left_out_the_sentence_says_so(tmp_path, unjudged):
    with pytest.raises(DataError, match="'remark' is left out, as asked; 'age' is an id, as asked"):
        fit(write(tmp_path / "a.csv", visits()), drop=["clinic", "patient", "remark"], ids="age")


def test_a_column_of_lists_can_be_dropped_and_nothing_else(tmp_path, unjudged):
    columns = {"age": range(40), "cost": [float(i % 9) for i in range(40)], "list": [[1]] * 40}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="--ids names 'list', which holds cells of type list"):
        fit(tmp_path / "a.parquet", ids="list")
    found = fit(tmp_path / "a.parquet", drop="list", task="regression")
    assert found["columns"]["dropped"] == [{"name": "list", "why": "left out, as asked"}]


def test_where_nothing_is_said_nothing_is_written(tmp_path, unjudged):
    fit(write(tmp_path / "a.csv", visits()))
    place = open_folder(tmp_path / "model", KIND) / "model.json"
    assert read_json(place)["columns"].keys() == {"used", "dropped"}
    assert TableModel.load(tmp_path / "model").columns.said == NOTHING_SAID


def test_the_program_takes_them(tmp_path, unjudged, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hunch.cli.fit._lines", lambda _: [])
    write(tmp_path / "a.csv", visits())
    words = ["--drop=remark", "--ids=patient", "--categorical=clinic", "--numeric=age"]
    assert run(["fit", "a.csv", "--target=cost", "--members=2", *words]) == 0
    assert "taken for text, as asked: 'clinic'" in capsys.readouterr().err


def test_rows_without_a_target_are_refused_by_a_sentence_that_names_the_option(tmp_path, unjudged):
    columns = visits()
    columns["cost"][3] = columns["cost"][50] = "NA"
    with pytest.raises(DataError, match=r"the first in row 4; .* with --drop-missing-target"):
        fit(write(tmp_path / "a.csv", columns))


@pytest.mark.parametrize(
    ("target", "none"), [("cost", "-"), ("clinic", ""), ("remark", "?"), ("late", "--")]
)
def test_rows_without_a_target_may_be_left_out_and_are_counted(target, none, tmp_path, unjudged):
    columns = visits(80) | {"late": ["yes", "no"] * 40, "remark": ["good", "bad"] * 40}
    full = write(tmp_path / "full.csv", {k: v[:9] + v[12:79] for k, v in columns.items()})
    columns[target] = [
        none if i in (9, 10, 11, 79) else cell for i, cell in enumerate(columns[target])
    ]
    holed = write(tmp_path / "holed.csv", columns)
    models, found = [], {}
    for name, place in {"full": full, "holed": holed}.items():
        said = []
        options = {"members": 2, "progress": False, "say": said.append}
        found[name] = fit_table(place, target, tmp_path / name, drop_missing_target=True, **options)
        models.append(
            TableModel.load(tmp_path / name).predict(
                pa.table(visits(20, seed=2)).append_column("late", pa.array(["no"] * 20))
            )
        )
    assert models[0].equals(models[1])
    assert "4 of 80 rows have no target, and are left out" in said
    assert found["holed"]["rows"] == {
        "file": 80,
        **{k: found["full"]["rows"][k] for k in ("used", "train", "test")},
    }
    assert (found["holed"]["without_target"], found["full"]["without_target"]) == (4, 0)


def test_notes_name_the_row_of_the_file_where_rows_are_left_out(tmp_path, unjudged):
    columns = visits()
    columns["cost"][3] = ""
    said = []
    fit(write(tmp_path / "a.csv", columns), said, ids="patient", drop_missing_target=True)
    assert any("'age' holds -99999 in row 12 (patient 'p11')" in line for line in said)


def test_a_target_that_is_hardly_there_is_refused(tmp_path):
    columns = visits()
    for few, expected in [(15, "has 15 rows with a value of 'cost'"), (0, "no value in any row")]:
        columns["cost"] = columns["cost"][:few] + [""] * (60 - few)
        with pytest.raises(DataError, match=expected):
            fit(write(tmp_path / "a.csv", columns), drop_missing_target=True)
