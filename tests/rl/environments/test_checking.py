"""What `check_env` finds wrong, each by an environment that does that alone."""

import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.rl.environments.checking import check_env


class Right(gymnasium.Env):
    """A walk of at most nine steps; nothing is wrong with it."""

    def __init__(self, render_mode=None):
        self.observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.place, self.time = 0.0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = float(self.np_random.normal()), 0
        return self.seen(), {}

    def seen(self):
        return np.array([np.clip(self.place, -9, 9), self.time], np.float32)

    def step(self, action):
        self.time += 1
        self.place += action - 0.5
        return self.seen(), self.reward(), self.place > 2, self.time >= 9, {}

    def reward(self):
        return 1.0


def findings(env, **options):
    return {finding.name: finding for finding in check_env(env, **options).findings}


def test_a_right_one_passes():
    found = check_env(Right, seed=3)
    assert [f for f in found.findings if f.passed is not True] == []
    assert found.passed
    assert found.steps == 2_000
    assert found.rewards == (1.0, 1.0)
    assert found.returns == found.lengths
    again = check_env(Right, seed=3)
    assert (again.returns, again.findings) == (found.returns, found.findings)


@pytest.mark.parametrize("env", ["Pendulum-v1", "hunch/Catch-v0", "FrozenLake-v1", "Blackjack-v1"])
def test_environments_that_are_known_pass(env):
    assert check_env(env, steps=300).passed, check_env(env, steps=300).findings


class Doubles(Right):
    def seen(self):
        return super().seen().astype(np.float64)


class Listed(Right):
    def seen(self):
        return [0.0, 1.0]


class ArrayReward(Right):
    def reward(self):
        return np.array([1.0])


class Outside(Right):
    def seen(self):
        return np.array([0.5, self.time + 5], np.float32)


class Unseeded(Right):
    def reset(self, *, seed=None, options=None):
        self.place, self.time = float(self.np_random.normal()), 0
        return self.seen(), {}


class FromElsewhere(Right):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.rng = getattr(self, "rng", np.random.default_rng(0))
        self.place, self.time = float(self.rng.normal()), 0
        return self.seen(), {}


class DrawnOnce(Right):
    count = 0

    def __init__(self, render_mode=None):
        super().__init__()
        DrawnOnce.count += 1
        self.start = DrawnOnce.count

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = float(self.start % 7), 0
        return self.seen(), {}


class Four(Right):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, info


class OnlyObservation(Right):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class NotANumber(Right):
    def seen(self):
        return np.array([np.nan if self.time == 4 else 0.0, 1.0], np.float32)


class Infinite(Right):
    def reward(self):
        return float("inf")


class Shaped(Right):
    def seen(self):
        return np.zeros((1, 2), np.float32)


class Flagged(Right):
    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, None, truncated, info


class NoInfo(Right):
    def step(self, action):
        return (*super().step(action)[:4], None)


class Raises(Right):
    def step(self, action):
        raise KeyError("no such cell")


ONE = Right()
MISTAKES = {
    "float64": (Doubles, "observations", "gave the observation as float64, its space says float32, in reset(seed=0)", False),
    "a list": (Listed, "observations", "gave the observation as list, its space says float32", False),
    "outside": (Outside, "observations", "component 1 of the observation as 10, outside of its box from -9 to 9, in step 5 after reset(seed=0); widen the box", False),
    "NaN": (NotANumber, "observations", "component 0 of the observation as nan in step 4", True),
    "shape": (Shaped, "observations", "an observation of shape (1, 2)", True),
    "an array of one reward": (ArrayReward, "rewards", "gave the reward as an array of shape (1,) and type float64 in step 1 after reset(seed=0); expected one number", True),
    "an infinite reward": (Infinite, "rewards", "gave the reward inf", True),
    "no seed": (Unseeded, "repeats", "the first observation differs; begin reset with super().reset(seed=seed)", False),
    "other chance": (FromElsewhere, "repeats", "all chance has to come from self.np_random", False),
    "chance in the constructor": (DrawnOnce, "repeats", "draw nothing in __init__", False),
    "four": (Four, "step", "answered step with a tuple of 4 in step 1 after reset(seed=0); expected (observation, reward, terminated, truncated, info)", True),
    "no info at reset": (OnlyObservation, "reset", "expected (observation, info)", True),
    "no flag": (Flagged, "ends", "gave `terminated` as None", True),
    "no info": (NoInfo, "step", "gave `info` as None", True),
    "an error": (Raises, "step", "`env` raised KeyError: 'no such cell' (in ", True),
    "one object": (lambda **_: ONE, "made", "return a new one at each call", True),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_in_one_sentence_and_nothing_else_is_said(case):
    env, name, says, stops = MISTAKES[case]
    found = check_env(env)
    assert not found.passed
    wrong = [f for f in found.findings if f.passed is False]
    assert [f.name for f in wrong] == [name]
    assert says in wrong[0].says
    assert "\n" not in wrong[0].says
    assert "Nothing of this step was kept" not in wrong[0].says
    assert wrong[0].stops is stops


class Deterministic(Right):
    """Chance of its own, from the seed: right, but for Gymnasium's checker."""

    def reset(self, *, seed=None, options=None):
        self.place, self.time = float(np.random.default_rng(seed).normal()), 0
        return self.seen(), {}


class Endless(Right):
    def step(self, action):
        self.time = min(self.time + 1, 9)
        return self.seen(), 1.0, False, False, {}


class Timed(Right):
    def step(self, action):
        self.time += 1
        return self.seen(), 1.0, self.time == 9, False, {}


class Rich(Right):
    def reward(self):
        return -1e4


@pytest.mark.parametrize(
    ("env", "name", "says"),
    [
        (Deterministic, "repeats", "reset does not call super().reset(seed=seed)"),
        (Endless, "ends", "--wrap 'TimeLimit(1000)'"),
        (Timed, "ends", "to be returned as truncated"),
        (Rich, "rewards", "finite, from -1e+04 to -1e+04; losses and priors"),
    ],
)
def test_what_works_and_may_be_a_mistake_is_a_note(env, name, says):
    found = findings(env, gymnasium_too=False)
    assert [f.name for f in found.values() if f.passed is None] == [name]
    assert says in found[name].says
    assert check_env(env, gymnasium_too=False).passed


def test_a_time_limit_is_seen():
    limited = lambda **_: gymnasium.wrappers.TimeLimit(Endless(), 5_000)  # noqa: E731
    assert findings(limited, steps=50)["ends"].says.endswith("the time limit is 5,000 steps")
    short = lambda **_: gymnasium.wrappers.TimeLimit(Endless(), 5)  # noqa: E731
    assert findings(short, steps=50)["ends"].says == "10 episodes of 5 steps, 10 of them truncated"


def test_spaces_have_to_be_there():
    class Bare(gymnasium.Env):
        pass

    with pytest.raises(ConfigurationError, match="has no observation_space"):
        check_env(lambda: Bare())


def test_gymnasiums_checker_is_asked_last():
    class NoOptions(Right):
        def reset(self, *, seed=None):
            return super().reset(seed=seed)

    found = findings(NoOptions)["gymnasium"]
    assert found.passed is False
    assert found.says.startswith("its checker says: The `reset` method does not provide")
    assert findings(Doubles)["gymnasium"].passed is None


class FiveMistakes(Right):
    """All but the form of `step`, which hides the others."""

    def reset(self, *, seed=None, options=None):
        self.place, self.time = float(self.np_random.normal()), 0
        return self.seen(), {}

    def seen(self):
        return np.array([self.place, self.time + 5.0])

    def reward(self):
        return np.array([1.0])


def test_several_mistakes_show_at_once_where_they_can():
    found = findings(FiveMistakes)
    assert [f.name for f in found.values() if f.passed is False] == ["observations", "rewards"]
    assert check_env(FiveMistakes).returns == ()
    FiveMistakes.reward = lambda self: 1.0
    found = findings(FiveMistakes)
    assert [f.name for f in found.values() if f.passed is False] == ["observations", "repeats"]
