"""Every type of Arrow, flat and nested, in `fit` and in `predict`: read right or one line."""

import csv
import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunch.cli.main import run
from hunch.errors import DataError
from hunch.tables import Columns, TableModel
from hunch.tables.cells import is_flat, words
from hunch.tables.reading import open_table
from hunch.tables.target import learn_target
from hunch.tables.writing import csv_rows

DAYS = [0.0, 1.5, 2.0, 40.25]
SECONDS = [0.0, 3_661.0, 7_200.0, 86_399.0]
NUMBERS = [1.0, 2.0, 3.0, 5.0]


def integers(values, kind):
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array([int(value) for value in values], whole).cast(kind)


def moments(unit, zone=None):
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return integers([86_400 * scale * d for d in DAYS], pa.timestamp(unit, zone))


def coded(values):
    return pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3], pa.int16()), values)


def runs(values):
    return pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3, 4], pa.int32()), values)


def wrapped(kind, storage):
    return pa.ExtensionArray.from_storage(kind, storage)


def pieces(kind):
    return pa.array([[1, 2], [3, 4], [5, 6], [7, 8]], kind)


TEXT = ["a", "b", "c", "d"]
BYTES = [b"aaa", b"\xff\xfe\xfd", b"", b"ddd"]
BYTES_OF_3 = [b"aaa", b"\xff\xfe\xfd", b"ccc", b"ddd"]
UNION = (pa.array([0, 1, 0, 1], pa.int8()), [pa.array([1, 2, 3, 4]), pa.array(TEXT)])

# Four cells of each type, and what they are as numbers or days; text has one feature a value.
FLAT = {
    **{
        f"{sign}int{width}": (pa.array([1, 2, 3, 5], getattr(pa, f"{sign}int{width}")()), NUMBERS)
        for sign in ("", "u")
        for width in (8, 16, 32, 64)
    },
    "float16": (pa.array(np.array([0.5, 2, 3, 5], np.float16)), [0.5, 2, 3, 5]),
    "float32": (pa.array([0.5, 2, 3, 5], pa.float32()), [0.5, 2, 3, 5]),
    "float64": (pa.array([0.5, 2, 3, 5]), [0.5, 2, 3, 5]),
    **{
        f"decimal{width}": (
            pa.array([decimal.Decimal(t) for t in ("1.50", "-2", "0.25", "7")], kind(digits, 2)),
            [1.5, -2, 0.25, 7],
        )
        for width, kind, digits in (
            (32, pa.decimal32, 6),
            (64, pa.decimal64, 12),
            (128, pa.decimal128, 30),
            (256, pa.decimal256, 60),
        )
    },
    "bool": (pa.array([True, False, False, True]), [1, 0, 0, 1]),
    "date32": (pa.array([0, 1, 2, 40], pa.date32()), [0, 1, 2, 40]),
    "date64": (integers([0, 864e5, 2 * 864e5, 40 * 864e5], pa.date64()), [0, 1, 2, 40]),
    "dates beyond the year 9999": (
        pa.array([0, 1, 2, 4_000_000], pa.date32()),
        [0, 1, 2, 4e6],
    ),
    **{f"timestamp {u} {z}": (moments(u, z), DAYS)
       for u in ("s", "ms", "us", "ns") for z in (None, "UTC", "Europe/Berlin", "+02:00")},
    "timestamp in a zone that is not known": (moments("ns", "Mars/Olympus"), DAYS),
    "timestamps beyond the year 9999": (
        integers([0, 86_400, 2 * 86_400, 10**15], pa.timestamp("s")),
        [0, 1, 2, 10**15 / 86_400],
    ),
    "nanoseconds that are no whole microseconds": (
        pa.array([0, 86_400 * 10**9 + 1, -1, 999], pa.timestamp("ns")),
        [0, 1, -1e-6 / 86_400, 0],
    ),
    "time32 s": (integers(SECONDS, pa.time32("s")), SECONDS),
    "time32 ms": (integers([1e3 * s for s in SECONDS], pa.time32("ms")), SECONDS),
    "time64 us": (integers([1e6 * s for s in SECONDS], pa.time64("us")), SECONDS),
    "time64 ns": (integers([1e9 * s for s in SECONDS], pa.time64("ns")), SECONDS),
    **{f"duration {u}": (integers([f * s for s in SECONDS], pa.duration(u)), SECONDS)
       for u, f in (("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))},
    "string": (pa.array(TEXT), None),
    "large_string": (pa.array(TEXT, pa.large_string()), None),
    "string_view": (pa.array(TEXT, pa.string_view()), None),
    "coded text": (coded(pa.array(TEXT)), None),
    "coded large text": (coded(pa.array(TEXT, pa.large_string())), None),
    "coded text views": (coded(pa.array(TEXT, pa.string_view())), None),
    "coded numbers": (coded(pa.array([1, 2, 3, 5])), NUMBERS),
    "coded decimals": (coded(pa.array([decimal.Decimal(d) for d in (1, 2, 3, 5)])), NUMBERS),
    "coded timestamps": (coded(moments("ns", "UTC")), DAYS),
    "coded truth": (pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0]), pa.array([True, False])),
                    [1, 0, 0, 1]),
    "runs of numbers": (runs(pa.array(NUMBERS)), NUMBERS),
    "runs of text": (runs(pa.array(TEXT)), None),
    "json": (wrapped(pa.json_(), pa.array(TEXT)), None),
    "bool8": (wrapped(pa.bool8(), pa.array([1, 0, 0, 1], pa.int8())), [1, 0, 0, 1]),
    "opaque numbers": (wrapped(pa.opaque(pa.int8(), "a", "b"), pa.array([1, 2, 3, 5], pa.int8())),
                       NUMBERS),
}  # fmt: skip

# Cells that are no number, date or text: the column is left out, and that is said.
NESTED = {
    "binary": pa.array(BYTES),
    "large_binary": pa.array(BYTES, pa.large_binary()),
    "binary_view": pa.array(BYTES, pa.binary_view()),
    "fixed_size_binary": pa.array(BYTES_OF_3, pa.binary(3)),
    "coded bytes": coded(pa.array(BYTES)),
    "uuid": wrapped(pa.uuid(), pa.array([bytes([i] * 16) for i in range(4)], pa.binary(16))),
    "interval": pa.array([(1, 2, 3)] * 4, pa.month_day_nano_interval()),
    "list": pieces(pa.list_(pa.int8())),
    "large_list": pieces(pa.large_list(pa.int8())),
    "fixed_size_list": pieces(pa.list_(pa.int8(), 2)),
    "list_view": pieces(pa.list_view(pa.int8())),
    "large_list_view": pieces(pa.large_list_view(pa.int8())),
    "list of lists": pa.array([[[1], []], [[2]], None, []]),
    "struct": pa.array([{"x": 1, "y": "a"}] * 4),
    "struct of struct": pa.array([{"x": {"y": [1]}}] * 4),
    "map": pa.array([[("a", 1)], [], None, [("b", 2)]], pa.map_(pa.string(), pa.int8())),
    "dense union": pa.UnionArray.from_dense(UNION[0], pa.array([0, 0, 1, 1], pa.int32()), [
        pa.array([1, 3]), pa.array(["b", "d"])]),
    "sparse union": pa.UnionArray.from_sparse(*UNION),
    "tensor": wrapped(pa.fixed_shape_tensor(pa.int8(), [2]), pieces(pa.list_(pa.int8(), 2))),
}  # fmt: skip


def with_gap(cells):
    """The cells and a missing one between them, in two pieces."""
    if pa.types.is_run_end_encoded(cells.type) or pa.types.is_union(cells.type):
        return pa.chunked_array([cells.slice(0, 2), cells.slice(2)])
    gap = pa.nulls(1, cells.type)
    return pa.chunked_array([cells.slice(0, 2), gap, cells.slice(2)])


def table_of(cells):
    column = with_gap(cells)
    return pa.table({"a": column, "row": np.arange(len(column)) / 4})


@pytest.mark.parametrize("name", FLAT)
def test_a_flat_type_is_read_right(name):
    cells, values = FLAT[name]
    table = table_of(cells)
    rules = Columns.learn(table)
    assert [column.name for column in rules.used] == ["a", "row"]
    features, outside = rules.encode(table)
    present = words(table["a"]).is_valid().to_numpy(zero_copy_only=False)
    assert not outside.any()
    if values is None:
        assert rules.used[0].values == tuple(TEXT)
        assert (features[present, :4] == np.eye(4)).all()
    else:
        np.testing.assert_allclose(features[present, 0], values, rtol=1e-12, atol=1e-15)
    lines = csv_rows(table).decode().splitlines()
    assert len(lines) == table.num_rows
    assert [line.startswith(",") for line in lines] == (~present).tolist()


@pytest.mark.parametrize("name", NESTED)
def test_another_type_is_left_out_by_name(name):
    table = table_of(NESTED[name])
    assert not is_flat(table["a"].type)
    (dropped,) = Columns.learn(table).dropped
    assert (dropped.name, dropped.why.startswith("of type ")) == ("a", True)
    with pytest.raises(DataError, match="target 'a' holds cells of type"):
        learn_target("a", table["a"], "auto")


ALL = {**{name: cells for name, (cells, _) in FLAT.items()}, **NESTED}


def in_parquet(cells):
    """Whether files can hold the type."""
    try:
        pq.write_table(pa.table({"a": cells}), pa.BufferOutputStream())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return False
    return True


@pytest.mark.parametrize("name", [name for name in ALL if in_parquet(ALL[name])])
def test_a_file_has_as_many_rows_as_come_out(name, tmp_path):
    table = table_of(ALL[name])
    pq.write_table(table, tmp_path / "a.parquet")
    source = open_table(tmp_path / "a.parquet")
    assert source.names == ("a", "row")
    assert list(source.left_out) == ([] if name in FLAT else ["a"])
    read = pa.concat_tables(source.chunks())
    assert read["row"].to_pylist() == table["row"].to_pylist()
    if name in FLAT:
        assert Columns.learn(read) == Columns.learn(table)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.date32(), "2941775-04-07"),
        (pa.timestamp("s"), "1116918-05-14 19:20:32"),
        (pa.timestamp("s", "Europe/Berlin"), "1116918-05-14 19:20:32Z"),
    ],
)
def test_a_year_beyond_the_calendar_of_pyarrow_is_written_right(kind, text):
    days = kind == pa.date32()
    whole = pa.array([2**30 if days else 2**45, 5, None], pa.int32() if days else pa.int64())
    column = whole.view(kind)
    near = column[1:].cast(pa.large_string()).to_pylist()
    assert words(column).to_pylist() == [text, *near]


def test_nothing_at_all_is_empty():
    table = pa.table({"a": pa.nulls(3), "b": [1, 2, 3]})
    rules = Columns.learn(table)
    assert rules.dropped[0].why == "empty"
    assert csv_rows(table) == b",1\n,2\n,3\n"
    # A column of numbers of which a part of the file knows none.
    assert Columns.learn(pa.table({"b": [1, None, 3]})).encode(pa.table({"b": pa.nulls(2)}))[
        0
    ].tolist() == [[2, 1], [2, 1]]


def test_text_that_is_not_utf8_is_one_line(tmp_path):
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )
    pq.write_table(pa.table({"a": bad}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'a' of .* text that is not UTF-8"):
        list(open_table(tmp_path / "a.parquet").chunks())


def test_a_target_of_dates_is_one_line():
    days = pa.chunked_array([pa.array(range(200), pa.date32())])
    with pytest.raises(DataError, match="200 different values"):
        learn_target("y", days, "auto")
    with pytest.raises(DataError, match="'1970-01-01' in row 1; expected numbers"):
        learn_target("y", days, "regression")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_type_at_once_through_both_commands(here, monkeypatch, capsys):
    """One file with a column of each type that Parquet has, through `fit` and `predict`."""
    columns = {n: pa.concat_arrays([c] * 10) for n, c in ALL.items() if in_parquet(c)}
    columns["y"] = np.arange(40) / 8
    pq.write_table(pa.table(columns), here / "a.parquet")
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *args: {"scores": {"hunch": {}}})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda summary: "")
    monkeypatch.setattr("hunch.tables.verdict.verdict", lambda summary: "")
    assert run(["fit", "a.parquet", "--target=y", "--members=2"]) == 0
    said = capsys.readouterr().err
    assert "Traceback" not in said
    for name in NESTED:
        assert name not in columns or f"not using column {name!r}: of type" in said
    assert len(TableModel.load("model").columns.used) > 10
    assert run(["predict", "model", "a.parquet", "--out=p.csv"]) == 0
    with (here / "p.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert [float(row[header.index("y")]) for row in rows] == columns["y"].tolist()
    assert [name for name in columns if name not in header] == [n for n in NESTED if n in columns]
    assert dt.date.fromisoformat(rows[0][header.index("date32")]) == dt.date(1970, 1, 1)
