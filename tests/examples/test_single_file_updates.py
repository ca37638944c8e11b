"""The library's agents against the single files, update by update: same weights, same batches.

The single files leave the work to plain torch; the library differentiates by hand, stacks its
networks and has an optimiser of its own. Both start from the same weights and are compared after
each update, so differences of rounding add up: the bounds are those of float32. That a wrong term
of an equation is far beyond them is seen on changed files.
"""

import itertools

import gymnasium
import numpy as np
import pytest
import torch
from single_files import (
    AfterUpdates,
    RecordedNoise,
    RecordedReplay,
    Recorder,
    copy_weights,
    largest_difference,
    load,
    of_replica,
    rows,
    tensors,
)
from torch.optim import Adam, SparseAdam

import hunch.envs  # noqa: F401 registers them
from hunch.rl import A2C, DQN, BootstrappedDQN, Reinforce

BOUND = 1e-5
SMALL = ["--hidden-size", "32", "--batch-size", "64", "--target-update-period", "40"]
SHORT = {"max_episode_steps": 20}  # so that time limits end some episodes, falls the others


class Twin:
    """A single file's networks beside an agent's, learning from the batches that the agent draws."""

    def __init__(self, networks, args, optimizer, weights=tensors):
        self.online, self.target = networks
        self.args, self.optimizer, self.weights = args, optimizer, weights
        self.updates, self.differences = 0, []

    def begin(self, agent):
        copy_weights(self.online, self.weights(agent.network))
        copy_weights(self.target, self.weights(agent.target_network))

    def compare(self, agent):
        """After an update of both: copy the target if it is time to, and look at the weights."""
        self.updates += 1
        if self.updates % self.args.target_update_period == 0:
            self.target.load_state_dict(self.online.state_dict())
        assert self.updates == agent.updates
        self.differences += [
            largest_difference(self.online, self.weights(agent.network)),
            largest_difference(self.target, self.weights(agent.target_network)),
        ]


def dqn(module, monkeypatch, updates, replica=None):
    """The largest difference from the library's DQN, and from its last loss."""
    args = module.parse_args(SMALL)
    networks = [module.make_network(4, 2, args.hidden_size) for _ in range(2)]
    twin = Twin(networks, args, Adam(networks[0].parameters(), args.learning_rate))
    if replica is not None:
        twin.weights = lambda network: of_replica(network, replica)
    agent = DQN(
        "CartPole-v1",
        env_kwargs=SHORT,
        layer_norm=True,
        hidden_sizes=(32, 32),
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        target_update_period=40,
        target_update_rate=1.0,
        epsilon=0.3,
        replicas=1 if replica is None else 2,
        seed=3,
        update_period=1,
        n_step=1,
    )
    twin.begin(agent)
    replay, ends = RecordedReplay(monkeypatch), []

    def follow(agent):
        batch = [rows(array, replica or 0) for array in replay.batches[-1][:5]]
        ends.append(batch[4] == 0)
        batch[4] = ends[-1].float()  # 1 where the library's discount is 0
        loss = module.update(*networks, twin.optimizer, module.Batch(*batch), args)
        if replica is None:
            twin.differences.append(abs(loss - agent.losses[-1]))
        twin.compare(agent)

    agent.learn(args.batch_size + updates - 1, callbacks=[AfterUpdates(follow)], progress=False)
    assert twin.updates == updates
    assert 0.01 < torch.stack(ends).float().mean() < 0.2  # ends of both kinds were learned from
    return max(twin.differences)


def rainbow(module, monkeypatch, updates):
    """The largest difference from the library's DQN with its switches on, and from its errors."""
    noise = RecordedNoise(monkeypatch)
    args = module.parse_args(SMALL)
    networks = [module.Network(4, 2, args) for _ in range(2)]
    twin = Twin(networks, args, Adam(networks[0].parameters(), args.learning_rate))
    agent = DQN(
        "CartPole-v1",
        env_kwargs=SHORT,
        noisy=True,
        double=True,
        dueling=True,
        prioritized=True,
        n_step=args.n_step,
        distributional=True,
        value_range=(args.lowest_return, args.highest_return),
        atoms=args.atoms,
        hidden_sizes=(32, 32),
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        target_update_period=40,
        target_update_rate=1.0,
        seed=3,
        update_period=1,
    )
    twin.begin(agent)
    replay = RecordedReplay(monkeypatch)

    def follow(agent):
        drawn = replay.batches[-1]
        # The agent's forwards so far: one for each action, then the choice and the loss of updates.
        chosen = agent.steps + 2 * twin.updates
        forwards = [chosen, chosen + 1]
        noise.hand_over(agent.network, networks[0], forwards, module.NoisyLinear)
        noise.hand_over(agent.target_network, networks[1], [twin.updates], module.NoisyLinear)
        batch = module.Batch(*map(rows, drawn[:5]), rows(drawn.weight))
        error = module.update(*networks, twin.optimizer, batch, args)
        twin.differences.append((error - rows(replay.errors[-1])).abs().max().item())
        twin.compare(agent)

    agent.learn(args.batch_size + updates - 1, callbacks=[AfterUpdates(follow)], progress=False)
    assert twin.updates == updates
    return max(twin.differences)


def boot_dqn(module, monkeypatch, updates, env="CartPole-v1", **settings):
    """The largest difference from the library's BootstrappedDQN."""
    args = module.parse_args(["--num-members", "3", "--hidden-size", "16", "--batch-size", "32"])
    one_hot = env != "CartPole-v1"
    inputs = 16 if one_hot else 4
    networks = [module.Members(inputs, 2, args) for _ in range(2)]
    optimizer = (RowWiseAdam if one_hot else Adam)(
        networks[0].trained.parameters(), args.learning_rate
    )
    twin = Twin(networks, args, optimizer)
    agent = BootstrappedDQN(
        env,
        num_members=3,
        prior_scale=args.prior_scale,
        hidden_sizes=(16, 16),
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        n_step=1,
        update_period=1,
        target_update_period=args.target_update_period,
        target_update_rate=1.0,
        loss="squared",
        random_steps=0,
        seed=3,
        **settings,
    )
    twin.begin(agent)
    replay, members = RecordedReplay(monkeypatch), module.Members

    def observations(array):
        if not one_hot:
            return rows(array)
        # The replay keeps the place of the 1, and one place more stands for zeros.
        return torch.eye(inputs + 1)[rows(array).long()][:, :inputs]

    def follow(agent):
        drawn = replay.batches[-1]
        batch = module.Batch(
            observations(drawn.observation),
            rows(drawn.action),
            rows(drawn.reward),
            observations(drawn.next_observation),
            (rows(drawn.discount) == 0).float(),
        )
        optimizer.seen = batch.observation.any(0)
        loss = module.update(*networks, optimizer, batch, args)
        twin.differences.append(abs(loss - agent.losses[-1]))
        twin.compare(agent)

    agent.learn(args.batch_size + updates - 1, callbacks=[AfterUpdates(follow)], progress=False)
    assert twin.updates == updates
    assert isinstance(networks[0], members)
    return max(twin.differences)


class RowWiseAdam:
    """Adam that moves, of the first weights, only those of inputs that a batch has seen.

    That is what the library does where observations are one-hot; torch calls it SparseAdam.
    """

    def __init__(self, parameters, learning_rate):
        self.first, *others = parameters
        self.dense = Adam(others, learning_rate)
        self.table = torch.nn.Parameter(torch.empty(self.first.permute(2, 0, 1).shape))
        self.sparse = SparseAdam([self.table], learning_rate)

    def zero_grad(self):
        self.dense.zero_grad()
        self.first.grad = None

    @torch.no_grad()
    def step(self):
        self.dense.step()
        self.table.copy_(self.first.permute(2, 0, 1))
        seen = self.seen.nonzero().T
        gradient = self.first.grad.permute(2, 0, 1)
        self.table.grad = torch.sparse_coo_tensor(
            seen, gradient[seen[0]], gradient.shape, check_invariants=True
        )
        self.sparse.step()
        self.first.copy_(self.table.permute(1, 2, 0))


def a2c(module, monkeypatch, updates):
    """The largest difference from the library's A2C."""
    args = module.parse_args(["--hidden-size", "16", "--num-envs", "3", "--rollout-length", "5"])
    network = module.Network(4, 2, args.hidden_size)
    optimizer = Adam(network.parameters(), args.learning_rate)
    played = []

    def make():
        played.append([])
        return Recorder(gymnasium.make("CartPole-v1", **SHORT), played[-1])

    agent = A2C(
        make,
        num_envs=3,
        rollout_length=5,
        gae_lambda=args.gae_lambda,
        learning_rate=args.learning_rate,
        entropy_weight=args.entropy_weight,
        value_weight=args.value_weight,
        max_gradient_norm=args.max_gradient_norm,
        hidden_sizes=(16, 16),
        seed=3,
    )
    copy_weights(network, tensors(agent.network))
    differences = []

    def follow(agent):
        steps = [steps[-5:] for steps in played if steps]  # of each environment
        parts = [
            torch.from_numpy(np.array([[step[part] for step in env] for env in steps])).transpose(
                0, 1
            )
            for part in range(6)
        ]
        rollout = module.Rollout(parts[0], parts[1], *(part.float() for part in parts[2:]))
        module.update(network, optimizer, rollout, args)
        differences.append(largest_difference(network, tensors(agent.network)))

    agent.learn(15 * updates, callbacks=[AfterUpdates(follow)], progress=False)
    assert len(differences) == updates
    ends = np.array([step[4:] for steps in played for step in steps])
    assert (ends.sum(0) > 5).all()  # of both kinds
    return max(differences)


def reinforce(module, monkeypatch, updates):
    """The largest difference from the library's Reinforce."""
    args = module.parse_args(["--hidden-size", "16", "--episodes", "2"])
    network = module.Network(4, 2, args.hidden_size)
    optimizer = Adam(network.parameters(), args.learning_rate)
    played, differences = [], []
    agent = Reinforce(
        lambda: Recorder(gymnasium.make("CartPole-v1", **SHORT), played),
        episodes=2,
        learning_rate=args.learning_rate,
        value_weight=args.value_weight,
        hidden_sizes=(16, 16),
        seed=3,
    )
    copy_weights(network, tensors(agent.network))

    def follow(agent):
        ends = np.flatnonzero([step[4] or step[5] for step in played])[-3:] + 1
        first = [0, *ends] if len(ends) == 2 else ends
        episodes = []
        for start, stop in itertools.pairwise(first):
            columns = list(zip(*played[start:stop], strict=True))
            observation, action, reward = (torch.from_numpy(np.array(c)) for c in columns[:3])
            last = torch.from_numpy(columns[3][-1])
            episodes.append(
                module.Episode(observation, action, reward.float(), last, columns[4][-1])
            )
        module.update(network, optimizer, episodes, args)
        differences.append(largest_difference(network, tensors(agent.network)))

    agent.learn(20 * 2 * updates, callbacks=[AfterUpdates(follow)], progress=False)
    assert len(differences) >= updates
    ends = np.array([step[4:] for step in played])
    assert (ends.sum(0) > 5).all()
    return max(differences)


COMPARE = {"dqn": dqn, "rainbow": rainbow, "boot_dqn": boot_dqn, "a2c": a2c, "reinforce": reinforce}


def test_dqn_agrees_over_500_updates(monkeypatch):
    difference = dqn(load("dqn"), monkeypatch, 500)
    print(f"largest difference: {difference:.2g}")
    assert difference < BOUND


@pytest.mark.parametrize(
    ("name", "updates"), [("rainbow", 100), ("boot_dqn", 100), ("a2c", 100), ("reinforce", 40)]
)
def test_the_others_agree(name, updates, monkeypatch):
    difference = COMPARE[name](load(name), monkeypatch, updates)
    print(f"largest difference: {difference:.2g}")
    assert difference < BOUND


def test_a_replica_among_others_agrees(monkeypatch):
    assert dqn(load("dqn"), monkeypatch, 100, replica=1) < BOUND


def test_a_deep_sea_agrees_whose_first_layer_is_looked_up(monkeypatch):
    deep = dict(env="hunch/DeepSea-v0", env_kwargs=dict(size=4))
    assert boot_dqn(load("boot_dqn"), monkeypatch, 100, **deep) < BOUND


# What a file says, and what a mistake would make of it.
MISTAKES = {
    "dqn": ("args.discount * (1 - batch.terminated)", "args.discount"),
    "rainbow": ("batch.weight * error", "error"),
    "boot_dqn": ("args.discount * (1 - batch.terminated)", "args.discount"),
    "a2c": ("(1 - rollout.terminated) * (1 - rollout.truncated)", "1 - rollout.terminated"),
    "reinforce": ("0.0 if episode.terminated else ", ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_seen(name, monkeypatch):
    wrong = load(name, *MISTAKES[name])
    assert COMPARE[name](wrong, monkeypatch, 20) > 10 * BOUND
