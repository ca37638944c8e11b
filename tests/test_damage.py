"""Every file of a run and of a model, damaged in many places: the same numbers, or a refusal."""

import hashlib
import random
import shutil
import warnings

import numpy as np
import pyarrow as pa
import pytest

from hunch.errors import HunchError
from hunch.rl import DQN, Plan, Run
from hunch.rl.runs.summary import summarize
from hunch.storage import new_folder, open_folder, write_json
from hunch.tables import TableModel
from hunch.tables.columns import Columns
from hunch.tables.model import KIND, train
from hunch.tables.target import Target

SHORT, FULL = 6, 300  # places in each file


def damaged(content, chance, number):
    """The bytes with a bit turned, a byte gone, noise, or an end before its time."""
    if not content:
        return b"x"
    at = chance.randrange(len(content))
    kind = number % 4
    if kind == 0:
        return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]
    if kind == 1:
        return content[:at] + content[at + 1 :]
    if kind == 2:
        noise = chance.randbytes(min(16, len(content) - at))
        return content[:at] + noise + content[at + len(noise) :]
    return content[:at]


def files_of(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def digest(state):
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode() + state[name].numpy().tobytes())
    return found.hexdigest()


def check_one_line(error):
    assert "\n" not in str(error)


def run_numbers(folder):
    """All that is read of a run; None in place of what is refused, or is older by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ways = {
            "plan": lambda run: (run.plan, run.about),
            "last": lambda run: digest(run.last_agent().state_dict()),
            "best": lambda run: (run.best_replica(), digest(run.best_agent().network.state_dict())),
            "summary": lambda run: run.summary(),
            "curves": lambda run: curves(run),
        }
        found = {}
        for name, read in ways.items():
            try:
                found[name] = read(Run.open(folder))
            except (HunchError, UserWarning) as error:
                check_one_line(error)
                found[name] = None
        return found


def curves(run):
    """What the report draws: it refuses logs that are not whole."""
    if run.damaged_logs():
        return None
    return {p.name: p.read_bytes() for p in (run.folder / "logs").glob("*.csv")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    settings = DQN("CartPole-v1", hidden_sizes=(4,), batch_size=8, replay_capacity=40).settings
    plan = Plan("DQN", settings, steps=90, evaluate_every=30, evaluate_episodes=2,
                checkpoint_every=30, log_every=10)  # fmt: skip
    run = Run.begin(tmp_path_factory.mktemp("runs") / "run", plan)
    summarize(run, run.train(progress=False), episodes=2)
    return run.folder


def check_run(folder, place, chance, numbers):
    """Damage a file of a run in many places; how many of them were noticed."""
    expected, noticed = run_numbers(folder), 0
    names = [c.name for c in Run.open(folder).checkpoint.all()]
    content = (folder / place).read_bytes()
    for number in range(numbers):
        (folder / place).write_bytes(damaged(content, chance, number))
        if (folder / place).read_bytes() != content:
            found = run_numbers(folder)
            for name, value in found.items():
                assert value is None or value == expected[name], (place, number, name)
            noticed += any(value is None for value in found.values())
            check_nothing_lost(folder, place, names)
    (folder / place).write_bytes(content)
    return noticed


def check_nothing_lost(folder, place, names):
    """Taking the run up renames no checkpoint but the one that was damaged."""
    if not {"checkpoints", "run.json"} & set(place.parts):
        return
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Run.open(copy)
            agent = run.checkpoint.resume(settings=run.plan.settings, tell=lambda line: None)
            assert agent.steps in (60, 90)
    except HunchError as error:
        check_one_line(error)
    for name in names:
        assert (copy / "checkpoints" / name).is_dir() or name in place.parts, place
    shutil.rmtree(copy)


def run_places(trained):
    """Files of a run by what they are, the newest checkpoint standing for the others."""
    return [p for p in files_of(trained) if "step-000000000060" not in p.parts]


def test_a_damaged_run_gives_the_same_numbers_or_none(trained):
    noticed = {p: check_run(trained, p, random.Random(str(p)), SHORT) for p in run_places(trained)}
    unread = {"report.html", ".lock"}
    assert all(count > SHORT / 2 for place, count in noticed.items() if place.name not in unread), (
        noticed
    )


@pytest.mark.proof
def test_a_damaged_run_gives_the_same_numbers_or_none_in_300_places_of_each_file(trained):
    for place in files_of(trained):
        noticed = check_run(trained, place, random.Random(f"full {place}"), FULL)
        print(f"{place}: {noticed} of {FULL} noticed", flush=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    x = np.arange(40) / 40
    table = pa.table({"x": x, "day": np.arange(40) % 7, "y": 2 * x})
    rules, features = Columns.learn_and_encode(table.select(["x", "day"]))
    target = Target("y", "regression")
    place = tmp_path_factory.mktemp("models") / "model"
    with new_folder(place, KIND) as folder:
        train(rules, target, features, 2 * x, members=2, progress=False).put(folder)
        write_json(folder / "summary.json", {"rows": 40})
        (folder / "report.html").write_text("<p>a report</p>")
    return place, table


def check_model(model, numbers):
    folder, table = model
    expected = TableModel.load(folder).predict(table)
    for place in files_of(folder):
        content, chance, refused = (folder / place).read_bytes(), random.Random(str(place)), 0
        for number in range(numbers):
            (folder / place).write_bytes(damaged(content, chance, number))
            try:
                open_folder(folder, KIND)
                assert TableModel.load(folder).predict(table).equals(expected), (place, number)
            except HunchError as error:
                refused += 1
                check_one_line(error)
        (folder / place).write_bytes(content)
        print(f"{place}: {refused} of {numbers} refused", flush=True)
        assert refused > numbers / 2


def test_a_damaged_model_predicts_the_same_or_nothing(model):
    check_model(model, SHORT)


@pytest.mark.proof
def test_a_damaged_model_predicts_the_same_or_nothing_in_300_places_of_each_file(model):
    check_model(model, FULL)
