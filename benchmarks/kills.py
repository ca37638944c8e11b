"""Commands that are killed, that find no room, that may not write and that meet each other.

Each command is killed by SIGKILL at random moments of its processor time: half of them anywhere in
its life, half after the first thing that it writes; half over an older output; half with all that
it started, half alone. A moment after the end is drawn anew. It is killed as well right behind one
call of each kind by which it changes files. What was there must be whole right after the kill, and
the same command, typed again, must end with the files of a run that nobody killed, and with no
other.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from hunch.cli.main import run
from hunch.rl import Run
from hunch.storage import open_folder, read_json
from hunch.studies import Study
from hunch.tables import TableModel
from measuring import table
from measuring.killing import Changes, Watched, is_stopped, is_there, kinds

# Imported before processes are copied.
LATER = (
    "pyarrow.csv",
    "sklearn.ensemble",
    "sklearn.gaussian_process",
    "sklearn.linear_model",
    "hunch.experiments.claims.registry",
    "hunch.experiments.demo",
    "hunch.plots.run_report",
    "hunch.rl.runs.summary",
)
# Reports bear the day: of one that is made after midnight nothing else may differ.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"}
STEPS, FEWER = 400, 200  # of a run, and of the older one that goes on to them
STUDY = f"""
agents = ["dqn", "a2c"]
envs = ["CartPole-v1"]
seeds = 2
steps = {STEPS // 2}
eval-every = 0
checkpoint-every = 40
lease = 5
[set]
hidden_sizes = 4
"""
# What files say of the clock, and with it the checksum over it: all else must be equal.
_SECONDS = rb'"(?:seconds": [^,\n]*|seal": "[^"]*")'
CLOCK = {
    "**/run.json": _SECONDS,
    "**/results/*/*.json": _SECONDS,
    "run*/report.html": rb"<div><dt>wall time</dt>.*?</div>",
    "claims/*.md": rb"\d+ s on one thread",
}
_BLOCK = 4096  # bytes that a disk gives at a time
_MISSES = 100  # moments of one kill that may be met after the end
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of Linux
# How it was seen that this bench can fail: kept by hand, since hunch is broken for it.
_BROKEN = """Seen to fail, of hunch with one thing broken: kills by chance until a fault was seen,
and behind how many kinds of calls there was one.

| broken | in | by chance | behind calls |
|---|---|---|---|
| a folder is filled in its place | fit | the 1st | |
| every file is filled in its place | predict | the 1st | 1 of 3 |
| every file is filled in its place | train dqn | none of 8 | |
| the text files of a run are filled in their place | train dqn | | 1 of 38 |
| the old folder is deleted before the new one takes its name | fit | | 7 of 15 |
| the files of the new folder are copied over | fit | none of 8 | 11 of 23 |
| numpy's random numbers are not put back | train dqn | the 1st | |
| what a kill at a record leaves is not removed (as hunch was) | study | none of 11 | 1 of 25 |

What a kill cannot show is a file that is not flushed: the system writes it all the same. That takes
a power cut.
"""
# What a study keeps of attempts that found no room: why they failed, what they printed.
_ATTEMPTS = ("failed-*.json", "output-*.txt")

Content = dict[str, bytes]


@dataclass(frozen=True)
class Command:
    """A command, and what it writes.

    Args:
        words: the command, behind `hunch`.
        out: its output.
        older: words that make an older output.
        load: reads an output, and raises if it is not whole.
        units: files and folders in a place, of which each is the old one or the new one at any
            time.
        resume: words that go on with what is there, if others than `words` do.
        over: words that are typed over an older output, if others.
        half: what else is done to make an older output.
    """

    words: str
    out: str
    older: str
    load: Callable[[Path], object]
    units: Callable[[Path], list[str]]
    resume: str | None = None
    over: str | None = None
    half: Callable[[Path], None] = field(default=lambda place: None)


def training(agent: str, env: str = "CartPole-v1", more: str = "") -> Command:
    """`hunch train`, whose older output is a run of fewer steps that goes on."""
    small = "--eval-every 100 --checkpoint-every 40 --set hidden_sizes=4"
    words = f"train {agent} {env} {small} {more} --out run --steps"
    resume = "train --resume run"
    return Command(
        f"{words} {STEPS}",
        "run",
        f"{words} {FEWER}",
        load_run,
        lambda place: [],
        resume=resume,
        over=f"{resume} --steps {STEPS}",
    )


def load_run(folder: Path) -> None:
    run = Run.open(folder)
    if run.checkpoint.all():
        run.last_agent()
        run.best_agent()
    run.summary()


def steps_of(folder: Path) -> int:
    """Steps of a run; of anything else there are none."""
    return Run.open(folder).steps if (folder / "run.json").is_file() else 0


def load_study(folder: Path) -> None:
    for one in Study.open(folder).finished():
        load_run(one.folder)


def load_claims(folder: Path) -> None:
    for file in folder.glob("*.json"):
        read_json(file)


def jobs_done(place: Path) -> list[str]:
    """Records and outputs of jobs that are done."""
    found = []
    for record in (place / "study/results").glob("*/*.json"):
        job = Path(record.parent.name, record.stem)
        found += [str(record.relative_to(place)), f"study/jobs/{job}/run"]
    return found


def undo_half(place: Path) -> None:
    """Let half the jobs of a study be undone, as if nobody had begun them."""
    for folder in sorted(place.glob("study/jobs/*/1")):
        shutil.rmtree(folder)
        (place / "study/results" / folder.parent.name / "1.json").unlink()


def just(*units: str) -> Callable[[Path], list[str]]:
    return lambda place: [unit for unit in units if (place / unit).exists()]


COMMANDS = {
    "fit": Command(
        "fit a.csv --target y --members 2 --out model",
        "model",
        "fit a.csv --target y --members 3 --out model",
        TableModel.load,
        just("model"),
    ),
    "predict": Command(
        "predict given a.csv --out p.csv",
        "p.csv",
        "predict given a.csv --out p.csv --coverage 0.5",
        Path.read_text,
        just("p.csv"),
    ),
    "train dqn": training("dqn", more="--set batch_size=8 --set replay_capacity=100"),
    "train a2c": training("a2c"),
    "train pqn": training("pqn"),
    "train boot-dqn": training(
        "boot-dqn", "hunch/DeepSea-v0", "--size 10 --set num_members=3 --set batch_size=8"
    ),
    "study": Command(
        "study study.toml --workers 2 --out study",
        "study",
        "study study.toml --workers 2 --out study",
        load_study,
        jobs_done,
        half=undo_half,
    ),
    "reproduce": Command(
        "reproduce noisy-layers --out claims",
        "claims",
        "reproduce noisy-layers --out claims --seed 1",
        load_claims,
        just("claims/noisy-layers.json", "claims/noisy-layers.md"),
    ),
    "demo": Command(
        "demo --quick --only noisy-layers --out page",
        "page",
        "demo --quick --only noisy-layers --out page --seed 1",
        partial(open_folder, kind="demo"),
        just("page"),
    ),
}


def content(place: Path) -> Content:
    """Every file and folder below a place, or the file that it is, but for what the clock says."""
    found = {}
    for file in [place, *place.rglob("*")]:
        if not file.is_dir():
            said = file.read_bytes()
            for pattern, clock in CLOCK.items():
                if file.match(pattern):
                    said = re.sub(clock, b"", said)
            found[str(file.relative_to(place))] = said
        elif file != place:
            found[f"{file.relative_to(place)}/"] = b""
    return found


def differences(found: Content, expected: Content, but: Sequence[str] = ()) -> str:
    """The files that differ, in words, but for some that may be new; empty if none does."""
    names = [n for n in {**found, **expected} if found.get(n) != expected.get(n)]
    kept = [n for n in names if n in expected or not any(Path(n).match(b) for b in but)]
    said = [f"{'no ' * (n not in found)}{n}{' is new' * (n not in expected)}" for n in kept]
    return ", ".join(said[:6])


class Case:
    """A command, over nothing or over an older output, and how it ends if nobody disturbs it.

    Args:
        command: which.
        inputs: a folder with what commands read.
        over: whether there is an older output.
        scratch: a folder for what is needed meanwhile.
    """

    def __init__(self, command: Command, inputs: Path, over: bool, scratch: Path) -> None:
        self.command, self.over = command, over
        self.begun = Path(tempfile.mkdtemp(dir=scratch)) / "place"
        shutil.copytree(inputs, self.begun)
        if over:
            self.run(self.begun, command.older)
            command.half(self.begun)
        self.words = (command.over if over else None) or command.words
        self.steps = steps_of(self.begun / command.out)
        self.before = {unit: content(self.begun / unit) for unit in command.units(self.begun)}
        new, self.life, _ = self.measured()
        changes = Changes()
        copied, life, first = self.measured(changes)
        self.calls = kinds(changes.made())
        self.rest = life - first
        self.expected = content(new)
        if differs := differences(content(copied), self.expected):
            raise SystemExit(f"{self.words}: two runs differ: {differs}")
        self.units = {unit: content(new / unit) for unit in command.units(new)}
        self.size = sum(-len(c) // _BLOCK * -_BLOCK for c in content(new / command.out).values())

    def measured(self, changes: Changes | None = None) -> tuple[Path, float, float]:
        """Run the command undisturbed: where, its life in seconds and its first write therein.

        Args:
            changes: count those of a copy of this process; None for a new one.
        """
        place = Path(tempfile.mkdtemp(dir=self.begun.parent)) / "place"
        shutil.copytree(self.begun, place)
        begin = None if changes is None else changes.begin
        before, process = stamps(place), self.start(place, first=begin, anew=changes is None)
        process.wait_until(lambda: stamps(place) != before)
        first = process.seconds()
        process.wait_until(lambda: process.seconds() < 0)  # see what its children have used
        self.code, said = process.end()
        if self.code not in (0, 1) or "Traceback" in said:
            raise SystemExit(f"{self.words}: {said}")
        return place, process.seconds(), first

    def run(self, place: Path, words: str | None = None) -> tuple[int, str]:
        """Run the command, or others, to the end."""
        return self.start(place, words).end()

    def start(
        self,
        place: Path,
        words: str | None = None,
        *,
        first: Callable[[], None] | None = None,
        anew: bool = False,
    ) -> Watched:
        """Start the command, or others.

        Args:
            place: where.
            words: the others.
            first: done by the copy before it begins.
            anew: in a new process, which imports everything; else in a copy of this one.
        """
        line = (words or self.words).split()
        if anew:
            return Watched.begin([sys.executable, "-m", "hunch", *line], place, ENVIRONMENT)

        def work() -> int:
            if first is not None:
                first()
            return run(line)

        return Watched.fork(work, place)

    def check_whole(self, place: Path) -> list[str]:
        """What is wrong with the output as it is now."""
        out, faults = place / self.command.out, []
        if not out.exists():
            return ["the old output is gone"] if self.over else []
        try:
            self.command.load(out)
            if steps_of(out) < self.steps:
                faults.append("steps are lost")
        except Exception as error:
            faults.append(f"cannot be loaded: {error}")
        for unit in {*self.before, *self.command.units(place)}:
            now = content(place / unit) if (place / unit).exists() else None
            if now not in (self.before.get(unit), self.units.get(unit)):
                faults.append(f"{unit} is neither the old one nor the new one")
        return faults

    def go_on(self, place: Path, but: Sequence[str] = ()) -> list[str]:
        """Type the command again, as a user would; what is wrong then, but for new files."""
        words = self.words
        if self.command.resume and not self.over and (place / self.command.out).exists():
            words = self.command.resume
        code, said = self.run(place, words)
        if code != self.code:
            return [f"ended with {code}: {said[-300:]}"]
        return self.check_end(place, but)

    def check_end(self, place: Path, but: Sequence[str] = ()) -> list[str]:
        """What differs from a run that nobody disturbed."""
        faults = self.check_whole(place)
        if differs := differences(content(place), self.expected, but):
            faults.append(f"differs: {differs}")
        return faults


def stamps(place: Path) -> list[tuple[str, int]]:
    """When the files of a place, and the names in its folders, last changed."""
    found = []
    for folder, _, files in os.walk(place):
        for name in (folder, *(os.path.join(folder, file) for file in files)):
            try:
                found.append((name, os.stat(name).st_mtime_ns))
            except FileNotFoundError:
                found.append((name, 0))
    return found


@dataclass
class Counts:
    """What became of the kills of one command."""

    kills: int = 0
    late: int = 0
    over: int = 0
    alone: int = 0
    whole: int = 0
    equal: int = 0
    faults: list[str] = field(default_factory=list)


def killed(
    case: Case, start: Callable[[Path], Watched], scratch: Path, *, alone: bool
) -> tuple[list[str], list[str]]:
    """Kill a command once; what is wrong right after it and at the end.

    Args:
        case: the command.
        start: begins it in a place, and waits for the moment at which it is to be killed.
        scratch: a folder for what is needed meanwhile.
        alone: whether what it started is left to itself.
    """
    for _ in range(_MISSES):
        place = Path(tempfile.mkdtemp(dir=scratch)) / "place"
        shutil.copytree(case.begun, place)
        process = start(place)
        pids = process.kill(alone=alone)
        met = process.end()[0] == -signal.SIGKILL
        after, end = (case.check_whole(place), case.go_on(place)) if met else ([], [])
        shutil.rmtree(place.parent)
        if met:
            return after, end + ["a process is left over"] * any_is_left(pids)
    return [f"had ended before {_MISSES} moments"], []


def any_is_left(pids: Sequence[int]) -> bool:
    """Whether one of these processes lives on for long."""
    deadline = time.monotonic() + 10
    while (left := any(map(is_there, pids))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def at_a_moment(case: Case, draw: random.Random, late: bool, place: Path) -> Watched:
    """Start a command, and wait for a moment of its life, or of what follows its first write."""
    before, share = stamps(place), draw.random()
    process = case.start(place, anew=not late)
    moment = share * (case.rest if late else case.life)
    if late and process.wait_until(lambda: stamps(place) != before):
        moment += process.seconds()
    process.wait_for(moment)
    return process


def behind_a_call(case: Case, number: int, place: Path) -> Watched:
    """Start a command, and wait until it has made so many calls that change files."""
    process = case.start(place, first=Changes(number).begin)
    process.wait_until(lambda: is_stopped(process.process.pid))
    return process


def kills(cases: dict[str, list[Case]], scratch: Path, number: int, seed: int) -> dict[str, Counts]:
    """So many kills in all, of each command in turn."""
    found = {name: Counts() for name in cases}
    draws = {name: random.Random(f"{seed} {name}") for name in cases}
    names = list(cases)
    for i in range(number):
        name = names[i % len(names)]
        counts, draw, turn = found[name], draws[name], i // len(names)
        late, over, alone = turn % 2 == 0, turn // 2 % 2 == 1, turn // 4 % 2 == 1
        case = cases[name][over]
        after, end = killed(case, partial(at_a_moment, case, draw, late), scratch, alone=alone)
        counts.kills, counts.late = counts.kills + 1, counts.late + late
        counts.over, counts.alone = counts.over + over, counts.alone + alone
        counts.whole, counts.equal = counts.whole + (not after), counts.equal + (not end)
        counts.faults += [f"{name}, kill {turn + 1}: {fault}" for fault in after + end]
        print(
            f"{i + 1} of {number}: {name} {[*after, *end] or 'well'}", file=sys.stderr, flush=True
        )
    return found


def kills_behind_calls(
    cases: dict[str, list[Case]], scratch: Path, seed: int
) -> tuple[dict[str, str], list[str]]:
    """A kill behind one call of each kind; how many ended well of how many, and all faults."""
    found, faults = {}, []
    for name, both in cases.items():
        draw = random.Random(f"{seed} {name} calls")
        kinds = {kind: case for case in draw.sample(both, len(both)) for kind in case.calls}
        good = 0
        for turn, (kind, case) in enumerate(kinds.items()):
            start = partial(behind_a_call, case, draw.choice(case.calls[kind]))
            after, end = killed(case, start, scratch, alone=turn % 2 == 1)
            good += not after + end
            faults += [f"{name}, behind {kind}: {fault}" for fault in after + end]
            print(f"{name}, behind {kind}: {after + end or 'well'}", file=sys.stderr, flush=True)
        found[name] = f"{good} of {len(kinds)}"
    return found, faults


def mount_for_oneself() -> None:
    """Let disks that this process mounts be seen by it and its children alone, and end with them.

    Only who may mount can do this; others get limits in place of disks.
    """
    if sys.platform == "linux" and ctypes.CDLL(None).unshare(_NEW_MOUNTS) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)


class Disk:
    """A place on a disk of its own, whose size can be chosen, where this process may mount one.

    Args:
        place: a folder, made here.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "hunch", str(place)]
        try:
            self.own = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except OSError:
            self.own = False

    def options(self, options: str) -> None:
        """Mount it anew."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.place], check=True)

    def close(self) -> None:
        """Let the disk go, and the place with it."""
        if self.own:
            subprocess.run(["umount", self.place], check=True)
        shutil.rmtree(self.place)


@contextmanager
def full(disk: Disk, room: int) -> Iterator[Callable[[], None] | None]:
    """Leave so many bytes on a disk; a limit for processes where that is not possible."""
    if not disk.own:
        size = max(1, room // 4)
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return
    used = os.statvfs(disk.place)
    blocks = used.f_blocks - used.f_bfree
    disk.options(f"size={blocks * used.f_frsize + room // _BLOCK * _BLOCK}")
    yield None
    disk.options("size=50%")


@contextmanager
def read_only(disk: Disk) -> Iterator[bool]:
    """Let nothing be written to a place; False if that cannot be arranged."""
    if disk.own:
        disk.options("ro")
        yield True
        disk.options("rw")
        return
    folders = [Path(folder) for folder, _, _ in os.walk(disk.place)]
    for folder in folders:
        folder.chmod(0o555)
    yield not os.access(disk.place, os.W_OK)
    for folder in folders:
        folder.chmod(0o755)


def check_refused(case: Case, place: Path, code: int, said: str) -> list[str]:
    """What is wrong with how a command ended that could not write."""
    faults = case.check_whole(place)
    if code in (0, -signal.SIGKILL):
        faults.append(f"ended with {code}")
    if "Traceback" in said or "error of hunch's own" in said:
        faults.append(f"said: {said[-300:]}")
    return faults


def without_room(case: Case, disk: Disk, draw: random.Random) -> list[str]:
    """Run on a disk that is full before the end; then with room."""
    shutil.copytree(case.begun, disk.place, dirs_exist_ok=True)
    share = 1.0
    while True:
        share *= draw.random()
        with full(disk, int(share * case.size)) as limit:
            code, said = case.start(disk.place, first=limit).end()
            faults = check_refused(case, disk.place, code, said) if code else []
        if code:
            return faults + case.go_on(disk.place, _ATTEMPTS)
        empty(disk.place)  # it had room
        shutil.copytree(case.begun, disk.place, dirs_exist_ok=True)


def without_rights(case: Case, disk: Disk) -> list[str] | None:
    """Run where nothing may be written; then where it may. None if that cannot be arranged."""
    shutil.copytree(case.begun, disk.place, dirs_exist_ok=True)
    with read_only(disk) as arranged:
        code, said = case.run(disk.place) if arranged else (0, "")
    if not arranged:
        return None
    faults = check_refused(case, disk.place, code, said)
    if differs := differences(content(disk.place), content(case.begun)):
        faults.append(f"changed: {differs}")
    return faults + case.go_on(disk.place)


def two_at_once(case: Case, place: Path, draw: random.Random, *, kill: bool) -> list[str]:
    """Two of the same command at the same time, of which one may be killed; then again."""
    shutil.copytree(case.begun, place)
    both = [case.start(place), case.start(place)]
    if kill:
        both[0].wait_for(draw.uniform(0, case.rest))
        both[0].kill()
    faults, codes = [], []
    for process in both:
        code, said = process.end()
        codes.append(code)
        if "Traceback" in said or "error of hunch's own" in said:
            faults.append(f"said: {said[-300:]}")
    if not kill and case.code not in codes:
        faults.append(f"ended with {codes}")
    faults += case.check_whole(place) if kill else case.check_end(place)
    return faults + case.go_on(place)


def empty(place: Path) -> None:
    for file in place.iterdir():
        shutil.rmtree(file) if file.is_dir() else file.unlink()


def others(
    cases: dict[str, list[Case]], scratch: Path, times: int, seed: int
) -> tuple[list[list[str]], list[str]]:
    """Rows of what else may happen to each command, and all faults."""
    rows, faults = [], []
    for name, both in cases.items():
        draw, row = random.Random(f"{seed} {name} otherwise"), [name]
        ways: dict[str, list[Callable[[Path], list[str] | None]]] = {
            "full disk": [partial(on_a_disk, without_room, c, draw=draw) for c in both * times],
            "read-only": [partial(on_a_disk, without_rights, c) for c in both],
            "two": [partial(two_at_once, c, draw=draw, kill=False) for c in both * times],
            "two, one killed": [
                partial(two_at_once, c, draw=draw, kill=True) for c in both * times
            ],
        }
        for way, tries in ways.items():
            good = done = 0
            for one in tries:
                place = Path(tempfile.mkdtemp(dir=scratch)) / "place"
                found = one(place)
                shutil.rmtree(place.parent)
                if found is not None:
                    good, done = good + (not found), done + 1
                    faults += [f"{name}, {way}: {fault}" for fault in found]
                    print(f"{name}, {way}: {found or 'well'}", file=sys.stderr, flush=True)
            row.append(f"{good} of {done}" if done else "–")
        rows.append(row)
    return rows, faults


def on_a_disk(
    way: Callable[..., list[str] | None], case: Case, place: Path, **more: object
) -> list[str] | None:
    disk = Disk(place)
    try:
        return way(case, disk, **more)
    finally:
        disk.close()
        place.mkdir()


def inputs_in(scratch: Path) -> Path:
    place = scratch / "inputs"
    place.mkdir()
    rows = "".join(f"{i},{i % 7},{2 * i}\n" for i in range(60))
    (place / "a.csv").write_text("x,day,y\n" + rows)
    (place / "study.toml").write_text(STUDY)
    words = ["fit", "a.csv", "--target", "y", "--members", "2", "--out", "given"]
    code, said = Watched.fork(lambda: run(words), place).end()
    if code:
        raise SystemExit(said)
    return place


def said(
    cases: dict[str, list[Case]],
    found: dict[str, Counts],
    behind: dict[str, str],
    rows: list[list[str]],
) -> str:
    """Both tables."""
    head = ["command", "its life, processor s", "SIGKILLs", "after its first write"]
    head += ["over an older output", "the parent alone", "old output whole", "same bits in the end"]
    head.append("behind calls")
    names = ("kills", "late", "over", "alone", "whole", "equal")
    numbers = {name: [getattr(counts, n) for n in names] for name, counts in found.items()}
    lines = [
        [n, f"{cases[n][0].life:.1f}", *map(str, own), behind[n]] for n, own in numbers.items()
    ]
    sums = [str(sum(column)) for column in zip(*numbers.values(), strict=True)]
    lines.append(["all", "", *sums, ""])
    first = table(head, lines)
    second = table(["command", "full disk", "read-only", "two at once", "one of two killed"], rows)
    return f"""# Commands that are killed at random moments, and other ends

A command is killed, typed again as a user would, and compared by the bytes of every file below its
folder with a run that nobody killed. Moments are even over its processor time, that of its
children included: half of them over all of a new process, imports first; half from the first
change in its folder on, in a copy of a process that has imported everything. What is not compared
is what says how long it took: `seconds` in `run.json` and in a study's records, and the seal over
them; the wall time in a run's report; the seconds in what `reproduce` writes as Markdown. The older
output is of another seed, coverage or number of members; of a run one of {FEWER} steps that goes
on to {STEPS}; of a study one of which half is done.

Moments by chance are rarely those between two renamings, or before a file that was opened is
filled. So each command is killed as well right behind one call of each kind by which it makes,
opens, renames or deletes files, where calls are of one kind if they differ in numbers alone:
`behind calls` has the good ends of all.

{first}
Ended in another way, and typed again: good ends of all. The disk is full at a random moment; the
folder may not be written, and nothing in it changes; two of the same command at the same time, of
which one may be killed at a random moment. A study keeps what attempts printed that found no room.

{second}
{_BROKEN}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--times", type=int, default=2, help="that each other thing happens")
    parser.add_argument("--only", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    os.environ |= ENVIRONMENT
    mount_for_oneself()
    torch.set_num_threads(1)
    for module in LATER:
        importlib.import_module(module)
    scratch = Path(tempfile.mkdtemp(prefix="hunch-bench-kills-"))
    try:
        inputs = inputs_in(scratch)
        cases = {
            name: [Case(COMMANDS[name], inputs, over, scratch) for over in (False, True)]
            for name in arguments.only
        }
        found = kills(cases, scratch, arguments.kills, arguments.seed)
        behind, torn = kills_behind_calls(cases, scratch, arguments.seed)
        rows, faults = others(cases, scratch, arguments.times, arguments.seed)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(said(cases, found, behind, rows), end="")
    by_chance = [fault for counts in found.values() for fault in counts.faults]
    for fault in [*by_chance, *torn, *faults]:
        print(f"- {fault}")


if __name__ == "__main__":
    main()
