"""`hunch doctor` says what is there, tests it, and fails if a test does."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hunch.cli import doctor
from hunch.cli.main import run
from hunch.kernel import kernel

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_it_names_versions_extras_and_the_kernel_and_passes(capsys):
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    for part in ("versions  python", "threads of torch", "devices   cpu", "extra     sklearn"):
        assert part in said
    assert ("kernel    compiled" in said) == (kernel() is not None)
    assert said.count(": passed") == len(doctor._TESTS)


@pytest.mark.slow
def test_without_the_kernel_it_says_why_and_passes_too():
    done = subprocess.run(
        [sys.executable, "-m", "hunch", "doctor", "--json"],
        env={**os.environ, "HUNCH_KERNEL": "0"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["kernel"] == {
        "there": False,
        "lanes": None,
        "why_not": "switched off by HUNCH_KERNEL=0",
    }
    assert [test["passed"] for test in found["tests"]] == [True] * len(doctor._TESTS)


def wrong():
    return "differ by 2"


def broken():
    raise RuntimeError("no such instruction")


@pytest.mark.parametrize(("test", "why"), [(wrong, "differ by 2"), (broken, "no such instruction")])
def test_a_test_that_fails_is_named(test, why, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_TESTS", {"one": lambda: None, "two": test})
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "one: passed" in said
    assert why in said.split("two: FAILED: ")[1]


def test_what_is_looked_for_is_what_the_project_asks_for():
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    for extra, needed in doctor._EXTRAS.items():
        assert extra in extras
        if extra not in ("tabular", "mujoco"):  # which are made of other extras
            assert {package for _, package in needed} <= {
                asked.split(">")[0].split("[")[0] for asked in extras[extra]
            }
