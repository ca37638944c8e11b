"""Rows of a file of their own to judge on, in place of a part that is held out."""

import numpy as np
import pytest

from hunch.cli.main import run
from hunch.errors import DataError
from hunch.tables import TableModel, fit_table
from hunch.tables import rows as rows_module


def houses(n, seed=0):
    rng = np.random.default_rng(seed)
    size, city = rng.uniform(40, 160, n).round(2), rng.integers(0, 3, n)
    price = (3 * size + 50 * (city == 0) + 10 * rng.normal(size=n)).round(2)
    return [[str(s), "UBK"[c], str(p)] for s, c, p in zip(size, city, price, strict=True)]


def write(place, rows, head=("size", "city", "price")):
    place.write_text("\n".join(map(",".join, [head, *rows])) + "\n")
    return place


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Fits, and returns the summary, the split that was judged on and what was said."""
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")
    monkeypatch.setattr(
        "hunch.tables.fitting.assess", lambda model, split, seed: splits.append(split)
    )
    splits, said = [], []

    def fit(train, test, target="price", head=("size", "city", "price"), **options):
        write(tmp_path / "train.csv", train)
        write(tmp_path / "test.csv", test, head)
        options |= {"members": 2, "progress": False, "say": said.append}
        out = tmp_path / "model"
        found = fit_table(
            tmp_path / "train.csv", target, out, test=tmp_path / "test.csv", **options
        )
        return found, splits[-1], said

    return fit


def test_all_rows_are_trained_on_and_those_of_the_other_file_judged(fit):
    train, test = houses(50), houses(30, seed=1)
    found, split, _ = fit(train, test)
    assert found["rows"] == {"file": 50, "used": 50, "train": 50, "test": 30}
    assert (found["test_file"], found["test_copies"]) == ("test.csv", 0)
    assert split.y.tolist() == [float(row[2]) for row in train]
    assert split.test_y.tolist() == [float(row[2]) for row in test]
    assert split.test_x[:, 0].tolist() == [float(row[0]) for row in test]


def test_columns_may_come_in_another_order_and_more_of_them(fit):
    test = [[p, "new", s, c] for s, c, p in houses(30, seed=1)]
    _, split, _ = fit(houses(50), test, head=("price", "note", "size", "city"))
    assert split.test_y.tolist() == [float(row[0]) for row in test]


def test_copies_of_training_rows_are_told_of(fit):
    train = houses(50)
    found, split, said = fit(train, [*houses(20, seed=1), *train[7:12]])
    assert found["test_copies"] == 5
    assert len(split.test_y) == 25
    told = "5 of 25 rows to judge on are copies of training rows; figures with them are too good"
    assert f"'test.csv': {told}" in said


def test_numbers_of_rows_tell_no_copies_apart(tmp_path, fit, monkeypatch):
    head = ("no", "size", "city", "price")
    train = [[str(i), *row] for i, row in enumerate(houses(50))]
    test = [[str(1000 + i), *row[1:]] for i, row in enumerate(train[:9])]
    write(tmp_path / "train.csv", train, head)
    write(tmp_path / "test.csv", test, head)
    found = fit_table(
        tmp_path / "train.csv",
        "price",
        tmp_path / "m",
        test=tmp_path / "test.csv",
        members=2,
        progress=False,
    )
    assert found["test_copies"] == 9


@pytest.mark.parametrize(
    ("change", "head", "target", "expected"),
    [
        (lambda row: row[1:], ("city", "price"), "price", "test.csv': column 'size' is missing"),
        (lambda row: row[:2], ("size", "city"), "price", "test.csv' has no column 'price'"),
        (lambda row: [*row[:2], "dear"], None, "price", "test.csv': target 'price' holds 'dear' in row 1;"),
        (lambda row: [*row[:2], ""], None, "price", "without a value, the first in row 1; .*--drop-missing"),
        (lambda row: [*row[:2], "inf"], None, "price", "target 'price' holds inf in row 1"),
        (lambda row: [*row[:2], "7"], None, "price", "target 'price' is 7 in every row"),
        (lambda row: ["big", *row[1:]], None, "price", "test.csv': column 'size' holds 'big' in row 1"),
        (lambda row: [row[0], "X", row[2]], None, "city", "target 'city' holds 'X' in row 1, which is no class"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_before_training(change, head, target, expected, fit):
    with pytest.raises(DataError, match=expected):
        fit(
            houses(50),
            list(map(change, houses(30, seed=1))),
            target,
            head or ("size", "city", "price"),
        )


def test_too_few_rows_are_refused(fit):
    with pytest.raises(DataError, match=r"test.csv': 3 rows to judge on; expected at least 4"):
        fit(houses(50), houses(3))


def test_rows_without_a_target_are_left_out_there_too(fit):
    test = houses(30, seed=1)
    test[4][2] = test[9][2] = "NA"
    found, split, said = fit(houses(50), test, drop_missing_target=True)
    assert found["rows"]["test"] == 28
    assert np.isfinite(split.test_y).all()
    assert "'test.csv': 2 of 30 rows have no target, and are left out" in said


def test_of_many_rows_some_are_judged_on_and_that_is_said(fit, monkeypatch):
    monkeypatch.setattr(rows_module, "MOST_TEST_ROWS", 12)
    found, _, said = fit(houses(50), houses(30, seed=1))
    assert found["rows"]["test"] == 12
    assert "'test.csv': judging on a random sample of 12 of its 30 rows" in said


def test_classes_and_the_page_and_the_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = houses(60)
    write(tmp_path / "a.csv", train)
    write(tmp_path / "b.csv", [*houses(20, seed=1), train[0]])
    words = ["fit", "a.csv", "--target=city", "--test=b.csv", "--members=2"]
    assert run(words) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("On 21 rows of b.csv:\n")
    assert "'b.csv': 1 of 21 rows to judge on is a copy of a training row" in captured.err
    page = (tmp_path / "model" / "report.html").read_text("utf-8")
    assert "1 of 21 rows to judge on is a copy of a training row" in page
    assert "tested on 21 rows of <code>b.csv</code>" in page
    assert TableModel.load("model").target.classes == ("B", "K", "U")
