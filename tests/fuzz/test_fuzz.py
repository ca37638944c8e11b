"""Every command with odd words, every file that hunch reads with damaged bytes.

No traceback, no hang, no file lost: see `sandbox`. The suite takes a minute in CI; the proof runs
20,000 cases. A part of the cases is run as real processes.
"""

import os
import subprocess
import sys

import cases
import pytest
import sandbox
from hypothesis import HealthCheck, Phase, given, seed, settings

IN_CI, IN_PROOF = 120, 20_000
PROCESSES_IN_CI, PROCESSES_IN_PROOF = 2, 200


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = sandbox.build(tmp_path_factory.mktemp("good"))
    os.symlink("circle", folder / "circle")
    os.symlink("nowhere", folder / "dangling")
    return folder


def contents(good):
    return {
        str(p.relative_to(good)): p.read_bytes() for p in sorted(good.rglob("*")) if p.is_file()
    }


def drawn(strategy, count, number, check):
    """Call `check` with so many cases; all complaints are told at once, with what they are of."""
    wrong = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy.filter(cases.encodable))
    def each(case):
        found = check(case)
        if found.complaints:
            wrong.append(
                f"{[word[:80] for word in case.arguments]} {sorted(case.files)} "
                f"sealed={case.sealed}: {found.complaints}\n    {found.said[-300:]!r}"
            )

    each()
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:30])


def in_process(good, tmp_path, monkeypatch, count, number):
    with sandbox.quickly(good, monkeypatch):
        box = sandbox.Sandbox(good, tmp_path / "outer" / "in")
        drawn(cases.cases(contents(good)), count, number, box.check)


def in_processes(good, tmp_path, count, number):
    box = sandbox.Sandbox(good, tmp_path / "outer" / "in", watched=as_a_process)
    drawn(cases.cases(contents(good)), count, number, box.check)


def as_a_process(arguments, folder):
    # matplotlib's own cache is not among what a command may leave behind.
    home = {"HOME": str(folder), "MPLCONFIGDIR": str(folder.parents[1] / "matplotlib")}
    done = subprocess.run(
        [sys.executable, "-m", "hunch", *arguments],
        cwd=folder,
        env=os.environ | home | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=10 * sandbox.SECONDS,
        check=False,
    )
    said = done.stderr.decode("utf-8", "replace")
    return done.returncode, said, sandbox.faults(done.returncode, said)


@pytest.mark.slow
def test_odd_words_and_damaged_files(good, tmp_path, monkeypatch):
    in_process(good, tmp_path, monkeypatch, IN_CI, number=0)


@pytest.mark.slow
def test_some_of_them_as_processes(good, tmp_path):
    in_processes(good, tmp_path, PROCESSES_IN_CI, number=1)


@pytest.mark.proof
@pytest.mark.parametrize("number", range(10))
def test_twenty_thousand(number, good, tmp_path, monkeypatch):
    in_process(good, tmp_path, monkeypatch, IN_PROOF // 10, number=100 + number)


@pytest.mark.proof
def test_two_hundred_processes(good, tmp_path):
    in_processes(good, tmp_path, PROCESSES_IN_PROOF, number=2)


# What failed once: sealed forgeries of a kind that reached an AttributeError or a KeyError.
FORGED = {
    "a list of checksums that is text": ("other-run/checkpoints", "hunch.json", '{"written_by": "hunch", "kind": "run", "files": "x"}'),
    "callbacks without a value": ("run/checkpoints", "callbacks.json", "{}"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_checkpoint_is_one_line(what, good, tmp_path):
    below, name, content = FORGED[what]
    place = sorted((good / below).iterdir())[-1] / name
    inside = str(place.relative_to(good))
    box = sandbox.Sandbox(good, tmp_path / "outer" / "in")
    case = sandbox.Case(
        ("train", f"--resume={below.partition('/')[0]}", "--steps=70"),
        {inside: content.encode()},
        sealed=True,
    )
    assert box.check(case).complaints == []
