"""What a value network's outputs mean: action values, with dueling streams or a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hunch.rl.returns import (
    bootstrapped_target,
    categorical_loss,
    chosen,
    chosen_distribution,
    project,
    quantile_loss,
)

Distribution = Literal["categorical", "quantile"]


@dataclass(frozen=True)
class Readout:
    """How raw outputs `(…, outputs)` become action values.

    Args:
        actions: number of actions.
        dueling: the first of `1 + actions` groups of outputs is the value of the observation, the
            others are the advantages of the actions: Q = V + A − mean A.
        distribution: None for one output a group; `"categorical"` for the logits of `atoms` fixed
            returns, `"quantile"` for `atoms` quantiles of the return.
        atoms: outputs a group, if there is a distribution.
        low: smallest of the fixed returns.
        high: largest of them.

    Example:
        >>> readout = Readout(actions=2, dueling=True)
        >>> readout.outputs, readout.values(readout.split(torch.tensor([[1.0, 2.0, 4.0]])))
        (3, tensor([[0., 2.]]))

    Reference:
        Wang et al. (2016), "Dueling network architectures for deep reinforcement learning", eq. 9.
    """

    actions: int
    dueling: bool = False
    distribution: Distribution | None = None
    atoms: int = 1
    low: float = -10.0
    high: float = 10.0

    @property
    def outputs(self) -> int:
        """Number of outputs that a network must have."""
        return (self.actions + self.dueling) * self.atoms

    def split(self, raw: Tensor) -> Tensor:
        """What each action is predicted to bring: `(…, actions)`, or `(…, actions, atoms)`."""
        if self.distribution is None:
            if not self.dueling:
                return raw
            value, advantage = raw[..., :1], raw[..., 1:]
            q: Tensor = value + advantage - advantage.mean(-1, keepdim=True)
            return q
        grouped: Tensor = raw.unflatten(-1, (-1, self.atoms))
        if not self.dueling:
            return grouped
        value, advantage = grouped[..., :1, :], grouped[..., 1:, :]
        return value + advantage - advantage.mean(-2, keepdim=True)

    def values(self, predicted: Tensor) -> Tensor:
        """Expected returns `(…, actions)` of what `split` returned."""
        if self.distribution is None:
            return predicted
        if self.distribution == "quantile":
            mean: Tensor = predicted.mean(-1)
            return mean
        probabilities = F.softmax(predicted, -1)
        expected: Tensor = probabilities @ self._support(predicted)
        return expected

    def target(
        self, reward: Tensor, discount: Tensor, predicted: Tensor, selecting: Tensor
    ) -> Tensor:
        """What a prediction is trained towards.

        Args:
            reward: shape `(…, batch)`.
            discount: shape `(…, batch)`.
            predicted: the target network's `split` outputs for the next observations.
            selecting: action values `(…, batch, actions)` that choose the next action.
        """
        action = selecting.argmax(-1)
        if self.distribution is None:
            return bootstrapped_target(reward, discount, chosen(predicted, action))
        following = chosen_distribution(predicted, action)
        if self.distribution == "quantile":
            return bootstrapped_target(reward.unsqueeze(-1), discount.unsqueeze(-1), following)
        return project(reward, discount, F.softmax(following, -1), self._support(following))

    def loss(self, predicted: Tensor, action: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and size of the error of each transition, both `(…, batch)`."""
        if self.distribution is None:
            q = chosen(predicted, action)
            loss = F.smooth_l1_loss(q, target, reduction="none")
            return loss, (q.detach() - target).abs()
        distribution = chosen_distribution(predicted, action)
        measure = categorical_loss if self.distribution == "categorical" else quantile_loss
        loss = measure(distribution, target)
        return loss, loss.detach().clamp(min=0.0)

    def _support(self, like: Tensor) -> Tensor:
        return torch.linspace(self.low, self.high, self.atoms, device=like.device, dtype=like.dtype)
