"""What a value network's outputs mean: action values, with dueling streams or a distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hunch.errors import ConfigurationError
from hunch.rl.objectives.losses import categorical_loss, quantile_loss
from hunch.rl.objectives.value_targets import (
    bootstrapped_target,
    chosen_distribution,
    clipped_mass,
    double_value,
    project,
)
from hunch.validation import real_number, whole_number

Distribution = Literal["categorical", "quantile"]
_MOST_ATOMS: Final = 100_000


@dataclass(frozen=True)
class ValueHead:
    """How outputs `(…, outputs)` become action values.

    Args:
        actions: number of actions.
        dueling: the first of `1 + actions` groups of outputs is the value of the observation, the
            others are the advantages of the actions: Q = V + A − mean A.
        distribution: None for one output a group; `"categorical"` for the logits of `atoms` fixed
            returns, `"quantile"` for `atoms` quantiles of the return.
        atoms: outputs a group, if there is a distribution.
        low: smallest of the fixed returns, for all replicas or one for each.
        high: largest of them.

    Example:
        >>> value_head = ValueHead(actions=2, dueling=True)
        >>> value_head.outputs, value_head.values(value_head.split(torch.tensor([[1.0, 2.0, 4.0]])))
        (3, tensor([[0., 2.]]))

    Reference:
        Wang et al. (2016), "Dueling network architectures for deep reinforcement learning", eq. 9.
    """

    actions: int
    dueling: bool = False
    distribution: Distribution | None = None
    atoms: int = 1
    low: float | tuple[float, ...] = -10.0
    high: float | tuple[float, ...] = 10.0

    @property
    def outputs(self) -> int:
        """Number of outputs that a network must have."""
        return (self.actions + self.dueling) * self.atoms

    def of(self, replica: int) -> ValueHead:
        """The value head of one replica."""
        if not isinstance(self.low, tuple) or not isinstance(self.high, tuple):
            return self
        return replace(self, low=self.low[replica], high=self.high[replica])

    def split(self, output: Tensor) -> Tensor:
        """What each action is predicted to bring: `(…, actions)`, or `(…, actions, atoms)`."""
        if self.distribution is None:
            if not self.dueling:
                return output
            value, advantage = output[..., :1], output[..., 1:]
            q: Tensor = value + advantage - advantage.mean(-1, keepdim=True)
            return q
        grouped: Tensor = output.unflatten(-1, (-1, self.atoms))
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
        support = self._support(predicted)
        expected: Tensor = (
            probabilities @ support if support.dim() == 1 else (probabilities * support).sum(-1)
        )
        return expected

    def target(
        self, reward: Tensor, discount: Tensor, predicted: Tensor, selecting: Tensor
    ) -> Tensor:
        """What a prediction is trained towards.

        Args:
            reward: shape `(…, batch)`.
            discount: shape `(…, batch)`.
            predicted: the target network's `split` outputs for the next observations.
            selecting: the `split` outputs that choose the next action.
        """
        if self.distribution is None:
            if selecting is predicted:  # the best action's value is the highest
                return bootstrapped_target(reward, discount, predicted.amax(-1))
            return bootstrapped_target(reward, discount, double_value(predicted, selecting))
        action = self.values(selecting).argmax(-1)
        following = chosen_distribution(predicted, action)
        if self.distribution == "quantile":
            return bootstrapped_target(reward.unsqueeze(-1), discount.unsqueeze(-1), following)
        return project(reward, discount, F.softmax(following, -1), self._support(following))

    def beyond(
        self, reward: Tensor, discount: Tensor, predicted: Tensor, selecting: Tensor
    ) -> Tensor:
        """How much of the mass of `target`, of the same arguments, fell beyond the fixed returns.

        Returns:
            Mean shares below and above them, `(replicas, 2)`.
        """
        following = chosen_distribution(predicted, self.values(selecting).argmax(-1))
        probs = F.softmax(following, -1)
        return clipped_mass(reward, discount, probs, self._support(following)).mean(1)

    def loss(
        self, output: Tensor, action: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of a batch and its gradient.

        Args:
            output: the network's outputs `(replicas, batch, outputs)`.
            action: actions taken `(replicas, batch)`.
            target: what `target` returned.
            weight: of each transition `(replicas, batch)`; None for 1.

        Returns:
            The sum over replicas of the weighted mean over the batch; its gradient with respect to
            `output`; and the size of the error of each transition, `(replicas, batch)`.
        """
        if self.distribution is None:
            return self._huber(output, action, target, weight)
        with torch.enable_grad():
            output = output.detach().requires_grad_()
            distribution = chosen_distribution(self.split(output), action)
            measure = categorical_loss if self.distribution == "categorical" else quantile_loss
            each = measure(distribution, target)
            loss = (each if weight is None else each * weight).mean(-1).sum()
            (gradient,) = torch.autograd.grad(loss, output)
        return loss.detach(), gradient, each.detach().clamp(min=0.0)

    def _huber(
        self, output: Tensor, action: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Huber loss with threshold 1, differentiated by hand: it is in every update of DQN."""
        index = action.unsqueeze(-1)
        error = self.split(output).gather(-1, index).squeeze(-1).sub_(target)
        clamped = error.clamp(-1.0, 1.0)
        slope = (clamped if weight is None else clamped * weight) / error.shape[-1]
        # With |e| the error and c its clamped value the loss is c (e - c / 2).
        loss = torch.sub(error, clamped, alpha=0.5).mul_(slope).sum()
        gradient = torch.zeros_like(output)
        if not self.dueling:
            gradient.scatter_(-1, index, slope.unsqueeze(-1))
        else:
            # Q = V + A - mean A: every advantage is in the mean.
            gradient[..., 1:] = slope.unsqueeze(-1) / -self.actions
            gradient[..., 0] = slope
            gradient.scatter_add_(-1, index + 1, slope.unsqueeze(-1))
        return loss, gradient, error.abs_()

    def _support(self, like: Tensor) -> Tensor:
        """The fixed returns `(atoms,)`; `(replicas, 1, …, atoms)` if each replica has its own."""

        def spread(low: float, high: float) -> Tensor:
            return torch.linspace(low, high, self.atoms, device=like.device, dtype=like.dtype)

        if not isinstance(self.low, tuple) or not isinstance(self.high, tuple):
            return spread(self.low, self.high)  # type: ignore[arg-type]
        each = torch.stack(list(map(spread, self.low, self.high)))
        return each.view(len(self.low), *[1] * (like.dim() - 2), self.atoms)


def make_value_head(
    actions: int,
    dueling: bool,
    distributional: bool | str,
    *,
    atoms: int,
    value_range: tuple[float, float] | str,
) -> ValueHead:
    """The value head that an agent's arguments ask for.

    Args:
        actions: number of actions.
        dueling: as in `ValueHead`.
        distributional: False, True or "categorical", or "quantile".
        atoms: outputs an action if there is a distribution, at least 2.
        value_range: smallest and largest return of the categorical distribution; "auto" leaves
            those of `ValueHead` for the time being.

    Raises:
        ConfigurationError: if an argument cannot work.

    Example:
        >>> make_value_head(2, False, "quantile", atoms=32, value_range=(-1.0, 1.0)).outputs
        64
    """
    if not distributional:
        return ValueHead(actions, bool(dueling))
    kind: Distribution = "quantile" if distributional == "quantile" else "categorical"
    if distributional not in (True, "categorical", "quantile"):
        raise ConfigurationError(
            f"`distributional` got {distributional!r}; expected False, True, 'categorical' or "
            "'quantile'."
        )
    atoms = whole_number("atoms", atoms, at_least=2, at_most=_MOST_ATOMS)
    value_head = ValueHead(actions, bool(dueling), kind, atoms)
    if value_range == "auto":
        return value_head
    ends = tuple(value_range) if isinstance(value_range, list | tuple) else ()
    low, high = (real_number("value_range", end) for end in (ends if len(ends) == 2 else (0, 0)))
    if not low < high:
        raise ConfigurationError(
            f"`value_range` got {value_range!r}; expected (low, high) with low < high, or 'auto'."
        )
    return replace(value_head, low=low, high=high)
