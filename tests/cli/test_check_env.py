"""`hunch check-env` as a user meets it; what it finds is in tests/rl/environments/test_checking.py."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Text,
    Tuple,
)

from hunch.cli.check_env import refused
from hunch.cli.main import DONE, WRONG_USE, run


def test_a_table_a_line_for_each_thing(capsys):
    assert run(["check-env", "CartPole-v1", "--steps=300"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    names = [line[6:20].strip() for line in lines]
    expected = ["made", "agents", "reset", "step", "observations", "rewards", "ends", "repeats"]
    assert names == [*expected, "gymnasium", "speed", "random policy"]
    assert all(line.startswith("ok ") for line in lines[:-2])
    assert lines[-1].startswith("      random policy  return ")


def test_json_is_the_same(capsys):
    assert run(["check-env", "CartPole-v1", "--steps=300", "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["passed"], found["steps"], found["rewards"]) == (True, 300, [1.0, 1.0])
    assert found["findings"][1] == {
        "name": "agents", "state": "ok", "says": "all of them can play it",
    }  # fmt: skip
    assert found["random_policy"]["returns"] == found["random_policy"]["lengths"]


def test_agents_that_cannot_play_it_say_why(capsys):
    assert run(["check-env", "Pendulum-v1", "--steps=300"]) == DONE
    (line,) = (s for s in capsys.readouterr().out.splitlines() if "agents" in s)
    assert "reinforce, a2c, noisy-a2c; not dqn, double-dqn" in line
    assert "expected Discrete, MultiDiscrete or MultiBinary, a finite set" in line
    assert run(["check-env", "Blackjack-v1", "--steps=50"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert "ok    agents         all of them can play it" in lines
    (line,) = (s for s in lines if " observations " in s)
    assert line.endswith(
        "Tuple(Discrete(32), Discrete(11), Discrete(2)); agents see a vector of 45"
    )


def test_wrong_use_is_one_line(capsys):
    for words, says in (
        (["CartPol-v1"], "the nearest names are 'CartPole-v1'"),
        (["CartPole-v1", "--env=wind=3"], "unexpected keyword argument 'wind'"),
        (["CartPole-v1", "--env=wind"], "expected key=value"),
        (["CartPole-v1", "--steps=0"], "not in the range"),
        ([], "Missing argument 'ENV'"),
    ):
        assert run(["check-env", *words]) == WRONG_USE
        lines = [s for s in capsys.readouterr().err.splitlines() if s != "hunch: loading torch"]
        assert len(lines) == 1
        assert says in lines[0]


def test_help_has_examples(capsys):
    assert run(["check-env", "--help"]) == DONE
    assert "Example: hunch check-env " in capsys.readouterr().out


class Spaced(gymnasium.Env):
    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


NUMBERS, FINITE = Box(-1, 1, (3,)), Discrete(2)
ALL = {"DQN", "BootstrappedDQN", "PQN", "Reinforce", "A2C"}
POLICIES = {"Reinforce", "A2C"}
UNBOUNDED = (NUMBERS, Box(-np.inf, np.inf, (2,)))
# The rows of the table in docs/your-environment.md, as they begin there.
TABLE = {
    "`Box`, one axis": ((NUMBERS, FINITE), ALL),
    "`Box`, images": ((Box(0, 255, (4, 36, 36), np.uint8), FINITE), ALL),
    "`Box`, several axes": ((Box(-1, 1, (3, 5)), FINITE), ALL),
    "`Box`, no axis": ((Box(-1, 1, ()), FINITE), ALL),
    "`Discrete`": ((Discrete(4, start=2), FINITE), ALL),
    "`MultiDiscrete`": ((MultiDiscrete([2, 2]), FINITE), ALL),
    "`MultiBinary`": ((MultiBinary(4), FINITE), ALL),
    "`Dict`": ((Dict({"a": NUMBERS, "b": MultiBinary(2)}), FINITE), ALL),
    "`Tuple`": ((Tuple([NUMBERS, Dict({"a": FINITE})]), FINITE), ALL),
    "`Text`, `Graph`, `Sequence`, `OneOf`, also inside": (
        (Dict({"a": NUMBERS, "b": Text(3)}), FINITE), set(),
    ),
    "one `Discrete`": ((NUMBERS, Discrete(3, start=-1)), ALL),
    "`MultiDiscrete`, `MultiBinary` up to 10,000 combinations": (
        (NUMBERS, MultiDiscrete([2, 3])), ALL,
    ),
    "`Box` of floats, one axis, bounded": ((NUMBERS, Box(-2, 2, (2,))), POLICIES),
    "`Box` of floats, one axis, a bound infinite": (UNBOUNDED, POLICIES),
    "`Box` of integers, or of several axes": ((NUMBERS, Box(0, 3, (2,), np.int64)), set()),
    "`MultiDiscrete`, `MultiBinary` of more combinations": ((NUMBERS, MultiBinary(14)), set()),
    "`Dict`, `Tuple`, …": ((NUMBERS, Dict({"a": FINITE})), set()),
}  # fmt: skip
OTHERS = [
    ((Graph(NUMBERS, None), FINITE), set()),
    ((Sequence(NUMBERS), FINITE), set()),
    ((OneOf([NUMBERS, FINITE]), FINITE), set()),
    ((Text(3), FINITE), set()),
    ((NUMBERS, MultiBinary(2)), ALL),
    ((NUMBERS, Tuple([FINITE, FINITE])), set()),
    ((NUMBERS, Box(-1, 1, (2, 2))), set()),
]


@pytest.mark.parametrize(("spaces", "takers"), [*TABLE.values(), *OTHERS])
def test_the_spaces_that_agents_take(spaces, takers):
    refusals, clipped = refused(lambda: Spaced(*spaces))
    assert set(clipped) == (POLICIES if spaces == UNBOUNDED else set())
    assert ALL - refusals.keys() == takers
    for says in refusals.values():
        assert "expected" in says
        assert "\n" not in says


def test_the_guides_tables_say_the_same():
    page = (Path(__file__).parents[2] / "docs" / "your-environment.md").read_text("utf-8")
    for row, (spaces, takers) in TABLE.items():
        (line,) = (s for s in page.splitlines() if s.startswith(f"| {row} |"))
        values, policies = (cell.strip() for cell in line.strip("|").split("|")[1:])
        assert values.startswith("yes") == ("DQN" in takers), row
        assert (not policies.startswith("no")) == ("A2C" in takers), row
        assert ("clipped" in policies) == (spaces == UNBOUNDED), row
