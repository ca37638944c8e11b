"""Agents in environments whose spaces are no plain boxes: what users see is the environment's own."""

import copy
import functools
import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation, TimeLimit

from hunch.errors import ConfigurationError, DataError, HunchWarning, ShapeError
from hunch.rl import (
    A2C,
    DQN,
    PQN,
    BootstrappedDQN,
    Evaluate,
    Reinforce,
    StopOnReturn,
    evaluate,
    record,
)
from hunch.rl.environments.flattening import stacked
from hunch.rl.environments.make import evaluation_reset_seed, training_reset_seed
from hunch.rl.runs.callbacks import RandomPlayer

AGENTS = {
    "dqn": (DQN, {"batch_size": 8, "replay_capacity": 200}),
    "noisy": (DQN, {"batch_size": 8, "replay_capacity": 200, "noisy": True, "prioritized": True}),
    "members": (BootstrappedDQN, {"batch_size": 8, "replay_capacity": 200, "num_members": 3}),
    "pqn": (PQN, {"num_envs": 2}),
    "a2c": (A2C, {"num_envs": 2}),
    "reinforce": (Reinforce, {}),
}
SEEN = spaces.Dict(
    {
        "right": spaces.Discrete(6, start=-2),
        "place": spaces.Tuple([spaces.MultiDiscrete([[2, 3], [1, 2]]), spaces.Box(-9, 9, (2,))]),
        "lit": spaces.MultiBinary(2),
        "doubles": spaces.Box(-np.inf, np.inf, (1, 2), np.float64),
        "bytes": spaces.Box(0, 255, (2,), np.uint8),
        "flag": spaces.Box(0, 1, (1,), np.bool_),
        "alone": spaces.Box(-1, 1, ()),
    }
)
ACTIONS = {
    "several": spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "bits": spaces.MultiBinary([2, 1]),
    "discrete": spaces.Discrete(6, start=3),
    "box": spaces.Box(-1, 1, (2,)),
}


class Asked(gymnasium.Env):
    """Reward 1 for the combination whose number is shown; four steps. It writes into all it gets."""

    def __init__(self, actions="several", seen=SEEN, render_mode=None):
        self.actions, self.render_mode = actions, render_mode
        self.observation_space = seen
        self.action_space = copy.deepcopy(ACTIONS[actions])

    def _show(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        seen = self.observation_space.sample()
        self.right = int(seen["right"]) + 2 if isinstance(seen, dict) else int(seen)
        return seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._show(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        number = self._number(action)
        if isinstance(action, np.ndarray):
            action += 1
        self.t += 1
        reward = float(number == self.right)
        return self._show(), reward, self.t == 4, False, {"number": number}

    def _number(self, action):
        if self.actions == "several":
            return 3 * int(action[0] - 1) + int(action[1] + 1)
        if self.actions == "bits":
            return 2 * int(action[0, 0]) + int(action[1, 0])
        return int(action) - 3 if self.actions == "discrete" else 0

    def render(self):
        return np.full((32, 32, 3), 60 * (self.t % 4), np.uint8)


def make(kind, env, **settings):
    cls, own = AGENTS[kind]
    return cls(env, **{"hidden_sizes": (8,), "seed": 3, **own, **settings})


def state_of(agent):
    return {name: value.clone() for name, value in agent.state_dict().items()}


def check_same(one, other):
    one, other = state_of(one), state_of(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def some(space, count, seed=5):
    space = copy.deepcopy(space)
    space.seed(seed)
    return [space.sample() for _ in range(count)]


@pytest.mark.parametrize("kind", AGENTS)
@pytest.mark.parametrize("actions", ["several", "bits", "discrete"])
def test_agents_see_and_do_what_the_environment_shows_and_takes(kind, actions):
    env = functools.partial(Asked, actions)
    agent = make(kind, env).learn(120, progress=False)
    seen = some(SEEN, 5)
    batch = agent.predict(stacked(SEEN, seen))
    assert len(batch) == 5
    for one, action in zip(seen, batch, strict=True):
        own = agent.predict(one)
        assert ACTIONS[actions].contains(own), own
        np.testing.assert_array_equal(own, action)
        assert ACTIONS[actions].contains(agent.predict(one, deterministic=False))
    found = evaluate(agent, episodes=6)
    assert found.lengths.tolist() == [4] * 6
    # As somebody would by hand.
    env, total = agent.another_env(), 0.0
    observation, _ = env.reset(seed=evaluation_reset_seed(0, 0))
    for _ in range(4):
        observation, reward, *_ = env.step(agent.predict(observation))
        total += reward
    assert total == found.returns[0]
    evaluate(agent, episodes=2, deterministic=False)


@pytest.mark.parametrize("kind", ["a2c", "reinforce"])
def test_boxes_of_actions_go_with_observations_of_parts(kind):
    agent = make(kind, functools.partial(Asked, "box")).learn(60, progress=False)
    assert ACTIONS["box"].contains(agent.predict(some(SEEN, 1)[0]))
    evaluate(agent, episodes=3)
    with pytest.raises(ConfigurationError, match="expected Discrete, MultiDiscrete or MultiBinary"):
        make("dqn", functools.partial(Asked, "box"))


@pytest.mark.parametrize(("actions", "count"), [("several", 6), ("bits", 4)])
def test_combinations_are_learned(actions, count):
    agent = DQN(
        functools.partial(Asked, actions, spaces.Discrete(count)),
        discount=0.0, n_step=1, hidden_sizes=(32,), epsilon=0.5, learning_rate=0.01, batch_size=32,
    )  # fmt: skip
    agent.learn(1_500, progress=False)
    assert evaluate(agent, episodes=20).returns.tolist() == [4.0] * 20


@pytest.mark.parametrize("kind", AGENTS)
def test_a_discrete_is_to_the_bit_what_gymnasiums_wrapper_makes_of_it(kind):
    kwargs = {"is_slippery": True, "max_episode_steps": 20}
    by_hand = make(kind, lambda: FlattenObservation(gymnasium.make("FrozenLake-v1", **kwargs)))
    agent = make(kind, "FrozenLake-v1", env_kwargs=kwargs)
    for each in (agent, by_hand):
        each.learn(200, progress=False)
    for mine, theirs in zip(
        agent.network.state_dict().values(), by_hand.network.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert agent.history.returns == by_hand.history.returns
    assert agent.history.lengths == by_hand.history.lengths
    np.testing.assert_array_equal(agent.predict(range(16)), by_hand.predict(np.eye(16)))
    mine, theirs = (evaluate(each, episodes=5) for each in (agent, by_hand))
    np.testing.assert_array_equal(mine.returns, theirs.returns)
    np.testing.assert_array_equal(mine.lengths, theirs.lengths)


@pytest.mark.parametrize("kind", ["dqn", "members", "a2c"])
def test_parts_are_to_the_bit_what_gymnasiums_wrapper_makes_of_them(kind):
    parts = functools.partial(Asked, "discrete")
    by_hand = make(kind, lambda: FlattenObservation(parts())).learn(120, progress=False)
    agent = make(kind, parts).learn(120, progress=False)
    for mine, theirs in zip(
        agent.network.state_dict().values(), by_hand.network.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_frozen_lake_is_solved():
    """With nothing set; seeds 0 to 11 took 500 to 3,750 steps."""
    check = Evaluate(every=250, episodes=1)
    solved = StopOnReturn(1.0, evaluation=check)
    agent = DQN("FrozenLake-v1", env_kwargs={"is_slippery": False}, seed=0)
    agent.learn(10_000, callbacks=[check, solved], progress=False)
    assert solved.reached
    assert evaluate(agent, episodes=5).returns.tolist() == [1.0] * 5


def test_what_predict_takes():
    agent = make("dqn", "FrozenLake-v1")
    single = agent.predict(3)
    assert type(single) is int
    assert [agent.predict(one) for one in (np.int64(3), np.array(3), 3.0)] == [single] * 3
    assert agent.predict([3, 3]).tolist() == [single] * 2
    for wrong, error, says in [
        (16, DataError, r"got 16; expected one of Discrete\(16\), as the environment shows it"),
        (-1, DataError, "got -1; expected one of"),
        (np.nan, DataError, "got nan; expected one of"),
        (np.eye(16), ShapeError, r"shape \(16, 16\); expected one of Discrete\(16\)"),
        ({"a": 1}, ShapeError, "got {'a': 1}; expected numbers"),
        ((3, {"prob": 1}), ShapeError, "expected numbers"),
    ]:
        with pytest.raises(error, match=says) as refusal:
            agent.predict(wrong)
        assert "\n" not in str(refusal.value)
    mixed, (seen,) = make("dqn", Asked), some(SEEN, 1)
    with pytest.raises(
        ShapeError, match=r"got a dict of \['right'\]; expected a dict of 'alone', "
    ):
        mixed.predict({"right": 1})
    with pytest.raises(
        DataError, match=r"got 4 for its part \['right'\]; expected one of Discrete"
    ):
        mixed.predict({**seen, "right": 4})
    with pytest.raises(DataError, match="NaN or infinite"):
        mixed.predict({**seen, "alone": np.nan})


def test_what_was_flattened_is_said():
    said = repr(make("dqn", Asked))
    assert "observations Dict(" in said
    assert ") as a vector of 24, " in said
    assert "actions MultiDiscrete([2 3], start=[ 1 -1]) as one of 6" in said
    assert "as a vector" not in repr(make("dqn", "CartPole-v1"))
    assert "Discrete(16) as a vector of 16" in make("a2c", "FrozenLake-v1")._repr_html_()


@pytest.mark.parametrize("kind", AGENTS)
def test_a_saved_agent_goes_on_to_the_same_bits(kind, tmp_path):
    settings = {} if kind in ("pqn", "a2c") else {"num_envs": 2}
    whole = make(kind, Asked, **settings).learn(90, progress=False)
    whole.save(tmp_path / "agent")
    loaded = type(whole).load(tmp_path / "agent", env=Asked)
    check_same(whole, loaded)
    twin = copy.deepcopy(whole)
    for agent in (whole, loaded, twin):
        agent.learn(180, progress=False)
    check_same(whole, loaded)
    check_same(whole, twin)
    seen = some(SEEN, 3)
    for deterministic in (True, False):
        np.testing.assert_array_equal(
            *(agent.predict(stacked(SEEN, seen), deterministic) for agent in (whole, loaded))
        )
    with pytest.raises(ConfigurationError, match="it has observations"):
        type(whole).load(tmp_path / "agent", env=lambda: Asked(seen=spaces.Discrete(6)))


def test_a_saved_agent_of_an_id_needs_nothing_given(tmp_path):
    agent = make("dqn", "Blackjack-v1").learn(60, progress=False)
    agent.save(tmp_path / "agent")
    assert json.loads((tmp_path / "agent" / "agent.json").read_text())["settings"]["env"]
    loaded = DQN.load(tmp_path / "agent")
    for each in (agent, loaded):
        each.learn(100, progress=False)
    check_same(agent, loaded)
    assert loaded.predict((14, 10, 0)) == agent.predict((14, 10, 0))


@pytest.mark.parametrize("kind", AGENTS)
def test_each_replica_is_the_agent_of_its_seed(kind):
    settings = {"num_envs": 2}
    replicas = make(kind, Asked, replicas=2, **settings).learn(100, progress=False)
    alone = make(kind, Asked, **{**settings, "seed": 4}).learn(100, progress=False)
    assert replicas.histories[1].returns == alone.history.returns
    seen = some(SEEN, 1)[0]
    np.testing.assert_array_equal(replicas.replica(1).predict(seen), alone.predict(seen))
    assert evaluate(replicas.replica(0), episodes=2).lengths.tolist() == [4, 4]


def vector(mode, kind=SyncVectorEnv, actions="several", count=3):
    env = functools.partial(Asked, actions)
    return kind([env] * count, autoreset_mode=mode)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kind", ["dqn", "members", "a2c", "pqn", "reinforce"])
def test_vector_environments_of_the_users(kind, mode):
    own = {"num_envs": 1} if kind in ("a2c", "pqn") else {}
    agent = make(kind, vector(mode), **own).learn(120, progress=False)
    assert set(agent.history.lengths) == {4}
    seen = some(SEEN, 3)
    assert agent.predict(stacked(SEEN, seen)).shape == (3, 2)
    found = evaluate(agent, episodes=5, env=vector(mode))
    by_one = evaluate(agent, episodes=5, env=Asked())
    np.testing.assert_array_equal(found.returns, by_one.returns)
    evaluate(agent, episodes=3, env=vector(mode), deterministic=False)


@pytest.mark.parametrize("actions", ["bits", "discrete"])
def test_vector_environments_in_other_processes(actions):
    envs = vector(AutoresetMode.SAME_STEP, AsyncVectorEnv, actions, count=2)
    try:
        agent = make("dqn", envs).learn(60, progress=False)
        assert set(agent.history.lengths) == {4}
    finally:
        envs.close()


def test_what_a_vector_environment_shows_is_what_single_ones_show():
    """The last observations of episodes among them, which are not in the batch."""
    kept = []

    class Notes(DQN):
        def observe(self, step):
            kept.append((step.observation.copy(), step.next_observation.copy(), step.terminated))
            return super().observe(step)

    Notes(vector(AutoresetMode.SAME_STEP, count=1), hidden_sizes=(8,)).learn(9, progress=False)
    env = Asked()
    flat = DQN(Asked).flat_observations
    seen = [flat.vector(env.reset(seed=training_reset_seed(0, 0))[0])]
    for _ in range(4):
        seen.append(flat.vector(env.step(np.array([1, -1]))[0]))
    for i in range(4):
        np.testing.assert_array_equal(kept[i][0][0, 0], seen[i])
        np.testing.assert_array_equal(kept[i][1][0, 0], seen[i + 1])
    assert kept[3][2].all()


def test_another_environment_has_to_become_the_same_vector():
    agent = make("dqn", "FrozenLake-v1")
    with pytest.raises(ConfigurationError, match=r"has observations Discrete\(64\); expected .*16"):
        evaluate(agent, env=lambda: gymnasium.make("FrozenLake-v1", map_name="8x8"))
    with pytest.raises(ConfigurationError, match="has observations of shape"):
        evaluate(agent, env=lambda: FlattenObservation(gymnasium.make("FrozenLake-v1")))
    evaluate(agent, 2, env=lambda: TimeLimit(gymnasium.make("FrozenLake-v1"), 9))


@pytest.mark.parametrize("seen", ["place", "right", "alone", "lit"])
def test_what_a_space_does_not_have_is_refused_with_its_place(seen):
    class Wrong(Asked):
        def step(self, action):
            observation, *rest = super().step(action)
            bad = {"place": (np.zeros((2, 2)), [0, np.nan]), "right": 4, "alone": [0.0]}
            return {**observation, seen: bad.get(seen)}, *rest

    agent = make("dqn", Wrong)
    with pytest.raises((DataError, ShapeError)) as refusal:
        agent.learn(9, progress=False)
    said = str(refusal.value)
    assert "environment 0 of 1 (Wrong), step 1 after reset(seed=" in said
    assert (f"[{seen!r}] of the observation as" in said) or seen == "place"
    assert "\n" not in said


def test_random_play_takes_what_the_environment_takes():
    for actions in ("several", "bits", "discrete"):
        agent = make("dqn", functools.partial(Asked, actions))
        assert evaluate(RandomPlayer(agent, 0), episodes=3).lengths.tolist() == [4] * 3


def test_a_film(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    agent = make("dqn", Asked).learn(20, progress=False)
    assert record(agent, tmp_path / "film.mp4").length == 4


class Grid(gymnasium.Env):
    """What it shows is like what MiniGrid shows."""

    action_space = spaces.Discrete(2)

    def __init__(self, side=7):
        self.observation_space = spaces.Dict(
            direction=spaces.Discrete(4),
            image=spaces.Box(0, 255, (side, side, 3), np.uint8),
            mission=spaces.Text(9),
        )

    def _show(self):
        shape = self.observation_space["image"].shape
        image = self.np_random.integers(0, 11, shape, dtype=np.uint8)
        return {"direction": self.t, "image": image, "mission": "go"}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._show(), {}

    def step(self, action):
        self.t += 1
        return self._show(), 1.0, self.t == 3, False, {}


def test_images_within_a_dict():
    with pytest.raises(
        ConfigurationError, match=r"with Text as \['mission'\], .*FilterObservation"
    ):
        DQN(Grid)
    some_of = functools.partial(gymnasium.wrappers.FilterObservation, Grid())
    both = make("dqn", some_of(["direction", "image"])).learn(20, progress=False)
    assert both.network[0].in_features == 4 + 7 * 7 * 3
    alone = make("dqn", some_of(["image"])).learn(20, progress=False)
    assert [type(layer).__name__ for layer in alone.network[:3]] == ["Pixels", "Channels", "Conv2d"]
    seen = alone.another_env().reset(seed=0)[0]
    assert alone.predict(seen) in (0, 1)
    assert "as its ['image']" in repr(alone)
    large = gymnasium.wrappers.FilterObservation(Grid(36), ["direction", "image"])
    with pytest.warns(
        HunchWarning, match=r"an image of shape \(36, 36, 3\) as \['image'\], whose 3,888"
    ):
        make("dqn", large)


def test_an_environment_may_say_that_its_discrete_is_to_be_one_hot():
    class Says(Asked):
        one_hot_observations = True

    plain, says = (
        BootstrappedDQN(functools.partial(kind, "discrete", spaces.Discrete(6)), num_members=2)
        for kind in (Asked, Says)
    )
    assert (plain.update_period, says.update_period) == (4, 1)
    says.learn(150, progress=False)
    assert evaluate(says, episodes=2).lengths.tolist() == [4, 4]


def test_others_may_be_evaluated_where_our_agents_would_refuse():
    class Reader:
        def another_env(self):
            return TimeLimit(Told(), 3)

        def predict(self, observation, deterministic=True):
            assert observation.tolist() == ["left"] * len(observation)
            return np.zeros(len(observation), np.int64)

    assert evaluate(Reader(), episodes=2).lengths.tolist() == [3, 3]
    with pytest.raises(ConfigurationError, match="observations Text, of which no vector"):
        DQN(Told)


class Told(gymnasium.Env):
    observation_space = spaces.Text(9)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "left", {}

    def step(self, action):
        return "left", 0.0, False, False, {}
