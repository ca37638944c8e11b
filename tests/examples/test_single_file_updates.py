"""The library's agents against the single files, update by update: same weights, same batches.

The single files are plain torch: autograd where the library differentiates by hand, its optimisers
where the library has one of its own, and nothing that is stacked. A difference of rounding grows
from update to update, so the bounds are of float32, not of the equations; a wrong term of an
equation is above them within a few updates (see `test_a_wrong_target_is_seen`).
"""

import gymnasium
import numpy as np
import pytest
import torch
from single_files import (
    EveryUpdate,
    RecordedReplay,
    Recorder,
    as_tensors,
    copy_weights,
    largest_difference,
    load,
)
from torch.optim import Adam

from hunch.nn import NoisyLinear
from hunch.rl import A2C, DQN, BootstrappedDQN, Reinforce

BOUND = 1e-5


def short(limit):
    """CartPole with a time limit that some episodes meet before the pole falls."""
    return {"max_episode_steps": limit}


class Twin:
    """A single file's networks, moved beside the library's agent by the batches that it draws."""

    def __init__(self, module, networks, args, replay):
        self.module, self.args, self.replay = module, args, replay
        (self.online, self.target), self.optimizer = networks, None
        self.differences, self.updates, self.terminated = [], 0, 0

    def begin(self, agent, weights=lambda network: network, trained=lambda network: network):
        self.weights = weights
        copy_weights(self.online, weights(agent.network))
        copy_weights(self.target, weights(agent.target_network))
        self.optimizer = Adam(trained(self.online).parameters(), self.args.learning_rate)

    def follow(self, agent, update=None):
        """Make the update that the agent has just made, and compare."""
        batch = self.replay.batches[-1]
        self.terminated += int((batch.discount == 0).sum())
        (update or self.update)(batch)
        self.updates += 1
        if self.updates % self.args.target_update_period == 0:
            self.target.load_state_dict(self.online.state_dict())
        assert self.updates == agent.updates
        self.differences += [
            largest_difference(self.online, self.weights(agent.network)),
            largest_difference(self.target, self.weights(agent.target_network)),
        ]

    def update(self, batch):
        observation, action, reward, following, discount = as_tensors(*batch[:5])
        terminated = (discount == 0).float()
        own = self.module.Batch(observation, action, reward, following, terminated)
        loss = self.module.update(self.online, self.target, self.optimizer, own, self.args)
        self.loss = loss


def dqn_twin(monkeypatch, **settings):
    module = load("dqn")
    args = module.parse_args(["--hidden-size", "32"])
    args.target_update_period = 60
    networks = [module.make_network(4, 2, 32) for _ in range(2)]
    twin = Twin(module, networks, args, RecordedReplay(monkeypatch))
    agent = DQN(
        "CartPole-v1",
        env_kwargs=short(25),
        hidden_sizes=(32, 32),
        layer_norm=True,
        discount=args.discount,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        target_update_period=args.target_update_period,
        epsilon=0.3,
        seed=3,
        **settings,
    )
    twin.begin(agent)
    return agent, twin


def test_dqn_and_its_single_file_agree_over_500_updates(monkeypatch):
    agent, twin = dqn_twin(monkeypatch)
    agent.learn(563, callbacks=[EveryUpdate(twin.follow)], progress=False)
    assert twin.updates == 500
    assert twin.terminated > 100  # the end of an episode was in the batches
    assert max(twin.differences) < BOUND
    assert twin.loss == pytest.approx(agent.losses[-1], abs=BOUND)
