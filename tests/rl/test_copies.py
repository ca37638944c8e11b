"""Copies, pickles and moves of agents: they learn on as the original would, or say why not."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError, DataError
from hunch.nn import RandomFourierPrior
from hunch.rl import A2C, DQN, PQN, BootstrappedDQN, Evaluate, Linear, Reinforce, StopOnReturn
from hunch.rl.agents.saving import from_json

CARTPOLE = {"env": "CartPole-v1", "env_kwargs": {"max_episode_steps": 60}}
SEA = {"env": "hunch/DeepSea-v0", "env_kwargs": {"size": 5}}
OFF_POLICY = {"hidden_sizes": (16, 8), "batch_size": 8, "replay_capacity": 300}
ON_POLICY = {"hidden_sizes": (8, 8), "num_envs": 2}


def kinds():
    """Every agent with each of what concerns it: noisy, replicas, epinet, prioritised."""
    made = {}
    for noisy in (False, True):
        for replicas in (1, 3):
            for prioritized in (False, True):
                name = f"DQN noisy={noisy} replicas={replicas} prioritized={prioritized}"
                made[name] = (
                    DQN,
                    {**CARTPOLE, **OFF_POLICY, "noisy": noisy, "replicas": replicas}
                    | {"prioritized": prioritized, "target_update_period": 7},
                )
            name = f"A2C noisy={noisy} replicas={replicas}"
            made[name] = (
                A2C,
                {**CARTPOLE, **ON_POLICY, "noisy": noisy, "replicas": replicas}
                | {
                    "normalize": True,
                    "rollout_length": 8,
                },
            )
            name = f"PQN noisy={noisy} replicas={replicas}"
            made[name] = (
                PQN,
                {**CARTPOLE, **ON_POLICY, "noisy": noisy, "replicas": replicas}
                | {"rollout_length": 8, "batch_size": 8},
            )
    for replicas in (1, 3):
        made[f"PQN with members replicas={replicas}"] = (
            PQN,
            {**CARTPOLE, **ON_POLICY, "num_members": 3, "replicas": replicas}
            | {"rollout_length": 8, "batch_size": 8},
        )
        made[f"Reinforce replicas={replicas}"] = (
            Reinforce,
            {**CARTPOLE, **ON_POLICY, "replicas": replicas, "normalize": True},
        )
        for epinet in (False, True):
            for env in (CARTPOLE, SEA):
                name = f"BootstrappedDQN epinet={epinet} replicas={replicas} on {env['env']}"
                made[name] = (
                    BootstrappedDQN,
                    {**env, **OFF_POLICY, "num_members": 3, "epinet": epinet}
                    | {"replicas": replicas, "hidden_sizes": (8, 8)},
                )
    made["DQN, all switches"] = (
        DQN,
        {**CARTPOLE, **OFF_POLICY, "noisy": True, "double": True, "dueling": True, "n_step": 3}
        | {"prioritized": True, "distributional": "quantile", "atoms": 4, "layer_norm": True}
        | {"max_gradient_norm": 1.0, "target_update_rate": 0.1, "num_envs": 2, "replicas": 2},
    )
    for cls, more in (
        (DQN, {**OFF_POLICY, "noisy": True, "replicas": 3}),
        (BootstrappedDQN, {**OFF_POLICY, "num_members": 3}),
        (PQN, {**ON_POLICY, "rollout_length": 8, "batch_size": 8}),
    ):
        made[f"{cls.__name__}, normalised"] = (cls, {**CARTPOLE, **more, "normalize": True})
    return made


KINDS = kinds()


def make(kind):
    cls, kwargs = KINDS[kind]
    return cls(**kwargs, seed=3)


def by_pickle(agent):
    return pickle.loads(pickle.dumps(agent))


def by_state_dict(agent):
    other = type(agent)(**{name: from_json(value) for name, value in agent.settings.items()})
    other.load_state_dict(agent.state_dict())
    return other


def through_other_types(agent):
    moved = copy.deepcopy(agent)
    moved.network.double().float()
    return moved


def assigned(agent):
    moved = copy.deepcopy(agent)
    state = {name: value.clone() for name, value in moved.network.state_dict().items()}
    moved.network.load_state_dict(state, assign=True)
    return moved


def set_from_a_vector(agent):
    moved = copy.deepcopy(agent)
    learning = [p for p in moved.network.parameters() if p.requires_grad]
    vector = torch.cat([p.detach().reshape(-1) for p in learning])
    nn.utils.vector_to_parameters(vector, learning)
    return moved


def in_shared_memory(agent):
    moved = copy.deepcopy(agent)
    moved.network.share_memory()
    return moved


WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": by_pickle,
    "state dict": by_state_dict,
    "to double and back": through_other_types,
    "assigned": assigned,
    "from a vector": set_from_a_vector,
    "shared memory": in_shared_memory,
}


def everything(agent):
    state = {**agent.state_dict(), "losses": torch.tensor(agent.losses)}
    observation = np.zeros((20, *agent.observation_shape), np.float32)
    for r in range(agent.replicas):
        actions = agent.replica(r).predict(observation, deterministic=False)
        state[f"explores.{r}"] = torch.from_numpy(actions)
    return state


def check_same(state, other, name):
    assert state.keys() == other.keys(), name
    for key, value in state.items():
        assert value.dtype == other[key].dtype, (name, key)
        same = torch.equal(value, other[key])
        assert same or torch.allclose(value, other[key], 0, 0, equal_nan=True), (name, key)


def check_goes_on(kind, ways, first, then):
    """Copies made after `first` steps and the original learn `then` more: to the same bits."""
    original = make(kind).learn(first, progress=False)
    copies = {way: WAYS[way](original) for way in ways}
    before = original.state_dict()
    for copied in copies.values():
        copied.learn(first + then, progress=False)
    check_same(original.state_dict(), before, "the copies' learning moved the original")
    original.learn(first + then, progress=False)
    found = everything(original)
    for way, copied in copies.items():
        check_same(found, everything(copied), way)
        assert original.histories == copied.histories, way
    assert original.updates > 0
    weights = ("agent.pair.online.", "agent.actor.nets.network.", "agent.values.nets.network.")
    assert any(
        not torch.equal(before[key], found[key]) for key in before if key.startswith(weights)
    )
    return len(copies)


@pytest.mark.every(2)
@pytest.mark.parametrize("kind", KINDS)
def test_copies_learn_as_the_original_would(kind):
    check_goes_on(kind, WAYS, first=36, then=28)


@pytest.mark.proof
@pytest.mark.parametrize("kind", KINDS)
def test_copies_learn_a_thousand_steps_as_the_original_would(kind):
    count = check_goes_on(kind, WAYS, first=200, then=1_000)
    print(f"\n{kind}: {count} copies end 1,000 further steps with the original's bits")


# What else may happen to the networks of a living agent


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize(
    "kind", ["DQN noisy=True replicas=1 prioritized=True", "A2C noisy=True replicas=3"]
)
def test_weights_given_while_it_learns_are_learned_from(kind, by_hand):
    """As if they had been written into the network in place."""
    in_place, moved = make(kind), make(kind)

    class Shrink:
        every = 40

        def __init__(self, away):
            self.away = away

        def __call__(self, agent):
            for parameter in agent.network.parameters():
                if self.away:
                    parameter.data = parameter.data * 0.5
                else:
                    parameter.data.mul_(0.5)

    for agent, away in ((in_place, False), (moved, True)):
        if by_hand:
            for until in range(1, 101):
                agent._loop.run(agent, until, progress=False)
                if agent.steps % 40 == 0 and agent.steps == until:
                    Shrink(away)(agent)
        else:
            agent.learn(100, callbacks=[Shrink(away)], progress=False)
    check_same(everything(in_place), everything(moved), kind)


REFUSED = {
    "other type": (lambda net: net.double(), "as float64 .*expected float32"),
    "other device": (lambda net: net.to("meta"), "on meta; expected .* on cpu"),
    "frozen": (lambda net: net.requires_grad_(False), "frozen; expected requires_grad=True"),
    "replaced layer": (lambda net: net.__setitem__(0, nn.Linear(4, 16)), "has other layers"),
    "added layer": (lambda net: net.append(nn.ReLU()), "has other layers"),
    "renamed": (
        lambda net: nn.utils.weight_norm(net[0]),
        r"has no parameter '0\.weight' any more",
    ),
    "pruned": (lambda net: prune.identity(net[0], "weight"), r"has no parameter '0\.weight'"),
    "parametrized": (
        lambda net: nn.utils.parametrizations.weight_norm(net[0]),
        "has other layers",
    ),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("what", REFUSED)
def test_what_it_cannot_learn_on_is_refused_in_one_line(what):
    agent = make("DQN noisy=False replicas=1 prioritized=False").learn(20, progress=False)
    change, message = REFUSED[what]
    change(agent.network)
    with pytest.raises(ConfigurationError, match=message) as error:
        agent.learn(40, progress=False)
    assert "\n" not in str(error.value)
    assert agent.steps == 20


def test_a_target_network_that_was_moved_is_found():
    plain, moved = (
        make("DQN noisy=False replicas=1 prioritized=False").learn(40, progress=False)
        for _ in range(2)
    )
    moved.target_network.double().float()
    check_same(
        plain.learn(80, progress=False)._state(), moved.learn(80, progress=False)._state(), ""
    )


@pytest.mark.parametrize("epinet", [False, True])
@pytest.mark.parametrize("env", [CARTPOLE, SEA])
def test_priors_given_to_a_living_agent_are_those_it_learns_with(env, epinet):
    """Weights of another agent, priors included, as if they had been there from the first step."""
    kwargs = {**env, **OFF_POLICY, "hidden_sizes": (8, 8), "num_members": 3, "epinet": epinet}
    kwargs |= {"update_period": 1}
    theirs = BootstrappedDQN(**kwargs, seed=9)
    agent = BootstrappedDQN(**kwargs, seed=3).learn(30, progress=False)
    agent.network.load_state_dict(theirs.network.state_dict())
    agent.learn(31, progress=False)
    for part in (agent.network, agent.target_network):
        for name, tensor in part.part("prior").state_dict().items():
            assert torch.equal(tensor, theirs.network.get_submodule("prior").state_dict()[name])
    stored = agent._ensemble.stored(agent._loop._observation[None])
    assert np.array_equal(agent._ensemble.prior(stored), theirs._ensemble.prior(stored))
    if agent._replay._prior is not None:
        batch = agent._replay.sample(20, agent._sampling)
        expected = theirs._ensemble.prior(batch.observation)
        assert np.allclose(batch.prior, expected, atol=1e-5)


def test_priors_in_buffers_are_noticed_too():
    def priors():
        return nn.Sequential(RandomFourierPrior(4, 2), nn.Linear(2, 2))

    a, b = (
        BootstrappedDQN(**CARTPOLE, **OFF_POLICY, prior=priors, num_members=2, seed=s)
        for s in (1, 2)
    )
    a.learn(20, progress=False)
    a.network.load_state_dict(b.network.state_dict())
    a.learn(21, progress=False)
    ours, theirs = a.target_network.state_dict(), b.network.state_dict()
    assert torch.equal(ours["prior.0.weights"], theirs["prior.0.weights"])


def test_an_all_zero_observation_moves_no_first_layer():
    """A linear layer without an input is its bias: nothing to look up, and nothing to learn."""
    agent = make("BootstrappedDQN epinet=False replicas=1 on hunch/DeepSea-v0")
    first = agent._ensemble._first
    zeros = np.full((1, 8), 25, np.int32)
    gradient = torch.ones_like(first.hidden(zeros))
    before = first.hidden(zeros).clone()
    first.step(zeros, gradient, 0.1)
    assert torch.equal(first.hidden(zeros), before)


# Environments


def test_an_environment_that_was_given_is_copied_with_its_agent():
    env = gymnasium.make("CartPole-v1")
    agent = DQN(env, **OFF_POLICY).learn(33, progress=False)
    copied = copy.deepcopy(agent)
    assert copied._first_env is copied._env_source is copied._loop.envs.envs[0]
    assert copied._first_env is not env
    copied.learn(90, progress=False)
    agent.learn(90, progress=False)
    check_same(everything(agent), everything(copied), "given")


class Restless(gymnasium.Env):
    """Chance from a stream of its own, which no seed resets; a copy goes on with it."""

    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.rng, self.t = np.random.default_rng(0), 0

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self._look(), {}

    def step(self, action):
        self.t += 1
        return self._look(), float(action), self.t == 7, False, {}

    def _look(self):
        return self.rng.uniform(-1, 1, 2).astype(np.float32)


class Simulator(Restless, gymnasium.utils.EzPickle):
    """One whose copies are made anew, as those of MuJoCo and Atari are."""

    def __init__(self, repeats=True):
        gymnasium.utils.EzPickle.__init__(self, repeats=repeats)
        super().__init__()
        self.repeats = repeats

    def reset(self, *, seed=None, options=None):
        if self.repeats and seed is not None:
            self.rng = np.random.default_rng(seed)
        return super().reset()


class Locked(Restless):
    """What cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lines = (line for line in "abc")


class OnlyOne(Restless):
    """What says that its copy is itself."""

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
@pytest.mark.parametrize("env", [Restless, Simulator])
def test_environments_of_ones_own_go_on_where_they_were(env, way):
    agent = DQN(env, **OFF_POLICY, num_envs=2).learn(25, progress=False)
    copied = WAYS[way](agent)
    copied.learn(80, progress=False)
    agent.learn(80, progress=False)
    check_same(everything(agent), everything(copied), way)


def test_environments_that_cannot_be_copied_are_refused_in_one_line():
    for env, error, message in [
        (Locked, ConfigurationError, r"cannot be copied with its agent \(.*generator"),
        (OnlyOne, ConfigurationError, "is its own copy"),
        (lambda: Simulator(repeats=False), DataError, "does not repeat an episode"),
    ]:
        agent = DQN(env, **OFF_POLICY).learn(25, progress=False)
        with pytest.raises(error, match=message) as found:
            copy.deepcopy(agent)
        assert "\n" not in str(found.value)
        agent.learn(40, progress=False)


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_vector_environments_are_copied_where_they_stand(mode):
    envs = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode=mode)
    agent = DQN(envs, **OFF_POLICY).learn(60, progress=False)
    copied = copy.deepcopy(agent)
    copied.learn(180, progress=False)
    agent.learn(180, progress=False)
    check_same(everything(agent), everything(copied), mode)


def test_vector_environments_whose_parts_are_made_anew_are_refused_once_they_play():
    envs = gymnasium.vector.SyncVectorEnv([Simulator] * 2)
    agent = DQN(envs, **OFF_POLICY)
    copied = copy.deepcopy(agent)
    agent.learn(40, progress=False)
    check_same(everything(agent), everything(copied.learn(40, progress=False)), "at the start")
    with pytest.raises(ConfigurationError, match="makes its environments anew in a copy"):
        copy.deepcopy(agent)


# State dicts


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_stays_as_it_was_taken(kind):
    agent = make(kind).learn(40, progress=False)
    state = agent.state_dict()
    expected = everything(agent.learn(70, progress=False))
    agent.learn(90, progress=False)
    agent.load_state_dict(state)
    assert agent.steps == 40
    check_same(everything(agent.learn(70, progress=False)), expected, kind)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"noisy": True}),
        ({}, {"num_envs": 3}),
        ({}, {"replicas": 2}),
        ({}, {"prioritized": True}),
        ({}, {"hidden_sizes": (4,)}),
    ],
)
def test_a_state_dict_of_other_settings_is_refused_before_anything_is_loaded(one, other):
    first, second = (
        DQN("CartPole-v1", **{**OFF_POLICY, **k}).learn(30, progress=False) for k in (one, other)
    )
    for given, agent in ((first, second), (second, first)):
        before = agent.state_dict()
        with pytest.raises(ConfigurationError, match="agent with other settings") as error:
            agent.load_state_dict(given.state_dict())
        assert "\n" not in str(error.value)
        check_same(before, agent.state_dict(), "untouched")


# What goes along


def test_callbacks_copied_with_their_agent_go_on_with_it():
    agent = make("DQN noisy=True replicas=1 prioritized=False")
    check = Evaluate(every=30, episodes=2)
    stop = StopOnReturn(1e9, evaluation=check)
    agent.learn(60, callbacks=[check, stop], progress=False)
    theirs, *others = copy.deepcopy((agent, check, stop))
    agent.learn(120, callbacks=[check, stop], progress=False)
    theirs.learn(120, callbacks=others, progress=False)
    assert check.scores == others[0].scores
    assert others[1].evaluation is others[0]
    check_same(everything(agent), everything(theirs), "with callbacks")


def test_a_subclass_keeps_its_own_attributes_and_views_in_a_copy():
    class Bonus(DQN):
        def __init__(self, *args, bonus, **kwargs):
            super().__init__(*args, **kwargs)
            self.bonus = bonus
            self.body = self.network[0]

    agent = Bonus("CartPole-v1", bonus=2.0, **OFF_POLICY)
    agent.learning_rate = Linear(1e-2, 1e-3, 100)
    copied = copy.deepcopy(agent.learn(30, progress=False))
    assert copied.bonus == 2.0
    assert copied.body is copied.network[0]
    check_same(
        everything(agent.learn(60, progress=False)),
        everything(copied.learn(60, progress=False)),
        "",
    )
