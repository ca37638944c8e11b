"""What an estimator is asked, and the protocol of those that answer."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError
from hunch.gradients.baselines.given import (
    Baseline,
    independent_groups,
    is_named,
    resolve_baseline,
)
from hunch.gradients.baselines.self_critical import greedy_cost
from hunch.gradients.checks.costs import Cost, checked
from hunch.gradients.sampling.samplers import draw


class Request(NamedTuple):  # made in each call, in a fifth of a frozen dataclass's time
    """One call of `hunch.gradients.expectation`, as an estimator gets it.

    Attributes:
        f: the cost function as it was given; `cost` also checks what it returns.
        dist: the distribution, whose parameters carry the gradient; in single precision where
            the user's is in half.
        n: samples per factor, at least 1.
        baseline: as it was given; `baseline_for` makes numbers of it.
        generator: decides the draws; None for torch's default one.
        sampler: how samples are drawn.

    Example:
        >>> dist = torch.distributions.Poisson(torch.tensor([3.0, 5.0]))
        >>> request = Request(lambda z: 0 * z + 1, dist, 4, "loo")
        >>> z = request.draw()
        >>> request.cost(z).shape, request.baseline_for(request.cost(z)).mean().item()
        (torch.Size([4, 2]), 1.0)
    """

    f: Cost
    dist: Distribution
    n: int
    baseline: Baseline = "auto"
    generator: torch.Generator | None = None
    sampler: str = "iid"

    @property
    def groups(self) -> int:
        """How many groups of samples that are independent of each other are drawn."""
        return independent_groups(self.sampler, self.n, self.baseline)

    def draw(self, *, differentiable: bool = False, groups: int | None = None) -> Tensor:
        """Samples `(n, *batch, *event)`, drawn as `generator` and `sampler` say.

        Args:
            differentiable: whether they carry the gradient of the parameters, by `rsample`.
            groups: None for as many as the baseline needs; 1 where no baseline is used.

        Raises:
            ConfigurationError: if the distribution cannot be drawn from in this way.
        """
        groups = self.groups if groups is None else groups
        return draw(
            self.dist,
            self.n,
            self.generator,
            differentiable=differentiable,
            sampler=self.sampler,
            groups=groups,
        )

    def cost(self, samples: Tensor) -> Tensor:
        """The costs of any number of samples, `(m, *batch)`.

        Raises:
            ShapeError: if `f` returns another shape.
            DataError: if a cost is NaN or infinite.
        """
        return checked(self.f(samples), samples, self.dist)

    def baseline_for(self, cost: Tensor) -> Tensor | None:
        """What is to be subtracted from the costs of `draw()`: one number for each, or None.

        An `EMA` learns from each call of this, so call it once.
        """
        baseline = self.baseline
        if is_named(baseline, "self-critical"):
            baseline = greedy_cost(self.f, self.dist)
        found = resolve_baseline(baseline, cost, self.groups)
        return found if found is None or found.shape == cost.shape else found.expand_as(cost)

    def refuse_baseline(self, estimator: str) -> None:
        """Refuse a baseline, for an estimator that has no use for one.

        Raises:
            ConfigurationError: if one was asked for.
        """
        if self.baseline is not None and not is_named(self.baseline, "auto"):
            raise ConfigurationError(
                f"`baseline` was given with estimator={estimator!r}; expected None or 'auto', "
                "because only the score function has a use for a baseline."
            )


class Estimator(Protocol):
    """What `hunch.gradients.expectation` takes for `estimator`: a function of one `Request`.

    It returns the mean cost, `(*batch,)`, whose gradient is the estimate of the gradient. An object
    may be one too, by a method `__call__`, and have settings of its own, as `Gumbel` has. One that
    is biased by design says so by an attribute `biased = True`; `diagnose` then never recommends
    it.

    Example:
        >>> from hunch.gradients import expectation
        >>> def mean_path(request):
        ...     z = request.draw(differentiable=True)
        ...     return request.cost(z).mean(0)
        >>> mu = torch.tensor(0.5, requires_grad=True)
        >>> dist = torch.distributions.Normal(mu, 1.0)
        >>> expectation(lambda z: 3 * z, dist, 4, estimator=mean_path).backward()
        >>> mu.grad
        tensor(3.)
    """

    def __call__(self, request: Request, /) -> Tensor:
        """Estimate the expectation, with its gradient."""
