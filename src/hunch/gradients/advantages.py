"""Advantages of samples that share an input: by how much each reward beats the others'.

For code that holds rewards and log-probabilities already, as the fine-tuning of language models
does: `surrogate(log_prob, -advantages)`. Rewards are maximized, so an advantage is minus a cost
less its baseline.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.gradients.baselines.from_samples import leave_one_out
from hunch.gradients.checks.costs import wide
from hunch.gradients.checks.masks import scored_cost


def rloo_advantages(reward: Tensor, dim: int = 0, mask: Tensor | None = None) -> Tensor:
    """Reward less the mean reward of the other samples: unbiased.

    Args:
        reward: rewards, with samples of the same input along `dim`; at least two.
        dim: the sample axis.
        mask: booleans like `reward`, true where a sample was scored; an unscored one, and one that
            was scored alone, gets the advantage zero.

    Returns:
        The advantages, in the units and the shape of `reward`.

    Raises:
        ConfigurationError: if there are fewer than two samples.
        ShapeError: if `reward` has no dimension `dim`, or `mask` another shape.

    Example:
        >>> rloo_advantages(torch.tensor([1.0, 3.0, 8.0]))
        tensor([-4.5000, -1.5000,  6.0000])

    Reference:
        Ahmadian et al. (2024), "Back to Basics: Revisiting REINFORCE-Style Optimization for
        Learning from Human Feedback in LLMs", equation 8.
    """
    others = leave_one_out(reward, dim, mask)
    if mask is None:
        return reward - others
    return scored_cost(reward, mask) - torch.where(mask, others, 0.0)


def grpo_advantages(
    reward: Tensor, dim: int = 0, mask: Tensor | None = None, epsilon: float = 1e-4
) -> Tensor:
    """Reward less the group's mean, over the group's standard deviation: **biased**.

    The mean includes the sample itself, which shrinks the gradient by `1 - 1/n`; the division
    weighs inputs by how much their rewards happen to differ, so easy and hard ones count more than
    they should, and where all rewards are nearly equal it magnifies noise. For a squared error of
    unit distance and spread the expected gradient is 0.34, 0.58 and 0.71 with 2, 4 and 8 samples,
    where the truth is 2. Here for comparison; `rloo_advantages` has none of this.

    Args:
        reward: rewards, with samples of the same input along `dim`; at least two.
        dim: the sample axis.
        mask: as in `rloo_advantages`.
        epsilon: added to the standard deviation, in the units of the reward.

    Returns:
        The advantages, without a unit, in the shape of `reward`.

    Raises:
        ConfigurationError: if there are fewer than two samples, or `epsilon` is negative.
        ShapeError: if `reward` has no dimension `dim`, or `mask` another shape.

    Example:
        >>> grpo_advantages(torch.tensor([1.0, 3.0, 8.0])).round(decimals=2)
        tensor([-0.8300, -0.2800,  1.1100])

    Reference:
        Shao et al. (2024), "DeepSeekMath", section 4.1, for the advantages; Liu et al. (2025),
        "Understanding R1-Zero-Like Training", section 3.1, for the bias.
    """
    if not epsilon >= 0:
        raise ConfigurationError(f"`epsilon` got {epsilon!r}; expected a number of at least 0.")
    advantages = rloo_advantages(wide(reward), dim, mask)
    scored = torch.ones_like(reward, dtype=torch.bool) if mask is None else mask
    count = scored.sum(dim, keepdim=True)
    # The mean of the others is further from a sample than the mean of all, by n / (n - 1).
    centered = advantages * (count - 1).clamp_min(0) / count.clamp_min(1)
    variance = centered.square().sum(dim, keepdim=True) / (count - 1).clamp_min(1)
    standardized = centered / (variance.sqrt() + epsilon)
    return standardized.to(reward.dtype) if reward.is_floating_point() else standardized
