"""Bayesian logistic regression by four gradient estimators, at equal cost.

A diagonal normal stands for the posterior of 31 weights; training raises the evidence lower bound.
Each estimator of its gradient gets the same number of evaluations of the likelihood per update. All
replicas train at once, on a leading axis.

Source: Mohamed et al. (2020), "Monte Carlo Gradient Estimation in Machine Learning", section 9.3,
whose data these are. Departures: Adam, standardized inputs, a fifth of the data held out, and the
divergence from the prior in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.saved import written
from hunch.experiments.gradients.bounds import Arm, BoundResult
from hunch.experiments.gradients.data import breast_cancer
from hunch.gradients import diagnose, expectation
from hunch.progress import Bar, progress_bar
from hunch.seeding import torch_generator

CLAIM = (
    "Bayesian logistic regression on the breast-cancer data, 94 evaluations of the likelihood per "
    "update, mean of 5 seeds: after 1,000 updates the score function without a baseline is at "
    "least 1.5 nats below the bound that the pathwise gradient reaches, leave-one-out at most 1, "
    "measure-valued gradients at most 2. Per evaluation leave-one-out has at most half the "
    "variance of no baseline, and pathwise at most 1/40 of leave-one-out's."
)


# A measure-valued gradient asks the cost at three more points for each of the 31 weights.
ARMS = {
    "no baseline": Arm("score", 94, 0.0),
    "leave-one-out": Arm("score", 94, "loo"),
    "measure-valued": Arm("measure", 1),
    "pathwise": Arm("pathwise", 94),
}


@dataclass(frozen=True)
class Settings:
    """What the claim was measured with."""

    replicas: int = 5  # posteriors trained at once
    updates: int = 1_000  # gradient updates
    record_every: int = 50  # gradient updates between two records
    batch_size: int = 32  # patients per update and replica
    learning_rate: float = 0.02  # Adam's
    bound_samples: int = 500  # samples by which the bound is estimated on all training data
    repeats: int = 1_000  # calls per row of the diagnosis

    @classmethod
    def quick(cls) -> Settings:
        """A look in seconds: too short for the claim."""
        return cls(replicas=2, updates=100, record_every=20, bound_samples=100, repeats=100)


@dataclass(frozen=True)
class Result(BoundResult):
    """The bound is that of all training data; the diagnosis where the pathwise arm ended."""

    # On the held-out patients with the mean weights, by arm, `(replicas,)`.
    accuracy: dict[str, np.ndarray] = field(metadata=written(decimals=4))

    def variance(self, estimator: str, baseline: str = "") -> float:
        """Variance times evaluations of a row of the diagnosis with independent samples."""
        return next(
            row.variance_cost
            for row in self.diagnosis.rows
            if (row.estimator, row.baseline) == (estimator, baseline) and row.sampler in ("", "iid")
        )

    def to_markdown(self) -> str:
        """Bound and accuracy of each arm."""
        return table(
            "estimator | bound, nats | held-out accuracy",
            [
                f"{name} | {self.final(name):.2f} | {self.accuracy[name].mean():.3f}"
                for name in ARMS
            ],
        )


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train by every estimator, and diagnose the gradient where the best one ended.

    Raises:
        MissingDependencyError: if scikit-learn is not installed.
    """
    settings = settings or Settings()
    x, y, x_test, y_test = breast_cancer(seed)
    bound, accuracy = {}, {}
    total = len(ARMS) * settings.updates
    with progress_bar(total, "Bayesian logistic regression", "update", enabled=progress) as bar:
        for name, arm in ARMS.items():
            generator = torch_generator(seed, "bayes-logistic", name)
            weights, log_std, bound[name] = _train(arm, settings, x, y, generator, bar)
            hits = torch.einsum("rd,bd->rb", weights, x_test) * y_test > 0
            accuracy[name] = hits.double().mean(1).numpy()
    batch = torch.randperm(len(x), generator=torch_generator(seed, "bayes-logistic", "diagnosed"))
    batch = batch[: settings.batch_size]
    found = diagnose(
        partial(negative_log_likelihood, x[batch], y[batch], len(x)),
        lambda m, s: Independent(Normal(m, s.exp()), 1),
        (weights[0], log_std[0]),
        4,
        estimators=["score", "pathwise", "measure"],
        repeats=settings.repeats,
        seed=seed,
    )
    return Result.of(settings, bound, found, accuracy)


def negative_log_likelihood(x: Tensor, y: Tensor, size: int, weights: Tensor) -> Tensor:
    """Of all data, as estimated from a batch, for each draw of the weights.

    Args:
        x: inputs `(batch, 31)`, or `(replicas, batch, 31)`.
        y: labels -1 or 1, `(batch,)` or `(replicas, batch)`.
        size: number of all data.
        weights: `(n, *rows, 31)`, with `replicas` last among the rows if `x` has them.

    Returns:
        Nats, `(n, *rows)`.

    Example:
        >>> x, y = torch.ones(2, 1), torch.tensor([1.0, -1.0])
        >>> negative_log_likelihood(x, y, 4, torch.zeros(3, 1))  # 4 log 2
        tensor([2.7726, 2.7726, 2.7726])
    """
    logits = torch.einsum("...d,...bd->...b", weights, x)
    return F.softplus(-y * logits).sum(-1) * (size / x.shape[-2])


def _train(
    arm: Arm, settings: Settings, x: Tensor, y: Tensor, generator: torch.Generator, bar: Bar
) -> tuple[Tensor, Tensor, np.ndarray]:
    shape = (settings.replicas, x.shape[1])
    mean = torch.zeros(shape, requires_grad=True)
    log_std = torch.full(shape, -1.0, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_std], lr=settings.learning_rate, fused=True)
    records = []
    for step in range(settings.updates):
        if step % settings.record_every == 0:
            records.append(_bound(settings, x, y, mean, log_std))
        rows = torch.randint(len(x), (settings.replicas, settings.batch_size), generator=generator)
        f = partial(negative_log_likelihood, x[rows], y[rows], len(x))
        loss = _expected(f, mean, log_std, arm, generator) + _divergence(mean, log_std)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        bar.update()
    records.append(_bound(settings, x, y, mean, log_std))
    return mean.detach(), log_std.detach(), np.stack(records)


def _expected(
    f: Callable[[Tensor], Tensor],
    mean: Tensor,
    log_std: Tensor,
    arm: Arm,
    generator: torch.Generator,
) -> Tensor:
    posterior = Independent(Normal(mean, log_std.exp(), validate_args=False), 1)
    return expectation(
        f,
        posterior,
        arm.samples,
        estimator=arm.estimator,
        baseline=arm.baseline,
        generator=generator,
    )


def _divergence(mean: Tensor, log_std: Tensor) -> Tensor:
    """From the standard normal prior, in nats, `(replicas,)`."""
    return 0.5 * (mean**2 + (2 * log_std).exp() - 2 * log_std - 1).sum(-1)


@torch.no_grad()
def _bound(settings: Settings, x: Tensor, y: Tensor, mean: Tensor, log_std: Tensor) -> np.ndarray:
    generator = torch_generator(0, "bayes-logistic", "bound")  # the same draws for every arm
    noise = torch.randn(settings.bound_samples, 1, x.shape[1], generator=generator)
    weights = mean + log_std.exp() * noise
    cost = negative_log_likelihood(x, y, len(x), weights).mean(0)
    return (-cost - _divergence(mean, log_std)).numpy()


def check(result: Result) -> list[Check]:
    """The claim's figures."""
    best = result.final("pathwise")
    below = {name: best - result.final(name) for name in ARMS}
    plain, loo = result.variance("score", "none"), result.variance("score", "loo")
    path = result.variance("pathwise")
    return [
        Check("nats below pathwise, no baseline", below["no baseline"], ">=", 1.5),
        Check("nats below pathwise, leave-one-out", below["leave-one-out"], "<=", 1),
        Check("nats below pathwise, measure-valued", below["measure-valued"], "<=", 2),
        Check("variance, leave-one-out over no baseline", loo / plain, "<=", 1 / 2),
        Check("variance, pathwise over leave-one-out", path / loo, "<=", 1 / 40),
    ]
