"""More than a hundred columns and files as offices and countries write them, beside `test_offices`.

Each is read right, noted, asked about or refused by one sentence; none is misread without a word.
"""

import numpy as np
import pyarrow as pa
import pytest

from hunch.errors import DataError
from hunch.tables import Columns, fit_table
from hunch.tables.cells import clean
from hunch.tables.streaming import Later
from hunch.tables.suspects import odd_cell_notes
from hunch.tables.target import Target
from hunch.tables.ways import learn_ways, told

NAN = float("nan")


def day(text):
    return float(np.datetime64(text, "us").astype(np.int64)) / 86_400e6


def days(*texts):
    return [day(text) for text in texts]


# Cells of a column, and the numbers or days that they are.
READ = {
    "quarters 2021Q3": (["2021Q3", "2021Q4", "2022Q1"], days("2021-07-01", "2021-10-01", "2022-01-01")),
    "quarters Q3 2021": (["Q3 2021", "Q4 2021", "Q1 2022"], days("2021-07-01", "2021-10-01", "2022-01-01")),
    "quarters 2021-Q3": (["2021-Q3", "2021-Q4"], days("2021-07-01", "2021-10-01")),
    "quarters Q3/2021": (["Q3/2021", "Q4/21"], days("2021-07-01", "2021-10-01")),
    "quarters 3. Quartal 2021": (["3. Quartal 2021", "4. Quartal 2021"], days("2021-07-01", "2021-10-01")),
    "trimestres T3 2021": (["T3 2021", "T4 2021"], days("2021-07-01", "2021-10-01")),
    "months 2021-03": (["2021-03", "2021-11"], days("2021-03-01", "2021-11-01")),
    "months 2021M03": (["2021M03", "2021M11"], days("2021-03-01", "2021-11-01")),
    "months 03/2021": (["03/2021", "11/2021"], days("2021-03-01", "2021-11-01")),
    "months 03.2021": (["03.2021", "11.2021"], days("2021-03-01", "2021-11-01")),
    "months Mar 2021": (["Mar 2021", "Nov 2021"], days("2021-03-01", "2021-11-01")),
    "months Mar-21": (["Mar-21", "Nov-21"], days("2021-03-01", "2021-11-01")),
    "weeks 2021-W05": (["2021-W05", "2021-W52"], days("2021-02-01", "2021-12-27")),
    "weeks 2021-W05-3": (["2021-W05-3", "2021-W52-1"], days("2021-02-03", "2021-12-27")),
    "weeks KW 5/2021": (["KW 5/2021", "KW 52/2021"], days("2021-02-01", "2021-12-27")),
    "days 20210314": (["20210314", "20211231", "20200229"], days("2021-03-14", "2021-12-31", "2020-02-29")),
    "eight figures that are no days": (["20210314", "20211399", "12345678"], [20210314, 20211399, 12345678]),
    "German months": (["14. M\xe4rz 2021", "3. Dezember 2021", "1. Mai 2020"], days("2021-03-14", "2021-12-03", "2020-05-01")),
    "French months": (["14 mars 2021", "1er d\xe9cembre 2021", "3 ao\xfbt 2020"], days("2021-03-14", "2021-12-01", "2020-08-03")),
    "Spanish months": (["14 de marzo de 2021", "3 de dic. de 2021", "1 de enero de 2020"], days("2021-03-14", "2021-12-03", "2020-01-01")),
    "Italian months": (["14 marzo 2021", "3 dicembre 2021", "1\xb0 gennaio 2020"], days("2021-03-14", "2021-12-03", "2020-01-01")),
    "Dutch months": (["14 maart 2021", "3 mei 2021", "1 okt. 2020"], days("2021-03-14", "2021-05-03", "2020-10-01")),
    "Portuguese months": (["14 de mar\xe7o de 2021", "3 de fev. de 2021"], days("2021-03-14", "2021-02-03")),
    "Swedish months": (["14 maj 2021", "3 augusti 2021", "1 okt 2021"], days("2021-05-14", "2021-08-03", "2021-10-01")),
    "German months short": (["14-Mrz-21", "03-Dez-21"], days("2021-03-14", "2021-12-03")),
    "weekday before": (["Mon, 14 Mar 2022", "Tue, 15 Mar 2022"], days("2022-03-14", "2022-03-15")),
    "German weekday before": (["Mo, 14.03.2022", "Di, 15.03.2022"], days("2022-03-14", "2022-03-15")),
    "mail dates": (["Mon, 14 Mar 2022 13:45:00 +0100", "Tue, 15 Mar 2022 01:00:00 +0000"], days("2022-03-14T12:45:00", "2022-03-15T01:00:00")),
    "Japanese dates": (["2021\u5e743\u670814\u65e5", "2021\u5e7412\u67081\u65e5"], days("2021-03-14", "2021-12-01")),
    "Korean dates": (["2021\ub144 3\uc6d4 14\uc77c", "2021\ub144 12\uc6d4 1\uc77c"], days("2021-03-14", "2021-12-01")),
    "full-width dates": (["\uff12\uff10\uff12\uff11/\uff10\uff13/\uff11\uff14", "2021/12/01"], days("2021-03-14", "2021-12-01")),
    "dotted years first": (["2021.03.14", "2021.12.01"], days("2021-03-14", "2021-12-01")),
    "Hungarian dates": (["2021. 03. 14.", "2021. 12. 01."], days("2021-03-14", "2021-12-01")),
    "Czech dates": (["14. 3. 2021", "1. 12. 2021"], days("2021-03-14", "2021-12-01")),
    "zone UTC": (["2021-03-14 12:00 UTC", "2021-03-15 00:00 UTC"], days("2021-03-14T12:00:00", "2021-03-15")),
    "zone +0100": (["2021-03-14T12:00:00+0100", "2021-03-15T00:00:00-0530"], days("2021-03-14T11:00:00", "2021-03-15T05:30:00")),
    "zone in another way": (["14.03.2021 12:00 +01:00", "15.03.2021 00:00 +02:00"], days("2021-03-14T11:00:00", "2021-03-14T22:00:00")),
    "nanoseconds": (["2021-03-14 12:00:00.123456789", "2021-03-15 00:00:00.5"], days("2021-03-14T12:00:00.123456", "2021-03-15T00:00:00.500000")),
    "two-digit years": (["14/03/85", "31/12/21"], days("1985-03-14", "2021-12-31")),
    "years": (["2019", "2020", "2021"], [2019, 2020, 2021]),
    "Indian lakhs": (["1,23,456.78", "12,345.00"], [123456.78, 12345]),
    "trailing minus": (["12-", "3,5-", "4,5"], [-12, -3.5, 4.5]),
    "brackets": (["(12.50)", "3.25"], [-12.5, 3.25]),
    "Arabic figures": (["\u0663\u0664", "\u0661\u0662\u0665"], [34, 125]),
    "Arabic figures with marks": (["\u0663\u066b\u0665", "\u0661\u066c\u0662\u0663\u0664\u066b\u0665"], [3.5, 1234.5]),
    "Devanagari figures": (["\u0967\u0968", "\u0969.\u096b"], [12, 3.5]),
    "full-width figures": (["\uff11\uff12", "\uff13\uff0e\uff15"], [12, 3.5]),
    "narrow no-break space": (["1\u202f234,5", "2\u202f345,25"], [1234.5, 2345.25]),
    "figure space": (["1\u2007234,5", "2\u2007345,25"], [1234.5, 2345.25]),
    "Swiss apostrophe": (["1\u2019234.5", "12'345.25"], [1234.5, 12345.25]),
    "middle dot": (["1\xb75", "2\xb725"], [1.5, 2.25]),
    "plus": (["+5", "+7.5", "-3"], [5, 7.5, -3]),
    "en dash minus": (["\u20135", "\u20137.5", "3"], [-5, -7.5, 3]),
    "1.5E+03": (["1.5E+03", "2.25E+04"], [1500, 22500]),
    "1,5E+03": (["1,5E+03", "2,25E+04"], [1500, 22500]),
    "kilometres": (["12 km", "3.5 km", "100 km"], [12, 3.5, 100]),
    "degrees": (["12 \xb0C", "-3,5 \xb0C"], [12, -3.5]),
    "square metres": (["80 m\xb2", "45,5 m\xb2"], [80, 45.5]),
    "per": (["120 km/h", "80 km/h"], [120, 80]),
    "unit attached": (["12kg", "3.5kg"], [12, 3.5]),
    "euro before": (["\u20ac 12", "\u20ac 1.250,50"], [12, 1250.5]),
    "percent of comma": (["12 %", "7,5 %"], [12, 7.5]),
    "full-width percent": (["12\uff05", "7\uff05"], [12, 7]),
    "millions Mio": (["3,2 Mio", "12 Mio"], [3.2, 12]),
    "millions and thousands": (["950", "1.2k", "3M"], [950, 1200, 3000000.0]),
    "euros and millions": (["\u20ac 950", "\u20ac1.2k", "\u20ac3M"], [950, 1200, 3000000.0]),
    "Mio and Mrd": (["3,2 Mio. \u20ac", "1,5 Mrd. \u20ac"], [3200000.0, 1500000000.0]),
    "EUR behind": (["12 EUR", "7,50 EUR"], [12, 7.5]),
    "pounds sterling code": (["GBP 12", "GBP 7.50"], [12, 7.5]),
    "yuan": (["\uffe512", "\uffe57.5"], [12, 7.5]),
    "rupees": (["Rs. 1,200.50", "Rs. 12"], [1200.5, 12]),
    "rubles": (["12 \u0440\u0443\u0431.", "7,5 \u0440\u0443\u0431."], [12, 7.5]),
    "stars": (["4 stars", "3.5 stars"], [4, 3.5]),
    "no answer": (["5", "k.A.", "7", "9"], [5, NAN, 7, 9]),
    "n.a.": (["5", "n.a.", "7", "9"], [5, NAN, 7, 9]),
    "n/d": (["5", "n/d", "7", "9"], [5, NAN, 7, 9]),
    "Excel errors": (["5", "#DIV/0!", "7", "#WERT!", "9", "#NV"], [5, NAN, 7, NAN, 9, NAN]),
    "database nothing": (["5", "\\N", "7", "<NA>", "9", "(null)"], [5, NAN, 7, NAN, 9, NAN]),
    "suppressed": (["5", "*", "7", "x", "9", "/"], [5, NAN, 7, NAN, 9, NAN]),
}  # fmt: skip

MARCH = [f"2021-03-{i:02d}" for i in range(1, 29)]

# Cells, and what is said of them.
NOTED = {
    "Polish months": (["14 marca 2021", "3 grudnia 2021"], "month"),
    "zone CET": (["2021-03-14 12:00 CET", "2021-03-15 00:00 CEST"], "zone"),
    "31 February": (["30.01.2021", "31.02.2021", "12.03.2021", "1.4.2021"], "'31.02.2021'"),
    "no day": (["00.00.0000", "14.03.2021", "15.03.2021", "16.03.2021"], "'00.00.0000'"),
    "year-month figures": (["202103", "202112", "202201"], "month"),
    "underscores": (["1_234", "12_345"], "text"),
    "at least": (["<5", "7", "9", "12", ">100"], "'<5'"),
    "two lengths": (["12 km", "500 m", "3 km"], "different units", "'m'"),
    "unit in some": (["12 km", "3", "5", "7"], "are numbers, but"),
    "bytes": (["12 MB", "3.5 GB"], "different units", "'GB'"),
    "years old": (["34 years", "1 year"], "different units", "'year'"),
    "agents": (["007", "012", "123"], "007", "codes", "--numeric"),
    "ZIP codes": (["01234", "90210", "10115"], "01234", "codes"),
    "mixed zeros": (["0123", "45", "6"], "'0123'"),
    "phones with 0": (["0301234567", "01711234567"], "codes"),
    "long ids": ([f"1234567890123456{i:02d}" for i in range(24)], "id"),
    "grades": (["1+", "2-", "1", "3"], "'1+' in row 1"),
    "coordinates decimal": (["52.52N", "13.40E"], "text"),
    "unknown": (["5", "unknown", "7", "9"], "'unknown' in row 2"),
    "keine Angabe": (["5", "keine Angabe", "7", "9"], "'keine Angabe' in row 2"),
    "minus 999 998 997": ([*map(str, range(20, 60)), "-999", "-998", "-997"], "-999"),
    "999 in ages": ([*map(str, range(18, 90)), *["999"] * 4], "999"),
    "99 in ages": ([*map(str, range(18, 60)), *["99"] * 6], "99"),
    "9999 and 8888": ([*map(str, range(18, 90)), "9999", "9999", "8888"], "9999"),
    "1900-01-01": ([*["1900-01-01"] * 3, *MARCH], "1900-01-01"),
    "9999-12-31": ([*["9999-12-31"] * 3, *MARCH], "9999-12-31"),
    "01.01.1970 as zero": ([*["1970-01-01"] * 3, *MARCH], "1970-01-01"),
}  # fmt: skip

ASKED = {
    "two-digit years open": (["03/04/05", "05/06/07"], '--date-order'),
}  # fmt: skip

# Words, and what is no number by itself: text, which is said.
TEXT = {
    "clock times": ["12:30", "07:05", "23:59"],
    "school years": ["2019/20", "2020/21"],
    "fractions": ["1/2", "3/4", "1/3"],
    "vulgar fractions": ["\xbd", "1\xbc"],
    "ranges": ["10-20", "20-30", "30-40"],
    "about": ["~5", "ca. 7", "9"],
    "approximate all": ["ca. 5", "ca. 7", "ca. 9"],
    "hexadecimal": ["0x1F", "0xA0"],
    "scientific with times": ["1.5\xd710^3", "2\xd710^4"],
    "inches": ['5\'11"', '6\'2"'],
    "ordinals": ["1st", "2nd", "3rd"],
    "age ranges": ["18-25", "26-35", "65+"],
    "phones": ["+49 30 1234567", "+49 89 7654321"],
    "phones in brackets": ["(555) 123-4567", "(555) 765-4321"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "DE12 5001 0517 0648 4898 90"],
    "ISBN": ["978-3-16-148410-0", "978-0-306-40615-7"],
    "tax numbers with commas": ["12-34567", "98-76543"],
    "versions": ["1.2.3", "1.10.0"],
    "apartment": ["12A", "7B", "3"],
    "coordinates": ['52\xb031\'12"N', '48\xb08\'0"N'],
    "truth ja/nein": ["ja", "nein", "ja"],
    "truth oui/non": ["oui", "non", "oui"],
    "truth sí/no": ["s\xed", "no", "s\xed"],
    "truth да/нет": ["\u0434\u0430", "\u043d\u0435\u0442", "\u0434\u0430"],
    "truth x or nothing": ["x", "", "x"],
    "truth J/N": ["J", "N", "J"],
    "truth wahr/falsch": ["WAHR", "FALSCH", "WAHR"],
    "truth on/off": ["on", "off", "on"],
}  # fmt: skip

BODY = "".join(f"{i};{3 + i * 1.37 % 11:.2f};{'abc'[i % 3]}\n" for i in range(30))
SUMS = [sum(range(30)), sum(float(line.split(";")[1]) for line in BODY.splitlines())]


def each(pattern):
    """Every row of the body, put into a pattern with its number."""
    return "".join(pattern.format(i, line) for i, line in enumerate(BODY.splitlines()))


REFUSED = {
    "a title above, padded": ("Umsatz 2021;;\na;y;k\n" + BODY, "without a name", "title"),
    "a title above, alone": ("Umsatz 2021\n\na;y;k\n" + BODY, "title above the header"),
    "a second line of units": ("a;y;k\nm2;EUR;\n" + BODY, "row 1 holds 'm2', 'EUR' above numbers"),
    "headers over headers": (";2021;\na;y;k\n" + BODY, "2 columns without a name"),
    "two blank columns": ("a;y;k;;\n" + each("{1};;\n"), "2 columns without a name"),
    "a total": (f"a;y;k\n{BODY}{SUMS[0]};{SUMS[1]:.2f};Total\n", "row 31 ('Total') is the sum"),
    "a total in Russian": (f"a;y;k\n{BODY}{SUMS[0]};{SUMS[1]:.2f};Итого:\n", "row 31", "the sum"),
    "a total without a word": (f"a;y;k\n{BODY}{SUMS[0]};{SUMS[1]:.2f};\n", "row 31 is the sum"),
    "a footnote": (f"a;y;k\n{BODY}Source: office;;\n", "the first in row 31"),
    "a footnote alone": (f"a;y;k\n{BODY}Source: office\n", "has 1 cells in line 32"),
    "two files, one behind the other": (f"a;y;k\n{BODY}a;y;k\n{BODY}", "row 31 repeats the names"),
    "empty rows": (f"a;y;k\n{BODY};;\n;;\n", "2 of 32 rows without a value"),
    "spaces about names": (" a ; y ;k\n" + BODY, "Did you mean ' y '?"),
    "a name twice": ("a;y;a\n" + BODY, "2 columns named 'a'"),
}
FITTED = {
    "a mean at the end": (f"a;y;k\n{BODY}14.5;8;Mittelwert\n", "row 31, the last, says 'Mittelwert'"),
    "a blank first column": (";a;y;k\n" + each(";{1}\n"), "column '': empty"),
    "a blank last column": ("a;y;k;\n" + each("{1};\n"), "column '': empty"),
    "an index": (";a;y;k\n" + each("{0};{1}\n"), "column '': an index"),
    "an index by pandas": ("Unnamed: 0;a;y;k\n" + each("{0};{1}\n"), "'Unnamed: 0': an index"),
    "a header of two lines": ('"a\n(m2)";y;k\n' + BODY, "'a\\n(m2)'"),
}  # fmt: skip


def look(cells):
    """How a column beside others is read, and what is said of it; of few cells each comes again."""
    cells = [cells[i % len(cells)] for i in range(max(24, len(cells)))]
    table = pa.table(
        {"x": cells, "y": [f"{i * 3.7 % 11 + i / 100:.2f}" for i in range(len(cells))]}
    )
    ways = learn_ways(table, delimiter=";")
    columns, features = Columns.learn_and_encode(table, ways)
    said = [*told(ways, ["x"]), *(f"{d.name!r}: {d.why}" for d in columns.dropped)]
    rows = np.arange(len(cells))
    said += odd_cell_notes(features, rows.astype(float), columns, Target("t", "regression"), rows)
    return ways["x"], clean(table["x"]), "; ".join(said)


@pytest.mark.parametrize("case", READ)
def test_cells_are_read_right(case):
    cells, values = READ[case]
    way, column, said = look(cells)
    assert way.kind in ("number", "date")
    np.testing.assert_allclose(way.read(column)[: len(cells)], values, rtol=0, atol=1e-9)
    assert "'x'" in said
    # A model remembers how they are written.
    again = Columns.from_json(
        Columns.learn(pa.table({"x": column, "y": range(len(column))})).to_json()
    )
    np.testing.assert_allclose(again.used[0].way.read(column)[: len(cells)], values, atol=1e-9)


@pytest.mark.parametrize("case", NOTED)
def test_what_may_be_read_wrong_is_said(case):
    cells, *words_said = NOTED[case]
    said = look(cells)[2]
    for part in words_said:
        assert part in said


@pytest.mark.parametrize("case", ASKED)
def test_what_may_be_two_things_is_asked_about(case):
    cells, part = ASKED[case]
    with pytest.raises(DataError, match=part):
        look(cells)


@pytest.mark.parametrize("case", TEXT)
def test_words_are_text(case):
    way, _, said = look(TEXT[case])
    assert way.kind == "category"
    assert "taken for text" in said


class Enough(Exception):
    """All is said that is said before a training."""


def said_before_training(path):
    lines = []

    def say(line):
        if line.startswith("training on"):
            raise Enough
        lines.append(line)

    with pytest.raises(Enough):
        fit_table(path, "y", path.parent / "m", progress=False, say=say)
    return "; ".join(lines)


@pytest.mark.parametrize("case", FITTED)
def test_a_file_is_read_and_what_is_odd_is_said(case, tmp_path):
    content, part = FITTED[case]
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    assert part in said_before_training(tmp_path / "a.csv")


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_table_is_one_sentence(case, tmp_path):
    content, *parts = REFUSED[case]
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        fit_table(tmp_path / "a.csv", "y", tmp_path / "m", progress=False)
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_there_are_more_than_a_hundred():
    assert len(READ) + len(NOTED) + len(ASKED) + len(TEXT) + len(REFUSED) + len(FITTED) > 100


@pytest.mark.parametrize(
    ("trained", "new"),
    [
        (["12 km", "3 km"], "5 m"),
        (["12 km", "3 km"], "5"),
        (["950", "1.2k"], "5 km"),
        (["3,2 Mio", "5 Mio"], "950"),
        (["2021Q3", "2021Q4"], "soon"),
    ],
)
def test_a_cell_of_another_unit_than_in_training_is_named(trained, new):
    rules = Columns.learn(pa.table({"a": trained}))
    with pytest.raises(DataError, match=r"column 'a' holds .* in row 8; expected .* in training"):
        rules.encode(pa.table({"a": [new]}), first_row=7)


def test_typed_whole_numbers_that_are_days_are_dates():
    table = pa.table({"d": [20210314, 20211231, 20200229], "m": [202103, 202104, 202112]})
    ways = learn_ways(table)
    assert ways["d"].kind == "date"
    assert ways["d"].read(clean(table["d"]))[0] == day("2021-03-14")
    assert "if they are months" in "; ".join(told(ways, ["m"]))


@pytest.mark.parametrize("values", [["a", "b"], [f"w{i % 40}" for i in range(200)]])
def test_numbers_among_the_words_of_training_are_outside(values):
    rules = Columns.learn(pa.table({"k": values}))
    _, outside, because = rules.encode_and_explain(pa.table({"k": ["5", "6", values[0]]}))
    assert outside.to_pylist() == [True, True, False]
    assert because.to_pylist() == ["k = 5", "k = 6", None]


def test_later_dates_are_told_once_and_make_no_row_be_outside():
    rules = Columns.learn(pa.table({"d": ["2021-01-01", "2021-12-31"]}))
    new = pa.table({"d": ["2023-05-01", "2021-05-01", "1021-05-01"]})
    assert rules.encode(new)[1].tolist() == [False, False, True]
    later = Later(rules)
    later.add(new)
    assert later.notes == [
        "1 row has dates in 'd' later than the last of training, 2021-12-31, up to 2023-05-01"
    ]


@pytest.mark.parametrize("name", ["id", "patient_id", "customerID", "order no", "Lfd. Nr.", "ID"])
def test_ids_of_new_rows_are_not_outside_and_that_they_are_numbers_is_said(name, tmp_path):
    rules = Columns.learn(pa.table({name: [5, 9, 12, 30]}))
    assert rules.encode(pa.table({name: [9_000, 12, -40]}))[1].tolist() == [False, False, True]
    assert Columns.from_json(rules.to_json()) == rules
    text = "".join(f"{i * 3};{3 + i * 1.37 % 11:.2f};{i % 5}\n" for i in range(40))
    (tmp_path / "a.csv").write_text(f"{name};y;z\n{text}")
    assert f"column {name!r} is used as a number, and looks" in said_before_training(
        tmp_path / "a.csv"
    )


@pytest.mark.parametrize("name", ["size", "paid", "nose", "kind", "valid", "rainbow"])
def test_a_number_beyond_training_is_outside(name):
    rules = Columns.learn(pa.table({name: [5, 9, 12, 30]}))
    assert rules.encode(pa.table({name: [9_000]}))[1].tolist() == [True]
