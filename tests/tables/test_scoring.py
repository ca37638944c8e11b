"""What `hunch predict` says of a file that holds the truth, and of rows that lie outside."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest

from hunch.cli.main import run
from hunch.tables import Columns, predict_table
from hunch.tables import reading as reading_module
from hunch.tables.model import train
from hunch.tables.scoring import Scores
from hunch.tables.target import Target


@pytest.fixture(scope="module")
def numbers():
    table = pa.table({"x": [i / 40 for i in range(40)]})
    rules, x = Columns.learn_and_encode(table)
    return train(rules, Target("y", "regression"), x, x[:, 0] * 2, members=2, progress=False)


@pytest.fixture(scope="module")
def classes():
    rules, x = Columns.learn_and_encode(pa.table({"x": [i / 40 for i in range(40)]}))
    target = Target("y", "classification", ("a", "b"))
    y = (x[:, 0] > 0.5).astype(float)
    return train(rules, target, x, y, members=2, progress=False)


@pytest.fixture
def predicted(tmp_path):
    """Predicts rows of `x` and `y`: the result, its rows as written, and what was said."""

    def predict(model, rows, **options):
        said = []
        (tmp_path / "new.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in rows))
        out = tmp_path / "out.csv"
        found = predict_table(
            model, tmp_path / "new.csv", out, progress=False, say=said.append, **options
        )
        with out.open(newline="", encoding="utf-8") as file:
            return found, list(csv.DictReader(file)), said

    return predict


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_numbers_are_scored_as_by_hand(coverage, numbers, predicted, monkeypatch):
    monkeypatch.setattr(reading_module, "CHUNK_ROWS", 7)
    rng = np.random.default_rng(0)
    x = rng.random(50).round(3)
    y = (2 * x + 0.2 * rng.normal(size=50)).round(3)
    truth = [str(value) for value in y]
    truth[5] = truth[20] = "NA"
    truth[28:35] = [""] * 7  # a whole part without
    found, rows, said = predicted(numbers, zip(x, truth, strict=True), coverage=coverage)
    known = [i for i, cell in enumerate(truth) if cell not in ("NA", "")]
    mean, std, low, high = (column(rows, n)[known] for n in ("mean", "std", "lower", "upper"))
    y = y[known]
    ends = zip(((1 - coverage) / 2, (1 + coverage) / 2), (low, high), strict=True)
    pinball = [np.maximum(q * (y - end), (q - 1) * (y - end)).mean() for q, end in ends]
    draws = mean + std * np.random.default_rng(1).normal(size=(20_000, len(y)))
    crps = np.abs(draws - y).mean() - np.abs(draws[::2] - draws[1::2]).mean() / 2
    expected = {
        "rows": 41,
        "coverage": ((low <= y) & (y <= high)).mean(),
        "width": (high - low).mean(),
        "rmse": np.sqrt(((mean - y) ** 2).mean()),
        "mae": np.abs(mean - y).mean(),
        "pinball": np.mean(pinball),
    }
    assert found.scores.pop("crps") == pytest.approx(crps, rel=0.02)
    assert found.scores == pytest.approx(expected, rel=1e-9)
    assert said == []


def test_classes_are_scored_as_by_hand_and_one_that_nobody_knew_is_wrong(classes, predicted):
    x = np.random.default_rng(0).random(30).round(3)
    truth = ["b" if value > 0.4 else "a" for value in x]
    truth[4], truth[9] = "c", ""
    found, rows, said = predicted(classes, zip(x, truth, strict=True))
    known = [i for i in range(30) if i != 9]
    probs = np.stack([column(rows, f"probability_{c}") for c in "ab"], axis=1)[known]
    probs = np.append(probs, np.zeros((29, 1)), axis=1)
    y = np.array(["abc".index(truth[i]) for i in known])
    of_truth = probs[np.arange(29), y]
    expected = {
        "rows": 29,
        "accuracy": (probs.argmax(axis=1) == y).mean(),
        "log_loss": -np.log(np.maximum(of_truth, 1e-12)).mean(),
        "brier": ((probs - np.eye(3)[y]) ** 2).sum(axis=1).mean(),
    }
    assert found.scores == pytest.approx(expected, rel=1e-9)
    assert said == ["1 row has a class of 'y' that training did not have, and counts as wrong"]


@pytest.mark.parametrize(
    ("cell", "note"),
    [
        ("sold", "no scores: target 'y' holds 'sold' in row 9; expected a number, as in training."),
        ("inf", "no scores: target 'y' holds inf in row 9; expected finite numbers."),
        ("1e200", "no scores: column 'y' holds '1e200' in row 9; expected numbers up to"),
    ],
)
def test_a_cell_that_is_no_truth_ends_scores_and_not_predictions(
    cell, note, numbers, predicted, monkeypatch
):
    monkeypatch.setattr(reading_module, "CHUNK_ROWS", 4)
    rows = [(0.5, cell if i == 8 else 1) for i in range(20)]
    found, written, said = predicted(numbers, rows)
    assert (found.rows, found.scores, len(written)) == (20, None, 20)
    assert [line[: len(note)] for line in said] == [note]


@pytest.mark.parametrize("name", ["numbers", "classes"])
@pytest.mark.parametrize("truth", ["", "NA"])
def test_a_target_that_is_nowhere_known_has_no_scores(name, truth, predicted, request):
    found, _, said = predicted(request.getfixturevalue(name), [(0.5, truth)] * 3)
    assert (found.scores, said) == (None, [])


def test_a_score_that_no_float_holds_is_none():
    said = {"mean": [np.inf], "std": [1.0], "lower": [0.0], "upper": [np.inf]}
    scores = Scores(Target("y", "regression"), coverage=0.9)
    scores.add(pa.table(said), pa.chunked_array([[1.0]]), first_row=0)
    assert scores.result()["mae"] is None
    assert json.dumps(scores.result(), allow_nan=False)


def test_rows_outside_name_the_cells_that_make_them_so(tmp_path):
    trained = {"size": [0.0, 100.0], "city": ["U", "K"], "sold": ["2020-01-01", "2020-12-31"]}
    columns = Columns.learn(pa.table(trained))
    new = {
        "size": ["50", "900", "-7000", " 126 "],
        "city": ["U", "U", "Rome", ""],
        "sold": ["2020-06-01", "2020-06-01", "1931-01-01", "2020-06-01"],
    }
    features, outside, because = columns.encode_and_explain(pa.table(new))
    assert because.to_pylist() == [
        None,
        "size = 900",
        "size = -7000; city = Rome; sold = 1931-01-01",
        "size = 126",
    ]
    same, flags = columns.encode(pa.table(new))
    assert outside.to_pylist() == flags.tolist()
    np.testing.assert_array_equal(features, same)


def test_reasons_are_the_cells_of_any_type_and_long_ones_are_cut():
    trained = {"a": pa.array([1.5, 2.5]), "b": pa.array(["x", "y"]).dictionary_encode()}
    columns = Columns.learn(pa.table(trained))
    new = {"a": pa.chunked_array([[9.25], [None]]), "b": pa.chunked_array([["z" * 90], ["x"]])}
    because = columns.encode_and_explain(pa.table(new))[2]
    assert because.to_pylist() == [f"a = 9.25; b = {'z' * 60}", None]


def test_the_reason_stands_behind_outside_in_the_file(numbers, predicted):
    _, rows, _ = predicted(numbers, [(0.5, ""), (70, "")])
    assert list(rows[0])[-2:] == ["outside", "outside_because"]
    assert [tuple(row.values())[-2:] for row in rows] == [("false", ""), ("true", "x = 70")]


def test_the_program_prints_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *_: {"scores": {"hunch": {}}})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")
    monkeypatch.setattr("hunch.tables.verdict.verdict", lambda _: "")
    rows = "".join(f"{i},{2 * i + 0.5}\n" for i in range(40))
    (tmp_path / "a.csv").write_text(f"x,y\n{rows}")
    (tmp_path / "b.csv").write_text("x\n1\n")
    assert run(["fit", "a.csv", "--target=y", "--members=2"]) == 0
    capsys.readouterr()
    assert run(["predict", "model", "a.csv", "--out=p.csv"]) == 0
    first, second, head, line = capsys.readouterr().out.splitlines()
    assert first == "40 rows predicted into p.csv"
    assert second == "On 40 rows whose 'y' is known:"
    assert head.split() == ["model", "coverage", "width", "rmse", "mae", "crps", "pinball"]
    assert run(["predict", "model", "a.csv", "--out=p.csv", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() == {"rows", "outside", "scores", "out"}
    shown = [f"{value:.4g}" for name, value in printed["scores"].items() if name != "rows"]
    assert line.split()[1:] == shown
    assert run(["predict", "model", "b.csv", "--out=q.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] is None
