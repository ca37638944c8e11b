"""Agents that are saved and loaded go on as if nothing had happened."""

import json

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError, DataError, FolderError
from hunch.nn import NoisyLinear
from hunch.rl import DQN, BootstrappedDQN, Linear
from hunch.rl.agents.saving import GIVEN, agent_origin, from_json, to_json, write_agent

SMALL = {
    "hidden_sizes": (8,),
    "batch_size": 8,
    "replay_capacity": 50,
    "target_update_period": 5,
    "env_kwargs": {"max_episode_steps": 17},
}
KINDS = {
    "plain": {"epsilon": Linear(1.0, 0.2, 60), "learning_rate": Linear(1e-2, 0.0, 150)},
    "noisy double": {
        "noisy": True,
        "double": True,
        "max_gradient_norm": 0.5,
        "random_steps": 80,
    },
    "dueling by priority": {"dueling": True, "prioritized": True, "epsilon": 0.3},
    "three steps": {"n_step": 3, "update_period": 3, "updates_per_round": 2},
    "categorical": {"distributional": True, "atoms": 5, "value_range": (0, 9), "epsilon": 0.1},
    "chosen range": {"distributional": True, "atoms": 5, "epsilon": 0.1, "replicas": 2},
    "quantile": {"distributional": "quantile", "atoms": 4, "n_step": 2, "noisy": True},
    "rainbow of replicas": {
        "noisy": True,
        "double": True,
        "dueling": True,
        "prioritized": True,
        "n_step": 3,
        "distributional": "categorical",
        "atoms": 5,
        "replicas": 2,
        "num_envs": 2,
    },
    "several environments": {"num_envs": 3, "prioritized": True, "target_update_rate": 0.1},
}
MEMBERS = {
    "members": {"num_members": 3},
    "masked members": {"num_members": 4, "mask_probability": 0.5, "double": True, "n_step": 2},
    "prioritized members": {"num_members": 4, "prioritized": True, "priority_correction": 0.5},
    "members of replicas": {"num_members": 2, "replicas": 2, "num_envs": 2},
}


def check_same(state, other):
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert value.dtype == other[name].dtype, name
        assert torch.equal(value, other[name]) or (
            value.is_floating_point() and torch.allclose(value, other[name], 0, 0, equal_nan=True)
        ), name


@pytest.mark.parametrize(
    ("name", "before", "now"), [("random_steps", 0, 10_000), ("noise_draws", 1, 16)]
)
def test_noisy_agents_saved_before_there_was_an_argument_go_on_as_they_were(
    name, before, now, tmp_path
):
    made = DQN("CartPole-v1", noisy=True, **{name: before}, **SMALL).learn(20, progress=False)
    settings = {key: value for key, value in made.settings.items() if key != name}
    write_agent(tmp_path / "agent", {"agent": "DQN"}, settings, made.state_dict())
    loaded = DQN.load(tmp_path / "agent")
    assert getattr(loaded, name) == before
    assert getattr(DQN("CartPole-v1", noisy=True), name) == now
    check_same(*(own.learn(60, progress=False).state_dict() for own in (made, loaded)))


def test_members_saved_before_there_was_a_choice_of_losses_keep_theirs(tmp_path):
    before = {"loss": "squared", "random_steps": 0}
    made = BootstrappedDQN("CartPole-v1", **SMALL, num_members=2, **before)
    made.learn(20, progress=False)
    settings = {key: value for key, value in made.settings.items() if key not in before}
    write_agent(tmp_path / "agent", {"agent": "BootstrappedDQN"}, settings, made.state_dict())
    loaded = BootstrappedDQN.load(tmp_path / "agent")
    assert (loaded.loss, loaded.random_steps) == ("squared", 0)
    check_same(*(own.learn(60, progress=False).state_dict() for own in (made, loaded)))


class Handing(DQN):
    """Says nothing of most arguments, so neither do its files."""

    def __init__(self, env, **kwargs):
        super().__init__(env, **kwargs)


def test_a_subclass_that_hands_arguments_on_keeps_its_random_steps(tmp_path):
    Handing("CartPole-v1", noisy=True, **SMALL).save(tmp_path / "agent")
    assert Handing.load(tmp_path / "agent").random_steps == 10_000


def check_exact(make, path, rng, cls, **given):
    """Save at random steps, load, go on; at the end all is as without that."""
    whole, carried = make(), make()
    moments = sorted(rng.integers(1, 150, size=4).tolist())
    for moment in moments:
        carried.learn(moment, progress=False)
        carried.save(path)
        carried = cls.load(path, **given)
    carried.learn(160, progress=False)
    whole.learn(160, progress=False)
    check_same(whole.state_dict(), carried.state_dict())
    assert whole.updates == carried.updates > 10
    assert whole.histories == carried.histories
    assert whole.losses == carried.losses
    explore = np.zeros((20, *whole.observation_shape))
    for r in range(whole.replicas):
        a, b = whole.replica(r), carried.replica(r)
        assert np.array_equal(a.predict(explore, False), b.predict(explore, False))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_pieces_ends_with_the_same_bits(kind, tmp_path):
    kwargs = {**SMALL, **KINDS[kind], "seed": 3}
    rng = np.random.default_rng(len(kind))
    check_exact(lambda: DQN("CartPole-v1", **kwargs), tmp_path / "a", rng, DQN)


@pytest.mark.parametrize("env", ["CartPole-v1", "hunch.envs:hunch/DeepSea-v0"])
@pytest.mark.parametrize("kind", MEMBERS)
def test_an_ensemble_in_pieces_ends_with_the_same_bits(kind, env, tmp_path):
    kwargs = {**SMALL, **MEMBERS[kind], "seed": 3}
    if "DeepSea" in env:
        kwargs["env_kwargs"] = {"size": 4, "stochastic": True}
    rng = np.random.default_rng(len(kind))
    check_exact(lambda: BootstrappedDQN(env, **kwargs), tmp_path / "a", rng, BootstrappedDQN)


class Images(gymnasium.ObservationWrapper):
    observation_space = gymnasium.spaces.Box(0, 255, (5, 5), np.uint8)

    def observation(self, observation):
        return np.full((5, 5), self.unwrapped.t, np.uint8)


def stacks_of_images(steady):
    inner = gymnasium.wrappers.TimeLimit(Images(steady(length=9, truncates=False)), 7)
    return gymnasium.wrappers.FrameStackObservation(inner, 3)


@pytest.mark.parametrize("agent", [DQN, BootstrappedDQN])
def test_images_stored_once_teach_the_same(agent, steady, monkeypatch):
    def network():
        return nn.Sequential(nn.Flatten(), nn.Linear(75, 6), nn.ReLU(), nn.Linear(6, 2))

    def learned():
        made = agent(
            lambda: stacks_of_images(steady),
            network=network,
            batch_size=8,
            replay_capacity=40,
            n_step=2,
            seed=5,
        )
        return made._replay, made.learn(90, progress=False).network.state_dict()

    once, weights = learned()
    monkeypatch.setattr("hunch.rl.agents.agent.frame_stack_of", lambda env: 1)
    whole, expected = learned()
    assert once._observation.nbytes < 0.4 * whole._observation.nbytes
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_frame_stacks_and_foreign_modules_in_pieces(steady, tmp_path):
    def env():
        return stacks_of_images(steady)

    def network():
        return nn.Sequential(
            nn.Flatten(), NoisyLinear(75, 6, per_sample=True), nn.LayerNorm(6), nn.Linear(6, 2)
        )

    def make():
        return DQN(env, network=network, noisy=True, prioritized=True, **small)

    small = {name: SMALL[name] for name in ("batch_size", "replay_capacity")}
    assert make()._replay._frame_stack == 3
    rng = np.random.default_rng(0)
    given = {"env": env, "network": network}
    check_exact(make, tmp_path / "a", rng, DQN, **given)


def test_a_state_dict_goes_from_agent_to_agent():
    first, second = (DQN("CartPole-v1", noisy=True, seed=s, **SMALL) for s in (1, 1))
    first.learn(43, progress=False)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    second.load_state_dict(state)
    first.learn(90, progress=False)
    second.learn(90, progress=False)
    check_same(first.state_dict(), second.state_dict())


def test_saving_does_not_change_what_an_agent_becomes(tmp_path):
    saved, alone = (DQN("CartPole-v1", noisy=True, **SMALL) for _ in range(2))
    for until in range(10, 81, 10):
        saved.learn(until, progress=False).save(tmp_path / "a")
    check_same(saved.state_dict(), alone.learn(80, progress=False).state_dict())


# What is refused, and that what was there before stays


@pytest.fixture
def folder(tmp_path):
    DQN("CartPole-v1", **SMALL).learn(30, progress=False).save(tmp_path / "a")
    return tmp_path / "a"


def check_one_line(error):
    assert "\n" not in str(error.value).strip()


@pytest.mark.parametrize("name", ["state.safetensors", "agent.json", "hunch.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_a_damaged_folder_is_refused_in_one_line(folder, name, damage):
    file = folder / name
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        file.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    else:
        file.unlink()
    with pytest.raises(FolderError, match=r"damaged|missing|not as hunch wrote it") as error:
        DQN.load(folder)
    check_one_line(error)


def test_folders_that_are_no_agents_are_refused_in_one_line(tmp_path, folder):
    from hunch.storage import new_folder

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with new_folder(tmp_path / "demo", "demo") as place:
        (place / "page.html").write_text("x")
    for path, message in [
        (tmp_path / "nowhere", "there is no folder"),
        (folder / "agent.json", "is a file; expected a folder"),
        (tmp_path / "mine", r"no readable hunch\.json"),
        (tmp_path / "demo", "kind 'demo'; expected 'agent'"),
    ]:
        with pytest.raises(FolderError, match=message) as error:
            DQN.load(path)
        check_one_line(error)
    with pytest.raises(FolderError, match=r"holds a DQN; expected a BootstrappedDQN: .*DQN\.load"):
        BootstrappedDQN.load(folder)
    assert agent_origin(folder) == {"agent": "DQN"}
    with pytest.raises(FolderError, match="is not empty"):
        DQN("CartPole-v1", **SMALL).save(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "x"


def test_a_save_that_fails_leaves_the_one_before(folder, monkeypatch):
    agent = DQN.load(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("hunch.rl.agents.saving.write_tensors", fail)
    with pytest.raises(KeyboardInterrupt):
        agent.learn(40, progress=False).save(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["a"]
    assert DQN.load(folder).steps == 30


def test_a_save_replaces_the_one_before(folder):
    DQN.load(folder).learn(40, progress=False).save(folder)
    assert DQN.load(folder).steps == 40


def test_other_settings_are_named(folder):
    with pytest.raises(
        ConfigurationError, match=r"`discount` got 0\.5, but the saved agent has 0\.99"
    ):
        DQN.load(folder, discount=0.5)
    with pytest.raises(ConfigurationError, match="`env` got 'Acrobot-v1', but the saved agent has"):
        DQN.load(folder, env="Acrobot-v1")
    with pytest.raises(ConfigurationError, match="has no argument 'wings'"):
        DQN.load(folder, wings=2)


def test_the_same_settings_may_be_given_again(tmp_path):
    settings = {
        **SMALL,
        "epsilon": Linear(1.0, 0.1, 50),
        "learning_rate": 0.002,
        "max_gradient_norm": float("inf"),
        "value_range": (0, 5),
        "batch_size": np.int64(8),
    }
    DQN("CartPole-v1", **settings).save(tmp_path / "a")
    again = DQN.load(tmp_path / "a", env="CartPole-v1", device="cpu", **settings)
    assert again.epsilon == Linear(1.0, 0.1, 50)
    assert again.settings["hidden_sizes"] == [8]


def test_what_is_no_plain_value_has_to_be_given_again(tmp_path, matching):
    def network():
        return nn.Linear(2, 2)

    DQN(matching(), network=network, batch_size=8).learn(20, progress=False).save(tmp_path / "a")
    with pytest.raises(ConfigurationError, match=r"`env`, `network` that cannot.*env=…, network=…"):
        DQN.load(tmp_path / "a")
    with pytest.raises(ConfigurationError, match=r"`network` that cannot"):
        DQN.load(tmp_path / "a", env=matching())
    assert DQN.load(tmp_path / "a", env=matching(), network=network).steps == 20


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        "x",
        float("inf"),
        {"bounds": [-float("inf"), [0.5, float("inf")]], "names": {"a": None}},
        Linear(np.float32(0.5), 0.25, np.int64(7)),
    ],
)
def test_plain_values_come_back(value):
    assert from_json(json.loads(json.dumps(to_json(value), allow_nan=False))) == value


def test_what_hides_inside_a_plain_value_counts_too(tmp_path):
    assert to_json({"a": [1, {"b": object()}]}) == GIVEN
    assert to_json([1, object()]) == GIVEN

    def make(**kwargs):
        return gymnasium.make("CartPole-v1")

    agent = DQN(make, env_kwargs={"callback": print}, batch_size=8)
    agent.save(tmp_path / "a")
    with pytest.raises(ConfigurationError, match="`env`, `env_kwargs` that cannot"):
        DQN.load(tmp_path / "a")
    assert DQN.load(tmp_path / "a", env=make, env_kwargs={"callback": print}).steps == 0


class Fickle(gymnasium.Env):
    """Starts where no seed says."""

    starts = 0
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=100):
        self.length = length

    def reset(self, *, seed=None, options=None):
        Fickle.starts += 1
        self.t = 0
        return np.array([Fickle.starts], np.float32), {}

    def step(self, action):
        self.t += 1
        shown = np.array([Fickle.starts + self.t], np.float32)
        return shown, 0.0, self.t == self.length, False, {}


def test_an_environment_that_does_not_repeat_itself_is_refused(tmp_path):
    DQN(Fickle, batch_size=8, hidden_sizes=(4,)).learn(20, progress=False).save(tmp_path / "a")
    with pytest.raises(DataError, match="does not repeat an episode from its seed and actions"):
        DQN.load(tmp_path / "a", env=Fickle)
    with pytest.raises(DataError, match="does not repeat an episode") as error:
        DQN.load(tmp_path / "a", env=lambda: Fickle(length=7))  # ends where it did not before
    check_one_line(error)


def test_between_episodes_nothing_has_to_be_repeated(tmp_path):
    DQN(Fickle, env_kwargs={"length": 10}, batch_size=8).learn(20, progress=False).save(
        tmp_path / "a"
    )
    assert DQN.load(tmp_path / "a", env=Fickle).learn(30, progress=False).steps == 30


def test_a_folder_says_what_it_is(folder):
    text = json.loads((folder / "agent.json").read_text())
    assert text["agent"] == "DQN"
    assert text["settings"]["seed"] == 0
    assert set(text["versions"]) >= {"hunch", "torch", "numpy", "gymnasium", "python"}
    assert sorted(p.name for p in folder.iterdir()) == [
        "agent.json",
        "hunch.json",
        "state.safetensors",
    ]


def test_chance_outside_training_goes_on_where_it_stood(tmp_path):
    """Of the noise and of ε; a forgotten stream would begin anew."""
    x = np.random.default_rng(0).normal(size=(200, 4))
    for settings in ({"noisy": True}, {"epsilon": 0.5}):
        agent = DQN("CartPole-v1", **settings, **SMALL).learn(20, progress=False)
        agent.predict(x, deterministic=False)
        agent.save(tmp_path / "agent")
        loaded = DQN.load(tmp_path / "agent")
        expected = [agent.predict(x, deterministic=False) for _ in range(2)]
        assert not np.array_equal(*expected)
        for actions in expected:
            assert np.array_equal(loaded.predict(x, deterministic=False), actions)
