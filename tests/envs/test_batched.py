"""The native batches return what Gymnasium's SyncVectorEnv over the single environments returns."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import hunch.envs
from hunch.errors import ConfigurationError

SETTINGS = [
    ("DeepSea", dict(size=4)),
    ("DeepSea", dict(size=6, stochastic=True, mapping_seed=None)),
    ("CartPoleSwingup", dict(max_time=0.15, init_range=0.5)),
    ("CartPoleSwingup", dict(x_threshold=0.2, init_range=2.5, height_threshold=-0.5)),
    ("Chain", dict(size=5)),
    ("Chain", dict(size=3, features="one-hot", episode_length=4)),
]
MODES = ["NextStep", "SameStep", "Disabled"]
NUM_ENVS = 5
ids = [f"{name}-{number}" for number, (name, _) in enumerate(SETTINGS)]


def same(ours, theirs):
    """Equal values and types, through dictionaries and arrays of arrays."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, tuple) or getattr(theirs, "dtype", None) is np.dtype(object):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    elif isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    else:
        assert ours == theirs


def pair(name, settings, mode, num_envs=NUM_ENVS):
    make = lambda **k: gymnasium.make_vec(f"hunch/{name}-v0", num_envs, **settings, **k)  # noqa: E731
    singles = make(vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode(mode)})
    batch = make(vectorization_mode="vector_entry_point", autoreset_mode=mode)
    return batch, singles


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=ids)
def test_a_batch_equals_single_environments_step_for_step(name, settings, mode):
    batch, singles = pair(name, settings, mode)
    same(batch.reset(seed=7), singles.reset(seed=7))
    assert batch.observation_space == singles.observation_space
    assert batch.action_space == singles.action_space
    assert batch.metadata["autoreset_mode"] is AutoresetMode(mode)
    generator = np.random.default_rng(0)
    ends = 0
    for step in range(300):
        actions = generator.integers(0, batch.single_action_space.n, NUM_ENVS)
        ours, theirs = batch.step(actions), singles.step(actions)
        same(ours, theirs)
        assert batch.observation_space.contains(ours[0])
        over = ours[2] | ours[3]
        ends += over.sum()
        # From time to time some begin anew, so that the copies do not stay in step.
        mask = over if mode == "Disabled" else generator.random(NUM_ENVS) < 0.3
        if mask.any() and (mode == "Disabled" or step % 7 == 0):
            seeds = [None, *range(step, step + NUM_ENVS - 1)]
            same(
                batch.reset(seed=seeds, options={"reset_mask": mask.copy()}),
                singles.reset(seed=seeds, options={"reset_mask": mask.copy()}),
            )
    assert ends > 20


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_many_environments_stay_exact_to_the_last_bit(mode):
    # Past the widths at which numpy changes to vector instructions.
    batch, singles = pair("CartPoleSwingup", dict(init_range=2.0), mode, num_envs=37)
    same(batch.reset(seed=0), singles.reset(seed=0))
    generator = np.random.default_rng(0)
    for _ in range(150):
        actions = generator.integers(0, 3, 37)
        same(batch.step(actions), singles.step(actions))


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=ids)
def test_what_was_returned_is_never_written_to_again(name, settings):
    batch = gymnasium.make_vec(f"hunch/{name}-v0", NUM_ENVS, **settings)
    kept = [batch.reset(seed=0)]
    copies = []
    for _ in range(20):
        copies.append(np.copy(kept[-1][0]))
        kept.append(batch.step(np.zeros(NUM_ENVS, dtype=int)))
        masks = [mask for key, mask in kept[-1][4].items() if key.startswith("_")]
        assert all(mask.all() for mask in masks)
        for values in (*kept[-1][1:4], *masks):  # a caller may write to them
            values[:] = False
    for (seen, *_), copy in zip(kept, copies, strict=False):
        np.testing.assert_array_equal(seen, copy)


@pytest.mark.parametrize("stochastic", [False, True])
def test_an_episode_is_repeated_from_its_seed_and_its_actions(stochastic):
    # What an exact resume needs: no state has to be saved, only the seed and the actions.
    make = lambda: gymnasium.make_vec("hunch/DeepSea-v0", 3, size=8, stochastic=stochastic)  # noqa: E731
    first, second = make(), make()
    actions = np.random.default_rng(0).integers(0, 2, (6, 3))
    first.reset(seed=0)
    for row in range(20):
        first.step(actions[row % 6])
    same(first.reset(seed=[5, 6, 7]), second.reset(seed=[5, 6, 7]))
    for row in actions:
        same(first.step(row), second.step(row))


def test_copies_without_a_seed_differ():
    observations, _ = gymnasium.make_vec("hunch/CartPoleSwingup-v0", 4).reset()
    assert len(np.unique(observations[:, 0])) == 4


def test_gymnasium_statistics_count_the_episodes():
    from gymnasium.wrappers.vector import RecordEpisodeStatistics

    envs = gymnasium.make_vec("hunch/DeepSea-v0", 3, size=5, mapping_seed=None)
    envs = RecordEpisodeStatistics(envs)
    envs.reset(seed=0)
    for _ in range(5):
        *_, infos = envs.step(np.array([1, 1, 0]))
    np.testing.assert_allclose(infos["episode"]["r"], [0.99, 0.99, 0.0], atol=1e-6)
    np.testing.assert_array_equal(infos["episode"]["l"], [5, 5, 5])


WRONG = [
    (dict(num_envs=0), "`num_envs` got 0"),
    (dict(autoreset_mode="never"), "`autoreset_mode` got 'never'; expected one of 'NextStep'"),
    (dict(render_mode="human"), "`render_mode` got 'human'"),
    (dict(size=1), "`size` got 1"),
    (dict(stochastic="yes"), "`stochastic` got 'yes'"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        hunch.envs.deep_sea_batch(**wrong)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1], r"`actions` got shape \(2,\)"),
        ([0.0, 1.0, 0.0], "of float64; expected 3 integers"),
        ([0, 2, 0], "`actions` got 2 for environment 1; expected integers from 0 to 1"),
        ([0, 0, -1], "`actions` got -1 for environment 2"),
    ],
)
def test_wrong_actions_are_refused(actions, message):
    envs = gymnasium.make_vec("hunch/DeepSea-v0", 3)
    envs.reset()
    with pytest.raises(ConfigurationError, match=message):
        envs.step(actions)


def test_wrong_order_and_wrong_resets_are_refused():
    envs = gymnasium.make_vec("hunch/DeepSea-v0", 2, size=2, autoreset_mode="Disabled")
    with pytest.raises(ConfigurationError, match=r"call reset\(\) before step"):
        envs.step([0, 0])
    with pytest.raises(ConfigurationError, match="before the first reset"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset()
    with pytest.raises(ConfigurationError, match="got 3 seeds; expected 2"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(ConfigurationError, match=r"got \['speed'\]; expected only 'reset_mask'"):
        envs.reset(options={"speed": 2})
    with pytest.raises(ConfigurationError, match="`reset_mask` got shape"):
        envs.reset(options={"reset_mask": np.array([False, False])})
    envs.step([0, 0])
    envs.step([0, 0])
    with pytest.raises(ConfigurationError, match="The episode is over"):
        envs.step([0, 0])
    with pytest.raises(ConfigurationError, match="render_mode='rgb_array'"):
        envs.render()


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=ids)
def test_images_of_a_batch_are_those_of_single_environments(name, settings):
    make = lambda **k: gymnasium.make_vec(  # noqa: E731
        f"hunch/{name}-v0", 2, render_mode="rgb_array", **settings, **k
    )
    batch, singles = make(), make(vectorization_mode="sync")
    batch.reset(seed=0)
    singles.reset(seed=0)
    for _ in range(3):
        batch.step(np.array([1, 0]))
        singles.step(np.array([1, 0]))
    for ours, theirs in zip(batch.render(), singles.render(), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
