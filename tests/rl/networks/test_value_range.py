"""The range of a categorical distribution: chosen from rewards, widened, watched, resumed."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import hunch.envs  # noqa: F401 registers them
from hunch.errors import HunchWarning
from hunch.rl import DQN, evaluate
from hunch.rl.networks.value_heads import ValueHead
from hunch.rl.networks.value_range import MARGIN, ValueRange
from hunch.rl.objectives.returns import TIMES_AS_LONG, discounted_returns, lasting_returns
from hunch.rl.replay.replay import Replay
from hunch.rl.replay.transitions import Step

SMALL = {
    "update_period": 1,
    "distributional": True,
    "atoms": 21,
    "hidden_sizes": (8,),
    "batch_size": 8,
    "min_replay_size": 50,
    "learning_rate": 1e-2,
}
RAINBOW = {"noisy": True, "double": True, "dueling": True, "prioritized": True, "n_step": 3}


@pytest.fixture
def soon(monkeypatch):
    """Decide and look more often, to be done sooner."""
    for name, value in {"UNLEARNED": 64, "WATCHED": 8, "LOOK_EVERY": 50}.items():
        monkeypatch.setattr(f"hunch.rl.networks.value_range.{name}", value)


class Paid(gymnasium.Env):
    """Reward `pay(t, action == what the observation names)` at step t; `length` steps."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(0, 1, (2,), np.float32)

    def __init__(self, pay, length=5, terminates=True):
        self.pay, self.length, self.terminates = pay, length, terminates
        self.total = 0

    def _show(self):
        self.right = int(self.np_random.integers(2))
        return np.eye(2, dtype=np.float32)[self.right]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._show(), {}

    def step(self, action):
        reward = float(self.pay(self.total, action == self.right))
        self.t += 1
        self.total += 1
        over = self.t == self.length
        return self._show(), reward, over and self.terminates, over and not self.terminates, {}


def stream(seed, steps=60):
    """Rewards, true ends and ends of two replicas with two environments."""
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(steps, 2, 2))
    terminated, truncated = rng.random((2, steps, 2, 2)) < rng.choice([0.0, 0.05, 0.3])
    return reward, terminated, terminated | truncated


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_returns_equal_a_loop_over_steps(discount, seed):
    reward, terminated, ended = stream(seed)
    seen = discounted_returns(reward, ended, discount)
    lasting = lasting_returns(reward, terminated, ended, discount)
    for where in np.ndindex(2, 2):
        paid, true_end, end = (x[(slice(None), *where)] for x in (reward, terminated, ended))
        following = 0.0
        for t in reversed(range(len(paid))):
            following = paid[t] + (0.0 if end[t] else discount * following)
            assert seen[(t, *where)] == pytest.approx(following)
        begin = 0
        expected = np.zeros(len(paid))
        for t in range(len(paid)):
            if end[t] or t == len(paid) - 1:
                counted = paid[begin : t + 1 - true_end[t]]
                weights = discount ** np.arange(TIMES_AS_LONG * len(counted))
                expected[begin] = counted.mean() * weights.sum() if len(counted) else 0.0
                begin = t + 1
        assert lasting[(slice(None), *where)] == pytest.approx(expected)


def test_recent_rewards_are_those_of_the_replay_in_order_of_time():
    replay = Replay(20, (1,), replicas=2, envs=2)
    rng = np.random.default_rng(0)
    steps = []
    for t in range(37):
        reward = rng.normal(size=(2, 2)).astype(np.float32)
        terminated, truncated, gap = rng.random((3, 2, 2)) < 0.2
        is_first = np.full((2, 2), t == 0)
        seen = np.zeros((2, 2, 1))
        replay.add(
            Step(seen, np.zeros((2, 2), int), reward, seen, terminated, truncated, ~gap, is_first)
        )
        steps.append((np.where(gap, 0, reward), terminated & ~gap, terminated | truncated | gap))
        for asked in (4, 1000):
            found = replay.recent(asked)
            kept = steps[-min(asked, 10) :]
            for ours, theirs in zip(found, zip(*kept, strict=True), strict=True):
                assert np.array_equal(ours, np.stack(theirs))


def ends(agent):
    return agent._range._ends.tolist()


@pytest.mark.parametrize(
    ("env", "kwargs", "low", "high"),
    [
        ("CartPole-v1", {}, (0.0, 0.0), (85.0, 100.0)),
        ("Acrobot-v1", {}, (-100.1, -85.0), (0.0, 0.0)),
        ("hunch/Catch-v0", {}, (-1.25, -1.0), (0.9, 1.25)),
        ("hunch/DeepSea-v0", {"size": 8}, (-0.2, -0.001), (0.0, 1.25)),
    ],
)
def test_the_range_covers_what_returns_can_come_to(env, kwargs, low, high):
    agent = DQN(env, env_kwargs=kwargs, **SMALL).learn(600, progress=False)
    ((bottom, top),) = ends(agent)
    assert low[0] <= bottom <= low[1]
    assert high[0] <= top <= high[1]
    assert (agent.value_head.low, agent.value_head.high) == (bottom, top)


def test_large_returns_are_learned():
    """The old range ended at 10, where both actions look alike."""
    agents = DQN(
        lambda: Paid(lambda t, right: 40 + 10 * right),
        **{**SMALL, "discount": 0.5, "epsilon": 0.3, "target_update_period": 20},
        replicas=2,
    ).learn(600, progress=False)
    for r in range(2):
        assert evaluate(agents.replica(r), episodes=5).returns.tolist() == [250.0] * 5
        assert ends(agents)[r] == pytest.approx([0.0, 95.0], abs=8.0)


@pytest.mark.parametrize("switches", [{}, RAINBOW], ids=["alone", "rainbow"])
@pytest.mark.parametrize("scale", [2.0**-7, 2.0**9])
def test_the_scale_of_rewards_does_not_matter(switches, scale, soon):
    """Powers of two leave every rounding as it is, so all is equal to the last bit."""

    def learned(factor):
        def env():
            return gymnasium.wrappers.TransformReward(
                gymnasium.make("CartPole-v1"), lambda reward: factor * reward
            )

        return DQN(env, **SMALL, **switches, epsilon=0.2, seed=1).learn(300, progress=False)

    one, other = learned(1.0), learned(scale)
    assert one.history.lengths == other.history.lengths
    assert torch.equal(one._pair.vector, other._pair.vector)
    assert np.array_equal(np.array(ends(one)) * scale, ends(other))


def test_a_range_grows_with_what_comes_and_never_shrinks(soon):
    agent = DQN(lambda: Paid(lambda t, right: 1 if t < 120 else -4), **SMALL, discount=0.5)
    agent.learn(110, progress=False)
    (first,) = ends(agent)
    assert first == pytest.approx([0.0, 2.0], abs=0.1)
    agent.learn(500, progress=False)
    (second,) = ends(agent)
    assert second == [pytest.approx(-8.0, abs=0.1), first[1]]  # no more than -4 for ever


def test_returns_beyond_leave_a_margin_for_more(soon):
    ranges = ValueRange(ValueHead(2, False, "categorical"), chosen=True, discount=0.9, replicas=1)
    reward, no = np.zeros((100, 1, 1)), np.zeros((100, 1, 1), bool)
    reward[50], once = 1.0, no.copy()
    once[50] = True  # both end there
    ranges.cover(reward, once, once)
    assert ranges.value_head.high == 1.0
    ranges.cover(1.02 * reward, once, once)
    assert ranges.value_head.high == 1.0  # hardly beyond
    ranges.cover(2.0 * reward, once, once)
    assert ranges.value_head.high == 2.0 * (1 + MARGIN)
    ranges.cover(reward, once, once)
    assert (ranges.value_head.low, ranges.value_head.high) == (0.0, 2.5)


def test_zeros_learned_before_the_first_reward_stay_zeros():
    ranges = ValueRange(ValueHead(2, False, "categorical", 51), chosen=True, discount=1, replicas=1)
    replay = Replay(5_000, (1,))
    seen, no, yes = np.zeros((1, 1, 1)), np.zeros((1, 1), bool), np.ones((1, 1), bool)
    for t in range(1_200):
        ranges.look(replay) if t else None
        reward = np.full((1, 1), 3.0 * (t == 1_000), np.float32)
        replay.add(Step(seen, np.zeros((1, 1), int), reward, seen, yes, no, yes, yes))
    assert (ranges.value_head.low, ranges.value_head.high) == (-3.0, 3.0)


def test_replicas_have_ranges_of_their_own():
    made = []

    def env():
        made.append(None)
        factor = len(made)
        return Paid(lambda t, right: factor)

    agents = DQN(env, **SMALL, discount=0.5, replicas=3).learn(60, progress=False)
    highs = np.array(ends(agents))[:, 1]
    assert highs / highs[0] == pytest.approx([1.0, 2.0, 3.0])
    assert agents.value_head.high == tuple(highs)
    assert agents.value_head.of(1).high == highs[1]


def test_quantiles_have_no_range(soon):
    agent = DQN(lambda: Paid(lambda t, right: 1000), **{**SMALL, "distributional": "quantile"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.learn(300, progress=False)
    assert agent._range.state_dict() == {}


# What is cut off is told


def narrow(pay=lambda t, right: 1, **settings):
    given = {**SMALL, "discount": 0.9, "value_range": (-1.0, 1.0), **settings}
    return DQN(lambda: Paid(pay), **given)


def told(agent, steps):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        agent.learn(steps, progress=False)
    return [str(warning.message) for warning in said]


def test_a_range_that_cuts_off_returns_is_told_of_once(soon):
    agent = narrow()
    with pytest.warns(HunchWarning, match=r"`value_range` is \(-1, 1\), and \d+% of") as said:
        agent.learn(300, progress=False)
    assert said[0].filename == __file__
    assert len(said) == 1
    assert "lies above: " in str(said[0].message)
    assert "Leave `value_range` away" in str(said[0].message)
    assert told(agent, 1_000) == []


def test_it_is_told_again_when_it_is_much_worse(soon):
    agent = narrow(lambda t, right: 0.25 if t < 400 else 4, replay_capacity=200)
    (first,) = told(agent, 400)
    (second,) = told(agent, 1_000)
    share = [int(text.split("%")[0].rpartition(" ")[2]) for text in (first, second)]
    assert 10 <= share[0] <= 25
    assert share[1] >= 4 * share[0]


@pytest.mark.parametrize("range_", [(-1.0, 15.0), (0.0, 10.0), "auto"])
def test_a_range_that_is_wide_enough_is_not_told_of(range_, soon):
    assert told(narrow(value_range=range_), 600) == []


def test_it_names_the_replica_and_the_end(soon):
    made = []

    def env():
        made.append(None)
        factor = len(made)
        return Paid(lambda t, right: -1 if factor == 2 else 0)

    agents = DQN(env, **SMALL, discount=0.9, value_range=(-1.0, 1.0), replicas=2)
    (text,) = told(agents, 300)
    assert "in replica 1 lies below" in text


def test_the_share_is_the_mass_that_the_projection_moves():
    value_head = ValueHead(2, False, "categorical", 11, 0.0, 10.0)
    following = torch.zeros(1, 4, 2, 11)
    reward, discount = torch.tensor([[0.0, 3.0, -2.0, 50.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    share = value_head.beyond(reward, discount, following, following)
    # Of eleven atoms the upper three, the lower two, and all.
    assert share.tolist() == [pytest.approx([2 / 11 / 4, (3 / 11 + 1) / 4])]


# Resumed


@pytest.mark.parametrize("range_", ["auto", (-1.0, 1.0)])
@pytest.mark.filterwarnings("ignore::hunch.errors.HunchWarning")
def test_a_saved_range_goes_on_as_it_was(range_, tmp_path, soon):
    def make():
        return DQN(
            "CartPole-v1", **SMALL, **RAINBOW, value_range=range_, epsilon=0.2, replicas=2, seed=2
        )

    whole = make().learn(220, progress=False)
    for stop in (10, 130):
        make().learn(stop, progress=False).save(tmp_path / f"{stop}")
        again = DQN.load(tmp_path / f"{stop}").learn(220, progress=False)
        state, expected = again.state_dict(), whole.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_what_was_told_is_not_told_again_after_a_load(soon):
    agent, other = narrow(), narrow()
    assert len(told(agent, 300)) == 1
    other.load_state_dict(agent.state_dict())
    assert told(other, 700) == []


def test_a_life_from_before_ranges_were_kept_goes_on():
    def make():
        return DQN("CartPole-v1", **SMALL, value_range=(-10.0, 10.0))

    whole = make().learn(300, progress=False)
    half = make().learn(200, progress=False)
    state = {k: v for k, v in half.state_dict().items() if not k.startswith("agent.range.")}
    assert len(state) < len(half.state_dict())
    again = make()
    again.load_state_dict(state)
    assert again.learn(300, progress=False).value_head.low == -10.0
    assert torch.equal(again._pair.vector, whole._pair.vector)
