"""What environments may not answer, said in one line where it enters, and nothing of it kept."""

import csv

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from hunch.cli.main import run
from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.rl import A2C, DQN, BootstrappedDQN, CsvLog, Evaluate, Reinforce, evaluate
from hunch.rl.agents.loop import TrainingLoop
from hunch.rl.environments.vector import SingleEnvs, VectorEnvs
from hunch.rl.runs.callbacks import Score

AGENTS = (DQN, BootstrappedDQN, A2C, Reinforce)
SMALL = {"hidden_sizes": (8,)}


class Plain(gymnasium.Env):
    """Episodes of five steps, with an answer changed at one step of its life."""

    def __init__(self, at=None, change=None, space=None, actions=None, length=5):
        self.observation_space = Box(-9, 9, (3,), np.float32) if space is None else space
        self.action_space = Discrete(2) if actions is None else actions
        self.at, self.change, self.length, self.life = at, change, length, 0

    def look(self):
        return np.full(self.observation_space.shape, self.t, self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.look(), {}

    def step(self, action):
        self.t += 1
        self.life += 1
        answer = [self.look(), 1.0, False, self.t == self.length, {}]
        return tuple(self.change(answer) if self.life == self.at else answer)


def part(i, value):
    def change(answer):
        answer[i] = value(answer[i]) if callable(value) else value
        return answer

    return change


def settings_of(agent):
    few = {"num_members": 2} if agent is BootstrappedDQN else {}
    return SMALL | few | ({"batch_size": 4} if agent in (DQN, BootstrappedDQN) else {})


NAN = [
    part(1, float("nan")),
    part(0, np.array([0, np.nan, 0], np.float32)),
    part(0, lambda x: x * np.float32(np.inf)),
]


@pytest.mark.every(2)
@pytest.mark.parametrize("change", NAN)
@pytest.mark.parametrize("at", [42, 45])  # within an episode, and its last observation
@pytest.mark.parametrize("agent", AGENTS)
def test_nan_enters_no_agent(agent, at, change):
    one = agent(lambda: Plain(at, change), num_envs=1, seed=3, **settings_of(agent))
    with pytest.raises(DataError, match=rf"in environment 0 of 1 \(Plain\), step {at - 40} after"):
        one.learn(200, progress=False)
    assert one.steps == at - 1
    assert one.updates > 0
    assert all(bool(p.isfinite().all()) for p in one.network.parameters())
    before = one.updates
    one.learn(200, progress=False)  # it was a single fault
    assert one.steps == 200
    assert one.updates > before
    assert np.isfinite(one.history.returns).all()
    assert np.isfinite(one.losses).all()


BYTES = Box(0, 255, (3,), np.uint8)
LOSSES = [
    (BYTES, lambda x: x + 0.7, DataError, r"component 0 of the observation as \d.7, which uint8"),
    (BYTES, lambda x: x - 1.0 - x, DataError, "as -1.0, which uint8"),
    (BYTES, lambda x: x.astype(int) + 256, DataError, "as 258, which uint8"),
    (Box(-9, 9, (3,), np.int8), lambda x: x * np.nan, DataError, "as nan, which int8"),
    (None, lambda x: x[None], ShapeError, r"shape \(1, 3\) .* expected \(3,\)"),
    (None, lambda x: x[0], ShapeError, r"shape \(\)"),
    (None, lambda x: x[:1], ShapeError, r"shape \(1,\)"),
    (None, lambda x: None, DataError, "observation as None"),
    (None, lambda x: x.astype(complex), DataError, "type complex128"),
    (None, lambda x: [1.0, [2.0], 3.0], DataError, "a list of 3"),
    (None, lambda x: x.astype(float) + 1e39, DataError, "as inf"),
]


@pytest.mark.parametrize(("space", "value", "error", "said"), LOSSES)
def test_observations_that_would_be_changed_are_refused(space, value, error, said):
    envs = [Plain(space=space), Plain(2, part(0, value), space)]
    loop = TrainingLoop(SingleEnvs(envs, [0, 1]), 1, (3,), np.float32)
    learner = Fixed()
    with pytest.raises(error, match=said) as refusal:
        loop.run(learner, until=20, progress=False)
    assert "environment 1 of 2 (Plain), step 2 after reset(seed=" in str(refusal.value)
    assert learner.seen == 1


class Fixed:
    """A learner that counts."""

    seen = 0

    def act(self, observation, is_first):
        return np.zeros(observation.shape[:2], int)

    def observe(self, step):
        self.seen += 1


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (BYTES, lambda x: x.astype(float)),
        (BYTES, lambda x: x.tolist()),
        (BYTES, lambda x: x.astype(int)),
        (None, lambda x: x.astype(float)),
        (None, lambda x: x.astype(int)),
        (None, lambda x: x.astype(bool)),
    ],
)
def test_observations_of_another_type_are_taken_where_nothing_is_lost(space, value):
    loop = TrainingLoop(SingleEnvs([Plain(2, part(0, value), space)], [0]), 1, (3,), np.float32)
    loop.run(Fixed(), until=20, progress=False)
    assert loop.histories[0].lengths == [5] * 4


ANSWERS = [
    (part(1, None), "the reward as None"),
    (part(1, np.ones(1)), r"the reward as an array of shape \(1,\)"),
    (part(1, [1.0, 2.0]), "the reward as a list of 2"),
    (part(1, "1"), "the reward as '1'"),
    (part(1, 10**400), "single precision holds"),
    (part(2, None), "`terminated` as None"),
    (part(2, np.array([True])), "`terminated` as an array"),
    (part(3, 0.5), "`truncated` as 0.5"),
    (part(4, None), "`info` as None"),
    (lambda answer: answer[:4], "answered step with a tuple of 4"),
]


@pytest.mark.parametrize(("change", "said"), ANSWERS)
def test_answers_of_another_form_are_refused_in_one_line(change, said):
    with pytest.raises(DataError, match=said) as refusal:
        DQN(lambda: Plain(2, change), **SMALL).learn(10, progress=False)
    assert "\n" not in str(refusal.value)


def test_a_reset_of_the_old_form_is_not_taken_apart():
    """An observation of two numbers was taken for an observation and an info."""

    class Old(Plain):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)[0]

    with pytest.raises(DataError, match=r"answered reset with an array of shape \(2,\)"):
        DQN(lambda: Old(space=Box(-9, 9, (2,))), **SMALL).learn(10, progress=False)


def test_returns_are_sums_of_what_the_environment_said():
    rewards = [0.1, 16777217.0, 1 / 3, -16777217.0, 0.2]

    class Exact(Plain):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, rewards[self.t - 1], *rest

    agent = DQN(Exact, **SMALL).learn(5, progress=False)
    assert agent.history.returns == [float(np.cumsum(rewards)[-1])]
    assert agent.history.returns != [float(np.float32(rewards).astype(np.float64).sum())]


@pytest.mark.parametrize("agent", AGENTS)
def test_actions_are_of_one_type(agent):
    types = set()

    class Typed(Plain):
        def step(self, action):
            types.add(type(action))
            return super().step(action)

    one = agent(Typed, **settings_of(agent)).learn(30, progress=False)
    for deterministic in (True, False):
        evaluate(one, episodes=3, deterministic=deterministic)
    assert types == {int} == {type(one.predict(np.zeros(3)))}


def test_what_an_environment_writes_into_an_action_stays_its_own():
    box = Box(-1, 1, (2,))

    class Scribbling(Plain):
        def step(self, action):
            action *= 0
            return super().step(action)

    envs = SingleEnvs([Scribbling(actions=box)], [0])
    envs.begin(np.ones(1, bool), np.zeros((1, 3), np.float32))
    envs.step(np.array([[0.5, -0.5]], np.float32))
    assert envs.state_dict()["actions"].tolist() == [[0.5, -0.5]]


# Vector environments


def vector_env(mode="SameStep", **kwargs):
    return SyncVectorEnv([lambda: Plain(**kwargs)] * 2, autoreset_mode=mode)


def test_a_vector_environment_says_how_it_resets():
    envs = vector_env()
    envs.metadata = {}
    with pytest.raises(ConfigurationError, match=r"does not say how .*AutoresetMode\.NEXT_STEP"):
        DQN(envs, **SMALL)


@pytest.mark.parametrize("claimed", ["NextStep", "Disabled"])
def test_a_last_observation_shows_what_the_mode_is(claimed):
    envs = vector_env()
    envs.metadata = {"autoreset_mode": claimed}
    with pytest.raises(DataError, match=f"mode '{claimed}', but its infos have a `final_obs`"):
        DQN(envs, **SMALL).learn(20, progress=False)


def test_a_last_observation_that_is_missing_or_written_over_is_refused():
    envs = vector_env("NextStep")
    envs.metadata = {"autoreset_mode": "SameStep"}
    with pytest.raises(DataError, match="its infos have no `final_obs`"):
        DQN(envs, **SMALL).learn(20, progress=False)

    class Reusing(Plain):
        buffer = None

        def look(self):
            self.buffer = super().look() if self.buffer is None else self.buffer
            self.buffer[:] = self.t
            return self.buffer

    envs = SyncVectorEnv([Reusing] * 2, autoreset_mode="SameStep")
    with pytest.raises(DataError, match="the same array before and after a reset"):
        DQN(envs, **SMALL).learn(20, progress=False)


def test_infos_are_of_whom_their_mask_says():
    class Sometimes(Plain):
        def step(self, action):
            *answer, info = super().step(action)
            return *answer, {"won": 1.0} if self.length == 5 else info

    envs = SyncVectorEnv([lambda: Sometimes(length=5), lambda: Sometimes(length=3)])
    agent = DQN(envs, **SMALL).learn(2 * 5, progress=False)
    assert agent.history.lengths == [3, 5]
    assert agent.history.infos == [{}, {"won": 1.0}]


def test_a_step_that_only_begins_an_episode_gives_no_reward():
    class Generous(SyncVectorEnv):
        def step(self, actions):
            observation, reward, *rest = super().step(actions)
            return observation, np.where(reward == 0, 7.0, reward), *rest

    agent = DQN(Generous([Plain] * 2), **SMALL).learn(2 * 11, progress=False)
    assert agent.history.returns == [5.0] * 4


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, lambda x: x[0], r"shape \(3,\)"),
        (0, lambda x: x * np.float32(np.nan), "environment 0 of 2"),
        (1, lambda x: x[:, None], "`rewards` as an array of shape"),
        (2, lambda x: None, "`terminated` as None"),
        (4, lambda x: None, "`infos` as None"),
    ],
)
def test_batches_of_another_form_are_refused(at, value, said):
    class Changed(SyncVectorEnv):
        def step(self, actions):
            return tuple(part(at, value)(list(super().step(actions))))

    envs = VectorEnvs(Changed([Plain] * 2), seed=0)
    envs.begin(np.ones(2, bool), np.zeros((2, 3), np.float32))
    with pytest.raises((DataError, ShapeError), match=said):
        envs.step(np.zeros(2, int))


# Networks


@pytest.mark.parametrize("agent", AGENTS)
def test_a_network_of_nan_is_said_to_have_diverged(agent):
    one = agent(Plain, **settings_of(agent)).learn(60, progress=False)
    with torch.no_grad():
        for parameter in one.network.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(DataError, match="the network gives NaN for finite observations"):
        one.predict(np.zeros(3))
    with pytest.raises(DataError, match="has diverged"):
        one.learn(90, progress=False)


@pytest.mark.parametrize("agent", [BootstrappedDQN, A2C])
def test_weights_are_not_moved_along_a_loss_that_is_not_finite(agent):
    squared = {"loss": "squared"} if agent is BootstrappedDQN else {}  # Huber's is finite
    one = agent(lambda: Plain(30, part(1, 3e38)), discount=1.0, **settings_of(agent), **squared)
    with pytest.raises(DataError, match=r"the loss of update \d+ is (inf|nan)"):
        one.learn(4_000, progress=False)
    assert all(bool(p.isfinite().all()) for p in one.network.parameters())


def test_nothing_is_predicted_for_nan():
    with pytest.raises(DataError, match="`observation` holds NaN"):
        DQN(Plain, **SMALL).predict([0.0, np.nan, 0.0])


@pytest.mark.parametrize("bounds", ["squashed", "clipped"])
@pytest.mark.parametrize("agent", [A2C, Reinforce])
def test_a_side_of_the_box_without_width_changes_nothing_else(agent, bounds):
    """The wide side is learned as in a box of its own, and the other action is what it must be."""
    narrow = Box(np.array([-1, 0.5], np.float32), np.array([1, 0.5], np.float32))
    one = agent(lambda: Plain(actions=narrow), bounds=bounds, **SMALL).learn(200, progress=False)
    assert one.updates > 0
    action = one.predict(np.ones(3))
    assert action[1] == 0.5
    assert -1 <= action[0] <= 1
    actions, alone = one._actor.actions, type(one._actor.actions)(Box(-1, 1, (1,)), bounds)
    outputs, raw = torch.tensor([[0.2, 0.3, -0.5, 0.1]]), torch.tensor([[0.4, 9.0]])
    own = outputs[:, [0, 2]]
    assert torch.equal(actions.log_prob(outputs, raw), alone.log_prob(own, raw[:, :1]))
    assert torch.equal(actions.entropy(outputs), alone.entropy(own))


# Evaluation, logs, saved states, the command


def test_evaluation_asks_the_same():
    agent = DQN(Plain, **SMALL)
    agent.another_env = lambda: Plain(3, NAN[0])
    with pytest.raises(DataError, match=r"reward nan in evaluation episode 0 \(Plain\), step 3"):
        evaluate(agent, episodes=2)


def test_an_evaluation_of_nan_is_worse_than_any(monkeypatch):
    means = iter([float("nan"), 5.0, 3.0, float("nan")])
    check = Evaluate(every=10, episodes=1)
    fake = type("Fake", (), {"returns": property(lambda self: np.array([next(means)]))})
    monkeypatch.setattr("hunch.rl.runs.callbacks.evaluate", lambda *args, **kwargs: fake())
    DQN(Plain, **SMALL).learn(40, callbacks=[check], progress=False)
    assert check.best(0) == Score(20, 0, (5.0,))


class Naming(Plain):
    """Infos whose names come and go."""

    episode = 0

    def step(self, action):
        *answer, _ = super().step(action)
        self.episode += answer[3]
        names = {3: {"late": 1.0}, 5: {"early": 2, "return": 9.0}}
        return *answer, {"t": self.t} | names.get(self.episode, {})


def table(folder):
    with (folder / "episodes.csv").open() as file:
        return list(csv.DictReader(file))


def test_episodes_keep_the_names_that_come_late(tmp_path):
    log = CsvLog(tmp_path, every=10)
    agent = DQN(Naming, **SMALL).learn(35, callbacks=[log], progress=False)
    rows = table(tmp_path)
    assert list(rows[0]) == [
        "replica",
        "episode",
        "step",
        "return",
        "length",
        "early",
        "late",
        "info.return",
        "t",
    ]
    assert [row["late"] for row in rows] == ["", "", "1.0", "", "", ""]
    assert [row["early"] for row in rows] == ["", "", "", "", "2.0", ""]
    assert [row["return"] for row in rows] == ["5.0"] * 6
    assert agent.history.infos[4] == {"t": 5.0, "early": 2.0, "return": 9.0}
    # Resumed from before the names came, and written on, it holds the same bytes.
    whole = (tmp_path / "episodes.csv").read_bytes()
    again, log = DQN(Naming, **SMALL), CsvLog(tmp_path, every=10)
    again.learn(10, callbacks=[log], progress=False)
    early = log.state_dict()
    (tmp_path / "episodes.csv").write_bytes(whole)
    log.load_state_dict(early)
    again.learn(35, callbacks=[log], progress=False)
    assert (tmp_path / "episodes.csv").read_bytes() == whole


@pytest.mark.parametrize("agent", AGENTS)
def test_a_saved_agent_is_not_loaded_into_other_spaces(agent, tmp_path):
    agent(Plain, **settings_of(agent)).learn(20, progress=False).save(tmp_path / "a")
    others = {
        r"observations \(3,\) of float32 .* expected observations \(4,\) of float32": Plain(
            space=Box(-9, 9, (4,))
        ),
        r"observations \(3,\) of float32 .* expected observations \(3,\) of int32": Plain(
            space=Box(-9, 9, (3,), np.int32)
        ),
        "agent with other settings": Plain(actions=Discrete(3)),
    }
    for said, env in others.items():
        with pytest.raises(ConfigurationError, match=said) as refusal:
            agent.load(tmp_path / "a", env=env)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_spaces_without_numbers_are_refused(shape):
    if shape:
        with pytest.raises(ConfigurationError, match="expected at least one number"):
            DQN(lambda: Plain(space=Box(-9, 9, shape)), **SMALL)
    with pytest.raises(ConfigurationError, match="Box of one axis"):
        A2C(lambda: Plain(actions=Box(-1, 1, shape)), **SMALL)


def test_the_command_says_what_was_nan_in_one_line(tmp_path, capsys):
    gymnasium.register("HunchNan-v0", lambda: Plain(42, NAN[0]))
    try:
        code = run(
            ["train", "dqn", "HunchNan-v0", "--steps", "100", "--out", str(tmp_path / "run")]
        )
    finally:
        del gymnasium.registry["HunchNan-v0"]
    assert code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "gave the reward nan in environment 0 of 1 (HunchNan-v0), step 2 after" in last


def test_modes_are_taken_by_name_and_by_value():
    for mode in ("SameStep", AutoresetMode.SAME_STEP):
        envs = vector_env()
        envs.metadata = {"autoreset_mode": mode}
        agent = DQN(envs, **SMALL).learn(40, progress=False)
        assert set(agent.history.lengths) == {5}


def test_stacks_that_a_wrapper_changes_behind_are_not_stored_by_their_newest_image():
    class Reversing(gymnasium.Wrapper):
        """No observation wrapper by its class, but it changes observations."""

        def reset(self, **kwargs):
            observation, info = self.env.reset(**kwargs)
            return observation[::-1], info

        def step(self, action):
            observation, *rest = self.env.step(action)
            return observation[::-1], *rest

    def stacked():
        return gymnasium.wrappers.FrameStackObservation(Plain(space=BYTES), 3, padding_type="reset")

    agent = DQN(stacked, **SMALL).learn(40, progress=False)
    assert agent._replay._frame_stack == 3
    with pytest.raises(DataError, match=r"behind gymnasium\.wrappers\.FrameStack"):
        DQN(lambda: Reversing(stacked()), **SMALL).learn(40, progress=False)


def test_predict_asks_of_observations_what_training_asks():
    agent = DQN(Plain(space=Box(0, 255, (3,), np.uint8)), **SMALL)
    assert isinstance(agent.predict(np.array([0.0, 3.0, 255.0])), int)
    for value in (0.7, 300.0, -1.0):
        with pytest.raises(DataError, match=f"holds {value:g}, which uint8"):
            agent.predict(np.array([0.0, value, 1.0]))
    with pytest.raises(ShapeError, match="a tuple that is no array of numbers"):
        agent.predict((np.zeros(3, np.uint8), {}))
