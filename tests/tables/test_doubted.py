"""A column of somebody else's predictions: it stays as it is, and gets intervals."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from hunch.cli.main import run
from hunch.errors import DataError
from hunch.tables import TableModel, fit_table, predict_table


def sales(rows=200, seed=0, **columns):
    """A forecast that is 3 too high, and noisy where there is a sale."""
    rng = np.random.default_rng(seed)
    size, sale = rng.normal(size=rows), rng.random(rows) < 0.5
    noise = np.where(sale, 2.0, 0.2) * rng.normal(size=rows)
    return pa.table(
        {
            "last year": size,
            "sale": np.where(sale, "yes, one", "none"),
            "forecast": size + 3,
            "sold": size + noise,
        }
        | columns
    )


def written(place, table):
    pyarrow.csv.write_csv(table, place)
    return place


@pytest.fixture
def unjudged(monkeypatch):
    """Fits without baselines and without a page, which take most of the time."""
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *_: {})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")


def fit(place, said=None, **options):
    notes = [] if said is None else said
    settings = dict(members=10, progress=False, say=notes.append, prediction="forecast") | options
    return fit_table(place, "sold", place.parent / "model", **settings)


def test_the_mean_is_the_column_to_the_bit_and_intervals_are_learned(tmp_path, unjudged):
    said = []
    found = fit(written(tmp_path / "a.csv", sales()), said)
    assert "the prediction is column 'forecast'; learning how far off it may be" in said
    assert found["members"] == 10
    assert found["columns"]["said"] == {"prediction": ["forecast"]}
    model = TableModel.load(tmp_path / "model")
    new = sales(400, seed=1)
    answers = model.predict(new)
    assert answers.column_names == model.output_names
    np.testing.assert_array_equal(answers["mean"], new["forecast"])
    lower, upper = (answers[name].to_numpy() for name in ("lower", "upper"))
    truth = new["sold"].to_numpy()
    # Of 400 rows and 160 that were tested the share has a standard deviation of 0.03.
    assert 0.8 < np.mean((lower <= truth) & (truth <= upper)) < 0.98
    sale = np.array(new["sale"]) == "yes, one"
    assert np.median((upper - lower)[sale]) > 2 * np.median((upper - lower)[~sale])
    off = answers["corrected"].to_numpy() - answers["mean"].to_numpy()
    assert -4 < np.median(off) < -2


@pytest.mark.slow
def test_a_file_in_a_file_and_a_report_out(tmp_path, capsys):
    data = tmp_path / "a.csv"
    written(data, sales())
    out = ["--out", str(tmp_path / "model"), "--members", "10", "--quiet"]
    assert run(["fit", str(data), "--target", "sold", "--prediction", "forecast", *out]) == 0
    own = json.loads((tmp_path / "model" / "summary.json").read_text())["test"]["scores"]["hunch"]
    assert own["rmse"] > 2.5  # of the forecast as it is
    assert own["coverage_90"] > 0.7  # of intervals about what is believed
    assert own["width_90"] < 6
    new = tmp_path / "new.parquet"
    pyarrow.parquet.write_table(sales(30, seed=1), new)
    answers = tmp_path / "out.csv"
    assert (
        run(["predict", str(tmp_path / "model"), str(new), "--out", str(answers), "--quiet"]) == 0
    )
    written_out = pyarrow.csv.read_csv(answers)
    np.testing.assert_array_equal(written_out["mean"], written_out["forecast"])
    assert "coverage" in capsys.readouterr().out


def test_a_prediction_that_an_earlier_column_repeats_is_kept(tmp_path, unjudged):
    table = sales(60)
    same = table.set_column(2, "forecast", table["last year"])
    found = fit(written(tmp_path / "a.csv", same), members=4)
    assert next(column["name"] for column in found["columns"]["used"]) == "forecast"
    assert {"name": "last year", "why": "the same as 'forecast'"} in found["columns"]["dropped"]


def test_a_good_prediction_is_no_suspect(tmp_path, unjudged):
    table = sales(60)
    exact = table.set_column(2, "forecast", pa.array(table["sold"].to_numpy() + 1e-3))
    assert fit(written(tmp_path / "a.csv", exact), members=4)["suspects"] == {}


@pytest.mark.parametrize(
    ("changed", "options", "words"),
    [
        ({"forecast": [None, *[1.5] * 99, *[2.5] * 100]}, {}, "has no number in row 1; expected a"),
        ({"forecast": [1.5] * 200}, {}, "--prediction names 'forecast', which is constant"),
        ({"forecast": ["high", "low"] * 100}, {}, "column 'forecast' holds 'high' in row 1"),
        ({}, {"prediction": "cast"}, "--prediction: .* has no column 'cast'"),
        ({}, {"prediction": "sold"}, "--prediction names 'sold', which is the target"),
        ({}, {"drop": "forecast"}, "--prediction and --drop both name 'forecast'"),
        ({"sold": ["much", "little"] * 100}, {}, "the target 'sold' is classes"),
    ],
)
def test_what_is_no_prediction_is_refused(tmp_path, unjudged, changed, options, words):
    place = written(tmp_path / "a.csv", sales(**changed))
    with pytest.raises(DataError, match=words):
        fit(place, **options)


def test_a_row_to_predict_without_a_prediction_is_named(tmp_path, unjudged):
    fit(written(tmp_path / "a.csv", sales(60)), members=4)
    holes = sales(50, forecast=[*[1.5] * 40, None, *[1.5] * 9])
    model = TableModel.load(tmp_path / "model")
    with pytest.raises(DataError, match="'forecast', which has no number in row 41"):
        predict_table(model, written(tmp_path / "b.csv", holes), tmp_path / "c.csv", progress=False)
    with pytest.raises(DataError, match="column 'forecast' is missing"):
        predict_table(
            model,
            written(tmp_path / "d.csv", holes.drop_columns(["forecast"])),
            tmp_path / "c.csv",
            progress=False,
        )


def test_rows_that_the_model_was_fitted_on_are_told(tmp_path, unjudged):
    said, table = [], sales(60)
    exact = table.set_column(2, "forecast", table["sold"])
    fit(written(tmp_path / "a.csv", exact), said, members=4)
    assert any("right to the last digit on 100% of the rows" in line for line in said)
