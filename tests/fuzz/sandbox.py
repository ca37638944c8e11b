"""A folder of everything that hunch reads, and one command run in it under watch.

A case is a line of arguments and the bytes of files that differ from the good ones. It is run in
this process through the program's own entry, in a fresh copy of the folder. What must hold: no
traceback, one line on standard error that says why where the exit code is not 0, an end within a
minute, and every file still there with its bytes unless the command was asked to write it.
"""

import contextlib
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hunch.cli.main import run

MANIFEST = "hunch.json"
SECONDS = 60
MEMORY = 6 * 2**30  # more than that a case may not take, as on a small machine
QUICK = ["--set=hidden_sizes=8", "--set=min_replay_size=8", "--set=batch_size=8"]
SCRIPT = """\
import torch
from torch.distributions import Normal


def problem():
    return torch.square, Normal, (torch.zeros(2), torch.ones(2))
"""
ROWS = [f"{i},{'abc'[i % 3]},{i % 2},{2 * i + 0.5}" for i in range(40)]
CSV = "\n".join(["size,kind,flag,price", *ROWS]) + "\n"


class Hang(BaseException):
    """A case that lasts longer than it may."""


@dataclass(frozen=True)
class Case:
    """A command and what is odd about it.

    Args:
        arguments: the words after `hunch`.
        files: contents by name, in place of the good ones.
        sealed: whether the list of checksums beside a changed file is made to agree with it.
    """

    arguments: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    sealed: bool = False


def build(folder):
    """Fill a folder with good ones of all that hunch reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_text("mine\n")
    (folder / "good.csv").write_text(CSV)
    (folder / "script.py").write_text(SCRIPT)
    columns = {"size": list(range(40)), "kind": list("abcd" * 10), "price": [0.5] * 20 + [2.0] * 20}
    pq.write_table(pa.table(columns), folder / "good.parquet")
    with contextlib.chdir(folder):
        for words in (
            ["fit", "good.csv", "--target=price", "--members=2", "--out=model"],
            ["fit", "good.csv", "--target=kind", "--members=2", "--out=classes"],
            ["train", "dqn", "CartPole-v1", "--steps=40", "--num-envs=2", "--out=run", *QUICK],
            ["train", "a2c", "CartPole-v1", "--steps=64", "--out=other-run", "--eval-every=0"],
        ):
            assert run(words) == 0, words
    from hunch.rl import DQN

    agent = DQN("CartPole-v1", hidden_sizes=(8,), batch_size=8, min_replay_size=8)
    agent.learn(20, progress=False)
    agent.save(folder / "agent")
    return folder


@contextlib.contextmanager
def quickly(folder, monkeypatch):
    """Leave out what a case need not do for its end to be seen: long trainings and reports."""
    from dataclasses import replace

    from hunch.plots import run_report
    from hunch.sklearn.base import RandomizedPriorBase
    from hunch.tables import fitting

    figures = {
        task: json.loads((folder / name / "summary.json").read_text())["test"]
        for task, name in (("regression", "model"), ("classification", "classes"))
    }
    whole = RandomizedPriorBase._recipe
    monkeypatch.setattr(
        RandomizedPriorBase, "_recipe", lambda *a, **k: replace(whole(*a, **k), epochs=2)
    )
    monkeypatch.setattr(fitting, "assess", lambda m, split, seed: figures[m.target.task])
    monkeypatch.setattr(fitting, "table_report", lambda summary: "<p>")
    monkeypatch.setattr(
        run_report, "write_report", lambda run, tell=None: run.folder / "report.html"
    )
    yield


def everything(folder):
    return {
        str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() if p.is_file() else None
        for p in folder.rglob("*")
    }


@dataclass
class Outcome:
    case: Case
    code: object
    said: str
    complaints: list[str]


class Sandbox:
    """The folder, copied anew whenever a case has left traces."""

    def __init__(self, good, place, watched=None):
        self.good, self.place, self.watched = good, place, watched or in_this_process
        self._fresh()
        self.before = everything(place)

    def _fresh(self):
        if self.place.exists():
            shutil.rmtree(self.place)
        shutil.copytree(self.good, self.place, symlinks=True)

    def check(self, case):
        """Run a case; return what was wrong with it."""
        for name, content in case.files.items():
            place = self.place / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            if case.sealed:
                reseal(place)
        before = everything(self.place)
        code, said, complaints = self.watched(case.arguments, self.place)
        after = everything(self.place)
        lost = [
            n for n, sum_ in before.items() if after.get(n, "gone") != sum_ and not _may(n, case)
        ]
        if lost:
            complaints.append(f"changed or lost: {lost[:5]}")
        litter = [n for n in after.keys() - before.keys() if code != 0 and not _left(n, case)]
        if litter:
            complaints.append(f"left behind: {litter[:5]}")
        if after != self.before:
            self._fresh()
        return Outcome(case, code, said, complaints)


def _may(name, case):
    """Whether the command may change a file that is there: its own run, or an older own output."""
    if case.arguments[:1] == ("train",) and any("resume" in word for word in case.arguments):
        return name.partition("/")[0] in ("run", "other-run")
    asked = {word.rpartition("=")[2] for word in case.arguments}
    top = name.partition("/")[0]
    return top in asked and top in ("model", "classes", "figure.svg")


def _left(name, case):
    """Whether a failed command may leave this: a run that failed in training can be resumed."""
    return case.arguments[:1] == ("train",) and not name.rpartition("/")[2].startswith(".tmp")


def reseal(place):
    manifest = place.parent / MANIFEST
    if place != manifest and manifest.exists():
        found = json.loads(manifest.read_text())
        found["files"][place.name] = "sha256:" + hashlib.sha256(place.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(found))


def in_this_process(arguments, folder):
    """Run the program in this process; return exit code, what it said, and what was wrong."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    complaints, code = [], None
    usual = signal.signal(signal.SIGALRM, _hang)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    modules, path, home = set(sys.modules), list(sys.path), os.environ.get("HOME")
    resource.setrlimit(resource.RLIMIT_AS, (_in_use() + MEMORY, limits[1]))
    os.environ["HOME"] = str(folder)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)  # again, where one is swallowed
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = run(list(arguments))
    except Hang:
        complaints.append(f"not done after {SECONDS} s")
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        complaints.append(f"raised {type(error).__name__}: {error}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        os.environ["HOME"] = home or ""
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if not hasattr(sys.modules[name], "__path__") and _is_below(name, folder):
                del sys.modules[name]
    text = err.buffer.getvalue().decode("utf-8", "replace")
    return code, text, complaints + faults(code, text)


def _is_below(name, folder):
    file = getattr(sys.modules[name], "__file__", None)
    return file is not None and str(file).startswith(str(folder))


def faults(code, said):
    """What is wrong with an exit code and the words on standard error."""
    complaints = []
    if "Traceback (most recent call last)" in said:
        complaints.append("a traceback")
    if "error of hunch's own" in said:
        complaints.append("an error that nobody foresaw")
    if code not in (0, 1, 2):
        complaints.append(f"exit code {code!r}")
    lines = [line.rpartition("\r")[2] for line in said.split("\n") if line.strip()]
    if code == 2 and not (lines and lines[-1].startswith(("hunch: ", "Usage: ", "  "))):
        complaints.append(f"no line that says why: {said[-200:]!r}")
    return complaints


def _hang(signum, frame):
    raise Hang


def _in_use():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
