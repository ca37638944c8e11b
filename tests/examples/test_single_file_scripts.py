"""The single files as a reader uses them: short, plain, and run from a shell."""

import ast
import functools
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from single_files import FOLDER, NAMES, load

from hunch.rl import Replay
from hunch.rl.replay.transitions import Step  # what `Replay.add` takes

PLAIN = {"gymnasium", "numpy", "torch"}


@pytest.fixture
def own_chance():
    """Scripts seed torch's default generator; tests must not."""
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_short_and_stands_on_torch_and_gymnasium_alone(name):
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert len(text.splitlines()) <= 250
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) == PLAIN


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_an_example_that_the_parser_takes(name, capsys):
    module = load(name)
    with pytest.raises(SystemExit) as exit:
        module.parse_args(["--help"])
    assert exit.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    example = re.search(rf"python {name}\.py ((?:--[\w-]+ [\w.:/-]+ ?)+)", shown)
    args = module.parse_args(example[1].split())
    assert vars(args).keys() >= {"env", "seed", "steps"}


SMALL = {
    "dqn": ["--steps", "240", "--min-replay-size", "128"],
    "rainbow": ["--steps", "240", "--min-replay-size", "128"],
    "boot_dqn": ["--steps", "240", "--size", "4"],
    "a2c": ["--steps", "512"],
    "reinforce": ["--steps", "240"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_says_how_well_the_agent_does(name, monkeypatch, capsys, own_chance):
    module = load(name)
    monkeypatch.setattr(module, "evaluate", functools.partial(module.evaluate, episodes=5))
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *SMALL[name], "--seed", "5"])
    said = []
    for _ in range(2):  # the seed decides it all
        module.main()
        said.append(capsys.readouterr().out)
    assert re.fullmatch(r"mean return of 5 new episodes: -?\d+\.\d+\n", said[0])
    assert said[0] == said[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("env", "message"),
    [("Pendulum-v1", "expected Discrete"), ("NoSuch-v0", "NoSuch")],
)
def test_what_a_file_cannot_play_is_refused_in_a_sentence(
    name, env, message, monkeypatch, own_chance
):
    size = ["--size", "0"] if name == "boot_dqn" else []
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--env", env, *size])
    with pytest.raises(SystemExit, match=message):
        load(name).main()


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_ends_it_without_a_traceback(name, monkeypatch):
    module = load(name)

    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupted)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    with pytest.raises(SystemExit) as exit:
        module.main()
    assert exit.value.code == 130


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_progress_and_ctrl_c_in_a_shell():
    command = [sys.executable, str(FOLDER / "dqn.py"), "--steps", "1000000"]
    # A shell lets what it starts in the background ignore Ctrl-C.
    reset = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=reset) as process:
        began = time.monotonic()
        lines = [process.stderr.readline() for _ in range(2)]
        assert time.monotonic() - began < 120  # seconds, on a machine that does much else
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert all(line.startswith("step ") for line in lines)
    assert process.returncode == 130
    assert "Traceback" not in rest


def test_rainbow_stores_and_weighs_as_the_librarys_replay():
    rainbow, rng = load("rainbow"), np.random.default_rng(0)
    args = rainbow.parse_args(["--discount", "0.5", "--batch-size", "5000"])
    own = rainbow.Replay((1,), args)
    theirs = Replay(
        500, (1,), n_step=args.n_step, discount=0.5, priority_exponent=args.priority_exponent
    )
    place = 0.0
    for length, terminated in [(1, True), (2, False), (7, True), (9, False), (4, True)]:
        for t in range(length):
            over = t == length - 1
            at, following = np.array([place]), np.array([place + 1])
            action, reward = int(rng.integers(2)), float(rng.normal())
            own.add((at, action, reward), following, over and terminated, over)
            ends = over and terminated, over and not terminated, True, t == 0
            step = at, action, np.float32(reward), following, *ends
            theirs.add(Step(*(np.array([[part]]).reshape(1, 1, *np.shape(part)) for part in step)))
            place += 1 + over

    # The error of each transition is known from where it began.
    own.priority[: own.added] = own.arrays[0][: own.added, 0] % 5 + 1 + 1e-6
    drawn = theirs.sample(5_000, [rng])
    theirs.update_priorities(drawn.position, drawn.observation[..., 0] % 5 + 1)

    batch, drawn = own.sample(0.7, rng)[0], theirs.sample(5_000, [rng], beta=0.7)
    found = by_place([part.numpy() for part in batch])
    expected = by_place([part[0] for part in (*drawn[:5], drawn.weight)])
    # The library's newest two wait for a third reward, although the episode is over.
    assert found.keys() - expected.keys() == {place - 3, place - 2}
    assert len(expected) == 21
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5)


def by_place(columns):
    """Action, reward, where it led, discount and weight by where a transition began."""
    observation, action, reward, following, discount, weight = columns
    following = np.where(discount > 0, following[:, 0], 0.0)  # after an end it means nothing
    rows = np.stack([action, reward, following, discount, weight], 1)
    return dict(zip(observation[:, 0].tolist(), rows, strict=True))
