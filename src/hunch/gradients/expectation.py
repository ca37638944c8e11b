"""One function for the expectation of a cost and its gradient, whatever the distribution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients.baselines.given import Baseline, check_baseline
from hunch.gradients.checks.costs import HALF, Cost, wide
from hunch.gradients.checks.distributions import in_single, parameter_of
from hunch.gradients.checks.masks import Mask
from hunch.gradients.estimators.by_name import ESTIMATORS
from hunch.gradients.estimators.request import Estimator, Request
from hunch.gradients.estimators.score import masked_score
from hunch.gradients.sampling.samplers import check_sampler
from hunch.validation import whole_number


def expectation(
    f: Cost,
    dist: Distribution,
    n: int = 2,
    *,
    estimator: str | Estimator = "auto",
    baseline: Baseline = "auto",
    sampler: str = "iid",
    mask: Mask | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Estimate `E[f(z)]`, `z ~ dist`: an unbiased value with an unbiased gradient of any order.

    The estimators named as biased, or as first-order only, are the exceptions.

    Which samples a cost is blamed on is said by the distribution. Each batch dimension is a factor
    with a cost of its own, right if that cost depends on this factor's sample alone;
    `torch.distributions.Independent(dist, k)` makes the last `k` of them share one cost.

    Args:
        f: samples `(n, *batch, *event)` to costs `(n, *batch)`. It may depend on parameters itself;
            that gradient is kept. It is called once, and a second time only by `"auto"` when it
            finds a rounding on the way (see below) and by `"self-critical"`, with one sample.
        dist: a `torch.distributions.Distribution` whose parameters carry the gradient.
        n: samples per factor, at least 1. Two are the least for the leave-one-out baseline.
        estimator: `"score"` for any cost; `"pathwise"` for a continuous cost and a distribution
            with `rsample`; `"enumerate"` for the exact sum over a finite support, where `n` plays
            no part, and over that of coordinates in `Independent` if they have at most 1,024
            outcomes together; `"measure"` for any cost and Normal, Bernoulli, Categorical, Poisson
            or Gamma, first derivatives only; `"rebar"` or `Relax(surrogate)` for Bernoulli and
            OneHotCategorical. Biased, for these two: `"straight_through"`, and `"gumbel"` or
            `Gumbel(temperature)`. One of your own is a function of one `Request`, see `Estimator`.
            `"auto"` is pathwise if the distribution has `rsample` and a
            gradient flows from cost to sample without passing a sign, a rounding or a draw, else
            the score. What torch does not differentiate at all leaves no trace in the graph when a
            smooth term stands beside it: a comparison, an index, a cast to integers, a `detach()`
            as in straight-through rounding, another distribution's `sample()`. Then say `"score"`.
        baseline: for the score function. `"loo"` is the mean of the other samples
            (`leave_one_out`), an `EMA` is the average of earlier calls, a `Critic` is what a
            network expects, `"self-critical"` is the cost of the distribution's mode, None is none.
            `"ema"` is the moving average of the samples before it in this call, without a state.
            A number or a tensor is subtracted as it is: shape `(*batch,)`, shared by all samples,
            or `(n, *batch)`; nothing else is broadcast, it gets no gradient, and sample `i`'s must
            not depend on sample `i`. `"auto"` is `"loo"` for `n >= 2`, else None.
        sampler: `"iid"` draws independent samples; `"antithetic"` mirrored pairs, `n` even;
            `"sobol"` evenly spread points, shifted at random for each factor. The last two need
            an inverse distribution function: `dist.icdf`, Bernoulli, Categorical or
            MultivariateNormal, or any of them in `Independent`. All are unbiased; leave-one-out
            then leaves out all that depends on the sample: its pair, or its half of the Sobol
            points.
        mask: for the score function, where some samples cannot be scored: booleans `(n, *batch)`,
            true where the cost counts, or what makes them from the costs, such as `torch.isfinite`.
            Value and gradient are then those of the mean over scorable samples; with leave-one-out
            also where it depends on the sample whether it is scored. That is given that there are
            enough: a factor with no scored sample has the value 0, and with leave-one-out one with
            a single scored sample no gradient. So over many calls the mean gradient is the true one
            times `1 - (1-s)**n - n * s * (1-s)**(n-1)`, the probability of two or more where each
            sample is scored with probability `s`, and the mean value the true one times
            `1 - (1-s)**n`. For a batch that weighs none of its factors so, take the mean over those
            with two scored samples alone: `loss[scored.sum(0) > 1].mean()`. First derivatives only.
        generator: a CPU generator that decides every draw; None for torch's default one.

    Returns:
        The mean cost, shape `(*batch,)`. `.sum().backward()` gives the gradient.

    Raises:
        ConfigurationError: if an argument has a value that cannot work, such as a pathwise gradient
            of a distribution without `rsample`, or leave-one-out with one sample.
        ShapeError: if the costs are not shaped `(n, *batch)`, or a baseline does not fit them.
        DataError: if a cost is NaN or infinite and not masked, or a sample's own log-probability
            is, or a sample that is to carry a gradient.

    Warns:
        HunchWarning: once for each line that calls, if a trained spread collapses under the score
            function without a baseline (`baseline=0.0` says that it is on purpose); if a trained
            probability is 0 or 1 to its precision, or a trained concentration so small that
            samples underflow, where torch's log-probability, or its path, is wrong.

    Note:
        Second derivatives of `"pathwise"` exist where torch can differentiate `rsample` twice: not
        for Gamma, Beta and Dirichlet. Those of `"score"` always exist. In forward mode, and around
        `torch.func.vmap`, no graph shows what the cost does, and `"auto"` is the score. Inside
        `vmap` build the distribution with `validate_args=False` and give `randomness`. Sobol points
        and `EMA` do not work inside `torch.func` transforms; `docs/gradients.md` has a table of
        what does. Half precision is drawn and scored in single; the cost sees half.

    Example:
        >>> mu = torch.tensor(1.0, requires_grad=True)
        >>> g = torch.Generator().manual_seed(0)
        >>> dist = torch.distributions.Normal(mu, 1.0)
        >>> loss = expectation(lambda z: (z > 0).float(), dist, 100_000, generator=g)
        >>> loss.backward()  # P(z > 0) = 0.841, and its derivative is the density at 0, 0.242
        >>> round(loss.item(), 2), round(mu.grad.item(), 2)
        (0.84, 0.24)

    Reference:
        Schulman et al. (2015), "Gradient Estimation Using Stochastic Computation Graphs";
        Mohamed et al. (2020), "Monte Carlo Gradient Estimation in Machine Learning".
    """
    if not isinstance(dist, Distribution):
        raise ConfigurationError(
            f"`dist` got {type(dist).__name__}; expected a torch.distributions.Distribution."
        )
    n = whole_number("n", n, at_least=1)
    kind = _precision(dist)
    if kind in HALF:  # torch's draws and densities are too coarse there, where there are any
        value = expectation(
            _of_half(f, kind),
            in_single(dist),
            n,
            estimator=estimator,
            baseline=baseline,
            sampler=sampler,
            mask=mask,
            generator=generator,
        )
        return value.to(kind)
    check_baseline(baseline, n)
    check_sampler(sampler, n)
    request = Request(f, dist, n, baseline, generator, sampler)
    if mask is not None:
        if estimator not in ("auto", "score") or sampler != "iid":
            raise ConfigurationError(
                f"`mask` was given with estimator={estimator!r} and sampler={sampler!r}; expected "
                "'score' and 'iid', because the others need the cost of every sample they draw."
            )
        return masked_score(request, mask)
    if isinstance(estimator, str) and estimator in ESTIMATORS:
        return ESTIMATORS[estimator](request)
    return _of_ones_own(estimator, request)


def _precision(dist: Distribution) -> torch.dtype | None:
    for value in vars(dist).values():  # the quick way, for what keeps its own parameters
        kind: torch.dtype | None = getattr(value, "dtype", None)
        if kind is not None and kind.is_floating_point:
            return kind
    parameter = parameter_of(dist)
    return None if parameter is None else parameter.dtype


def _of_half(f: Cost, kind: torch.dtype) -> Cost:
    """The cost as the user wrote it, for samples of half precision, and its costs in single."""

    def cost(samples: Tensor) -> Tensor:
        found = f(samples.to(kind) if samples.is_floating_point() else samples)
        return wide(found) if isinstance(found, Tensor) else found

    return cost


def _of_ones_own(estimator: object, request: Request) -> Tensor:
    """What an estimator that is none of the names returns, if it is an expectation."""
    if isinstance(estimator, type) or not callable(estimator):
        names = ", ".join(repr(name) for name in ESTIMATORS)
        got = f"the class {estimator.__name__}" if isinstance(estimator, type) else repr(estimator)
        raise ConfigurationError(
            f"`estimator` got {got}; expected one of {names}, or a function or object that is "
            "called with one hunch.gradients.Request, such as Gumbel(0.5)."
        )
    value = estimator(request)
    shape = request.dist.batch_shape
    if not isinstance(value, Tensor) or value.shape != shape:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ShapeError(
            f"`estimator` returned {got}; expected a tensor of shape {tuple(shape)}, one mean cost "
            "for each factor: take the mean over the samples, which lie along the first axis."
        )
    return value
