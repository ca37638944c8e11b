"""Agents of values that bring observations to a common scale, beside ones that are given it."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TransformObservation
from test_saving import check_exact, check_same
from torch import nn

import hunch.envs  # noqa: F401 registers them
from hunch.cli.main import run
from hunch.errors import ConfigurationError
from hunch.nn import MLP
from hunch.rl import A2C, DQN, PQN, BootstrappedDQN, Plan, Run, evaluate
from hunch.rl.agents.idle_settings import idle_settings
from hunch.rl.agents.saving import write_agent
from hunch.rl.networks.observation_scale import ObservationScale
from hunch.rl.runs.weights import read_weights, set_weights, weights_of, write_weights

REPLAY = {"hidden_sizes": (8, 8), "batch_size": 8, "replay_capacity": 90, "update_period": 2}
ROLLOUT = {"hidden_sizes": (8,), "rollout_length": 5, "batch_size": 4, "num_envs": 3}
RAINBOW = {
    "noisy": True,
    "random_steps": 30,
    "double": True,
    "dueling": True,
    "prioritized": True,
    "distributional": "categorical",
    "atoms": 5,
    "value_range": (0.0, 20.0),
}
KINDS = {
    "dqn": (DQN, {**REPLAY, "double": True}),
    "dqn by torch alone": (DQN, {**REPLAY, "fast": False}),
    "noisy dqn of many": (DQN, {**REPLAY, "noisy": True, "replicas": 2, "num_envs": 3}),
    "rainbow": (DQN, {**REPLAY, **RAINBOW}),
    "rainbow of replicas": (DQN, {**REPLAY, **RAINBOW, "replicas": 2}),
    "dqn of quantiles": (DQN, {**REPLAY, "distributional": "quantile", "atoms": 3}),
    "own network": (DQN, {**REPLAY, "network": lambda: nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 2))}),
    "members": (BootstrappedDQN, {**REPLAY, "num_members": 3, "random_steps": 30, "double": True}),
    "members by torch alone": (BootstrappedDQN, {**REPLAY, "num_members": 3, "fast": False}),
    "masked members of replicas": (
        BootstrappedDQN,
        {**REPLAY, "num_members": 3, "mask_probability": 0.5, "replicas": 2, "num_envs": 2},
    ),
    "epinet": (BootstrappedDQN, {**REPLAY, "num_members": 4, "epinet": True, "index_dim": 3}),
    "pqn": (PQN, {**ROLLOUT, "epsilon": 0.3}),
    "noisy pqn": (PQN, {**ROLLOUT, "noisy": True, "replicas": 2}),
    "pqn with members": (PQN, {**ROLLOUT, "num_members": 3}),
}  # fmt: skip
CARTPOLE = {"env": "CartPole-v1", "env_kwargs": {"max_episode_steps": 17}}


def make(kind, **more):
    cls, kwargs = KINDS[kind]
    return cls(**{**CARTPOLE, "normalize": True, **kwargs, **more})


@torch.no_grad()
def values(agent, x, r):
    return agent.state_values(torch.from_numpy(np.float32(x)), r)


def seen_by(agent):
    """What environments showed it at each step of training, `(steps, replicas, envs, …)`."""
    shown, observe = [], agent.observe

    def watched(step):
        shown.append(step.observation.copy())
        return observe(step)

    agent.observe = watched
    return shown


@pytest.mark.parametrize("kind", KINDS)
def test_the_statistics_are_those_of_what_environments_showed(kind):
    agent = make(kind)
    shown = seen_by(agent)
    agent.learn(120, progress=False)
    scale = agent.observation_scale
    seen = np.stack(shown, axis=2).astype(np.float64).reshape(agent.replicas, -1, 4)
    assert scale.count.tolist() == [agent.steps] * agent.replicas
    np.testing.assert_allclose(scale.mean, seen.mean(1), rtol=1e-9)
    np.testing.assert_allclose(scale.variance, seen.var(1), rtol=1e-9)
    assert agent.updates > 5


# With standard deviations that are powers of two both ways of writing it round alike.
MEAN, STD = np.array([0.5, -0.25, 0.0, 1.0]), np.array([0.25, 2.0, 0.125, 0.5])


def by_hand(**kwargs):
    def scaled(x):
        return np.clip((x - np.float32(MEAN)) / np.float32(STD), -10, 10)

    box = spaces.Box(-10, 10, (4,), np.float32)
    return TransformObservation(gymnasium.make("CartPole-v1", **kwargs), scaled, box)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_as_one_that_is_given_them_at_that_scale(kind, monkeypatch):
    monkeypatch.setattr(ObservationScale, "take_in", lambda *_: None)  # the statistics stand still
    agent = make(kind, env=lambda **kwargs: gymnasium.make("CartPole-v1", **kwargs))
    ones = np.ones((agent.replicas, 1))
    agent.observation_scale.load_state_dict(
        {"count": 8 * ones, "mean": MEAN * ones, "spread": 8 * STD**2 * ones}
    )
    other = make(kind, env=by_hand, normalize=False)
    if isinstance(other, BootstrappedDQN):
        # Values of priors that are kept beside observations round as in batches of other sizes.
        other._replay._prior = None
    for each in (agent, other):
        each.learn(150, progress=False)
    assert agent.histories == other.histories
    assert agent.losses == other.losses
    assert agent.updates == other.updates > 8
    check_same(agent.network.state_dict(), other.network.state_dict())
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    scaled = np.clip((x - np.float32(MEAN)) / np.float32(STD), -10, 10)
    for r in range(agent.replicas):
        for best in (True, False):
            found = agent.replica(r).predict(x, best)
            assert np.array_equal(found, other.replica(r).predict(scaled, best))
        assert np.array_equal(values(agent, x, r), values(other, scaled, r))


def test_a_batch_is_at_the_scale_of_now_whatever_it_was_when_it_was_stored():
    agent = make("dqn")
    shown, inputs = seen_by(agent), []
    agent.learn(60, progress=False)
    assert np.array_equal(agent._replay._observation[:60], shown)
    agent._compiled, differentiable = None, agent._online.differentiable
    agent._online.differentiable = lambda x: inputs.append(x.numpy()) or differentiable(x)
    batch = agent._replay.sample(8, agent._sampling)
    agent._update(batch)
    assert np.array_equal(inputs[0], agent.observation_scale(batch.observation))
    assert not np.allclose(inputs[0], batch.observation)


def test_the_compiled_kernel_is_used_as_without():
    for kind, of in (("dqn", lambda a: a._compiled), ("members", lambda a: a._ensemble._compiled)):
        with_scale, without = make(kind), make(kind, normalize=False)
        assert (of(with_scale) is None) == (of(without) is None)
    fast, plain = (make("dqn", fast=fast).learn(120, progress=False) for fast in (True, False))
    assert fast.history == plain.history
    assert np.allclose(fast.losses, plain.losses, rtol=1e-3)


@pytest.mark.every(3)
@pytest.mark.parametrize("kind", KINDS)
def test_looking_changes_nothing(kind):
    watched, alone = (make(kind, seed=2) for _ in range(2))
    shown = np.full((20, 4), 5.0, np.float32)
    for until in (60, 120):
        watched.learn(until, progress=False)
        before = watched.observation_scale.mean
        for r in range(watched.replicas):
            watched.replica(r).predict(shown)
            values(watched, shown, r)
            evaluate(watched.replica(r), episodes=1)
        assert np.array_equal(watched.observation_scale.mean, before)
    alone.learn(120, progress=False)
    check_same(watched.network.state_dict(), alone.network.state_dict())
    scales = [agent.observation_scale.state_dict() for agent in (watched, alone)]
    assert all(np.array_equal(scales[0][name], scales[1][name]) for name in scales[0])


@pytest.mark.every(2)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "own network"])
def test_a_run_in_pieces_ends_with_the_same_bits(kind, tmp_path):
    cls, _ = KINDS[kind]
    rng = np.random.default_rng(len(kind))
    check_exact(lambda: make(kind, seed=3), tmp_path / "a", rng, cls)


@pytest.mark.every(3)
@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_is_the_agent_of_its_seed(kind):
    together = make(kind, replicas=3, seed=4).learn(100, progress=False)
    for r in range(3):
        alone = make(kind, replicas=1, seed=4 + r).learn(100, progress=False)
        assert alone.history == together.histories[r]
        for name, value in alone.observation_scale.state_dict().items():
            assert np.array_equal(value[0], together.observation_scale.state_dict()[name][r])
        x = np.random.default_rng(0).normal(size=(50, 4))
        assert np.array_equal(alone.predict(x), together.replica(r).predict(x))


@pytest.mark.every(3)
@pytest.mark.parametrize("kind", KINDS)
def test_copies_go_on_alike_and_apart(kind):
    agent = make(kind).learn(60, progress=False)
    twin, before = copy.deepcopy(agent), agent.observation_scale.mean
    twin.learn(120, progress=False)
    assert np.array_equal(agent.observation_scale.mean, before)
    check_same(agent.learn(120, progress=False).state_dict(), twin.state_dict())


@torch.no_grad()
def outputs_of(policy):
    """What a policy's networks say of some observations, without noise."""
    inner, said = policy._policy, []
    if hasattr(inner, "_choose"):
        inner._choose = lambda outputs, _: said.append(outputs)
    else:
        values = inner._values
        inner._values = lambda x, best: said.append(values(x, best)) or said[0]
    policy.actions(torch.linspace(-1, 1, 40).reshape(10, 4), deterministic=True)
    return said[0]


@pytest.mark.every(3)
@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_is_what_it_was_or_all_of_it_is_newer(kind):
    """Networks and statistics of one moment: a copy of both, or the living ones."""
    agent = make(kind).learn(60, progress=False)
    asked = agent.replica(0)
    then = copy.deepcopy(agent).replica(0)
    agent.learn(120, progress=False)
    found = [outputs_of(own.policy) for own in (asked, then, agent.replica(0))]
    assert not torch.equal(found[1], found[2])
    assert torch.equal(found[0], found[1]) or torch.equal(found[0], found[2])


@pytest.mark.every(3)
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_weights_are_those_with_their_statistics(kind, tmp_path):
    agent = make(kind).learn(60, progress=False)
    then = copy.deepcopy(agent)
    kept = [weights_of(agent, r) for r in range(agent.replicas)]
    x = np.random.default_rng(0).normal(size=(200, 4))
    own = {"network": KINDS[kind][1]["network"]} if kind == "own network" else {}
    write_weights(tmp_path / "best", agent, kept, {})
    agent.learn(120, progress=False)
    for r, weights in enumerate(kept):
        set_weights(agent, r, weights)
    for other in (agent, read_weights(tmp_path / "best", **own)):
        assert np.array_equal(other.observation_scale.mean, then.observation_scale.mean)
        for r in range(agent.replicas):
            assert np.array_equal(values(other, x, r), values(then, x, r))
            assert np.array_equal(other.replica(r).predict(x), then.replica(r).predict(x))


def test_a_run_gives_its_best_agent_with_the_statistics_of_then(tmp_path):
    settings = make("dqn", replicas=2).settings
    plan = Plan("DQN", settings, steps=80, evaluate_every=40, checkpoint_every=40)
    begun = Run.begin(tmp_path / "run", plan)
    begun.train(progress=False)
    counts = begun.best_agent().observation_scale.count.tolist()
    assert set(counts) <= {40, 80}
    assert begun.last_agent().observation_scale.count.tolist() == [80, 80]


@pytest.mark.parametrize("cls", [DQN, BootstrappedDQN, PQN])
def test_agents_saved_before_there_was_the_argument_are_without(cls, tmp_path):
    more = ROLLOUT if cls is PQN else REPLAY
    made = cls(**CARTPOLE, **more).learn(40, progress=False)
    assert made.observation_scale is None
    assert not [name for name in made.state_dict() if name.startswith("agent.scale.")]
    settings = {key: value for key, value in made.settings.items() if key != "normalize"}
    write_agent(tmp_path / "agent", {"agent": cls.__name__}, settings, made.state_dict())
    loaded = cls.load(tmp_path / "agent", normalize=False)
    check_same(*(own.learn(80, progress=False).state_dict() for own in (made, loaded)))
    with pytest.raises(ConfigurationError, match="the saved agent has False"):
        cls.load(tmp_path / "agent", normalize=True)


class Bytes(gymnasium.Env):
    observation_space = spaces.Box(0, 255, (6, 6), np.uint8)
    action_space = spaces.Discrete(2)


@pytest.mark.parametrize("cls", [DQN, BootstrappedDQN, PQN])
def test_what_has_a_scale_already_is_refused_in_one_line(cls):
    for env, what in (("hunch/DeepSea-v0", "one-hot observations"), (Bytes, "images in bytes")):
        with pytest.raises(ConfigurationError, match=f"`normalize` got True for {what}") as error:
            cls(env, normalize=True)
        assert "\n" not in str(error.value)
        assert cls(env, normalize=False).observation_scale is None


class Counting(gymnasium.Env):
    """Shows the number of the step, 0 to 3, where another episode begins."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(1, self.t, np.float32), 0.0, self.t == 3, False, {}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_steps_that_only_began_an_episode_are_not_counted(mode):
    """Acted on are 0, 1 and 2, each as often; the 3 at the end is not."""
    envs = SyncVectorEnv([Counting, Counting], autoreset_mode=mode)
    agent = DQN(envs, normalize=True, **REPLAY).learn(96, progress=False)
    assert agent.observation_scale.mean[0] == pytest.approx(1.0, abs=0.05)
    assert agent.observation_scale.variance[0] == pytest.approx(2 / 3, abs=0.05)


def test_a_network_of_ones_own_sees_the_common_scale():
    seen = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = MLP(4, [8], 2)

        def forward(self, x):
            seen.append(x)
            return self.inner(x)

    def thousandfold(**kwargs):
        env = gymnasium.make("CartPole-v1", **kwargs)
        box = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        return TransformObservation(env, lambda x: 1_000 * x, box)

    agent = DQN(thousandfold, network=Watching(), normalize=True, **REPLAY)
    agent.learn(60, progress=False)
    batches = [x for x in seen if len(x) == 8]
    assert max(x.abs().max() for x in seen) <= 10
    assert len(batches) > 10
    assert 0.1 < batches[-1].std() < 3


def test_reports_know_when_it_is_without_effect():
    assert "normalize" not in idle_settings(make("own network").settings)
    given = A2C("CartPole-v1", normalize=True, network=MLP(4, [8], 3)).settings
    assert "normalize" in idle_settings(given)


def test_the_command_line_trains_goes_on_and_plays(tmp_path):
    place = str(tmp_path / "run")
    small = ["--set=batch_size=8", "--set=hidden_sizes=4", "--eval-every=0"]
    words = ["train", "dqn", "CartPole-v1", "--steps=40", "--set=normalize=true", *small]
    assert run([*words, f"--out={place}"]) == 0
    assert run(["train", f"--resume={place}", "--steps=60"]) == 0
    assert Run.open(place).last_agent().observation_scale.count.tolist() == [60]
    assert run(["play", place, "--episodes=1"]) == 0
    assert run([*words[:2], "hunch/DeepSea-v0", *words[3:], f"--out={place}-2"]) == 2


# Narrow bounds, if nothing is said


def times(factor):
    box = spaces.Box(-1, 1, factor.shape, np.float32)
    return lambda: TransformObservation(gymnasium.make("MountainCar-v0"), factor.__mul__, box)


@pytest.mark.parametrize(
    "kind",
    ["dqn", "dqn by torch alone", "noisy dqn of many", "rainbow", "pqn with members", "members"],
)
def test_unasked_small_numbers_are_divided_by_the_largest_size_that_bounds_allow(kind, tmp_path):
    cls, kwargs = KINDS[kind]
    agent = cls(lambda: gymnasium.make("MountainCar-v0"), **kwargs)
    # The place may be 1.2, and stays as it is.
    size, ones = np.float32([1, 0.07]), np.ones((agent.replicas, 1, 2), np.float32)
    np.testing.assert_allclose(agent.observation_scale(ones * size), ones, rtol=1e-6)
    factor = 2 * agent.observation_scale(ones / 2)[0, 0]
    other = cls(times(factor), normalize=False, **kwargs)
    if cls is BootstrappedDQN:
        other._replay._prior = None  # as above
    for each in (agent, other):
        each.learn(150, progress=False)
    assert agent.losses == other.losses
    check_same(agent.network.state_dict(), other.network.state_dict())
    named = cls("MountainCar-v0", **kwargs).learn(150, progress=False)
    named.save(tmp_path / "agent")
    again = cls.load(tmp_path / "agent")
    check_same(*(own.learn(220, progress=False).state_dict() for own in (named, again)))


@pytest.mark.parametrize("cls", [DQN, PQN, BootstrappedDQN])
@pytest.mark.parametrize(
    ("env", "more"),
    [
        ("CartPole-v1", {}),  # some of its numbers have no bounds
        ("Acrobot-v1", {}),  # all bounds are 1 or more
        ("hunch/DeepSea-v0", {}),  # one-hot
        ("FrozenLake-v1", {}),
        (lambda: TransformObservation(gymnasium.make("CartPole-v1"), lambda x: x, spaces.Box(-1e30, 1e30, (4,))), {}),
        (lambda: TransformObservation(gymnasium.make("CartPole-v1"), lambda x: x, spaces.Box(-1, 1, (4,))), {}),
        ("MountainCar-v0", {"normalize": False}),
        ("MountainCar-v0", {"network": lambda: nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))}),
    ],
)  # fmt: skip
def test_what_has_no_bounds_or_one_scale_or_a_network_of_its_own_is_left_as_it_is(cls, env, more):
    assert cls(env, **more).observation_scale is None


def test_a_bound_of_nothing_divides_by_nothing():
    box = spaces.Box(np.float32([0, 0]), np.float32([0, 0.25]))
    env = TransformObservation(gymnasium.make("MountainCar-v0"), lambda x: x * 0, box)
    scale = DQN(lambda: env).observation_scale
    assert scale(np.array([[[0.0, 0.25]]])).tolist() == [[[0.0, 1.0]]]
