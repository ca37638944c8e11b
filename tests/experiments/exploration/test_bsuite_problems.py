"""Every id of the sweep is an environment that reports what its score needs."""

import gymnasium
import pytest

import hunch.envs  # noqa: F401 registers the environments
from hunch.errors import ConfigurationError
from hunch.experiments.exploration.bsuite_problems import PROBLEMS, problem


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_id_is_played_and_reports_what_the_score_needs(name):
    ours = problem(name)
    for settings in ours.settings:
        env = gymnasium.make(ours.environment, **settings)
        env.reset(seed=0)
        *_, info = env.step(0)
        assert set(ours.infos) <= set(info)
    assert ours.num_ids in (20, 21)


def test_settings_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        problem("deep_sea").settings[0]["size"] = 3
    with pytest.raises(TypeError):
        PROBLEMS["deep_sea"] = None


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(ConfigurationError, match=r"`name` got 'deep-sea'.*deep_sea"):
        problem("deep-sea")
    with pytest.raises(ConfigurationError, match=r"`name` got 'mnist'.*such as deep_sea"):
        problem("mnist")
