"""A run's environment is the same by whatever name and from wherever it is typed."""

import json
import sys

import pytest

from hunch.cli.main import DONE, WRONG_USE, run
from hunch.cli.own_code import code_of, from_here, same_code
from hunch.rl.runs.plan import read_run_file, run_file_text

POND = """
import gymnasium, numpy as np

class Pond(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += PUSH * (1 if action else -1)
        return np.array([self.x], np.float32), -abs(self.x), False, False, {}

def make_env(render_mode=None):
    return gymnasium.wrappers.TimeLimit(Pond(render_mode), 10)

def halved(env):
    return gymnasium.wrappers.TransformReward(env, lambda reward: 0.5 * reward)
""".replace("PUSH", "0.1")
SMALL = ["--steps=60", "--set=hidden_sizes=4", "--eval-every=0"]


def hunch(folder, monkeypatch, *words):
    """A process of its own, as far as modules go."""
    for name in ("pond", "pool"):
        sys.modules.pop(name, None)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(folder))])
    return run(list(words))


def told(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("hunch: ") and "loading" not in line]


@pytest.fixture
def trained(tmp_path, monkeypatch, capsys):
    """A run below a folder with a file, both in a folder."""
    folder = tmp_path / "u3"
    folder.mkdir()
    (folder / "pond.py").write_text(POND)
    words = ["train", "dqn", "pond.py:make_env", "--wrap=pond.py:halved", *SMALL, "--out=runs/p"]
    assert hunch(folder, monkeypatch, *words) == DONE
    capsys.readouterr()
    return folder


def test_it_may_be_named_in_any_way_and_from_anywhere(trained, monkeypatch, capsys):
    far, here = trained.parent, str(trained)
    ways = [
        (trained, "runs/p", "./pond.py"),
        (trained, "runs/p", f"{here}/pond.py"),
        (trained, "runs/p", "pond"),
        (far, "u3/runs/p", "u3/pond.py"),
    ]
    for folder, place, file in ways:
        named = [f"{file}:make_env", f"--wrap={file}:halved"]
        assert hunch(folder, monkeypatch, "play", place, *named, "--episodes=1") == DONE, file
        words = ["train", "dqn", *named, "--resume", place]
        assert hunch(folder, monkeypatch, *words) == DONE, file
        assert not [line for line in told(capsys) if "changed" in line]
    assert read_run_file(trained / "runs" / "p")[1]["env"] == "pond.py:make_env"


def test_from_elsewhere_one_is_told_where_it_is(trained, monkeypatch, capsys):
    again = "`hunch play u3/runs/p u3/pond.py:make_env --wrap u3/pond.py:halved`"
    far = trained.parent
    for words in (["u3/runs/p"], ["u3/runs/p", "pond.py:make_env", "--wrap=pond.py:halved"]):
        assert hunch(far, monkeypatch, "play", *words) == WRONG_USE
        assert again in told(capsys)[-1], words
    assert hunch(far, monkeypatch, "play", "u3/runs/p", "--trust", "--episodes=1") == DONE
    assert hunch(far, monkeypatch, "train", "--resume", "u3/runs/p", "--trust") == DONE
    (trained / "pond.py").unlink()
    assert hunch(far, monkeypatch, "play", "u3/runs/p", "--trust") == WRONG_USE
    assert "there is no file 'pond.py'" in told(capsys)[-1]


def test_another_one_is_refused(trained, monkeypatch, capsys):
    other = trained.parent / "other"
    other.mkdir()
    (other / "pond.py").write_text(POND.replace("0.1 *", "0.7 *"))
    (trained / "pool.py").write_text(POND)
    for name in ("pond.py:Pond", "pool.py:make_env", "../other/pond.py:make_env"):
        words = ["play", "runs/p", name, "--wrap=pond.py:halved", "--episodes=1"]
        assert hunch(trained, monkeypatch, *words) == WRONG_USE, name
        assert "trained in another environment" in told(capsys)[-1]
    words = ["pond.py:make_env", "--wrap=pond.py:halved(2)", "--episodes=1"]
    assert hunch(trained, monkeypatch, "play", "runs/p", *words) == WRONG_USE
    # A copy is the same, and so is the file of a run that was carried elsewhere.
    (other / "pond.py").write_text(POND)
    named = ["../other/pond.py:make_env", "--wrap=../other/pond.py:halved"]
    assert hunch(trained, monkeypatch, "play", "runs/p", *named, "--episodes=1") == DONE


def test_a_file_that_has_changed_is_told_of(trained, monkeypatch, capsys):
    (trained / "pond.py").write_text(POND.replace("0.1 *", "0.2 *"))
    named = ["pond.py:make_env", "--wrap=pond.py:halved"]
    for words in (["play", "runs/p", *named], ["train", "dqn", *named, "--resume=runs/p"]):
        assert hunch(trained, monkeypatch, *words) == DONE
        (line,) = (line for line in told(capsys) if "changed" in line)
        assert line.startswith("hunch: pond.py has changed since 'runs/p' was begun: what was")
    # Folders that are older hold no checksum, and nothing is said.
    plan, about = read_run_file("runs/p")
    assert json.loads((trained / "runs/p/run.json").read_text())["code"]
    del about["code"]
    (trained / "runs/p/run.json").write_text(run_file_text(plan, about))
    assert hunch(trained, monkeypatch, "play", "runs/p", *named) == DONE
    assert not [line for line in told(capsys) if "changed" in line]


def test_only_code_has_a_checksum(trained):
    words = [
        "CartPole-v1",
        "TimeLimit(200)",
        "hunch.envs:hunch/DeepSea-v0",
        "no.py:one",
        "mod:My-v0",
    ]
    assert code_of(words) == {}
    assert code_of(["pond.py:halved( 2, b=':')"]).keys() == {"pond.py:halved( 2, b=':')"}
    assert same_code("pond.py:halved(2, 3)", "pond:halved(2,3)", "runs/p", {})
    assert not same_code("CartPole-v1", "CartPole-v0", "runs/p", {})
    assert not same_code("TimeLimit(2)", "TimeLimit(3)", "runs/p", {})
    assert from_here("TimeLimit(2)", "runs/p") == "TimeLimit(2)"
