"""How noisy each estimator is on a squared error of a normal sample, in closed form and measured.

For `f = (z - y)²` with `z ~ N(y + d, σ²)` the gradient of `E f = d² + σ²` is `2d` by the mean and
`2σ²` by `log σ`. The variances below are those of one call's estimate. They follow from the moments
of `ε = (z - y - d) / σ`: with `f - b = A + 2dσ ε + σ² (ε² - 1)`, `A = d² + σ² - b`, the scores are
`ε / σ` and `ε² - 1`; leave-one-out is a sample covariance of cost and score, whose variance is
`(μ22 - μ11² (n-2)/(n-1) + μ20 μ02/(n-1)) / n`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import pi
from typing import Any

import torch
from torch.distributions import Normal

from hunch.gradients import expectation

Formula = Callable[[Any, Any], Any]


def expected_cost(d: float, s: float) -> float:
    """The cost to be expected, which leave-one-out estimates.

    Example:
        >>> expected_cost(2.0, 1.0)
        5.0
    """
    return d**2 + s**2


def best_constant(d: float, s: float) -> float:
    """The constant baseline with the least variance by the mean.

    Example:
        >>> best_constant(2.0, 1.0)
        7.0
    """
    return d**2 + 3 * s**2


def no_baseline(d: float, s: float) -> float:
    """Zero, said on purpose."""
    return 0.0


@dataclass(frozen=True)
class Form:
    """An estimator and the variances of its two gradients."""

    by_mean: Formula  # variance of the derivative by the mean, of `d` and `σ`
    by_log_scale: Formula  # variance of the derivative by `log σ`
    samples: int  # per call
    evaluations: int  # of the cost, per call
    # Further arguments of `hunch.gradients.expectation`.
    how: dict[str, Any] = field(default_factory=dict)
    # A baseline that depends on `d` and `σ`.
    constant: Callable[[float, float], float] | None = None


def _constant(baseline: Callable[[float, float], float]) -> Form:
    def by_mean(d: Any, s: Any) -> Any:
        a = expected_cost(d, s) - baseline(d, s)
        return a**2 / s**2 + 4 * a + 8 * d**2 + 10 * s**2

    def by_log_scale(d: Any, s: Any) -> Any:
        a = expected_cost(d, s) - baseline(d, s)
        return 2 * a**2 + 16 * a * s**2 + 40 * d**2 * s**2 + 56 * s**4

    return Form(by_mean, by_log_scale, 1, 1, {"estimator": "score"}, baseline)


def _leave_one_out(n: int) -> Form:
    def by_mean(d: Any, s: Any) -> Any:
        return (8 * d**2 + 10 * s**2 + (8 * d**2 + 2 * s**2) / (n - 1)) / n

    def by_log_scale(d: Any, s: Any) -> Any:
        spread = 2 * (4 * d**2 * s**2 + 2 * s**4) / (n - 1)
        return (40 * d**2 * s**2 + 60 * s**4 - 4 * s**4 * (n - 2) / (n - 1) + spread) / n

    return Form(by_mean, by_log_scale, n, n, {"estimator": "score", "baseline": "loo"})


FORMS: dict[str, Form] = {
    "score": _constant(no_baseline),
    "score, baseline E f": _constant(expected_cost),
    "score, best constant": _constant(best_constant),
    "leave-one-out 2": _leave_one_out(2),
    "leave-one-out 4": _leave_one_out(4),
    "leave-one-out 16": _leave_one_out(16),
    "antithetic pair": Form(
        lambda d, s: 8 * d**2 + 0 * s,
        lambda d, s: 2 * (d**2 + s**2) ** 2 + 16 * (d**2 + s**2) * s**2 + 56 * s**4,
        2, 2, {"estimator": "score", "sampler": "antithetic"}, no_baseline,
    ),
    "measure-valued": Form(
        lambda d, s: (16 - 4 * pi) / pi * d**2 + 0 * s,
        lambda d, s: 4 * s**2 * (d**2 + s**2),
        1, 4, {"estimator": "measure"},
    ),
    "pathwise": Form(
        lambda d, s: 4 * s**2 + 0 * d,
        lambda d, s: 4 * d**2 * s**2 + 8 * s**4,
        1, 1, {"estimator": "pathwise"},
    ),
}  # fmt: skip

_CHUNK = 500_000  # estimates at once


def measured(
    form: Form, d: float, s: float, samples: int, generator: torch.Generator
) -> tuple[float, float]:
    """The two variances over so many samples, about the true gradient.

    Args:
        form: the estimator.
        d: distance of the mean from the target.
        s: the spread.
        samples: samples in all, shared by the calls.
        generator: decides every draw.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> by_mean, _ = measured(FORMS["pathwise"], 1.0, 0.1, 100_000, g)
        >>> abs(by_mean / 0.04 - 1) < 0.05
        True
    """
    how = dict(form.how)
    if form.constant is not None:
        how["baseline"] = form.constant(d, s)
    calls = samples // form.samples
    sums = torch.zeros(2, dtype=torch.float64)
    for start in range(0, calls, _CHUNK):
        rows = min(_CHUNK, calls - start)
        mu = torch.full((rows,), d, dtype=torch.float64, requires_grad=True)
        log_sigma = torch.full_like(mu, s).log().requires_grad_()
        dist = Normal(mu, log_sigma.exp(), validate_args=False)
        cost = expectation(torch.square, dist, form.samples, generator=generator, **how)
        by_mean, by_log_scale = torch.autograd.grad(cost.sum(), (mu, log_sigma))
        sums += torch.stack(
            [(by_mean - 2 * d).square().sum(), (by_log_scale - 2 * s**2).square().sum()]
        )
    mean, log_scale = (sums / calls).tolist()
    return mean, log_scale
