"""Commands killed at any moment: what was there is whole, and the next start leaves no litter."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hunch.rl import Run
from hunch.storage import open_folder

pytest.importorskip("fcntl")
pytest.importorskip("matplotlib")

SMALL = ["--set=hidden_sizes=4", "--set=batch_size=8", "--set=replay_capacity=40"]
TRAIN = ["train", "dqn", "CartPole-v1", "--steps=60", "--eval-every=20", "--checkpoint-every=10"]
# Command, its output's name, and the kind of folder that it is.
COMMANDS = {
    "fit": (["fit", "a.csv", "--target=y", "--members=2", "--out=model"], "model", "table-model"),
    "predict": (["predict", "given", "a.csv", "--out=p.csv"], "p.csv", None),
    "train": ([*TRAIN, *SMALL, "--out=run"], "run", "run"),
    "reproduce": (["reproduce", "stub", "--out=claims"], "claims", None),
    "demo": (["demo", "--quick", "--out=page"], "page", "demo"),
}
FULL = 40  # kills of each command


class Zygote:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Reports bear the day: of one that is made after midnight nothing else may differ.
            env=os.environ | {"OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"},
        )

    def run(self, words, cwd, kill=None, exchange=True):
        asked = {"words": words, "cwd": str(cwd), "kill": kill, "exchange": exchange}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def zygote():
    made = Zygote()
    yield made
    made.process.stdin.close()
    made.process.wait(60)


@pytest.fixture(scope="module")
def template(zygote, tmp_path_factory):
    """A folder with the input of all commands, and the outputs of each, made without a kill."""
    place = tmp_path_factory.mktemp("template") / "place"
    place.mkdir()
    rows = "".join(f"{i},{i % 7},{2 * i}\n" for i in range(40))
    (place / "a.csv").write_text("x,day,y\n" + rows)
    for name, (words, out, _) in COMMANDS.items():
        if name == "predict":
            shutil.copytree(place / "model", place / "given")
        ended = zygote.run(words, place)
        assert ended["code"] == 0, (name, Path(f"{place}.said").read_text())
        assert (place / out).exists()
    check_no_litter(place)
    return place


def check_no_litter(place):
    left = [p for p in place.rglob("*") if ".hunch-" in p.name or p.name.startswith(".step-")]
    assert not left


def content(place, name):
    """What a command wrote; of a run all that was learned."""
    _, out, kind = COMMANDS[name]
    if kind == "run":
        run = Run.open(place / out)
        sums = [json.loads((p / "hunch.json").read_text())["files"] for p in run.checkpoint.all()]
        logs = {p.name: p.read_bytes() for p in (place / out / "logs").iterdir()}
        report = without_times((place / out / "report.html").read_text())
        return sums, logs, run.summary(), report, run.finished
    if kind is not None:
        return json.loads((open_folder(place / out, kind) / "hunch.json").read_text())["files"]
    if (place / out).is_dir():
        # The Markdown has the seconds that it took.
        files = [p for p in (place / out).iterdir() if not p.name.startswith(".")]
        return {p.name: p.suffix == ".md" or p.read_bytes() for p in files}
    return (place / out).read_bytes()


def without_times(page):
    """A report but for its wall time, the only figure that depends on the clock."""
    return re.sub(r"<div><dt>wall time</dt>.*?</div>", "", page)


def check_kill(zygote, template, place, name, kill, *, before, exchange=True):
    """Kill a command once; see that what there is is whole, and start it again."""
    words, out, kind = COMMANDS[name]
    shutil.copytree(template, place)
    if not before or kind == "run":  # which is never begun over another one
        shutil.rmtree(place / out) if (place / out).is_dir() else (place / out).unlink()
    ended = zygote.run(words, place, kill, exchange)
    expected = content(template, name)
    if kind == "run":
        if (place / out).exists():
            assert Run.open(place / out).plan.steps == 60
            words = ["train", "--resume", "run"]
    elif before or ((place / out).exists() and name != "reproduce"):
        # Also where the old one stands aside: opening it brings it back.
        assert content(place, name) == expected
    elif name == "reproduce":  # two files, each of them whole
        for file in (place / out).glob("*.json"):
            json.loads(file.read_text())
    again = zygote.run(words, place)
    assert again["code"] == 0, Path(f"{place}.said").read_text()
    assert content(place, name) == expected
    check_no_litter(place)
    shutil.rmtree(place)
    return ended["killed"]


def kills_of(zygote, template, scratch, name, number, chance):
    """So many moments, a third of them at a system call of the command, the rest at any time."""
    words, out, kind = COMMANDS[name]
    shutil.copytree(template, scratch)
    if kind == "run":
        shutil.rmtree(scratch / out)
    whole = zygote.run(words, scratch)
    assert whole["code"] == 0
    assert whole["calls"] > 5
    shutil.rmtree(scratch)
    for i in range(number):
        if i % 3 == 0:
            call = 1 + chance.randrange(whole["calls"])
            yield {"call": call, "before": chance.random() < 0.5}
        else:
            yield {"after": chance.uniform(0, whole["seconds"])}


def check_kills(zygote, template, tmp_path, name, number, *, seed, exchange=True):
    chance = random.Random(f"{seed} {name}")
    scratch, died = tmp_path / "scratch", 0
    for i, kill in enumerate(kills_of(zygote, template, scratch, name, number, chance)):
        died += check_kill(
            zygote, template, tmp_path / "place", name, kill, before=i % 2 == 0, exchange=exchange
        )
    print(f"{name}: {died} of {number} died before their end, all whole", flush=True)
    return died


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_what_was_there_whole(name, zygote, template, tmp_path):
    number = {"fit": 1, "train": 2, "predict": 3}.get(name, 9)
    assert check_kills(zygote, template, tmp_path, name, number, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo"])
def test_a_kill_between_two_renames_loses_nothing(name, zygote, template, tmp_path):
    """Where names cannot be exchanged in one step: at each system call of a replacement."""
    shutil.copytree(template, tmp_path / "scratch")
    calls = zygote.run(COMMANDS[name][0], tmp_path / "scratch", None, exchange=False)["calls"]
    for call in range(1, calls + 1):
        kill = {"call": call, "before": True}
        place = tmp_path / "place"
        assert check_kill(zygote, template, place, name, kill, before=True, exchange=False)


@pytest.mark.proof
@pytest.mark.parametrize("name", COMMANDS)
def test_forty_kills_of_each_command(name, zygote, template, tmp_path):
    assert check_kills(zygote, template, tmp_path, name, FULL, seed="full") > FULL / 2
