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
    assert printed["rows"] == [{"way": "loop", "ms": 7.0}]
    assert (out / "bench-nothing.md").read_text() == printed["markdown"]


def test_an_earlier_run_stands_beside_this_one(scripts, capsys):
    assert run(["bench", "nothing", "--seed", "4", "--json"]) == 0
    earlier = scripts / "earlier.json"
    earlier.write_text(capsys.readouterr().out)
    assert run(["bench", "nothing", "--seed", "6", "--against", str(earlier)]) == 0
    assert "| loop | ms | 4 | 6 | 1.50 |" in capsys.readouterr().out
    assert run(["bench", "nothing", "--seed", "1", "--json", "--against", str(earlier)]) == 0
    found = json.loads(capsys.readouterr().out)["nothing"]["against"]
    assert found == [{"row": "loop", "column": "ms", "old": 4.0, "new": 1.0, "ratio": 0.25}]


def test_what_takes_long_says_so(scripts, capsys, monkeypatch):
    monkeypatch.setattr(module, "PERIOD", 0.1)
    (scripts / "benchmarks" / "slow.py").write_text(
        '"""Waits."""\nimport sys, time\nprint("slow: at work", file=sys.stderr, flush=True)\n'
        'for _ in range(50):\n    print("not of us", file=sys.stderr, flush=True)\n'
        '    time.sleep(0.02)\nprint("| way |")\n'
    )
    assert run(["bench", "slow"]) == 0
    heard = capsys.readouterr().err
    assert "\nslow: at work\n" in heard
    assert "hunch: measuring slow, 1 s so far\n" in heard
    assert "not of us" not in heard


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{}", '{"nothing": 3}', '{"nothing": {"rows": [[1]]}}', '{"a": {}}']
)
def test_another_file_is_no_earlier_run(scripts, capsys, text):
    file = scripts / "other.json"
    file.write_text(text)
    assert run(["bench", "nothing", "--against", str(file)]) == 2
    assert str(file) in capsys.readouterr().err.splitlines()[-1]
    assert run(["bench", "nothing", "--against", str(scripts / "not there")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_cells_are_numbers_where_they_hold_some():
    text = "| a | b | c |\n|---|---|---|\n| 50, 20 | 1,007 | – |\n| x | **2** (-1.5–2.3) |"
    assert module.rows(text) == [
        {"a": "50, 20", "b": 1007.0, "c": "–"},
        {"a": "x", "b": [2.0, -1.5, 2.3]},
    ]
    assert module.compared([{"a": "x", "b": 0.0}], [{"a": "x", "b": 1.0}]) == []
    assert module.compared([{"a": "x", "b": 1.0}], [{"a": "y", "b": 1.0}]) == []


def test_rows_of_two_tables_may_have_one_name():
    old, new = ([{"a": "x", "b": b} for b in pair] for pair in ((1.0, 2.0), (3.0, 4.0)))
    assert [each["ratio"] for each in module.compared(old, new)] == [3.0, 2.0]


def test_failures_are_one_line(scripts, capsys, monkeypatch):
    assert run(["bench", "broken"]) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("hunch: measuring broken failed: no luck")
    )
    assert run(["bench", "everything"]) == 2
    assert "there are: broken, nothing" in capsys.readouterr().err
    assert run(["bench", "brokn"]) == 2
    assert "did you mean broken?" in capsys.readouterr().err
    (scripts / "file").write_text("")
    assert run(["bench", "nothing", "--out", str(scripts / "file" / "below")]) == 2
    assert "cannot write" in capsys.readouterr().err
    monkeypatch.setattr(module, "_PLACES", ())
    assert run(["bench"]) == 2


def test_a_table_has_options_of_its_own(scripts, capsys):
    (scripts / "benchmarks" / "own.py").write_text(
        SCRIPT.replace(
            '"--seed", type=int', '"--rows", dest="seed", help="how many rows", type=int'
        )
    )
    out = scripts / "out"
    assert run(["bench", "own", "--out", str(out), "--", "--rows", "5"]) == 0
    assert "| loop | 5 |" in capsys.readouterr().out
    assert "<!-- hunch bench own -- --rows 5 -->" in (out / "bench-own.md").read_text()
    assert run(["bench", "own", "--out", str(out)]) == 0  # over what was written so
    assert run(["bench", "own", "--", "--help"]) == 0
    assert "how many rows" in capsys.readouterr().out
    assert run(["bench", "own", "--", "--rows", "many"]) == 2
    assert "measuring own failed: " in capsys.readouterr().err
    assert run(["bench", "own", "--", "--nothing"]) == 2
    assert "unrecognized arguments: --nothing" in capsys.readouterr().err
    assert run(["bench", "own", "nothing", "--", "--rows", "5"]) == 2
    assert "expected one NAME before them" in capsys.readouterr().err
    assert run(["bench", "--", "--rows", "5"]) == 2


def test_every_benchmark_says_what_it_measures(monkeypatch, capsys):
    assert run(["bench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ensemble" in lines
    assert all(len(line) > 20 for line in lines[1::2])
