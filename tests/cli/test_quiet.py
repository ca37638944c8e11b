"""`--quiet`: results and errors, and nothing else."""

import json

import pytest

from hunch.cli.main import run

# A target in the file, a column that is dropped, copies, a cell that lies, and a column of ids.
ROWS = "".join(f"{i},{-99999 if i == 5 else i % 7},7,{2 * i + 0.5}\n" for i in range(40))
TABLE = f"x,z,same,y\n{ROWS}3,3,7,6.5\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hunch.progress.PERIOD", 1e-3)
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *_: {"scores": {"hunch": {"mae": 1}}})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda _: "")
    monkeypatch.setattr("hunch.tables.verdict.verdict", lambda _: "")
    (tmp_path / "a.csv").write_text(TABLE)
    (tmp_path / "far.csv").write_text("x,z,extra\n900,1,1\n")
    return tmp_path


def test_results_are_the_same_and_nothing_else_is_said(place, capfd):
    for words, results in [
        (["fit", "a.csv", "--target=y", "--members=2"], "On 8 rows held out:"),
        (["fit", "a.csv", "--target=y", "--members=2", "--json"], "{"),
        (["predict", "model", "a.csv", "--out=p.csv"], "41 rows predicted into p.csv"),
        (["predict", "model", "far.csv", "--out=q.csv", "--json"], "{"),
    ]:
        assert run(words) == 0
        loud = capfd.readouterr()
        assert loud.err != ""
        assert run([*words, "--quiet"]) == 0
        quiet = capfd.readouterr()
        assert (quiet.out, quiet.err) == (loud.out, "")
        assert quiet.out.startswith(results)
    assert json.loads(quiet.out)["outside"] == 1


def test_errors_are_said(place, capsys):
    assert run(["fit", "a.csv", "--target=price", "--quiet"]) == 2
    assert "has no column 'price'" in capsys.readouterr().err
    assert run(["predict", "model", "a.csv", "--out=p.csv", "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hunch: ")
