"""An agent does not end on weights that its last update has made NaN or infinite."""

import pytest

from hunch.errors import DataError
from hunch.rl import A2C, DQN, BootstrappedDQN, Reinforce

SMALL = dict(hidden_sizes=(8,))
REPLAY = dict(SMALL, batch_size=8, min_replay_size=8)
AGENTS = {
    "dqn": (lambda lr: DQN("CartPole-v1", learning_rate=lr, **REPLAY), 9),
    "boot": (lambda lr: BootstrappedDQN("CartPole-v1", num_members=2, learning_rate=lr, **REPLAY), 9),
    "a2c": (lambda lr: A2C("CartPole-v1", num_envs=1, rollout_length=5, learning_rate=lr, **SMALL), 5),
    "reinforce": (lambda lr: Reinforce("CartPole-v1", learning_rate=lr, **SMALL), None),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", AGENTS)
def test_the_last_update_counts_too(name):
    make, steps = AGENTS[name]
    agent = make(1e300)

    def learn():
        for until in [steps] if steps else range(1, 200):
            agent.learn(until, progress=False)

    with pytest.raises(DataError, match="diverged"):
        learn()
    assert agent.updates >= 1
