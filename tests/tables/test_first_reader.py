"""What somebody met who followed the page on tables with a table of her own."""

import numpy as np
import pyarrow as pa
import pytest

from hunch.cli.main import WRONG_USE, run
from hunch.errors import DataError, FolderError
from hunch.tables import Columns, TableModel, fit_table, monitor_table, predict_table
from hunch.tables.recognized import marks_to_keep
from hunch.tables.suspects import odd_cell_notes
from hunch.tables.target import Target
from hunch.tables.ways import learn_ways


def contracts(n=150, seed=0, regions=("North", "South", "East", "Centre")):
    rng = np.random.default_rng(seed)
    region = rng.choice(regions, n)
    level = {"North": 0, "South": 30, "East": -30, "Centre": 60, "West": 10}
    size = rng.uniform(1, 100, n)
    price = np.array([level[r] for r in region]) + size + rng.normal(0, 2, n)
    return pa.table(
        {
            "region": region.tolist(),
            "size": [f"{s:.3f}" for s in size],
            "sold": [f"{1 + i % 28:02}/{1 + i % 12:02}/2023" for i in range(n)],
            "price": [f"{p:.2f}" for p in price],
        }
    )


def written(place, table):
    rows = zip(*table.to_pydict().values(), strict=True)
    place.write_text("\n".join(map(",".join, [table.column_names, *rows])) + "\n")
    return place


@pytest.fixture
def unjudged(monkeypatch):
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *_: {})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("first reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hunch.tables.fitting.assess", lambda *_: {"scores": {"hunch": {}}})
        patch.setattr("hunch.tables.fitting.table_report", lambda _: "")
        data = written(place / "contracts.csv", contracts())
        fit_table(data, "price", place / "model", members=10, progress=False)
    return place


def test_a_region_never_seen_is_outside_and_doubted(folder):
    model = TableModel.load(folder / "model")
    usual, new = contracts(40, seed=1), contracts(40, seed=1)
    new = new.set_column(0, "region", pa.array(["Mars"] * 40))
    known, told = model.predict(usual), model.predict(new)
    assert all(told["outside"].to_pylist())
    assert told["outside_because"][0].as_py() == "region = Mars"
    assert min(told["epistemic"].to_numpy()) > 30 > 3 * max(known["epistemic"].to_numpy())
    width, own = (np.mean(t["upper"].to_numpy() - t["lower"].to_numpy()) for t in (told, known))
    assert width > 100 > 3 * own


def test_a_column_whose_values_all_have_features_knows_a_new_one():
    words = [f"rep{i:02}" for i in range(45)] * 6
    columns = Columns.learn(pa.table({"rep": words}))
    assert (len(columns.used[0].values), columns.used[0].other) == (45, False)
    assert columns.encode(pa.table({"rep": ["rep99", "rep07"]}))[1].tolist() == [True, False]
    rare = Columns.learn(pa.table({"rep": [*words, "rep45"]}))
    assert not rare.encode(pa.table({"rep": ["rep99"]}))[1].any()  # one of the rest


def test_one_outlier_does_not_widen_what_is_inside():
    usual = np.linspace(1, 50, 200)
    columns = Columns.learn(pa.table({"a": [*usual, 4631.0]}))
    assert columns.used[0].high == 50.0
    new = pa.table({"a": [50.0, 55.0, 900.0, 4631.0]})
    assert columns.encode(new)[1].tolist() == [False, False, True, True]
    coded = Columns.learn(pa.table({"a": [*usual, *[-999.0] * 5]}))
    assert coded.used[0].low == 1.0
    assert coded.encode(pa.table({"a": [-999.0, -400.0]}))[1].tolist() == [False, True]
    assert Columns.from_json(coded.to_json()) == coded


def test_the_tail_of_a_skewed_column_is_no_odd_cell():
    rng = np.random.default_rng(3)
    firms = np.round(np.exp(rng.normal(4, 1.1, 1900))).clip(1)
    firms[7] = 4631.0
    goal, rows = Target("y", "regression"), np.arange(1900)

    def notes(cells):
        columns = Columns.learn(pa.table({"firms": cells}))
        return odd_cell_notes(cells[:, None], rng.normal(size=1900), columns, goal, rows)

    tail = np.sort(firms)[-5:]
    assert 2 < tail[-1] / tail[-2] < 3
    assert notes(firms) == []
    for odd in (999_999.0, -99_999.0):
        firms[7] = odd
        assert "in row 8, far from all other values" in notes(firms)[0]


def test_rows_that_training_has_seen_are_recognized(folder, tmp_path):
    model, said = TableModel.load(folder / "model"), []
    assert len(model.seen) == 120
    data, out = folder / "contracts.csv", tmp_path / "known.csv"
    predict_table(model, data, out, progress=False, say=said.append)
    assert any("120 of 120 training rows that are looked for are in this file" in s for s in said)
    said.clear()
    monitor_table(folder / "model", data, progress=False, say=said.append)
    assert any("the model has seen them, and scores with them are too good" in s for s in said)
    said.clear()
    new = written(tmp_path / "new.csv", contracts(60, seed=1))
    predict_table(model, new, tmp_path / "fresh.csv", progress=False, say=said.append)
    assert not any("training rows" in line for line in said)


def test_rows_that_stand_there_often_mark_nothing():
    assert len(marks_to_keep(np.zeros((9, 2)), np.zeros(9))) == 0
    assert len(marks_to_keep(np.arange(3000.0)[:, None], np.zeros(3000))) == 1000


def test_empty_groups_are_named_by_their_rows_in_the_file(tmp_path, unjudged):
    table = contracts(60).to_pydict()
    table["price"][3] = ""
    table["region"][5] = table["region"][9] = ""
    data = written(tmp_path / "a.csv", pa.table(table))
    options = {"members": 2, "progress": False, "drop_missing_target": True}
    with pytest.raises(DataError, match=r"'region' is empty in 2 rows, first in row 6; .* leave"):
        fit_table(data, "price", tmp_path / "m", groups="region", **options)


def test_a_strange_date_is_told_how_dates_are_written(folder):
    model = TableModel.load(folder / "model")
    new = contracts(3, seed=1).set_column(2, "sold", pa.array(["04/13/2024"] * 3))
    with pytest.raises(DataError, match="expected a date such as 31/12/2024, the day before the"):
        model.predict(new)
    iso = new.set_column(2, "sold", pa.array(["2023-04-13"] * 3))
    assert not any(model.predict(iso)["outside"].to_pylist())  # which says itself what is what


@pytest.mark.parametrize("option", ["number", "prediction", "weight"])
def test_only_the_option_that_was_used_is_named(option):
    name = {"number": "numeric", "weight": "weights"}.get(option, option)
    with pytest.raises(DataError, match=f"since --{name} names the column"):
        learn_ways(pa.table({"region": ["North"]}), kinds={"region": option})


def test_a_column_of_nearly_that_name_is_named(folder):
    model, new = TableModel.load(folder / "model"), contracts(3)
    with pytest.raises(DataError, match=r"'size' is missing.* The table has 'Size': rename it"):
        model.predict(new.rename_columns(["region", "Size", "sold", "price"]))


def test_a_file_of_nearly_that_name_is_named(folder, tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*contract.csv'. Did you mean 'contra"):
        fit_table(folder / "contract.csv", "price", tmp_path / "m", progress=False)


def test_a_model_of_another_table_is_told_in_words_of_both(folder, unjudged):
    with pytest.raises(FolderError, match=r"\(--out; `out` in Python\)"):
        fit_table(folder / "contracts.csv", "size", folder / "model", progress=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "{data}", "{model}", "--out", "p.csv"], "expected the model's folder first"),
        (["monitor", "{data}", "{model}"], "expected the model's folder first"),
        (["predict", "{data}", "{data}", "--out", "p.csv"], "is a file; expected a folder"),
        (["monitor", "{model}", "{data}", "--coverage", "90"], "for 90 % write 0.9."),
        (["monitor", "{model}", "{data}", "--coverage", "95%"], "for 95 % write 0.95."),
    ],
)
def test_arguments_that_were_meant_otherwise(words, said, folder, capsys):
    places = {"data": folder / "contracts.csv", "model": folder / "model"}
    assert run([word.format(**places) for word in words]) == WRONG_USE
    assert said in capsys.readouterr().err
