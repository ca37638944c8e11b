"""Copies, lying cells and columns that give the target away, as `hunch fit` meets them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hunch.errors import DataError
from hunch.tables import Columns, fit_table
from hunch.tables.report import table_report
from hunch.tables.suspects import copies_in_words, suspects
from hunch.tables.target import Target


def written(folder, **columns):
    pd.DataFrame(columns).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def honest(n, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n)).round(6)
    return a, b, (a - b + 0.5 * rng.normal(size=n)).round(6)


def fitted(folder, **columns):
    said = []
    found = fit_table(
        written(folder, **columns),
        "y",
        folder / "model",
        members=3,
        progress=False,
        say=said.append,
    )
    return found, said, (folder / "model" / "report.html").read_text()


def test_one_copy_is_one():
    assert copies_in_words(1) == "1 row is a copy of another; copies count as one row"


def test_copies_are_on_one_side_and_counted(tmp_path):
    a, b, y = honest(60)
    four = {name: np.tile(values, 4) for name, values in {"a": a, "b": b, "y": y}.items()}
    found, said, report = fitted(tmp_path, **four, no=np.arange(240) + 7)
    assert found["copies"] == 180
    assert found["rows"] == {"file": 240, "used": 240, "train": 192, "test": 12}
    assert "180 rows are copies of others; copies count as one row" in said
    assert "180 rows are copies of others" in report


def test_a_row_number_of_a_sorted_table_and_a_leak_are_named_first(tmp_path):
    a, b, y = honest(150)
    order = np.argsort(y)
    a, b, y = a[order], b[order], y[order]
    found, said, _ = fitted(tmp_path, no=np.arange(150), a=a, b=b, y=y, euros=y * 1.2)
    assert set(found["suspects"]) == {"no", "euros"}
    assert any("column 'no' numbers the rows" in line for line in said)
    first = table_report(found).index("numbers the rows")
    assert first < table_report(found).index("A model of")


def test_honest_tables_have_no_suspect(tmp_path):
    a, b, y = honest(150)
    found, said, report = fitted(tmp_path, no=np.arange(150), a=a, b=b, y=y)
    assert (found["suspects"], found["copies"], found["odd_cells"]) == ({}, 0, [])
    assert not any("far from" in line or "copies" in line for line in said)
    assert "copies count" not in report


def test_a_cell_that_lies_is_named_and_one_beyond_computing_refused(tmp_path):
    a, b, y = honest(150)
    a[:] = np.where(np.arange(150) == 20, -99999, a)
    found, said, _ = fitted(tmp_path, a=a, b=b, y=y)
    assert any("'a' holds -99999 in row 21" in line for line in said) == (
        len(found["odd_cells"]) > 0
    )
    b[3] = 1e160
    with pytest.raises(DataError, match=r"column 'b' holds '1e\+160' in row 4"):
        fitted(tmp_path, a=a, b=b, y=y)
    b[3], y[5] = 0, 1e300
    with pytest.raises(DataError, match=r"column 'y' holds '1e\+300' in row 6"):
        fitted(tmp_path, a=a, b=b, y=y)


@pytest.mark.parametrize(("code", "count"), [(-999, 2), (9999, 5), (-999, 20)])
def test_a_code_for_unknown_in_several_rows_is_named(code, count, tmp_path):
    a, b, y = honest(150)
    a[:count] = code
    found, said, _ = fitted(tmp_path, a=a, b=b, y=y)
    assert any(f"'a' holds {code} in row " in line and "such cell" in line for line in said)
    # With their scale taken away by the code, `a` says nothing: an error of its own size, 1.
    assert found["test"]["scores"]["hunch"]["rmse"] < 1.1


def test_a_target_that_lies_is_named(tmp_path):
    a, b, y = honest(100)
    y[7] = y[30] = y[40] = -999
    _, said, report = fitted(tmp_path, a=a, b=b, y=y)
    assert any("target 'y' holds -999 in row " in line for line in said)
    assert "holds -999" in report


@pytest.mark.parametrize("step", [1, 100])
def test_ids_beyond_the_digits_of_a_number_are_called_ids(step, tmp_path):
    a, b, y = honest(60)
    # A hundred apart, floats leave a few of them different.
    ids = [str(9_007_199_254_740_993_000 + step * i) for i in range(60)]
    found, _, _ = fitted(tmp_path, id=ids, a=a, b=b, y=y)
    assert found["columns"]["dropped"][0]["why"].startswith("an id")


def test_an_array_is_no_table(tmp_path):
    with pytest.raises(DataError, match="the data are of type ndarray; expected the path of a"):
        fit_table(np.zeros((30, 2)), "y", tmp_path / "model")


def leaks(n, seed=0):
    """Columns that real tables hold beside their target, and what each gives away."""
    rng = np.random.default_rng(seed)
    a, b, noise = rng.normal(size=(3, n))
    price = np.exp(1 + 0.6 * a + 0.3 * b + 0.4 * noise) * 1000
    sick = (a + noise > 0).astype(float)
    day = np.char.zfill(rng.integers(1, 29, n).astype(str), 2)
    thirds = np.clip(np.searchsorted(np.quantile(price, np.arange(1, 20) / 20), price), 0, 19)
    numbers = {
        "tax on the price": (price * 0.19).round(2),
        "its logarithm": np.log(price),
        "its rank": 10.0 * np.argsort(np.argsort(price)),
        "a noisy copy": price * (1 + 0.02 * rng.normal(size=n)),
        "its band in words": np.array([f"band {i}" for i in thirds]),
    }
    classes = {
        "its code": np.where(sick > 0, "discharged", "admitted"),
        "a date that only the sick have": np.where(sick > 0, np.char.add("2021-03-", day), ""),
        "a score set afterwards": sick * 10 + 0.5 * rng.normal(size=n),
    }
    honest = a + rng.normal(size=n)
    cases = [(name, column, price, "regression") for name, column in numbers.items()]
    cases += [(name, column, sick, "classification") for name, column in classes.items()]
    return [(*case, honest) for case in cases]


@pytest.mark.parametrize("n", [150, 800])
def test_leaks_of_real_tables_are_named_and_an_honest_column_is_not(n):
    for name, column, y, task, honest in leaks(n):
        table = pa.table({"leak": column, "honest": honest})
        columns, features = Columns.learn_and_encode(table)
        target = Target("y", task, ("0", "1") if task == "classification" else ())
        assert list(suspects(features, y, columns, target, 0)) == ["leak"], name
