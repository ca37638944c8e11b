"""Sixty small files as offices and countries write them: read right, asked about, or one line.

Each is read by its columns, and by a stand-in for a model that says which row it was asked about:
as many rows come out of `predict_table` as Python's own reader finds, in their order.
"""

import csv
import gzip
import io

import numpy as np
import pyarrow as pa
import pytest

from hunch.errors import DataError
from hunch.tables import Columns, predict_table
from hunch.tables.cells import clean, words
from hunch.tables.reading import open_table
from hunch.tables.recognized import NO_MARKS
from hunch.tables.target import Target
from hunch.tables.ways import learn_ways, told

NAN = float("nan")


def lines(*rows, end="\n"):
    return "".join(row + end for row in rows).encode()


def day(text):
    return float((np.datetime64(text) - np.datetime64("1970-01-01")) / np.timedelta64(1, "D"))


def moment(text):
    return (
        float((np.datetime64(text) - np.datetime64("1970-01-01")) / np.timedelta64(1, "s")) / 86_400
    )


# A file, and what its columns hold: floats of numbers, days of dates, truth values, or text.
READ = {
    "decimal commas": (
        lines("preis;menge", "1,5;3", "12,25;4", "1.234,5;5"),
        {"preis": [1.5, 12.25, 1234.5], "menge": [3, 4, 5]},
    ),
    "decimal commas and groups that leave it open by themselves": (
        lines("umsatz;quote", "3.606;0,5", "1.250;0,25"),
        {"umsatz": [3606, 1250], "quote": [0.5, 0.25]},
    ),
    "decimal commas, three places": (
        lines("a;b", "3,606;0,5", "1,250;0,25"),
        {"a": [3.606, 1.25], "b": [0.5, 0.25]},
    ),
    "groups of thousands in quotation marks": (
        lines("limit,rate", '"3,606",12', '"11,200",7', "580,9"),
        {"limit": [3606, 11200, 580], "rate": [12, 7, 9]},
    ),
    "millions": (lines("a;b", "1,234,567;x", "12;y"), {"a": [1234567, 12], "b": ["x", "y"]}),
    "millions with points": (lines("a;b", "1.234.567;x", "12;y"), {"a": [1234567, 12]}),
    "groups and decimals": (lines("a\tb", "1,234.50\t1", "7\t2"), {"a": [1234.5, 7]}),
    "spaces between groups": (lines("a;b", "1 234,5;1", "12 345 678;2"), {"a": [1234.5, 12345678]}),
    "no-break spaces": (lines("a;b", "1\u00a0234,5;1", "7,25;2"), {"a": [1234.5, 7.25]}),
    "narrow no-break spaces": (lines("a;b", "1\u202f234,5;1", "7,25;2"), {"a": [1234.5, 7.25]}),
    "thin spaces": (lines("a;b", "1\u2009234,5;1", "7,25;2"), {"a": [1234.5, 7.25]}),
    "Swiss groups": (lines("a;b", "1'234.50;1", "7.25;2"), {"a": [1234.5, 7.25]}),
    "Swiss groups, curly": (lines("a;b", "1\u2019234.50;1", "7.25;2"), {"a": [1234.5, 7.25]}),
    "lakhs and crores": (
        lines("a,b", '"12,34,567.50",1', '"1,00,000",2'),
        {"a": [1234567.5, 100000]},
    ),
    "euros behind": (lines("a;b", "1.234,50 \u20ac;1", "5 \u20ac;2"), {"a": [1234.5, 5]}),
    "euros before": (lines("a;b", "\u20ac 1.234,50;1", "\u20ac5,00;2"), {"a": [1234.5, 5]}),
    "dollars": (lines("a,b", '"$1,234.50",1', "-$5.00,2", "$-7,3"), {"a": [1234.5, -5, -7]}),
    "pounds, some cells without": (lines("a,b", "\u00a35.50,1", "7,2"), {"a": [5.5, 7]}),
    "crowns": (lines("a;b", "1 234,50 K\u010d;1", "5,00 K\u010d;2"), {"a": [1234.5, 5]}),
    "francs by their code": (lines("a;b", "CHF 1'234.50;1", "CHF 5.00;2"), {"a": [1234.5, 5]}),
    "reais": (lines("a;b", "R$ 1.234,50;1", "R$ 5,00;2"), {"a": [1234.5, 5]}),
    "prices without cents": (
        lines("a;b", "5,-;Fr. 1'234.-", "6,50;Fr. 5.\u2013", "-1.234,- \u20ac;Fr. 6.50", "7,--;(8.-)"),
        {"a": [5, 6.5, -1234, 7], "b": [1234, 5, 6.5, -8]},
    ),
    "percent": (lines("a,b", "12.5%,1", "-0.1 %,2"), {"a": [12.5, -0.1]}),
    "percent with commas": (lines("a;b", "12,5\u00a0%;1", "3 %;2"), {"a": [12.5, 3]}),
    "per mille": (lines("a;b", "12,5 \u2030;1", "3 \u2030;2"), {"a": [12.5, 3]}),
    "brackets of accountants": (lines("a,b", '"(1,234.50)",1', "5.00,2"), {"a": [-1234.5, 5]}),
    "minus behind": (lines("a;b", "1.234,50-;1", "5,00;2"), {"a": [-1234.5, 5]}),
    "a true minus sign": (lines("a;b", "\u22123,5;1", "+5,0;2"), {"a": [-3.5, 5]}),
    "exponents with commas": (lines("a;b", "1,5e3;1", "2,5E-1;2"), {"a": [1500, 0.25]}),
    "dashes for nothing": (
        lines("a;b", "1,5;1", "-;2", "\u2013;3", ";4"),
        {"a": [1.5, NAN, NAN, NAN]},
    ),
    "dots and colons for nothing": (lines("a,b", "1.5,1", "..,2", ":,3"), {"a": [1.5, NAN, NAN]}),
    "day/month/year": (
        lines("d,b", "14/03/2011,1", "01/02/2011,2"),
        {"d": [day("2011-03-14"), day("2011-02-01")]},
    ),
    "month/day/year": (
        lines("d,b", "3/14/2011,1", "1/2/2011,2"),
        {"d": [day("2011-03-14"), day("2011-01-02")]},
    ),
    "an open date beside one that tells": (
        lines("d,e", "14/03/2011,01/02/2011", "15/03/2011,01/03/2011"),
        {"e": [day("2011-02-01"), day("2011-03-01")]},
    ),
    "day.month.year": (
        lines("d;b", "01.02.2011;1", "3.4.2011;2"),
        {"d": [day("2011-02-01"), day("2011-04-03")]},
    ),
    "day.month.year of two digits": (
        lines("d;b", "01.02.11;1", "03.04.85;2"),
        {"d": [day("2011-02-01"), day("1985-04-03")]},
    ),
    "year/month/day": (
        lines("d,b", "2011/02/01,1", "2011/4/3,2"),
        {"d": [day("2011-02-01"), day("2011-04-03")]},
    ),
    "names of months": (
        lines("d,b", "14-Mar-2011,1", "2 April 2011,2", '"May 3, 2011",3'),
        {"d": [day("2011-03-14"), day("2011-04-02"), day("2011-05-03")]},
    ),
    "names of months as databases write them": (
        lines("d,b", "31-OCT-23,1", "01-JAN-70,2"),
        {"d": [day("2023-10-31"), 0.0]},
    ),
    "dates with times": (
        lines("d;b", "14.03.2011 13:45;1", "15.03.2011 06:00:30;2"),
        {"d": [moment("2011-03-14T13:45"), moment("2011-03-15T06:00:30")]},
    ),
    "times with AM and PM": (
        lines("d,b", "3/14/2011 1:45:10 PM,1", "3/15/2011 12:00 am,2"),
        {"d": [moment("2011-03-14T13:45:10"), day("2011-03-15")]},
    ),
    "ISO 8601 with a zone": (
        lines("d,b", "2011-03-14T13:45:00Z,1", "2011-03-14T13:45:00+02:00,2"),
        {"d": [moment("2011-03-14T13:45"), moment("2011-03-14T11:45")]},
    ),
    "dates that are missing": (
        lines("d;b", "14.03.2011;1", "-;2", ";3"),
        {"d": [day("2011-03-14"), NAN, NAN]},
    ),
    "truth in capitals": (lines("a,b", "TRUE,1", "FALSE,2", "True,3"), {"a": [1, 0, 1]}),
    "Ja and Nein": (lines("a;b", "Ja;1", "Nein;2"), {"a": ["Ja", "Nein"]}),
    "a telephone book": (
        lines("tel;plz", "030 123 456;D-80331", "089 654 321;D-10115"),
        {"tel": ["030 123 456", "089 654 321"], "plz": ["D-80331", "D-10115"]},
    ),
    "versions, addresses and times": (
        lines("v,ip,t", "1.2.3,10.0.0.1,12:30", "1.10.11,10.0.0.2,07:05"),
        {"v": ["1.2.3", "1.10.11"], "ip": ["10.0.0.1", "10.0.0.2"], "t": ["12:30", "07:05"]},
    ),
    "a first line that names the delimiter": (
        lines("sep=;", "a;b", "1,5;2", "2,5;3"),
        {"a": [1.5, 2.5], "b": [2, 3]},
    ),
    "a byte order mark": (
        b"\xef\xbb\xbf" + lines("größe;b", "1,5;2", "2,5;3"),
        {"größe": [1.5, 2.5]},
    ),
    "commas in the header": (
        lines("Preis, netto;Ort", "1,5;Ulm", "2,5;Bonn"),
        {"Preis, netto": [1.5, 2.5], "Ort": ["Ulm", "Bonn"]},
    ),
    "ends of lines of Windows": (lines("a;b", "1,5;2", "", "2,5;3", "", end="\r\n"), {"a": [1.5, 2.5]}),
    "ends of lines of old Macs": (lines("a;b", "1,5;2", "2,5;3", end="\r"), {"a": [1.5, 2.5]}),
    "lines in cells": (
        lines('"a\nb";c', '"x\n\ny";1', '"z";2', "", ""),
        {"a\nb": ["x\n\ny", "z"], "c": [1, 2]},
    ),
    "packed": (gzip.compress(lines("a;b", "1,5;2", "2,5;3")), {"a": [1.5, 2.5]}),
    "one column": (lines("a", "1.5", "", "2.5", ""), {"a": [1.5, NAN, 2.5, NAN]}),
    "one column of Windows": (
        lines("a", "1.5", "", "2.5", end="\r\n"),
        {"a": [1.5, NAN, 2.5]},
    ),
    "one column that begins and ends with nothing": (
        lines("a", "", "1.5", '""', "2.5") + b"\n\n",
        {"a": [NAN, 1.5, NAN, 2.5, NAN, NAN]},
    ),
    "one column of lines in cells": (lines("a", '"x\n\ny"', "", "z"), {"a": ["x\n\ny", None, "z"]}),
    "no end of the last line": (lines("a;b", "1,5;2") + b"2,5;3", {"a": [1.5, 2.5]}),
    "every cell in quotation marks": (
        lines('"a","b"', '"1,234.5","x"', '"7","y"'),
        {"a": [1234.5, 7], "b": ["x", "y"]},
    ),
}  # fmt: skip

ASKED = {
    "thousands or three places": (lines("a;b", "3,606;1", "1,250;2"), "--decimal", "3606", "3.606"),
    "the same with points": (lines("a\tb", "3.606\tx", "1.250\ty"), "--decimal", "3606", "3.606"),
    "day or month first": (
        lines("d,b", "03/04/2011,1", "01/02/2011,2"),
        "--date-order dmy or mdy",
        "2011-04-03 with dmy",
        "2011-03-04 with mdy",
    ),
    "which of three": (lines("d,b", "01/02/03,1", "04/05/06,2"), "--date-order dmy or mdy or ymd"),
}

NOTED = {
    "two ways of writing": (lines("a;b", "1,234.5;1", "1.234,5;2"), "'1.234,5' in row 2"),
    "percent and not": (lines("a,b", "5%,1", "0.06,2", "7%,3"), "'0.06' in row 2"),
    "two currencies": (lines("a,b", "$5,1", "\u20ac6,2", "$7,3"), "taken for text"),
    "a remark among numbers": (
        lines("a,b", "5,1", "about 6,2", "7,3"),
        "66.7 % of its cells are numbers, but 'about 6' in row 2",
    ),
}

REFUSED = {
    "titles above the header": (lines("Table 7; all", "", "a;b;c", "1;2;3"), "has 3 cells in line"),
    "a short row": (lines("a;b", "1;2", "3"), "has 1 cells in line 3, but 2 columns"),
    "Latin-1": ("a;b\nz\u00e4h;1\n".encode("latin-1"), "not UTF-8 text in line 2"),
    "UTF-16": ("a;b\n1;2\n".encode("utf-16"), "is UTF-16"),
    "a number beyond all": (lines("a,b", "1e400,1", "2,2"), "'1e400' in row 1", "up to 1e+150"),
    "a number of many digits": (lines("a,b", "9" * 16_000 + ",1", "2,2"), "up to 1e+150"),
    "a mark that is not closed": (lines("a,b", '1,"x', "2,y"), "never closed"),
}


class Clerk:
    """Stands in for a model: says of each row its number in the file."""

    def __init__(self, columns):
        self.columns, self.target = columns, Target("no such column", "regression")
        self.output_names, self.seen = ["row", "outside"], NO_MARKS

    def predict(self, table, *, coverage, first_row):
        features, outside = self.columns.encode(table, first_row)
        assert features.shape == (table.num_rows, len(self.columns.features))
        return pa.table({"row": first_row + np.arange(table.num_rows), "outside": outside})


def whole(source):
    return pa.concat_tables(source.chunks())


def counted(content, source):
    """The rows of a file as Python's reader finds them."""
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    text = io.StringIO(content.decode("utf-8-sig").removeprefix("sep=;\n"), newline="")
    header, *rows = csv.reader(text, delimiter=source.delimiter)
    return [row or [""] for row in rows if row or len(header) == 1]


@pytest.fixture
def file(tmp_path):
    def write(content, name="a.csv"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("case", READ)
def test_a_file_is_read_right_and_whole(case, file, tmp_path):
    content, expected = READ[case]
    source = open_table(file(content))
    table = whole(source)
    ways = learn_ways(table, delimiter=source.delimiter)
    for name, values in expected.items():
        cells = clean(table[name])
        if ways[name].kind == "category":
            assert words(cells).to_pylist() == values, name
        else:
            np.testing.assert_allclose(ways[name].read(cells), values, rtol=0, atol=1e-9)
    rows = counted(content, source)
    assert table.num_rows == len(rows)
    # A model remembers how the cells are written, in its folder too.
    rules = Columns.learn(table, ways)
    rules = Columns.from_json(rules.to_json())
    found = predict_table(Clerk(rules), source.path, tmp_path / "p.csv", progress=False)
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as written:
        _, *out = csv.reader(written)
    assert found.rows == len(out) == len(rows)
    assert [row[-2] for row in out] == [str(i) for i in range(len(rows))]
    assert [row[:-2] for row in out] == rows


@pytest.mark.parametrize("case", ASKED)
def test_a_file_that_can_be_read_in_two_ways_is_asked_about(case, file):
    content, *said = ASKED[case]
    source = open_table(file(content))
    table = whole(source)
    with pytest.raises(DataError) as error:
        learn_ways(table, delimiter=source.delimiter)
    for words_said in said:
        assert words_said in str(error.value)
    answered = learn_ways(table, delimiter=source.delimiter, decimal="comma", date_order="dmy")
    assert answered[table.column_names[0]].kind in ("number", "date")


@pytest.mark.parametrize("case", NOTED)
def test_cells_of_two_kinds_are_text_and_that_is_said(case, file):
    content, said = NOTED[case]
    source = open_table(file(content))
    ways = learn_ways(whole(source), delimiter=source.delimiter)
    assert ways["a"].kind == "category"
    assert said in "\n".join(told(ways, ["a"]))


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_read_is_one_line(case, file):
    content, *said = REFUSED[case]
    path = file(content)

    def read():
        source = open_table(path)
        learn_ways(whole(source), delimiter=source.delimiter)

    with pytest.raises(DataError) as error:
        read()
    for words_said in said:
        assert words_said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_there_are_sixty():
    assert len(READ) + len(ASKED) + len(NOTED) + len(REFUSED) >= 60


def test_an_answer_decides_what_is_open_and_nothing_else():
    table = pa.table({"a": ["3,606", "1,250"], "b": ["0.5", "7.25"], "c": ["1,5", "2"]})
    for answer, value in (("point", 3606), ("comma", 3.606)):
        ways = learn_ways(table, decimal=answer)
        read = {name: ways[name].read(clean(table[name]))[0] for name in "abc"}
        assert read == {"a": value, "b": 0.5, "c": 1.5}


@pytest.mark.parametrize(
    ("trained", "new"),
    [
        (["1,5", "2"], "1.5"),
        (["1.5", "2"], "1,5"),
        (["1", "2"], "1,500"),
        (["5%", "6%"], "0.05"),
        (["5", "6"], "5%"),
        (["$5", "$6"], "\u20ac5"),
        (["14/03/2011", "01/02/2011"], "03/14/2011"),
        (["2011-03-14", "2011-03-15"], "03/04/2011"),
    ],
)
def test_a_cell_written_in_another_way_than_in_training_is_named(trained, new):
    rules = Columns.learn(pa.table({"a": trained}))
    with pytest.raises(DataError, match=r"column 'a' holds .* in row 8; expected .* in training"):
        rules.encode(pa.table({"a": [new]}), first_row=7)


def test_a_model_reads_by_what_it_remembers():
    trained = Columns.learn(pa.table({"a": ["0,5", "7,25"], "d": ["14/03/2011", "01/02/2011"]}))
    new = pa.table({"a": ["3.606"], "d": ["03/04/2011"]})
    assert trained.encode(new)[0][0, :2].tolist() == [3606, day("2011-04-03")]


def test_rules_of_older_folders_are_read_as_before():
    old = {"name": "a", "kind": "number", "fill": 1.0, "low": 0.0, "high": 2.0, "missing": False}
    old |= {"values": [], "other": False, "clock": False}
    rules = Columns.from_json({"used": [old], "dropped": []})
    assert rules.encode(pa.table({"a": ["1.5", "1e1", ""]}))[0].tolist() == [[1.5], [10.0], [1.0]]
    with pytest.raises(DataError, match="'1,500' in row 1; expected a number"):
        rules.encode(pa.table({"a": ["1,500"]}))
