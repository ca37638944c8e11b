"""Bandits whose rewards a neural network decides, and agents that play many of them at once.

All networks, of many seeds and members, stand on one leading axis n and are trained by one batched
product; see `hunch.experiments.exploration.neural_bandit` for the problem and the agents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from hunch.seeding import numpy_generator

Array = npt.NDArray[np.float64]

SLOPE: Final = 0.01  # of the agents' leaky ReLU
START: Final = 0.01  # standard deviation of the initial weights of agents without a prior draw
BLOCK: Final = 50  # steps whose chance is drawn at once


@dataclass(frozen=True)
class BanditProblem:
    """The bandits, and how agents train on them."""

    num_steps: int = 1000  # actions taken
    num_actions: int = 100  # actions to choose from
    num_inputs: int = 100  # features of an action
    hidden_size: int = 50  # hidden units of the truth and of the agents' networks
    prior_variance: float = 1.0  # λ, of the true weights
    noise_variance: float = 100.0  # σ², of rewards
    batch_size: int = 64  # past rewards in a gradient step
    learning_rate: float = 0.1  # of SGD


@dataclass(frozen=True)
class Agent:
    """How one agent explores."""

    name: str  # for tables
    family: str  # one of `FAMILIES`
    epsilon: float = 0.0  # probability of a random action
    anneal: float = 0.0  # c of ε = c / (c + t), which then replaces `epsilon`; 0 for none
    dropout: float = 0.0  # probability that a hidden unit is dropped
    num_members: int = 0  # K; 0 for a single network without prior and without noise on rewards
    # Whether members have priors; without them they start and are pulled as others do.
    prior: bool = True


@dataclass(frozen=True)
class Bandit:
    """One bandit."""

    actions: npt.NDArray[np.float32]  # features, `(actions, inputs)`
    means: Array  # expected rewards, `(actions,)`
    noise: Array  # of the reward at each step, whatever the action, `(steps,)`


def make_bandit(problem: BanditProblem, seed: int, number: int) -> Bandit:
    """Draw a bandit.

    Example:
        >>> bandit = make_bandit(BanditProblem(), seed=0, number=0)
        >>> bandit.actions.shape, bool((bandit.actions[:, -1] == 1).all())
        ((100, 100), True)
    """
    draw = numpy_generator(seed, "bandit", number)
    inputs, hidden = problem.num_inputs, problem.hidden_size
    first, last = draw.standard_normal((inputs, hidden)), draw.standard_normal(hidden)
    actions = draw.uniform(-1, 1, (problem.num_actions, inputs))
    actions[:, -1] = 1.0
    scale = np.sqrt(problem.prior_variance)
    means = np.maximum(actions @ (scale * first), 0) @ (scale * last)
    noise = np.sqrt(problem.noise_variance) * draw.standard_normal(problem.num_steps)
    return Bandit(actions.astype(np.float32), means, noise)


@dataclass
class Networks:
    """Networks of one hidden layer, n of them on the leading axis."""

    first: Tensor  # weights of the hidden layer, `(n, inputs, hidden)`
    last: Tensor  # weights of the output, `(n, 1, hidden)`
    first_prior: Tensor | None = None  # what they are pulled to, zero if None
    last_prior: Tensor | None = None  # likewise

    def __call__(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Outputs `(n, rows)` of inputs `(n, rows, inputs)`.

        Args:
            x: the inputs.
            keep: 1 for hidden units that stay and 0 for those dropped, `(n, rows, hidden)`.

        Example:
            >>> nets = Networks(torch.ones(2, 3, 4), torch.ones(2, 1, 4))
            >>> nets(torch.ones(2, 5, 3))[0]
            tensor([12., 12., 12., 12., 12.])
        """
        units = leaky_relu(torch.bmm(x, self.first), SLOPE)
        if keep is not None:
            units = units * keep
        # On a core this is three times as fast as a batched product with vectors.
        return (units * self.last).sum(2)

    def descend(
        self, x: Tensor, y: Tensor, keep: Tensor | None, problem: BanditProblem, time: int
    ) -> None:
        """One step of SGD on the mean of (y − f(x))² / σ² + |θ − θ₀|² / (λ t).

        Args:
            x: inputs, `(n, rows, inputs)`.
            y: targets, `(n, rows)`.
            keep: as for calling.
            problem: variances and learning rate.
            time: t, rewards so far.
        """
        rate, weights = problem.learning_rate, (self.first, self.last)
        with torch.enable_grad():
            for weight in weights:
                weight.requires_grad_()
            loss = (self(x, keep) - y).square().sum() / (problem.noise_variance * y.shape[1])
            gradients = torch.autograd.grad(loss, weights)
        pull = 2 * rate / (problem.prior_variance * time)
        priors = (self.first_prior, self.last_prior)
        for weight, prior, gradient in zip(weights, priors, gradients, strict=True):
            weight.requires_grad_(False)
            if prior is None:
                weight.mul_(1 - pull)
            else:
                weight.lerp_(prior, pull)
            weight.sub_(gradient, alpha=rate)


def make_networks(
    agent: Agent, draws: Sequence[np.random.Generator], problem: BanditProblem
) -> Networks:
    """Untrained networks, each seed's from its own stream.

    Example:
        >>> make_networks(Agent("e", "ensemble", num_members=3), [np.random.default_rng(0)],
        ...     BanditProblem()).first.shape
        torch.Size([3, 100, 50])
    """
    inputs, hidden = problem.num_inputs, problem.hidden_size
    size = (max(agent.num_members, 1), (inputs + 1) * hidden)
    weights = torch.from_numpy(
        np.concatenate([draw.standard_normal(size, dtype=np.float32) for draw in draws])
    )
    prior = agent.num_members > 0 and agent.prior
    weights *= problem.prior_variance**0.5 if prior else START
    first = weights[:, : inputs * hidden].reshape(-1, inputs, hidden).contiguous()
    last = weights[:, inputs * hidden :].reshape(-1, 1, hidden).contiguous()
    if prior:
        return Networks(first, last, first.clone(), last.clone())
    return Networks(first, last)


class _Past:
    """Actions and rewards so far, each network's own."""

    def __init__(self, bandits: Sequence[Bandit], num_members: int, problem: BanditProblem) -> None:
        self._num_members = num_members
        actions = torch.from_numpy(np.stack([bandit.actions for bandit in bandits]))
        self.table = actions.reshape(-1, problem.num_inputs)
        networks = len(bandits) * num_members
        # Of each network, where its bandit's actions begin in the table of all bandits' actions.
        starts = torch.arange(len(bandits)) * problem.num_actions
        self._start = starts.repeat_interleave(num_members)
        self._rows = torch.zeros(networks, problem.num_steps, dtype=torch.int64)
        self._targets = torch.zeros(networks, problem.num_steps)
        self._length = 0

    def add(self, arm: Tensor, reward: Tensor, target_noise: Tensor | None) -> None:
        """Remember an action and its reward for each bandit, `(s,)`."""
        targets = reward.repeat_interleave(self._num_members)
        self._rows[:, self._length] = self._start + arm.repeat_interleave(self._num_members)
        self._targets[:, self._length] = targets if target_noise is None else targets + target_noise
        self._length += 1

    def sample(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets at these shares of the past, `(n, rows)` in [0, 1)."""
        index = (shares * self._length).long().clamp_(max=self._length - 1)
        rows = self._rows.gather(1, index)
        x = self.table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, -1)
        return x, self._targets.gather(1, index)


@torch.no_grad()
def play(
    agent: Agent,
    bandits: Sequence[Bandit],
    numbers: Sequence[int],
    problem: BanditProblem,
    seed: int,
) -> Array:
    """Let one agent play some bandits, all at once.

    Args:
        agent: who plays.
        bandits: what is played.
        numbers: of the bandits, which name their random streams.
        problem: of the bandits and of training.
        seed: decides the chance.

    Returns:
        Regret of each step, `(bandits, steps)`.

    Example:
        >>> small = BanditProblem(num_steps=3)
        >>> play(Agent("random", "fixed ε", epsilon=1.0), [make_bandit(small, 0, 0)], [0], small,
        ...     seed=0).shape
        (1, 3)
    """
    draws = [numpy_generator(seed, agent.name, number) for number in numbers]
    networks, members = make_networks(agent, draws, problem), max(agent.num_members, 1)
    past, seeds = _Past(bandits, members, problem), np.arange(len(bandits))
    actions = past.table.reshape(len(bandits), problem.num_actions, -1)
    means = np.stack([bandit.means for bandit in bandits])
    noise = np.stack([bandit.noise for bandit in bandits])
    regret = np.zeros((len(bandits), problem.num_steps))
    for t, chance in enumerate(_chances(agent, draws, problem)):
        acting = torch.from_numpy(seeds * members + chance.member)
        chosen = Networks(networks.first[acting], networks.last[acting])
        arm = chosen(actions, chance.keep_choice).argmax(1).numpy()
        epsilon = agent.anneal / (agent.anneal + t) if agent.anneal else agent.epsilon
        arm = np.where(chance.explore < epsilon, chance.arm, arm)
        regret[:, t] = means.max(axis=1) - means[seeds, arm]
        reward = (means[seeds, arm] + noise[:, t]).astype(np.float32)
        past.add(torch.from_numpy(arm), torch.from_numpy(reward), chance.target_noise)
        x, y = past.sample(chance.batch)
        networks.descend(x, y, chance.keep_batch, problem, t + 1)
    return regret


@dataclass(frozen=True)
class _Chance:
    """What one step leaves to chance, for s seeds and n = s · K networks."""

    explore: Array  # (s,), below ε for a random action
    arm: npt.NDArray[np.int64]  # (s,), that action
    member: npt.NDArray[np.int64]  # (s,), who decides
    target_noise: Tensor | None  # (n,)
    batch: Tensor  # (n, rows) in [0, 1), shares of the past
    keep_choice: Tensor | None  # (s, actions, hidden)
    keep_batch: Tensor | None  # (n, rows, hidden)


def _chances(
    agent: Agent, draws: Sequence[np.random.Generator], problem: BanditProblem
) -> Iterator[_Chance]:
    """The chance of each step, drawn for many steps at once: many small draws would be slow."""
    members, rows = max(agent.num_members, 1), problem.batch_size
    for start in range(0, problem.num_steps, BLOCK):
        steps = min(BLOCK, problem.num_steps - start)
        explore = np.stack([g.random(steps) for g in draws], axis=1)
        arm = np.stack([g.integers(problem.num_actions, size=steps) for g in draws], axis=1)
        member = np.stack([g.integers(members, size=steps) for g in draws], axis=1)
        batch = _stacked([g.random((steps, members, rows), np.float32) for g in draws])
        noise = _stacked([g.standard_normal((steps, members), np.float32) for g in draws])
        noise *= problem.noise_variance**0.5
        for t in range(steps):
            yield _Chance(
                explore[t],
                arm[t],
                member[t],
                noise[t] if agent.num_members else None,
                batch[t],
                _keep(agent.dropout, draws, problem.num_actions, problem),
                _keep(agent.dropout, draws, rows, problem),
            )


def _stacked(parts: Sequence[npt.NDArray[np.float32]]) -> Tensor:
    """Draws (steps, members, …) of each seed as (steps, seeds · members, …)."""
    return torch.from_numpy(np.concatenate(parts, axis=1))


def _keep(
    dropout: float, draws: Sequence[np.random.Generator], rows: int, problem: BanditProblem
) -> Tensor | None:
    """Which hidden units stay, drawn for each input row of each seed."""
    if not dropout:
        return None
    size = (rows, problem.hidden_size)
    return torch.from_numpy(
        np.stack([(g.random(size, np.float32) >= dropout).astype(np.float32) for g in draws])
    )
