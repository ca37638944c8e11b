"""`hunch sample`: the table that the first `hunch fit` is typed along."""

import subprocess
import sys
from pathlib import Path

import pyarrow.csv
import pytest

from hunch.cli.main import run
from hunch.cli.sample import SAMPLES
from hunch.tables import Columns

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src" / "hunch" / "samples"


def test_both_tables_are_written_and_what_to_type_next_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["sample"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == set(SAMPLES)
    assert all((tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes() for name in SAMPLES)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "flats.csv: 480 flats",
        "flats-new.csv: 8 flats",
        "Next: hunch fit flats.csv --target price --ids flat",
    ]
    assert run(["sample"]) == 0  # the same bytes again: nothing is lost
    assert run(["sample", "--out", "a b"]) == 0
    assert "Next: hunch fit 'a b/flats.csv'" in capsys.readouterr().out


def test_a_file_of_the_users_stays_and_nothing_is_written_beside_it(tmp_path, capsys):
    mine = tmp_path / "flats-new.csv"
    mine.write_text("mine")
    assert run(["sample", "--out", str(tmp_path)]) == 2
    assert "is there and hunch did not write it" in capsys.readouterr().err
    assert (mine.read_text(), len(list(tmp_path.iterdir()))) == ("mine", 1)


def test_the_tables_are_what_their_script_draws(tmp_path):
    script = (ROOT / "tools" / "draw_flats.py").read_text()
    here = script.replace('Path(__file__).parents[1] / "src" / "hunch" / "samples"', "Path()")
    assert here != script
    subprocess.run([sys.executable, "-c", here], cwd=tmp_path, check=True)
    for name in SAMPLES:
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()
        assert len((SHIPPED / name).read_bytes()) <= 40_000


def test_they_have_what_tables_of_ones_own_have():
    known, new = (pyarrow.csv.read_csv(SHIPPED / name) for name in SAMPLES)
    assert known.column_names == [*new.column_names, "price"]
    rules = Columns.learn(known.drop_columns(["flat", "price"]))
    kinds = {column.name: column.kind for column in rules.used}
    assert set(kinds.values()) == {"number", "date", "category", "boolean"}
    assert {column.name for column in rules.used if column.missing} == {"built", "heating"}
    _, outside = rules.encode(new)
    assert outside.tolist() == [False] * 7 + [True]


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_in_the_package(name):
    from importlib import resources

    assert resources.files("hunch").joinpath("samples", name).is_file()
