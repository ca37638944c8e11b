"""The baseline that was given: which there are, and the numbers they come to.

Any number that does not depend on a sample may be subtracted from that sample's cost without
moving the expected gradient. A good one is close to the cost that was to be expected *for this
input*; one that is shared across inputs helps little.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients.baselines.from_samples import earlier_average, leave_group_out
from hunch.gradients.baselines.learned import EMA, Critic

Baseline = Literal["auto", "loo", "ema", "self-critical"] | EMA | Critic | Tensor | float | None

FROM_OTHERS: Final = ("auto", "loo", "ema")  # made from the other samples of the same call
LEARNED: Final = (EMA, Critic)
_GIVEN: Final = (*LEARNED, Tensor, int, float)


def is_named(baseline: object, *names: str) -> bool:
    """Whether a baseline is one of these names; a tensor is none.

    Example:
        >>> is_named("loo", "auto", "loo"), is_named(torch.ones(2), "loo")
        (True, False)
    """
    return isinstance(baseline, str) and baseline in names


def check_baseline(baseline: object, n: int) -> None:
    """Refuse a baseline that has no meaning, or that `n` samples cannot give.

    Raises:
        ConfigurationError: if so.
    """
    if not isinstance(baseline, str):
        known = baseline is None or isinstance(baseline, _GIVEN)
    else:
        known = baseline in FROM_OTHERS or baseline == "self-critical"
        if n < 2 and baseline == "loo":
            raise ConfigurationError(
                f"`baseline` got 'loo' with n={n}; leave-one-out needs n >= 2, because a sample's "
                "baseline is the mean of the others; draw more samples or give baseline=None."
            )
        if n < 2 and baseline == "ema":
            raise ConfigurationError(
                f"`baseline` got 'ema' with n={n}; the name stands for an average over the samples "
                "of one call, so it needs n >= 2; for one that lives from call to call make "
                "ema = EMA(0.9) and give baseline=ema each time."
            )
    if not known:
        raise ConfigurationError(
            f"`baseline` got {baseline!r}; expected 'auto', 'loo', 'ema', 'self-critical', an "
            "EMA, a Critic, None, a number or a tensor."
        )


def independent_groups(sampler: str, n: int, baseline: object) -> int:
    """How many groups of samples that are independent of each other `n` samples are drawn in.

    Sobol points make one group; two, of half the size, where a sample's baseline comes from others.

    Raises:
        ConfigurationError: if leave-one-out cannot be had from them.

    Example:
        >>> independent_groups("antithetic", 8, "loo"), independent_groups("sobol", 8, "loo")
        (4, 2)
    """
    if sampler == "iid":
        return n
    others = is_named(baseline, *FROM_OTHERS)
    if sampler == "antithetic":
        if n < 4 and others and baseline != "auto":
            raise ConfigurationError(
                f"`baseline` got {baseline!r} with n={n} and sampler='antithetic'; expected "
                "n >= 4, because a sample's pair must be left out with it; draw more, or give "
                "baseline=None."
            )
        return n // 2
    if not others or n == 1:
        return 1
    if n % 2:
        raise ConfigurationError(
            f"`n` got {n} with sampler='sobol' and baseline={baseline!r}; expected an even number, "
            "because each half of the points is the other half's baseline; give an even n, or "
            "baseline=None."
        )
    return 2


def resolve_baseline(baseline: Baseline, cost: Tensor, groups: int) -> Tensor | None:
    """The baseline as numbers: one per sample, one per factor, or None.

    Args:
        baseline: as in `hunch.gradients.expectation`, other than `"self-critical"`, which needs
            the cost function: `greedy_cost` gives its tensor.
        cost: costs, shape `(n, *batch)`.
        groups: as in `leave_group_out`.

    Raises:
        ShapeError: if a given tensor fits neither factors nor samples.

    Example:
        >>> resolve_baseline("auto", torch.tensor([[1.0], [3.0]]), groups=2)
        tensor([[3.],
                [1.]])
    """
    if baseline is None or (isinstance(baseline, float | int) and baseline == 0):
        return None
    if isinstance(baseline, str):
        if baseline == "auto" and groups < 2:
            return None
        return earlier_average(cost, groups) if baseline == "ema" else leave_group_out(cost, groups)
    if isinstance(baseline, LEARNED):
        return baseline(cost)
    return given_baseline(baseline, cost, 0)


def given_baseline(baseline: Tensor | float, cost: Tensor, dim: int | None) -> Tensor:
    """The numbers that a user gave, shaped so that they meet the costs they are meant for.

    Args:
        baseline: a number or a tensor.
        cost: the costs.
        dim: the sample axis of `cost`; None if it has none of its own.

    Raises:
        ShapeError: if the tensor is shaped neither like `cost` nor like `cost` without its samples.

    Example:
        >>> given_baseline(torch.tensor([1.0, 2.0]), torch.ones(2, 3), dim=1)
        tensor([[1.],
                [2.]])
    """
    # A given baseline is a constant of the estimator: a critic learns from its own loss.
    given = torch.as_tensor(baseline, dtype=cost.dtype, device=cost.device).detach()
    if given.dim() == 0 or given.shape == cost.shape:
        return given
    if dim is not None:
        factors = list(cost.shape)
        del factors[dim]
        if list(given.shape) == factors:
            return given.unsqueeze(dim)
        wanted = f"{tuple(factors)}, one per factor, or {tuple(cost.shape)}, one per sample"
    else:
        wanted = f"{tuple(cost.shape)}, one per sample"
    raise ShapeError(
        f"`baseline` got shape {tuple(given.shape)}; expected {wanted}; nothing else is broadcast: "
        "reshape it."
    )
