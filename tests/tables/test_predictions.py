"""The file that `predict_table` writes: the rows that it read, and what the model says of each."""

import csv
import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunch.errors import FolderError
from hunch.tables import Columns, predict_table
from hunch.tables import reading as reading_module
from hunch.tables.model import train
from hunch.tables.target import Target
from hunch.tables.writing import csv_rows

NUMBERS = ["mean", "std", "epistemic", "aleatoric", "lower", "upper"]
ANSWERS = [*NUMBERS, "outside", "outside_because"]


@pytest.fixture(scope="module")
def model():
    table = pa.table({"x": [i / 40 for i in range(40)], "y": [i / 20 for i in range(40)]})
    rules, x = Columns.learn_and_encode(table.select(["x"]))
    y = table["y"].to_numpy()
    return train(rules, Target("y", "regression"), x, y, members=2, progress=False)


@pytest.fixture
def written(model, tmp_path):
    """Predicts a text, or the file of that name, and returns the cells of the output."""

    def predict(content, name="new.csv", notes=None):
        if content is not None:
            (tmp_path / name).write_bytes(content.encode())
        said = [] if notes is None else notes
        predict_table(model, tmp_path / name, tmp_path / "out.csv", progress=False, say=said.append)
        with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    return predict


ODD = [
    ["007", " padded ", "1.50"],
    ["1e3", "a,b", "0.25"],
    ["NA", 'said "no"', "+.5"],
    ["", "two\nlines", "0.125"],
    ["Zoë", "=1+1", "?"],
    ["-", "tab\t", "NaN"],
]


@pytest.mark.parametrize("kind", ["number", "class"])
def test_of_no_rows_there_are_no_predictions_and_no_warning(kind, model):
    if kind == "class":
        table = pa.table({"x": [i / 40 for i in range(40)]})
        rules, x = Columns.learn_and_encode(table)
        y = np.arange(40) % 2.0
        goal = Target("y", "classification", ("a", "b"))
        model = train(rules, goal, x, y, members=2, progress=False)
    some = model.predict(pa.table({"x": [0.5]}))
    none = model.predict(pa.table({"x": pa.array([], pa.float64())}))
    assert (none.num_rows, none.schema) == (0, some.schema)
    assert none.column_names == model.output_names


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_come_out_as_they_went_in(delimiter, written, tmp_path):
    with (tmp_path / "new.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([["id", "a, note", "x"], *ODD])
    header, *rows = written(None)
    assert header == ["id", "a, note", "x", *ANSWERS]
    assert [row[:3] for row in rows] == ODD


def test_predictions_are_those_of_the_row_they_stand_behind(written, model, monkeypatch):
    monkeypatch.setattr(reading_module, "CHUNK_ROWS", 4)
    numbers = np.random.default_rng(0).permutation(30) / 30
    header, *rows = written("x\n" + "\n".join(map(str, numbers)) + "\n")
    said = model.predict(pa.table({"x": numbers}))
    for name in NUMBERS:
        found = [float(row[header.index(name)]) for row in rows]
        # Matrix products of other sizes round otherwise.
        assert np.allclose(found, said[name].to_numpy(), rtol=1e-9), name
    assert {tuple(row[-2:]) for row in rows} == {("false", "")}


def test_a_target_that_is_known_is_copied_without_a_note(written):
    notes = []
    assert written("y,x\n7,0.5\n", notes=notes)[1][:2] == ["7", "0.5"]
    assert notes == []


def test_a_taken_name_renames_all_predictions(written):
    notes = []
    header, row = written("mean,x,std\nmine,0.5,own\n", notes=notes)
    assert header == ["mean", "x", "std", *[f"hunch_{name}" for name in ANSWERS]]
    assert (row[0], row[2]) == ("mine", "own")
    assert len(notes) == 2
    assert "'hunch_mean'" in notes[1]
    assert "'mean', 'std' already" in notes[1]


def test_predictions_of_predictions_keep_both(written, tmp_path):
    written("x\n0.5\n")
    (tmp_path / "out.csv").rename(tmp_path / "again.csv")
    header, row = written(None, "again.csv")
    assert header == ["x", *ANSWERS, *[f"hunch_{name}" for name in ANSWERS]]
    assert row[1:9] == row[9:]


def test_typed_columns_are_written_as_text_and_lists_left_out(written, tmp_path):
    table = pa.table(
        {
            "x": [0.1, None],
            "when": [datetime.date(2024, 2, 29), None],
            "cost": [Decimal("1.50"), None],
            "kind": pa.array(["a,b", None]).dictionary_encode(),
            "list": [[1, 2], [3]],
            "raw": [b"\xff", b"a"],
            "none": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "new.parquet")
    notes = []
    header, *rows = written(None, "new.parquet", notes)
    assert header == ["x", "when", "cost", "kind", "none", *ANSWERS]
    assert rows[0][:5] == ["0.1", "2024-02-29", "1.50", "a,b", ""]
    assert rows[1][:5] == ["", "", "", "", ""]
    assert notes[-1] == "not copied, since no cell of a CSV file can hold them: 'list', 'raw'"


def test_only_older_predictions_of_such_a_file_are_replaced(written, tmp_path):
    written("x\n0.5\n")
    assert len(written("x\n0.5\n0.6\n")) == 3
    before = (tmp_path / "out.csv").read_bytes()
    with pytest.raises(FolderError, match="does not hold predictions of such a file"):
        written("x,mine\n0.5,1\n")
    assert (tmp_path / "out.csv").read_bytes() == before


def test_older_predictions_without_reasons_are_replaced(written, tmp_path):
    written("x\n0.5\n")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    (tmp_path / "out.csv").write_text("".join(f"{line.rpartition(',')[0]}\n" for line in lines))
    assert written("x\n0.6\n")[0] == ["x", *ANSWERS]


def test_infinite_numbers_have_a_name():
    assert csv_rows(pa.table({"a": [np.inf, -np.inf, np.nan]})) == b"inf\n-inf\nnan\n"


def test_the_share_that_is_read_does_not_run_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "_BLOCK", 1_000)
    (tmp_path / "a.csv").write_text("x\n" + "123456789\n" * 1_000)
    source = reading_module.open_table(tmp_path / "a.csv")
    seen, percents = 0, []
    for chunk in source.chunks():
        seen += chunk.num_rows
        percents.append(source.percent_read - 100 * seen // 1_000)
    assert len(percents) > 9
    assert max(map(abs, percents)) <= 1
    assert source.percent_read == 100
