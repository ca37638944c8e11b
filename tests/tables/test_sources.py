"""Tables from elsewhere than one file: DataFrames, several files, spreadsheets, standard input."""

import json
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hunch.cli.main import DONE, WRONG_USE, run
from hunch.errors import DataError
from hunch.tables import Columns, TableModel, fit_table
from hunch.tables.data import open_data
from hunch.tables.frames import as_arrow

QUICK = {"members": 2, "progress": False}


def columns(count=60, seed=0):
    rng = np.random.default_rng(seed)
    size = rng.uniform(40, 160, count).round(1)
    city = rng.choice(["Ulm", "Bonn", "Kiel"], count)
    price = (3 * size + rng.normal(0, 5, count)).round(2)
    return {"size": size, "city": city.astype(object), "price": price}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    pd.DataFrame(columns()).to_csv(folder / "a.csv", index=False)
    fit_table(folder / "a.csv", "price", folder / "model", **QUICK)
    return folder


def test_a_frame_gives_the_model_of_its_file(trained, tmp_path):
    frame = pd.DataFrame(columns(), index=np.arange(60) * 7)
    fit_table(frame, "price", tmp_path / "model", **QUICK)
    a, b = (TableModel.load(f / "model") for f in (trained, tmp_path))
    assert a.predict(frame)["mean"].tolist() == b.predict(frame)["mean"].tolist()


def test_what_comes_in_comes_out(trained):
    model = TableModel.load(trained / "model")
    frame = pd.DataFrame(columns(), index=[f"house {i}" for i in range(60)])
    table = pa.Table.from_pandas(frame, preserve_index=False)
    expected = model.predict(table)
    assert isinstance(expected, pa.Table)
    found = model.predict(frame)
    assert isinstance(found, pd.DataFrame)
    assert found.index.tolist() == frame.index.tolist()
    assert found["upper"].tolist() == expected["upper"].to_pylist()
    by_name = model.predict(columns())
    assert list(by_name) == expected.column_names
    assert by_name["mean"].tolist() == expected["mean"].to_pylist()


def test_polars_frames_come_out_as_such(trained, tmp_path):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(columns())
    fit_table(frame, "price", tmp_path / "model", **QUICK)
    found = TableModel.load(tmp_path / "model").predict(frame)
    assert isinstance(found, polars.DataFrame)
    assert found.height == 60


def test_a_frame_without_a_column_is_refused_as_a_file_is(trained):
    model = TableModel.load(trained / "model")
    with pytest.raises(DataError, match="column 'city' is missing"):
        model.predict(pd.DataFrame({"size": [50.0]}))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"a": [1], "b": [1, 2]}, "cannot be read"),
        (pd.DataFrame({0: [1], 1: [2]}), "names that are text"),
        (pd.DataFrame({"a": [1, "x", object()]}), "cannot be read"),
        (pd.DataFrame({"a": pd.Series([10**30, 1], dtype=object)}), "cannot be read"),
        ({}, "has no columns"),
        ([], "of no file"),
        (3, "of type int"),
    ],
)
def test_odd_data_are_one_sentence(data, words):
    with pytest.raises(DataError, match=words) as error:
        open_data(data)
    assert "\n" not in str(error.value)


def test_periods_of_pandas_are_dates():
    """Of whichever length, and not numbers that count months in one file and days in another."""
    months = pd.period_range("2020-01", periods=3, freq="M")
    moments = as_arrow(pd.DataFrame({"when": months}))["when"]
    assert Columns.learn(pa.table({"when": moments})).used[0].kind == "date"
    days = pd.DataFrame({"when": pd.PeriodIndex(["2020-02-01", None, "2020-01-01"], freq="D")})
    assert as_arrow(days)["when"][0].as_py() == moments[1].as_py()
    assert as_arrow(days)["when"].null_count == 1


def test_an_index_of_pandas_is_no_column():
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 6], name="key"))
    assert open_data(frame).names == ("a",)


def test_several_files_are_one_table(trained, tmp_path):
    whole = pd.DataFrame(columns())
    whole[:25].to_csv(tmp_path / "old.csv", index=False)
    whole[25:][["price", "size", "city"]].to_csv(tmp_path / "new.csv", index=False)
    words = ["fit", str(tmp_path / "old.csv"), str(tmp_path / "new.csv"), "--target=price"]
    assert run([*words, "--members=2", "--quiet", f"--out={tmp_path / 'model'}"]) == DONE
    summary = json.loads((tmp_path / "model" / "summary.json").read_text())
    assert (summary["data"], summary["rows"]["file"]) == ("old.csv and 1 more", 60)
    a, b = (TableModel.load(f / "model") for f in (trained, tmp_path))
    assert a.predict(whole)["mean"].tolist() == b.predict(whole)["mean"].tolist()


def test_files_of_other_columns_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("a,c\n1,2\n")
    with pytest.raises(DataError, match="have not the same columns: 'b', 'c'"):
        open_data([tmp_path / "a.csv", tmp_path / "b.csv"])
    pd.DataFrame({"a": [1], "b": [2]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"'a' is of type string in .* and of int64 in"):
        open_data([tmp_path / "a.csv", tmp_path / "c.parquet"])


def test_standard_output(trained, capfdbinary):
    assert (
        run(["predict", str(trained / "model"), str(trained / "a.csv"), "--out=-", "--quiet"])
        == DONE
    )
    out = capfdbinary.readouterr().out
    assert len(out.splitlines()) == 61
    assert out.startswith(b"size,city,price,mean,")
    assert (
        run(["predict", str(trained / "model"), str(trained / "a.csv"), "--out=-", "--json"])
        == WRONG_USE
    )
    assert b"both write to standard output" in capfdbinary.readouterr().err


def sheet_of(rows, merged=(), more=""):
    """A sheet as Excel writes it: text inline, numbers bare, dates as serials of style 1."""
    lines = []
    for r, row in enumerate(rows, 1):
        cells = []
        for c, cell in enumerate(row):
            place = f'r="{chr(65 + c)}{r}"'
            if cell is None:
                continue
            if isinstance(cell, bool):
                cells.append(f'<c {place} t="b"><v>{int(cell)}</v></c>')
            elif isinstance(cell, int | float):
                cells.append(f"<c {place}><v>{cell}</v></c>")
            elif isinstance(cell, bytes):  # as it is
                cells.append(cell.decode().replace("PLACE", place))
            else:
                cells.append(f'<c {place} t="inlineStr"><is><t>{cell}</t></is></c>')
        lines.append(f'<row r="{r}"{more if r == 3 else ""}>{"".join(cells)}</row>')
    ranges = "".join(f'<mergeCell ref="{ref}"/>' for ref in merged)
    merges = f'<mergeCells count="{len(merged)}">{ranges}</mergeCells>' if merged else ""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData>{merges}</worksheet>'


def workbook(path, **sheets):
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    listed = "".join(
        f'<sheet name="{name}" sheetId="{i}" r:id="rId{i}"/>' for i, name in enumerate(sheets, 1)
    )
    related = "".join(
        f'<Relationship Id="rId{i}" Type="{office}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    styles = (
        f'<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/>'
        "</cellXfs></styleSheet>"
    )
    parts = "".join(
        f'<Override PartName="/xl/worksheets/sheet{i}.xml" ContentType="{kind}.worksheet+xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType="'
            'application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="'
            f'/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/><Override PartName="'
            f'/xl/styles.xml" ContentType="{kind}.styles+xml"/>{parts}</Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
            f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{listed}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships">{related}<Relationship Id="rId99" '
            f'Type="{office}/styles" Target="styles.xml"/></Relationships>',
        )
        archive.writestr("xl/styles.xml", styles)
        for i, sheet in enumerate(sheets.values(), 1):
            archive.writestr(f"xl/worksheets/sheet{i}.xml", sheet)
    return path


def serial(number):
    return f'<c PLACE s="1"><v>{number}</v></c>'.encode()


ERROR = b'<c PLACE t="e"><v>#N/A</v></c>'
SUM = b"<c PLACE><f>1+1</f><v>2</v></c>"
OPEN = b"<c PLACE><f>1+1</f></c>"


@pytest.fixture
def excel():
    pytest.importorskip("python_calamine")


def read(path, sheet=None):
    said = []
    source = open_data(path, sheet, said.append)
    return pa.concat_tables(source.chunks()), said


# Cells of a column below its header, the type that it has, and what it holds.
CELLS = {
    "numbers": ([1.5, 2.25, None], "double", [1.5, 2.25, None]),
    "whole numbers": ([1, 2.0, None], "int64", [1, 2, None]),
    "serials of dates": ([serial(44197), serial(44562.5)], "timestamp[us]", None),
    "truth": ([True, False, True], "bool", [True, False, True]),
    "errors": ([1.5, ERROR, 3.5], "double", [1.5, None, 3.5]),
    "values of formulas": ([SUM, 3, 4], "int64", [2, 3, 4]),
    "numbers stored as text": (["1,5", 2.5, "3,25"], "string", ["1,5", "2.5", "3,25"]),
    "a number that may be a group": ([1.234, "about 2"], "string", ["1.2340", "about 2"]),
    "a date among text": ([serial(44197), "soon"], "string", ["2021-01-01", "soon"]),
    "codes": (["007", "012"], "string", ["007", "012"]),
}


@pytest.mark.parametrize("case", CELLS)
def test_cells_of_a_sheet(case, excel, tmp_path):
    cells, kind, values = CELLS[case]
    rows = [["x", "y"], *([cell, i] for i, cell in enumerate(cells))]
    table, _ = read(workbook(tmp_path / "a.xlsx", one=sheet_of(rows)))
    assert table.column_names == ["x", "y"]
    assert str(table.schema.field("x").type) == kind
    if values is not None:
        assert table["x"].to_pylist() == values
    else:
        assert [str(v) for v in table["x"].to_pylist()] == [
            "2021-01-01 00:00:00",
            "2022-01-01 12:00:00",
        ]


GRID = [["x", "y"], ["a", 1], [None, 2], ["b", 3]]


def test_cells_merged_in_a_column_all_hold_its_value(excel, tmp_path):
    table, _ = read(workbook(tmp_path / "a.xlsx", one=sheet_of(GRID, merged=["A2:A3"])))
    assert table["x"].to_pylist() == ["a", "a", "b"]


def test_empty_rows_and_columns_about_a_table_are_none_of_it(excel, tmp_path):
    rows = [[], [None, None, "x", "y"], [None, None, "a", 1], [None, None, "b", 2]]
    table, _ = read(workbook(tmp_path / "a.xlsx", one=sheet_of(rows)))
    assert table.to_pydict() == {"x": ["a", "b"], "y": [1, 2]}


def test_hidden_rows_and_formulas_without_values_are_said(excel, tmp_path):
    path = workbook(tmp_path / "a.xlsx", one=sheet_of(GRID, more=' hidden="1"'))
    table, said = read(path)
    assert table.num_rows == 3
    assert "hidden rows or columns, which are read like all others" in said[0]
    rows = [["x", "y"], [OPEN, 1], [SUM, 2]]
    table, said = read(workbook(tmp_path / "b.xlsx", one=sheet_of(rows)))
    assert table["x"].to_pylist() == [None, 2]
    assert "formulas whose values were not saved" in said[0]


REFUSED = {
    "two sheets": (dict(one=sheet_of(GRID), two=sheet_of(GRID)), None, "--sheet", "'one', 'two'"),
    "no such sheet": (dict(one=sheet_of(GRID)), "three", "no sheet 'three'", "'one'"),
    "an empty sheet": (dict(one=sheet_of([])), None, "is empty"),
    "a header alone": (dict(one=sheet_of([["x", "y"]])), None, "no rows"),
    "headers merged": (
        dict(one=sheet_of([["2021", None], ["x", "y"], [1, 2]], merged=["A1:B1"])),
        None,
        "merged across columns in row 1",
    ),
    "a title": (
        dict(one=sheet_of([["Title"], ["x", "y", "z"], [1, 2, 3]])),
        None,
        "2 columns named ''",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_workbook_that_is_no_table_is_one_sentence(case, excel, tmp_path):
    sheets, sheet, *words = REFUSED[case]
    with pytest.raises(DataError) as error:
        read(workbook(tmp_path / "a.xlsx", **sheets), sheet)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sheet_is_fitted_and_predicted(excel, tmp_path, capsys):
    found = columns()
    rows = [list(found), *map(list, zip(*(found[n].tolist() for n in found), strict=True))]
    path = str(workbook(tmp_path / "a.xlsx", houses=sheet_of(rows), notes=sheet_of([["nothing"]])))
    model, out = str(tmp_path / "model"), str(tmp_path / "p.csv")
    words = ["fit", path, "--target=price", "--members=2", "--quiet", f"--out={model}"]
    assert run(words) == WRONG_USE
    assert "--sheet" in capsys.readouterr().err
    assert run([*words, "--sheet=houses"]) == DONE
    assert run(["predict", model, path, "--sheet=houses", f"--out={out}", "--quiet"]) == DONE
    assert len(pd.read_csv(out)) == 60


def test_a_file_that_is_no_workbook_is_one_sentence(excel, tmp_path):
    (tmp_path / "a.xlsx").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is no spreadsheet that can be read"):
        open_data(tmp_path / "a.xlsx")
    with pytest.raises(DataError, match="there is no file"):
        open_data(tmp_path / "b.xlsx")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="has no sheets"):
        open_data(tmp_path / "a.csv", "one")


def test_without_the_reader_the_line_that_installs_it_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    workbook(tmp_path / "a.xlsx", one=sheet_of(GRID))
    assert run(["fit", str(tmp_path / "a.xlsx"), "--target=y", f"--out={tmp_path / 'm'}"]) != DONE
    assert 'pip install "torch-hunch[excel]"' in capsys.readouterr().err
