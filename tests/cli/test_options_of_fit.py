"""Options of `hunch fit` beside those on columns: weights, bounds, a file of options."""

import json

import numpy as np
import pytest

from hunch.cli.main import DONE, WRONG_USE, run
from hunch.tables import TableModel, fit_table


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 200)
    y = np.where(np.arange(200) % 2, 3 * x, 40 + 0 * x) + 0.1 * rng.normal(size=200)
    weight = np.where(np.arange(200) % 2, 1, 0)
    rows = "".join(f"{a:.4f},{b:.4f},{w}\n" for a, b, w in zip(x, y, weight, strict=True))
    (tmp_path / "a.csv").write_text("x,y,w\n" + rows)
    share = np.clip(0.02 * (x + 1), 0, 1)
    (tmp_path / "share.csv").write_text(
        "x,share\n" + "".join(f"{a:.4f},{s:.5f}\n" for a, s in zip(x, share, strict=True))
    )
    return tmp_path


def quick(*words):
    return [*words, "--members=2", "--quiet"]


def test_rows_of_weight_zero_are_not_learned_from(here):
    fit_table("a.csv", "y", "model", weights="w", members=2, progress=False)
    model = TableModel.load("model")
    assert [c.name for c in model.columns.used] == ["x"]
    assert model.predict({"x": [0.0]})["mean"][0] < 10  # of all rows the mean is about 20


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("-1", "weights 'w' hold -1 in row 1; expected a number from 0 on"),
        ("", "weights 'w' hold nothing in row 1"),
        ("heavy", "'heavy' in row 1"),
    ],
)
def test_odd_weights_are_refused(cells, said, here, capsys):
    text = (here / "a.csv").read_text().splitlines()
    text[1] = text[1].rpartition(",")[0] + "," + cells
    (here / "a.csv").write_text("\n".join(text) + "\n")
    assert run(quick("fit", "a.csv", "--target=y", "--weights=w")) == WRONG_USE
    assert said in capsys.readouterr().err


def test_no_prediction_is_beyond_the_bounds(here):
    words = quick("fit", "share.csv", "--target=share", "--lower=0", "--upper=1")
    assert run(words) == DONE
    model = TableModel.load("model")
    assert (model.target.lower, model.target.upper) == (0.0, 1.0)
    found = model.predict({"x": np.linspace(-50, 50, 1_000)}, coverage=0.99)
    for name in ("mean", "lower", "upper"):
        assert found[name].min() >= 0, name
        assert found[name].max() <= 1, name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lower=0.01"], "beyond the bounds 0.01 to inf"),
        (["--lower=1", "--upper=0"], "`lower` got 1 and `upper` 0"),
        (["--lower=nan"], "`lower` got nan"),
        (["--lower=0", "--task=classification"], "100 classes"),
    ],
)
def test_bounds_that_cannot_be_are_refused(words, said, here, capsys):
    assert run(quick("fit", "share.csv", "--target=share", *words)) == WRONG_USE
    assert said in capsys.readouterr().err


def test_a_file_of_options_says_what_the_line_does_not(here, capsys):
    (here / "a.toml").write_text(
        'target = "y"\ndrop = ["w"]\nmembers = 3\nquiet = true\nseed = 7\ndrop-missing-target = true\n'
    )
    assert run(["fit", "a.csv", "--config=a.toml", "--members=2", "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["members"], found["seed"]) == (2, 7)
    assert found["columns"]["said"] == {"drop": ["w"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('tarjet = "y"', "'tarjet', which is no option; did you mean 'target'?"),
        ("target = [1]", "expected a word or a number"),
        ("quiet = 1", "expected true or false"),
        ('target = "y"\nmembers = "many"', "--members"),
        ("members = true", "expected a word or a number"),
        ("target = ", "is no TOML"),
        ("[fit]\ntarget = 'y'", "'fit', which is no option"),
        (None, "cannot read"),
    ],
)
def test_an_odd_file_of_options_is_one_sentence(text, said, here, capsys):
    if text is not None:
        (here / "a.toml").write_text(text)
    assert run(["fit", "a.csv", "--config=a.toml"]) == WRONG_USE
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) <= 4
