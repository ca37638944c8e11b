"""Whatever goes wrong at the command line: one line, exit code 2 or 1, a traceback on request."""

import operator
import os
import py_compile
import resource
import signal
import sys
from contextlib import contextmanager
from importlib import import_module

import pytest

from hunch.cli.failures import explain, one_line
from hunch.cli.main import FAILED, WRONG_USE, run
from hunch.errors import FolderError

CSV = "size,kind,price\n" + "".join(f"{i},{'abc'[i % 3]},{2 * i + 0.5}\n" for i in range(40))
SMALL = ["--set=layer_norm=false", "--steps=12", "--eval-every=0", "--out=run"]
LONG = "a" * 300
ENVIRONMENT = """\
import gymnasium, numpy as np

class Odd(gymnasium.Env):
    def __init__(self, level=0, render_mode=None):
        self.observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.level = level
    def reset(self, *, seed=None, options=None):
        if self.level > 9:
            raise ValueError("no level\\nbeyond 9")
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 0.0, True, False, {}

gymnasium.register("Odd-v0", entry_point=Odd, disable_env_checker=True)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


def train(*words, env="CartPole-v1"):
    return ["train", "dqn", env, *SMALL, *words]


# Words, exit code, and what the line must say.
KINDS = {
    "a long name to read": (["fit", LONG, "--target=price"], WRONG_USE, "ame too long"),
    "a long name to write": (["fit", "a.csv", "--target=price", f"--out={LONG}"], WRONG_USE, "ame too long"),
    "a long name of a run": (["play", LONG], WRONG_USE, ""),
    "links in a circle": (["fit", "circle", "--target=price"], WRONG_USE, "symbolic link"),
    "nobody's home to read": (["fit", "~nosuchuser/a.csv", "--target=price"], WRONG_USE, "user"),
    "nobody's home to write": (train("--out=~nosuchuser/x"), WRONG_USE, "user"),
    "nobody's home to play": (["play", "~nosuchuser/x"], WRONG_USE, "user"),
    "a seed beyond 64 bits": (["fit", "a.csv", "--target=price", f"--seed={2**70}"], WRONG_USE, "too large"),
    "steps beyond 64 bits": (train(f"--steps={2**63}"), WRONG_USE, "too large"),
    "a nested literal": (train("--set=learning_rate=" + "[" * 3000), WRONG_USE, "expected a number"),
    "a long sum": (train("--set=learning_rate=" + "1+" * 30000 + "1"), WRONG_USE, "expected a number"),
    "many digits": (train("--set=batch_size=" + "9" * 5000), WRONG_USE, "expected a whole number"),
    "a size beyond memory": (train(f"--set=replay_capacity={2**42}"), WRONG_USE, "GiB"),
    "a size beyond 64 bits": (train(f"--set=replay_capacity={2**70}"), WRONG_USE, "at most 92233"),
    "a layer beyond memory": (train(f"--set=hidden_sizes=8,{2**40}"), WRONG_USE, "GiB"),
    "a rate beyond floats": (train(f"--set=learning_rate={10**400}"), WRONG_USE, "expected"),
    "endless updates": (train(f"--set=updates_per_round={2**40}"), WRONG_USE, "1,000 for each"),
    "endless environments": (train(f"--num-envs={2**40}"), WRONG_USE, "65,536"),
    "endless replicas": (train(f"--replicas={2**40}"), WRONG_USE, "65,536"),
    "no such device": (train("--set=device=cuda:77"), WRONG_USE, "cannot be used here"),
    "no kind of device": (train("--set=device=toaster"), WRONG_USE, "expected a torch device"),
    "two colons": (train(env="a:b:c"), WRONG_USE, "one colon"),
    "a package that is gone": (train(env="nosuchpackage.here:Env-v0"), WRONG_USE, "No module named"),
    "an environment's own error": (train("--env=level=10", env="odd:Odd-v0"), None, "no level beyond 9"),
    "an environment's own argument": (train("--env=depth=10", env="odd:Odd-v0"), WRONG_USE, "depth"),
    "members without end": (["fit", "a.csv", "--target=price", f"--members={2**40}"], WRONG_USE, "too large"),
    "jobs without end": (["reproduce", "chain", f"--jobs={2**40}"], WRONG_USE, "too large"),
    "a problem that takes arguments": (["diagnose", "problems.py:one"], WRONG_USE, "without arguments"),
    "a problem of another form": (["diagnose", "problems.py:two"], WRONG_USE, "expected (f, dist_fn, params)"),
    "a problem without a distribution": (["diagnose", "problems.py:three"], WRONG_USE, "no distribution"),
    "a problem that fails": (["diagnose", "problems.py:four"], WRONG_USE, "ZeroDivisionError: division by zero (in problems.py, line 6"),
    "a cost that is none": (["diagnose", "problems.py:five"], WRONG_USE, "a tensor of costs"),
    "a problem that is no Python": (["diagnose", "broken.py:f"], WRONG_USE, "never closed"),
    "a problem that is no text": (["diagnose", "bytes.py:f"], WRONG_USE, "is no Python"),
}  # fmt: skip
PROBLEMS = """\
import torch
from torch.distributions import Normal
one = lambda x: x
two = lambda: 3
three = lambda: (torch.square, Normal, {"mu": torch.zeros(2)})
four = lambda: 1 / 0
five = lambda: (lambda z: None, Normal, (torch.zeros(2), torch.ones(2)))
"""


def told(capsys):
    """The lines on standard error that say what is wrong."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "hunch's own" not in err
    return [line for line in err.splitlines() if line.startswith("hunch: ")]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_is_one_line(kind, here, capsys):
    words, code, says = KINDS[kind]
    (here / "odd.py").write_text(ENVIRONMENT)
    (here / "problems.py").write_text(PROBLEMS)
    (here / "broken.py").write_text("x = (")
    (here / "bytes.py").write_bytes(b"\xff\xfe\x00")
    found = run(words)
    assert found in ((FAILED, WRONG_USE) if code is None else (code,))
    last = told(capsys)[-1]
    assert says in last
    assert len(last) < 1300
    sys.modules.pop("odd", None)


def test_names_that_are_not_utf_8_come_back(here, capsys):
    name = os.fsdecode(b"caf\xe9")
    assert run(["train", "dqn", "CartPole-v1", *SMALL[:-1], f"--out={name}"]) == 0
    assert run(["play", name, "--episodes=1"]) == 0
    assert run(["diagnose", "coin", "--repeats=10", f"--out={name}.svg"]) == 0
    assert told(capsys)
    assert (here / name).is_dir()


def test_a_large_seed_fits_a_table(here, capsys, monkeypatch):
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *args: {"scores": {"hunch": {}}})
    monkeypatch.setattr("hunch.tables.fitting.table_report", lambda summary: "")
    monkeypatch.setattr("hunch.tables.verdict.verdict", lambda summary: "")
    assert run(["fit", "a.csv", "--target=price", "--members=2", f"--seed={2**33}"]) == 0


@contextmanager
def no_room(size=200):
    """Files may not grow beyond some bytes, as on a full disk."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_ends_the_demo_with_one_line(here, capsys, monkeypatch):
    # Python keeps what it can write of a compiled module, so none may be written then.
    import_module("hunch.cli.demo")
    from hunch.experiments.demo import runner
    from hunch.experiments.demo.outcome import Outcome

    done = Outcome("done", [], [], {"x": list(range(500))})
    monkeypatch.setattr(runner.Part, "run", lambda self, **options: done)
    with no_room():
        assert run(["demo", "--only=priors", "--out=page"]) in (FAILED, WRONG_USE)
    assert "hunch: " in told(capsys)[-1]
    assert sorted(p.name for p in here.iterdir()) == ["a.csv", "circle"]


def test_a_module_that_is_cut_off_is_named(here, capsys, monkeypatch):
    (here / "lake.py").write_text(ENVIRONMENT)
    cut = py_compile.compile("lake.py", doraise=True)
    with open(cut, "r+b") as file:
        file.truncate(100)
    monkeypatch.setattr("hunch.storage.check_replaceable", lambda *_: import_module("lake"))
    assert run(["demo"]) == FAILED
    (line,) = (line for line in told(capsys) if line)
    assert f"{cut}': Python's compiled module is cut off" in line


@pytest.mark.parametrize("asked", ["--debug", "HUNCH_DEBUG"])
def test_the_traceback_on_request(asked, here, capsys, monkeypatch):
    words = ["fit", "nosuch.csv", "--target=price"]
    if asked == "HUNCH_DEBUG":
        monkeypatch.setenv("HUNCH_DEBUG", "1")
    else:
        words.append("--debug")
    assert run(words) == WRONG_USE
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("hunch: there is no file")


def test_an_error_of_ours_says_that_it_is_one(capsys, monkeypatch):
    monkeypatch.setattr("hunch.storage.check_replaceable", operator.truediv)
    assert run(["demo"]) == FAILED
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "TypeError" in lines[0]
    assert "--debug" in lines[0]
    assert "report" in lines[0]


ERRORS = [
    (OSError(28, "No space left on device"), FAILED, "disk is full"),
    (PermissionError(13, "Permission denied", "a"), WRONG_USE, "may not"),
    (OSError(30, "Read-only file system", "a"), WRONG_USE, "only be read"),
    (OSError(24, "Too many open files"), FAILED, "too many files"),
    (MemoryError(), FAILED, "not enough memory"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), FAILED, "not enough memory"),
    (FolderError("cannot write 'a'."), WRONG_USE, "cannot write"),
]  # fmt: skip


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: type(case[0]).__name__)
def test_the_system_s_errors(case):
    error, code, says = case
    message, found = explain(error)
    assert (found, says in message) == (code, True)


def test_a_line_is_short_and_changes_no_terminal():
    assert one_line("a\x1b[2J\r\nb" + "c" * 9000).startswith("a\\x1b[2J b")
    assert len(one_line("c" * 9000)) < 1300
