"""Files as bytes: where headers end, how many rows there are, limits, and how the process ends."""

import csv
import gzip
import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunch.cli.main import WRONG_USE, run
from hunch.errors import DataError
from hunch.tables import Columns, predict_table
from hunch.tables import reading as reading_module
from hunch.tables.cells import clean
from hunch.tables.model import train
from hunch.tables.numerals import look_at_numbers
from hunch.tables.reading import open_table
from hunch.tables.target import Target, learn_target
from hunch.tables.ways import learn_ways


@pytest.fixture(scope="module")
def model():
    table = pa.table({"x": [i / 40 for i in range(40)], "y": [i / 20 for i in range(40)]})
    rules, x = Columns.learn_and_encode(table.select(["x"]))
    y = table["y"].to_numpy()
    return train(rules, Target("y", "regression"), x, y, members=2, progress=False)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def texts(path):
    return [row for chunk in open_table(path).chunks() for row in chunk.to_pylist()]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [64, 2**23])
def test_an_empty_cell_of_an_only_column_is_a_row(end, block, model, tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "_BLOCK", block)
    numbers = [f"{i / 40}" if i % 3 else "" for i in range(40)]
    (tmp_path / "a.csv").write_bytes((end.join(["x", *numbers]) + end).encode())
    found = predict_table(model, tmp_path / "a.csv", tmp_path / "p.csv", progress=False)
    assert found.rows == 40
    assert [row[0] for row in rows_of(tmp_path / "p.csv")] == numbers


def test_more_or_fewer_rows_than_lines_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    source = open_table(tmp_path / "a.csv")
    lines = reading_module._count_lines(tmp_path / "a.csv", source.header.end)
    lines.filled += 1
    monkeypatch.setattr(reading_module, "_count_lines", lambda path, start: lines)
    with pytest.raises(DataError, match="has 3 rows, and 2 could be read"):
        list(source.chunks())


@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_counted_across_blocks(packed, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for _ in range(40):
        parts = rng.choice([b"a", b"\n", b"\r\n", b"\r", b"\n\n", b'"'], 30)
        content = b"".join(parts)
        # A return before a line feed is one end, also where they meet by chance.
        ends = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        path = tmp_path / "a.csv"
        path.write_bytes(gzip.compress(content) if packed else content)
        monkeypatch.setattr(reading_module, "_BLOCK", int(rng.integers(1, 9)))
        found = reading_module._count_lines(path, 0)
        assert found.bytes == len(content)
        assert found.quotes == content.count(b'"')
        assert found.filled == sum(map(bool, ends.split(b"\n")))
        assert found.all == len(ends.split(b"\n")) - ends.endswith(b"\n")


def test_parquet_rows_are_counted(model, tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "CHUNK_ROWS", 7)
    table = pa.table({"x": pa.array([None, 0.5] * 25)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=11)
    found = predict_table(model, tmp_path / "a.parquet", tmp_path / "p.csv", progress=False)
    assert found.rows == len(rows_of(tmp_path / "p.csv")) == 50


def command(*words, **options):
    code = "import sys; from hunch.cli.main import main; main(sys.argv[1:])"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, **options)


def lightly(*lines):
    """A program with the room of tables and without torch, which takes most of the time."""
    return "\n".join(
        [
            "import sys, types, pathlib, hunch",
            "room = types.ModuleType('hunch.tables')",
            "room.__path__ = [str(pathlib.Path(hunch.__file__).parent / 'tables')]",
            "sys.modules['hunch.tables'] = room",
            "from hunch.errors import DataError",
            "from hunch.tables.reading import open_table",
            *lines,
        ]
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_pipe_is_read_whole(kind, tmp_path):
    table = pa.table({"x": [str(i) for i in range(50_000)]})
    if kind == "csv":
        content = "x\n" + "".join(f"{x}\n" for x in table["x"].to_pylist())
        (tmp_path / "a").write_text(content)
    else:
        pq.write_table(table, tmp_path / "a")
    count = lightly("print(sum(chunk.num_rows for chunk in open_table('-').chunks()))")
    with (tmp_path / "a").open("rb") as file:
        told = subprocess.run([sys.executable, "-c", count], input=file.read(), capture_output=True)
    assert told.stdout.split() == [b"50000"], told.stderr
    with (tmp_path / "a").open("rb") as file:
        told = subprocess.run([sys.executable, "-c", count], stdin=file, capture_output=True)
    assert told.stdout.split() == [b"50000"], told.stderr


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match="is no file"):
        open_table(tmp_path / "a.csv")


@pytest.mark.parametrize("width", [70_000, 200_000])
@pytest.mark.parametrize("place", [0, -1])
def test_a_long_header_is_read_to_its_end(width, place, tmp_path):
    names = [f"{i:09d}" for i in range(width // 10)]
    names[place] = "target"
    (tmp_path / "a.csv").write_text(f"{','.join(names)}\n{','.join('1' * len(names))}\n")
    source = open_table(tmp_path / "a.csv")
    assert source.names == tuple(names)
    assert sum(chunk.num_rows for chunk in source.chunks()) == 1


def test_a_header_that_does_not_end_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "_BLOCK", 2**20)
    (tmp_path / "a.csv").write_bytes(b"a" * 2**20 + b"\n1\n")
    with pytest.raises(DataError, match="a header of more than 1 MB"):
        open_table(tmp_path / "a.csv")


def seconds_of(action):
    start = time.process_time()
    action()
    return time.process_time() - start


def test_many_names_take_time_in_proportion():
    names = [f"column {i}" for i in range(20_000)]
    rules = Columns.learn(pa.table({"column 0": ["1", "2"]}))
    assert seconds_of(lambda: reading_module.check_names("a.csv", names)) < 0.5
    assert seconds_of(lambda: rules.check_names(names)) < 0.5


def test_long_cells_take_time_in_proportion():
    """Sixteen thousand digits and a letter took 21 seconds."""
    cells = clean(pa.chunked_array([["1" * 160_000 + "x", "1" * 160_000]]))

    def look():
        with pytest.raises(ValueError, match="row 0"):
            look_at_numbers(cells)

    assert seconds_of(look) < 1


def test_text_that_repeats_is_not_unpacked(tmp_path):
    """A file of some kilobytes that would be two gigabytes of text."""
    cells = pa.DictionaryArray.from_arrays(
        pa.array(np.arange(20_000) % 2, pa.int32()), pa.array(["a" * 100_000, "b" * 100_000])
    )
    pq.write_table(pa.table({"a": cells}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 300_000
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="unpacks to 1,907 MB of text in 20,000 rows; expected at"):
        list(open_table(tmp_path / "a.parquet").chunks())
    assert pa.total_allocated_bytes() - before < 2**26


def test_wide_rows_come_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "_MOST", 2**16)
    table = pa.table({"a": [f"{i:04d}" * 1_000 for i in range(100)]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="none")
    chunks = list(open_table(tmp_path / "a.parquet").chunks())
    assert max(chunk.num_rows for chunk in chunks) <= 16
    assert sum(chunk.num_rows for chunk in chunks) == 100


@pytest.mark.slow
def test_a_refused_file_ends_the_process_cleanly_twenty_times(tmp_path):
    """The reader is ahead of the row that it refuses, in threads that outlive the error."""
    row = b"123456,0.5\n"
    (tmp_path / "a.csv").write_bytes(b"x,y\n" + row * 500 + b"5\n" + row * 2_000_000)
    program = lightly(
        "try:",
        "    list(open_table(sys.argv[1]).chunks())",
        "except DataError as error:",
        "    sys.exit(7)",
    )
    codes = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "a.csv")], timeout=60
        ).returncode
        for _ in range(20)
    ]
    assert codes == [7] * 20


@pytest.mark.parametrize("cell", ["1e200", "-1e151", "1e400", "9" * 400])
def test_numbers_beyond_all_measure_are_one_line(cell, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i / 8}\n" for i in range(40))
    (tmp_path / "a.csv").write_text(f"x,y\n{rows}{cell},1\n")
    assert run(["fit", "a.csv", "--target=y"]) == WRONG_USE
    assert "column 'x' holds" in capsys.readouterr().err
    assert run(["fit", "a.csv", "--target=x", "--task=regression"]) == WRONG_USE
    assert "'x' holds" in capsys.readouterr().err
    with pytest.raises(DataError, match="in row 41; expected numbers up to"):
        predict_table(model, tmp_path / "a.csv", tmp_path / "p.csv", progress=False)
    assert not (tmp_path / "p.csv").exists()


def test_answers_that_no_float_holds_are_counted(model, tmp_path):
    class Endless:
        columns, target, output_names = model.columns, model.target, ["mean", "outside"]
        seen = model.seen

        def predict(self, table, **options):
            return pa.table({"mean": [0.5, np.inf, np.nan], "outside": [False, True, True]})

    (tmp_path / "a.csv").write_text("x\n0.5\n1e149\n1e140\n")
    notes = []
    predict_table(
        Endless(), tmp_path / "a.csv", tmp_path / "p.csv", progress=False, say=notes.append
    )
    assert [note[:49] for note in notes] == ["of 2 rows some predictions are inf or nan: their "]


SAME = {
    "whole numbers": (["1", "1.0", "0", "01"], ("0", "1"), [1, 1, 0, 1]),
    "the most frequent spelling": (["1.0", "1.0", "1", "0"], ("0", "1.0"), [1, 1, 1, 0]),
    "exponents": (["1e0", "1", "1", "2"], ("1", "2"), [0, 0, 0, 1]),
    "truth": (["Yes", "yes", "yes", "No"], ("No", "yes"), [1, 1, 1, 0]),
    "truth in two words": (["true", "T", "f", "true"], ("f", "true"), [1, 1, 0, 1]),
    "text": (["b", "B", "a", "b"], ("B", "a", "b"), [2, 0, 1, 2]),
}


@pytest.mark.parametrize("case", SAME)
def test_one_number_is_one_class_however_it_is_written(case):
    cells, classes, expected = SAME[case]
    target, y = learn_target("y", pa.chunked_array([cells]), "auto")
    assert (target.classes, y.tolist()) == (classes, expected)
    assert f"{len(classes)} different" in target.why or case not in ("whole numbers", "exponents")
    again = Target.from_json(target.to_json())
    assert again.read(pa.chunked_array([cells])).tolist() == expected


def test_a_target_in_percent_is_a_number():
    cells = pa.chunked_array([["-0.1%", "3 %", "12%"]])
    target, y = learn_target("y", cells, "auto")
    assert (target.task, target.unit, y.tolist()) == ("regression", "%", [-0.1, 3.0, 12.0])
    assert Target.from_json(target.to_json()).read(cells).tolist() == y.tolist()


def test_a_target_of_an_older_folder_is_read():
    old = {"name": "y", "task": "classification", "classes": ["0", "1"], "why": "as asked"}
    assert Target.from_json(old).read(pa.chunked_array([["1", "0", "2"]])).tolist()[:2] == [1, 0]


def test_a_file_with_commas_through_both_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *args: {"scores": {"hunch": {}}})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda summary: "")
    monkeypatch.setattr("hunch.tables.verdict.verdict", lambda summary: "")
    rows = [f"{i}.{i % 10}00;0{i % 9 + 1}/0{i % 7 + 1}/2011;{i % 5} %" for i in range(1, 41)]
    (tmp_path / "a.csv").write_text("\n".join(["a;d;y", *rows]) + "\n")
    words = ["fit", "a.csv", "--target=y", "--members=2"]
    assert run(words) == WRONG_USE
    assert "--decimal point or --decimal comma" in capsys.readouterr().err
    assert run([*words, "--decimal=comma"]) == WRONG_USE
    assert "--date-order dmy or mdy" in capsys.readouterr().err
    assert run([*words, "--decimal=comma", "--date-order=dmy"]) == 0
    said = capsys.readouterr().err
    assert "regression, since the target holds numbers in %" in said
    assert "taken for numbers with a decimal comma: 'a' ('10.000' is 10000)" in said, said
    assert "taken for dates, the day before the month: 'd' ('08/01/2011' is 2011-01-08)" in said
    assert run(["predict", "model", "a.csv", "--out=p.csv"]) == 0
    assert [row[:3] for row in rows_of(tmp_path / "p.csv")] == [row.split(";") for row in rows]
    (tmp_path / "b.csv").write_text("a;d\n1.5;14/03/2011\n")
    assert run(["predict", "model", "b.csv", "--out=q.csv"]) == WRONG_USE
    assert "'1.5' in row 1; expected a number with a decimal comma" in capsys.readouterr().err


@pytest.mark.parametrize("given", [[0.12, 0.3], [12, 30], [12.0, None], ["12", "30"]])
def test_numbers_without_the_unit_that_training_had_are_refused(given):
    """Of 12 % a table of numbers holds 12 or 0.12, and nothing in it tells which."""
    learned = pa.table({"rate": ["12 %", "30 %", "7 %"], "fee": ["1 €", "2 €", "3 €"]})
    columns = Columns.learn(learned)
    with pytest.raises(DataError, match=r"'rate' holds '\d.*with its unit in the cell, such as"):
        columns.encode(pa.table({"rate": given, "fee": ["1 €", "2 €"]}))
    target = learn_target("rate", learned["rate"], "auto")[0]
    with pytest.raises(DataError, match="with its unit in the cell"):
        target.truth(pa.chunked_array([given]))
    empty = pa.array([None, None], pa.float64())
    x, outside = columns.encode(pa.table({"rate": empty, "fee": [1.0, 2.0]}))  # € may be absent
    assert (x.tolist(), outside.any()) == ([[12.0, 1.0], [12.0, 2.0]], False)


def test_a_point_that_may_group_digits_is_refused_where_training_had_whole_numbers():
    """`1.234` is 1234 to half of Europe; a whole number of training says nothing of a point."""
    learned = {"n": ["1234", "2345", "125"], "typed": [1, 2, 4]}
    columns = Columns.from_json(Columns.learn(pa.table(learned)).to_json())
    for name in learned:
        new = {"n": ["7", "8"], "typed": ["7", "8"]} | {name: ["5", "1.234"]}
        with pytest.raises(DataError, match=rf"'{name}' holds '1\.234' in row 2, whose point may"):
            columns.encode(pa.table(new))
        for cells, expected in (
            (["1.2340", "5"], [1.234, 5.0]),
            (["1.234", "0.5"], [1.234, 0.5]),  # the second proves that points are no groups
            ([1.234, 5.0], [1.234, 5.0]),
        ):
            x, _ = columns.encode(pa.table(new | {name: cells}))
            assert x[:, columns.groups()[name].start].tolist() == expected
    fractions = Columns.learn(pa.table({"a": ["1.5", "2345", "125"]}))
    assert fractions.encode(pa.table({"a": ["1.234"]}))[0].tolist() == [[1.234]]


def test_whole_numbers_with_points_in_some_rows_are_read_as_the_file_says():
    table = pa.table({"a": ["1", "2", "3", "1.250"]})
    ways = learn_ways(table, decimal="point")
    assert not ways["a"].whole
    columns = Columns.learn(table.slice(0, 3), ways)  # as if the last row were held out
    assert columns.encode(table)[0].ravel().tolist() == [1.0, 2.0, 3.0, 1.25]
