"""`hunch bench` on small scripts of our own."""

import json

import pytest

from hunch.cli import bench as module
from hunch.cli.main import run

SCRIPT = '''"""How fast nothing is.

More words.
"""
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
print("# nothing\\n\\n| way | ms |\\n|---|---|\\n| loop |", parser.parse_args().seed, "|")
'''


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "nothing.py").write_text(SCRIPT)
    (folder / "broken.py").write_text('"""Fails."""\nraise SystemExit("no luck")\n')
    monkeypatch.setattr(module, "_PLACES", (tmp_path / "not there", folder))
    return tmp_path


def test_lists_what_there_is(scripts, capsys):
    assert run(["bench"]) == 0
    assert capsys.readouterr().out == "broken\n    Fails.\nnothing\n    How fast nothing is.\n"


def test_the_table_is_printed_written_and_read(scripts, capsys):
    out = scripts / "out"
    assert run(["bench", "nothing", "--seed", "7", "--json", "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)["nothing"]
    assert printed["rows"] == [{"way": "loop", "ms": "7"}]
    assert (out / "bench-nothing.md").read_text() == printed["markdown"]


def test_failures_are_one_line(scripts, capsys, monkeypatch):
    assert run(["bench", "broken"]) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("hunch: measuring broken failed: no luck")
    )
    assert run(["bench", "everything"]) == 2
    assert "there are: broken, nothing" in capsys.readouterr().err
    (scripts / "file").write_text("")
    assert run(["bench", "nothing", "--out", str(scripts / "file" / "below")]) == 2
    assert "cannot write" in capsys.readouterr().err
    monkeypatch.setattr(module, "_PLACES", ())
    assert run(["bench"]) == 2


def test_every_benchmark_says_what_it_measures(monkeypatch, capsys):
    assert run(["bench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ensemble" in lines
    assert all(len(line) > 20 for line in lines[1::2])
