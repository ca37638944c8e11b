"""Agents are evaluated and recorded in the environment that they are trained in, or not at all."""

import copy
import functools

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.utils import EzPickle
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import vector

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError
from hunch.rl import A2C, DQN, Evaluate, evaluate, record
from hunch.rl.environments.copies import copy_of
from hunch.rl.environments.equality import differences
from hunch.rl.environments.make import another_env

SMALL = {"hidden_sizes": (8,), "batch_size": 8}
REMEDY = r"evaluate\(agent, env=…\)"


def batch(how="sync", num_envs=2, **kwargs):
    return gymnasium.make_vec("CartPole-v1", num_envs, vectorization_mode=how, **kwargs)


def ten_times(env):
    return vector.TransformObservation(env, lambda observations: 10 * observations)


# Wrappers around a vector environment.


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (ten_times, "TransformObservation"),
        (vector.NormalizeObservation, "NormalizeObservation"),
        (vector.NormalizeReward, "NormalizeReward"),
        (functools.partial(vector.ClipReward, min_reward=-1, max_reward=0.5), "ClipReward"),
        (lambda env: vector.RecordEpisodeStatistics(ten_times(env)), "TransformObservation"),
    ],
)
def test_what_a_vector_wrapper_does_is_not_left_out(wrap, name):
    agent = DQN(wrap(batch()), **SMALL)
    for play in (evaluate, record, Evaluate(every=1)):
        with pytest.raises(ConfigurationError, match=f"{name}.*{REMEDY}"):
            play(agent)


def test_the_remedy_plays_what_was_trained_on():
    agent = DQN(ten_times(batch()), **SMALL)
    largest = []
    predict = agent.predict
    agent.predict = lambda o, deterministic: (largest.append(np.abs(o).max()), predict(o))[1]
    returns = evaluate(agent, 5, env=ten_times(batch(num_envs=3)), seed=1).returns
    assert 0.05 < largest[0] <= 0.5  # all starts of the bare environment are within 0.05
    single = wrappers.TransformObservation(
        gymnasium.make("CartPole-v1"), lambda o: 10 * o, agent._first_env.observation_space
    )
    assert evaluate(agent, 5, env=single, seed=1).returns.tolist() == returns.tolist()


@pytest.mark.parametrize("wrap", [vector.RecordEpisodeStatistics, vector.DictInfoToList])
def test_vector_wrappers_that_only_tell_are_no_hindrance(wrap):
    agent, bare = DQN(wrap(batch()), **SMALL), DQN(batch(), **SMALL)
    assert evaluate(agent, 3).returns.tolist() == evaluate(bare, 3).returns.tolist()


def test_running_means_go_with_the_environment_and_stand_still():
    env = wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"))
    agent = DQN(env, **SMALL).learn(300, progress=False)
    second = agent.another_env()
    assert np.array_equal(second.obs_rms.mean, env.obs_rms.mean)
    assert second.obs_rms is not env.obs_rms
    assert not second.update_running_mean
    assert env.update_running_mean
    means = env.obs_rms.mean.copy()
    returns = [evaluate(agent, 6, num_envs=width).returns.tolist() for width in (1, 2, 6)]
    assert returns[0] == returns[1] == returns[2]
    assert np.array_equal(env.obs_rms.mean, means)


@pytest.mark.parametrize("count", [1, 2])
def test_running_means_that_a_new_environment_would_not_have(count):
    def make():
        return wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"))

    agent = DQN(make, num_envs=count, **SMALL)
    with pytest.raises(ConfigurationError, match="has NormalizeObservation, with running means"):
        evaluate(agent)
    given = make()
    with pytest.raises(ConfigurationError, match=r"go on changing.*update_running_mean = False"):
        evaluate(agent, env=given)
    given.update_running_mean = False
    assert evaluate(agent, 2, env=given).returns.shape == (2,)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_running_means_inside_a_batch(how):
    envs = batch(how, wrappers=[wrappers.NormalizeObservation])
    with pytest.raises(ConfigurationError, match="has NormalizeObservation, with running means"):
        evaluate(DQN(envs, **SMALL))
    envs.close()


# Settings that were changed after the environment was made.


class Pushed(gymnasium.Env, EzPickle):
    """Reward is `push`; built anew by `copy.deepcopy`, as all that wraps a simulator."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, handle=None, render_mode=None):
        EzPickle.__init__(self, handle)
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode, self.push = render_mode, 1.0
        self.simulator = (_ for _ in ()) if handle == "uncopyable" else None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.crashed = 0, False
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        self.crashed = self.t == 4
        return np.zeros(2, np.float32), self.push, self.crashed, False, {}

    def render(self):
        return np.full((8, 8, 3), int(self.push), np.uint8)


def test_a_copy_has_all_that_was_changed():
    env = Pushed()
    env.push = 7.0
    agent = DQN(env, num_envs=2, **SMALL).learn(11, progress=False)
    assert evaluate(agent, 3).returns.tolist() == [28.0] * 3
    assert agent.rendering_env().push == 7.0
    assert agent.rendering_env().render()[0, 0, 0] == 7
    assert max(agent.history.returns) == 28.0
    env.push = 2.0  # in the course of a training as well
    assert evaluate(agent, 3).returns.tolist() == [8.0] * 3


def test_what_can_only_be_built_anew_is_compared():
    env = Pushed("uncopyable")
    agent = DQN(env, **SMALL).learn(10, progress=False)
    assert evaluate(agent, 2).returns.tolist() == [4.0, 4.0]  # in the middle of an episode
    env.push = 7.0
    for play in (evaluate, record):
        with pytest.raises(ConfigurationError, match=r"Pushed.push was changed since.*env=…"):
            play(agent)


def test_the_video_of_an_object_shows_it_as_it_is():
    env = gymnasium.make("CartPole-v1")
    env.unwrapped.gravity = 20.0
    assert DQN(env, **SMALL).rendering_env().unwrapped.gravity == 20.0

    class Own(gymnasium.ObservationWrapper):
        def observation(self, observation):
            return 2 * observation

    stage = DQN(Own(env), **SMALL).rendering_env()
    assert isinstance(stage, Own)
    stage.reset(seed=0)
    assert stage.render().shape == (400, 600, 3)


@pytest.mark.parametrize("how", ["sync", "async", "vector_entry_point"])
def test_a_batch_whose_settings_were_changed_is_not_compared_by_its_spec(how):
    envs = batch(how)
    agent = DQN(envs, **SMALL).learn(40, progress=False)
    assert evaluate(agent, 2).returns.shape == (2,)
    if how == "vector_entry_point":
        envs.gravity = 20.0
    else:
        envs.set_attr("gravity", [9.8, 20.0])
    with pytest.raises(ConfigurationError, match=rf"differs in CartPole\w*Env.gravity; .*{REMEDY}"):
        evaluate(agent)
    envs.close()


def test_a_batch_of_a_spec_that_is_not_registered_so():
    spec = copy.deepcopy(gymnasium.spec("CartPole-v1"))
    spec.max_episode_steps = 7
    agent = DQN(gymnasium.make_vec(spec, 2, vectorization_mode="sync"), **SMALL)
    assert agent.another_env().spec.max_episode_steps == 7


def test_a_batch_with_preprocessing_inside_is_not_taken_for_the_bare_one():
    class Small(SyncVectorEnv):
        def __init__(self, num_envs, **kwargs):
            bare = functools.partial(gymnasium.make, "CartPole-v1")
            box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
            cut = functools.partial(wrappers.TransformObservation, func=lambda o: o[:2])
            super().__init__([lambda: cut(bare(), observation_space=box)] * num_envs)

    spec = gymnasium.envs.registration.EnvSpec(
        "test/Inside-v0", "gymnasium.envs.classic_control:CartPoleEnv", vector_entry_point=Small
    )
    agent = DQN(gymnasium.make_vec(spec, 2), **SMALL)
    assert agent.observation_shape == (2,)
    with pytest.raises(ConfigurationError, match=rf"differs in its observations, Box.*{REMEDY}"):
        evaluate(agent)


def test_a_function_that_makes_another_kind_the_second_time():
    made = []

    def make():
        made.append(gymnasium.make("CartPole-v1"))
        return made[0] if len(made) == 1 else wrappers.ClipReward(made[-1], 0, 0.5)

    with pytest.raises(ConfigurationError, match="its wrappers, ClipReward, TimeLimit for Time"):
        evaluate(DQN(make, **SMALL))


def test_keyword_arguments_for_an_environment_that_is_made_are_not_dropped():
    agent = DQN(gymnasium.make("CartPole-v1"), **SMALL)
    check = Evaluate(every=1, env_kwargs=dict(max_episode_steps=5))
    with pytest.raises(ConfigurationError, match=r"`env_kwargs` got .*already made"):
        check(agent)
    with pytest.raises(ConfigurationError, match=r"`env_kwargs` got .*already made"):
        Evaluate(every=1, env=gymnasium.make("CartPole-v1"), env_kwargs=dict(max_episode_steps=5))


@pytest.mark.parametrize(
    "name",
    ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1", "hunch/DeepSea-v0",
     "hunch/CartPoleSwingup-v0", "hunch/Chain-v0", "hunch/Catch-v0"],
)  # fmt: skip
def test_no_difference_is_made_up_and_none_is_missed(name):
    env = gymnasium.make(name)
    env.action_space.seed(0)
    env.reset(seed=1)
    for _ in range(300):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    assert differences([env], gymnasium.make(name)) == []
    base, second = env.unwrapped, copy_of(env).unwrapped
    values = vars(gymnasium.make(name).unwrapped)
    settings = {k for k, v in values.items() if type(v) is float and not k.startswith("_")}
    for setting in settings:
        value = getattr(base, setting)
        setattr(base, setting, value + 1)
        assert differences([env], gymnasium.make(name)) == [f"{type(base).__name__}.{setting}"]
        assert getattr(second, setting) == value
        setattr(base, setting, value)


# One environment for several.


def test_one_environment_is_not_taken_for_several():
    one = gymnasium.make("CartPole-v1")
    several = "one environment several times"
    for make in (lambda: one, lambda: wrappers.TimeLimit(one.unwrapped, 50)):
        for counts in ({"num_envs": 4}, {"replicas": 3}):
            with pytest.raises(ConfigurationError, match=several):
                DQN(make, **counts, **SMALL)
    with pytest.raises(ConfigurationError, match=several):
        DQN(SyncVectorEnv([lambda: one] * 2), **SMALL)
    with pytest.raises(ConfigurationError, match=several):
        evaluate(DQN("CartPole-v1", **SMALL), env=lambda: one)


def test_the_environment_that_is_trained_in_is_left_alone(monkeypatch):
    one, touched = gymnasium.make("CartPole-v1", render_mode="rgb_array"), []
    agent = DQN(lambda **_: one, **SMALL).learn(10, progress=False)
    monkeypatch.setattr(type(one), "reset", lambda *_, **__: touched.append("reset"))
    monkeypatch.setattr(type(one), "close", lambda *_: touched.append("close"))
    for play in (evaluate, Evaluate(every=1), record):
        with pytest.raises(ConfigurationError, match="returned the environment that the agent is"):
            play(agent)
    for env in (one, wrappers.RecordEpisodeStatistics(one)):
        with pytest.raises(
            ConfigurationError, match="is the environment that the agent is trained"
        ):
            evaluate(agent, env=env)
    with pytest.raises(ConfigurationError, match="is the environment that the agent is trained"):
        evaluate(agent, env=lambda: one)
    batch_of_it = SyncVectorEnv([lambda: one])
    with pytest.raises(ConfigurationError, match="is the environment that the agent is trained"):
        evaluate(agent, env=batch_of_it)
    assert touched == []


# Environments that the user gives.


@pytest.fixture(scope="module")
def agent():
    return DQN("CartPole-v1", env_kwargs={"max_episode_steps": 60}, noisy=True, **SMALL)


MODES = ["NextStep", "SameStep", "Disabled"]


def capped(**kwargs):
    return gymnasium.make("CartPole-v1", max_episode_steps=60, **kwargs)


def test_each_kind_of_environment_gives_the_same_episodes(agent):
    expected = evaluate(agent, 7, seed=3)
    batches = [SyncVectorEnv([capped] * 3, autoreset_mode=mode) for mode in MODES]
    batches.append(AsyncVectorEnv([capped] * 2))
    for env in (capped, capped(), *batches):
        played = evaluate(agent, 7, env=env, seed=3)
        assert played.returns.tolist() == expected.returns.tolist()
        assert played.lengths.tolist() == expected.lengths.tolist()
    batches[-1].close()


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_computed_at_once_gives_the_same_episodes(mode):
    agent = DQN("hunch/Chain-v0", env_kwargs={"size": 4}, **SMALL)
    envs = gymnasium.make_vec("hunch/Chain-v0", 3, size=4, autoreset_mode=mode)
    expected = evaluate(agent, 7, seed=3).returns.tolist()
    assert evaluate(agent, 7, env=envs, seed=3).returns.tolist() == expected


def test_a_batch_that_takes_no_list_of_seeds(agent):
    envs = gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")
    first = evaluate(agent, 5, env=envs, seed=3).returns.tolist()
    assert evaluate(agent, 5, env=envs, seed=3).returns.tolist() == first
    assert len(set(first)) > 1


def test_what_the_user_gave_stays_open_and_what_was_made_is_closed(agent):
    closed = []

    class Noting(gymnasium.Wrapper):
        def close(self):
            closed.append(self)

    given = Noting(capped())
    evaluate(agent, 2, env=given)
    assert closed == []
    evaluate(agent, 2, env=lambda: Noting(capped()))
    assert len(closed) == 2


def test_an_exploring_agent_plays_in_a_batch(agent):
    envs = SyncVectorEnv([capped] * 2)
    assert evaluate(agent, 3, env=envs, deterministic=False).returns.shape == (3,)


def test_boxes_of_actions_reach_a_batch():
    agent = A2C("Pendulum-v1", num_envs=1)
    expected = evaluate(agent, 3, seed=1).returns
    envs = gymnasium.make_vec("Pendulum-v1", 2, vectorization_mode="sync")
    returns = evaluate(agent, 3, env=envs, seed=1).returns  # torch rounds two rows unlike three
    assert returns == pytest.approx(expected, rel=1e-6)


def test_an_environment_with_other_spaces_is_refused(agent):
    with pytest.raises(
        ConfigurationError, match=r"observations of shape \(2,\).*trained on, of shape \(4,\)"
    ):
        evaluate(agent, env="MountainCar-v0")
    with pytest.raises(ConfigurationError, match="has actions Discrete"):
        evaluate(DQN("MountainCar-v0", **SMALL), env=Pushed())
    with pytest.raises(ConfigurationError, match="expected a Gymnasium id"):
        evaluate(agent, env=3)
    with pytest.raises(ConfigurationError, match="expected a Gymnasium id"):
        record(agent, env=SyncVectorEnv([capped]))


def test_evaluate_and_record_take_an_environment_too(agent):
    check = Evaluate(every=10, episodes=2, env="CartPole-v1", env_kwargs={"max_episode_steps": 3})
    DQN("CartPole-v1", **SMALL).learn(10, callbacks=[check], progress=False)
    assert check.scores[0].returns == (3, 3)
    stage = gymnasium.make("CartPole-v1", max_episode_steps=3, render_mode="rgb_array")
    pytest.importorskip("imageio_ffmpeg")
    pytest.importorskip("pygame")
    assert record(agent, env=stage).length == 3
    assert record(agent, env=capped, max_steps=2).length == 2
    with pytest.raises(ConfigurationError, match="environment that the agent is trained in"):
        record(DQN(stage, **SMALL), env=stage)


def test_copies_of_an_environment_share_nothing():
    env = Pushed()
    env.memory = []
    second = another_env(wrappers.TimeLimit(env, 3)).unwrapped
    second.memory.append(1)
    second.reset(seed=1)
    assert env.memory == []
    assert not hasattr(env, "t")


class Holding(gymnasium.Env):
    """No wrapper by its class, and yet around another environment."""

    def __init__(self, inner):
        self.inner = inner
        self.observation_space, self.action_space = inner.observation_space, inner.action_space

    def reset(self, *, seed=None, options=None):
        return self.inner.reset(seed=seed)

    def step(self, action):
        return self.inner.step(action)


def test_what_an_environment_holds_belongs_to_it():
    inner = Pushed()
    inner.push = 7.0
    assert evaluate(DQN(Holding(inner), **SMALL), 2).returns.tolist() == [28.0, 28.0]
    with pytest.raises(ConfigurationError, match="one environment several times"):
        DQN(lambda: Holding(inner), num_envs=2, **SMALL)
    inner = Pushed("uncopyable")
    agent = DQN(Holding(inner), **SMALL).learn(5, progress=False)
    assert evaluate(agent, 2).returns.tolist() == [4.0, 4.0]
    inner.push = 7.0
    with pytest.raises(ConfigurationError, match=r"Pushed.push was changed since"):
        evaluate(agent)


def test_a_class_that_copies_itself_is_compared_too():
    class Own(Pushed):
        def __deepcopy__(self, memo):
            return type(self)()

    env = Own()
    agent = DQN(env, **SMALL).learn(5, progress=False)
    assert evaluate(agent, 2).returns.tolist() == [4.0, 4.0]
    env.push = 7.0
    with pytest.raises(ConfigurationError, match=r"Own.push was changed since"):
        evaluate(agent)


def test_a_video_beside_an_open_window():
    pytest.importorskip("pygame")
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    env.render()  # a surface of pygame cannot be copied
    assert DQN(env, **SMALL).rendering_env().reset(seed=0)[0].shape == (4,)
    env.unwrapped.gravity = 20.0
    with pytest.raises(ConfigurationError, match=r"CartPoleEnv.gravity was changed since"):
        DQN(env, **SMALL).rendering_env()
