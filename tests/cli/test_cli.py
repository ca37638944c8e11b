"""The program as a user meets it: in a process of its own, for its exit codes and its one line."""

import json
import os
import signal
import subprocess
import sys
import time

import click
import pytest

from hunch.cli.main import program, run


def hunch(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "hunch", *arguments], capture_output=True, text=True, **options
    )


def test_help_is_quick_and_imports_nothing_heavy():
    best = min(_seconds() for _ in range(3))
    assert best < 2.0  # 0.1 s on a quiet machine; the bound only catches an import of torch
    code = (
        "import sys; from hunch.cli.main import run; run(['--help']);"
        "heavy = {'torch', 'numpy', 'matplotlib', 'gymnasium'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Example: hunch demo" in done.stdout


def test_the_help_says_of_each_command_what_its_own_page_says():
    context = click.Context(program)
    for name, summary in sys.modules["hunch.cli.main"]._COMMANDS.items():
        help = program.get_command(context, name).help
        assert " ".join(help.split("\n\n")[0].split()).startswith(summary)
        assert summary.endswith(".")
    assert program.get_command(context, "none") is None


def test_a_name_that_is_nearly_a_commands_is_corrected():
    assert "Did you mean 'fit'?" in hunch("fitt").stderr


def test_only_the_command_that_is_called_is_imported():
    code = (
        "import sys; from hunch.cli.main import run; run(['sample', '--help']);"
        "sys.exit(bool({'hunch.cli.fit', 'hunch.cli.train'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def _seconds():
    start = time.perf_counter()
    assert hunch("--help").returncode == 0
    return time.perf_counter() - start


def test_import_hunch_is_light():
    code = "import sys, hunch; assert 'torch' not in sys.modules; hunch.nn; assert 'torch' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_part_imports_torch_s_compiler_where_nobody_compiles():
    # It takes 1.5 s, five times as long as all of hunch.
    parts = "hunch.nn, hunch.inference, hunch.gradients, hunch.rl"
    code = f"import sys, torch, {parts}; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("command", [[], ["demo"], ["reproduce"], ["bench"], ["diagnose"]])
def test_every_command_has_help_with_an_example(command, capsys):
    assert run([*command, "--help"]) == 0
    assert "Example: hunch" in capsys.readouterr().out


WRONG = {
    "unknown part": (["demo", "--only", "everything"], "'everything' is not one of 'priors'"),
    "negative seed": (["demo", "--seed", "-1"], "-1 is not in the range x>=0"),
    "no number": (["demo", "--seed", "one"], "'one' is not a valid whole number"),
    "unknown option": (["demo", "--fast"], "No such option"),
    "unknown command": (["dream"], "No such command 'dream'"),
    "a file": (["demo", "--out", __file__], "is a file; expected a folder"),
    "foreign folder": (["demo", "--out", os.path.dirname(__file__)], "did not write it"),
    "unwritable folder": (["demo", "--out", __file__ + "/below"], "cannot"),
    "unknown claim": (["reproduce", "everything"], "no claim is called 'everything'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_gets_one_line_and_exit_code_2(case):
    arguments, message = WRONG[case]
    done = hunch(*arguments)
    lines = [line for line in done.stderr.splitlines() if line != "hunch: loading torch"]
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    assert message in lines[0]
    assert lines[0].startswith("hunch: ")
    assert done.stdout == ""


def test_no_command_shows_the_help_and_is_wrong_use(capsys):
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hunch, version ")


def test_reproduce_lists_runs_and_never_overwrites_what_is_not_its_own(
    tmp_path, capsys, monkeypatch
):
    from hunch.experiments.uncertainty import linear_posterior

    monkeypatch.setattr(linear_posterior, "Settings", linear_posterior.Settings.quick)
    assert run(["reproduce"]) == 0
    assert "linear-posterior\n" in capsys.readouterr().out
    assert run(["reproduce", "linear-posterior", "--out", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["linear-posterior"]
    assert printed["holds"]
    assert printed == json.loads((tmp_path / "linear-posterior.json").read_text())
    assert "| yes |" in (tmp_path / "linear-posterior.md").read_text()
    assert run(["reproduce", "linear-posterior", "--out", str(tmp_path)]) == 0
    (tmp_path / "linear-posterior.md").write_text("my notes")
    assert run(["reproduce", "linear-posterior", "--out", str(tmp_path)]) == 2
    assert "did not write it" in capsys.readouterr().err
    assert (tmp_path / "linear-posterior.md").read_text() == "my notes"


def test_a_claim_that_does_not_hold_is_exit_code_1(monkeypatch, capsys):
    from hunch.experiments.claims.checks import Check
    from hunch.experiments.uncertainty import linear_posterior

    monkeypatch.setattr(linear_posterior, "Settings", linear_posterior.Settings.quick)
    monkeypatch.setattr(linear_posterior, "check", lambda result: [Check("x", 2.0, "<=", 1.0)])
    assert run(["reproduce", "linear-posterior"]) == 1
    assert "| NO |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "ctrl_c", [signal.SIG_DFL, pytest.param(signal.SIG_IGN, marks=pytest.mark.slow)]
)
def test_sigterm_leaves_nothing_behind(ctrl_c, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "hunch", "demo", "--out", tmp_path / "page"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Ignored is what a shell makes of it for a program in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path.name[:6] for path in tmp_path.iterdir()] == [".page."]
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert errors.splitlines()[-1] == "hunch: interrupted"
    # Python itself makes it an end by SIGINT if the interrupt met a line of `exec`.
    assert process.returncode in (1, -signal.SIGINT)
    assert list(tmp_path.iterdir()) == []


def test_the_program_alone_looks_for_cycles_rarely():
    said = (
        "import gc; from hunch.cli import main; from hunch.cli.main import run; run(['--version'])"
    )
    end = "\ntry: main(['--version'])\nexcept SystemExit: print(gc.get_threshold()[0])"
    words = [sys.executable, "-c", f"{said}; print(gc.get_threshold()[0]){end}"]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    usual, own = (int(word) for word in found if word.isdigit())
    assert usual < 10_000 == own
