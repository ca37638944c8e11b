"""Expectations with a closed form, and the statistics that compare an estimator with it.

Every parameter gets a leading axis of `DRAWS` equal rows. Rows are factors of their own, so one
call of `expectation` gives `DRAWS` independent estimates of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Distribution,
    Exponential,
    Gamma,
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Poisson,
)

from hunch.gradients import expectation

DRAWS = 200_000
# Two-sided probability 6.3e-5 per figure for a right estimator; `test_table` says how many there are.
LIMIT = 4.0


@dataclass(frozen=True)
class Problem:
    params: tuple[Tensor, ...]
    dist: Callable[..., Distribution]
    cost: Callable[[Tensor], Tensor]
    exact: Callable[..., Tensor]


def tensor(*values: float) -> Tensor:
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)


TABLE = tensor(3.0, -1.0, 0.5, 2.0)


def _mvn(loc: Tensor, diagonal: Tensor, below: Tensor) -> MultivariateNormal:
    zero = torch.zeros_like(below)
    rows = torch.stack([diagonal[..., 0], zero, below, diagonal[..., 1]], dim=-1)
    return MultivariateNormal(loc, scale_tril=rows.unflatten(-1, (2, 2)))


PROBLEMS = {
    "normal": Problem(
        (tensor(1.5), tensor(0.7)),
        Normal,
        lambda z: (z - 0.5) ** 2,
        lambda mu, sigma: (mu - 0.5) ** 2 + sigma**2,
    ),
    "bernoulli": Problem(
        (tensor(0.4),),
        lambda logits: Bernoulli(logits=logits),
        lambda z: 3 * (z - 0.3) ** 2,
        lambda logits: 3 * (0.49 * logits.sigmoid() + 0.09 * (-logits).sigmoid()),
    ),
    "categorical": Problem(
        (tensor(0.1, -0.5, 0.9, 0.0),),
        lambda logits: Categorical(logits=logits),
        lambda z: TABLE[z],
        lambda logits: (logits.softmax(-1) * TABLE).sum(-1),
    ),
    "poisson": Problem(
        (tensor(2.0),), Poisson, lambda z: (z - 1) ** 2, lambda rate: rate**2 - rate + 1
    ),
    "gamma": Problem(
        (tensor(1.5), tensor(2.0)),
        Gamma,
        lambda z: z**2,
        lambda a, b: a * (a + 1) / b**2,
    ),
    "beta": Problem(
        (tensor(1.5), tensor(2.5)),
        Beta,
        lambda z: z**2,
        lambda a, b: a * (a + 1) / ((a + b) * (a + b + 1)),
    ),
    "multivariate normal": Problem(
        (tensor(0.5, -1.0), tensor(0.8, 0.6), tensor(0.3)),
        _mvn,
        lambda z: z[..., 0] * z[..., 1] + z[..., 0] ** 2,
        lambda loc, diagonal, below: (
            loc[..., 0] * loc[..., 1]
            + diagonal[..., 0] * below
            + loc[..., 0] ** 2
            + diagonal[..., 0] ** 2
        ),
    ),
    "joint credit": Problem(
        (tensor(0.5, -1.0), tensor(0.8, 0.6)),
        lambda mu, sigma: Independent(Normal(mu, sigma), 1),
        lambda z: z.sum(-1) ** 2,
        lambda mu, sigma: mu.sum(-1) ** 2 + (sigma**2).sum(-1),
    ),
}


def _two_bernoullis(logits: Tensor) -> Tensor:
    first, second = logits.sigmoid().unbind(-1)
    # (a + 2 b - 0.5)² over the four corners
    corners = ((0, 0), (1, 0), (0, 1), (1, 1))
    return sum(
        (first if a else 1 - first) * (second if b else 1 - second) * (a + 2 * b - 0.5) ** 2
        for a, b in corners
    )


def _two_categoricals(logits: Tensor) -> Tensor:
    first, second = logits.softmax(-1).unbind(-2)
    return torch.einsum("...i,...j,ij->...", first, second, PAIRS)


PAIRS = tensor(1.0, -2.0, 0.5, 3.0, 0.0, 1.5, -1.0, 2.0, 2.5).unflatten(0, (3, 3))
WEIGHTS = tensor(1.0, 2.0)

# A cost shared by two discrete coordinates, and costs with a jump.
MORE = {
    "joint bernoulli": Problem(
        (tensor(0.4, -0.7),),
        lambda logits: Independent(Bernoulli(logits=logits), 1),
        lambda z: ((z * WEIGHTS).sum(-1) - 0.5) ** 2,
        _two_bernoullis,
    ),
    "joint categorical": Problem(
        (tensor(0.1, -0.5, 0.9, 0.4, 0.0, -0.8).unflatten(0, (2, 3)),),
        lambda logits: Independent(Categorical(logits=logits), 1),
        lambda z: PAIRS[z[..., 0], z[..., 1]],
        _two_categoricals,
    ),
    "bernoulli by probability": Problem(
        (tensor(0.3),),
        lambda probs: Bernoulli(probs),
        lambda z: 3 * (z - 0.3) ** 2,
        lambda probs: 3 * (0.49 * probs + 0.09 * (1 - probs)),
    ),
    "one-hot": Problem(
        (tensor(0.1, -0.5, 0.9, 0.0),),
        lambda logits: OneHotCategorical(logits=logits),
        lambda z: (z @ TABLE) ** 2,
        lambda logits: (logits.softmax(-1) * TABLE**2).sum(-1),
    ),
    "normal with a jump": Problem(
        (tensor(0.6), tensor(0.7)),
        Normal,
        lambda z: (z > 1).double(),
        lambda mu, sigma: torch.special.ndtr((mu - 1) / sigma),
    ),
    "gamma with a jump": Problem(
        (tensor(2.0), tensor(1.5)),  # P(z > 1) for a shape of 2 is exp(-b) (1 + b)
        Gamma,
        lambda z: (z > 1).double(),
        lambda a, b: torch.exp(-b) * (1 + b) + _shape_slope(b.detach()) * (a - a.detach()),
    ),
}

# What can be drawn by an inverse distribution function.
SAMPLED = {
    name: PROBLEMS[name]
    for name in ("normal", "bernoulli", "categorical", "multivariate normal", "joint credit")
} | {
    "exponential": Problem((tensor(1.3),), Exponential, lambda z: z**2, lambda rate: 2 / rate**2),
}


def _shape_slope(rate: Tensor) -> Tensor:
    """d P(z > 1) / d a at a = 2, by a central difference of the incomplete gamma function."""
    h = 1e-5
    high, low = (torch.special.gammaincc(torch.tensor(2.0 + d).double(), rate) for d in (h, -h))
    return (high - low) / (2 * h)


def estimates(problem: Problem, n: int, draws: int = DRAWS, seed: int = 0, **how) -> list[Tensor]:
    """The value and the gradients, `draws` independent estimates of each."""
    rows = [p.expand(draws, *p.shape).clone().requires_grad_() for p in problem.params]
    generator = torch.Generator().manual_seed(seed)
    value = expectation(problem.cost, problem.dist(*rows), n, generator=generator, **how)
    assert value.shape == (draws,)
    return [value.detach(), *torch.autograd.grad(value.sum(), rows)]


def truths(problem: Problem) -> list[Tensor]:
    rows = [p.clone().requires_grad_() for p in problem.params]
    value = problem.exact(*rows)
    return [value.detach(), *torch.autograd.grad(value, rows)]


def z_score(estimate: Tensor, truth: Tensor | float) -> float:
    """The largest distance between the mean estimate and the truth, in standard errors."""
    error = estimate.std(0) / len(estimate) ** 0.5
    # An estimator may be exact in a coordinate; then rounding is all the error it has.
    error = error.clamp_min(1e-12)
    return float(((estimate.mean(0) - truth).abs() / error).max())


def worst(problem: Problem, found: list[Tensor]) -> float:
    """The largest z-score of a value and its gradients."""
    return max(z_score(a, b) for a, b in zip(found, truths(problem), strict=True))
