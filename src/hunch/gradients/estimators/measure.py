"""Measure-valued gradients: the derivative of a density as a difference of two densities.

For many distributions `d p / d theta = c * (p_plus - p_minus)`, with two distributions that can be
drawn. Then `d E[f] / d theta = c * (E_plus[f] - E_minus[f])` for any cost, smooth or not. Drawing
both from common random numbers makes the difference small where the cost is smooth. With a cost
shared by several coordinates, each is replaced in turn while the others keep their samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gamma,
    Normal,
    Poisson,
)

from hunch.errors import ConfigurationError
from hunch.gradients.checks.costs import mean_cost
from hunch.gradients.checks.distributions import base_of
from hunch.gradients.checks.gradient_flow import carries_gradient, in_forward_mode
from hunch.gradients.estimators.request import Request
from hunch.gradients.sampling.samplers import uniforms
from hunch.recomputation import may_repeat


class Split(NamedTuple):
    """One parameter's derivative: `weight * (f(plus) - f(minus))`; None is the sample itself."""

    parameter: Tensor
    weight: Tensor | float
    plus: Tensor
    minus: Tensor | None


def measure(request: Request) -> Tensor:
    """The measure-valued gradient: any cost; Normal, Bernoulli, Categorical, Poisson and Gamma.

    `f` is called twice: for the samples, and, without gradients, for all shifted points at once: 3
    per sample for Normal, 2 for Bernoulli and Gamma, 1 for Poisson, one per category; as many for
    each coordinate that shares a cost (`Independent`). Only points of parameters that carry a
    gradient are made. First derivatives only: higher ones are refused.

    Raises:
        ConfigurationError: for another distribution or a baseline; when its gradient is
            differentiated again.

    Note:
        The literature has no splitting of Gamma's derivative by its concentration into two simple
        distributions. Here it is an integral over jumps: a gamma process of rate 1 grows by jumps
        of intensity `exp(-y) / y`, so `d E[f(z)] / d a` is the integral of `exp(-y) / y *
        E[f(z + y) - f(z)]`, drawn with `y` from Gamma(1/2), which keeps the variance finite also
        for costs that jump.

    Example:
        >>> mu = torch.tensor([-1.0, 0.0], requires_grad=True)
        >>> g = torch.Generator().manual_seed(0)
        >>> dist = torch.distributions.Normal(mu, 1.0)
        >>> measure(Request(lambda z: (z > 0).float(), dist, 100_000, None, g)).sum().backward()
        >>> [round(x, 2) for x in mu.grad.tolist()]  # the densities at 0
        [0.24, 0.4]

    Reference:
        Mohamed et al. (2020), "Monte Carlo Gradient Estimation in Machine Learning", section 6;
        Heidergott et al. (2008), "Measure-Valued Differentiation for Stationary Markov Chains".
    """
    request.refuse_baseline("measure")
    base, split = _splitting(request.dist)
    samples = request.draw(groups=1)
    cost = request.cost(samples)
    value = mean_cost(cost)
    differentiated = torch.is_grad_enabled() or in_forward_mode()
    # Without gradients the points are not needed, but a checkpointed region that will be run again
    # with them must have made the same draws.
    if not differentiated and not may_repeat():
        return value
    with torch.no_grad():
        uniform = partial(uniforms, request.dist, request.n, request.generator, request.sampler)
        splits = [s for s in split(base, samples, uniform) if carries_gradient(s.parameter)]
        if not differentiated or not splits:
            return value
        gradients = _gradients(request, samples, cost.detach(), splits)
    # Forward mode does not stop where gradients are off.
    known = (gradient.detach() for gradient in gradients)
    result: Tensor = _FirstOrder.apply(value, *(s.parameter for s in splits), *known)
    return result


def _gradients(
    request: Request, samples: Tensor, cost: Tensor, splits: list[Split]
) -> list[Tensor]:
    """For each split the mean over samples, shape `(*batch, *event)`."""
    points = [s.plus for s in splits] + [s.minus for s in splits if s.minus is not None]
    costs = list(_replaced(request, samples, torch.cat(points)).unflatten(0, (len(points), -1)))
    own = cost.reshape(*cost.shape, *[1] * len(request.dist.event_shape))
    minus = iter(costs[len(splits) :])
    found = []
    for s, plus in zip(splits, costs[: len(splits)], strict=True):
        difference = plus - (own if s.minus is None else next(minus))
        found.append((s.weight * difference).mean(0))
    return found


def _replaced(request: Request, samples: Tensor, values: Tensor) -> Tensor:
    """The cost after replacing one coordinate of a sample by its value in `values`, for each.

    `values` is `(m, *batch, *event)` with `m` a multiple of the number of samples.
    """
    event = request.dist.event_shape
    if not event:
        return request.cost(values)
    size = event.numel()
    own = samples.repeat(len(values) // len(samples), *[1] * (samples.dim() - 1))
    # (coordinate, m, *batch, *event): all sample but for the one coordinate.
    which = torch.eye(size, dtype=torch.bool, device=samples.device)
    which = which.view(size, *[1] * (1 + len(request.dist.batch_shape)), *event)
    points = torch.where(which, values, own).flatten(0, 1)
    costs = request.cost(points).unflatten(0, (size, -1))
    per_coordinate: Tensor = costs.movedim(0, -1).unflatten(-1, event)
    return per_coordinate


class _FirstOrder(torch.autograd.Function):
    """A value with gradients that are already known."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, *rest: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])
        ctx.batch = output.shape

    @staticmethod
    def _known(ctx: Any) -> list[Tensor]:
        saved = ctx.saved_tensors  # asked for once: gradient checkpointing gives them once
        parameters, known = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        return [_Closed.apply(k, p) for k, p in zip(known, parameters, strict=True)]

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = outer
        known = _FirstOrder._known(ctx)
        scaled = [g[(..., *[None] * (k.dim() - g.dim()))] * k for k in known]
        return (g, *scaled, *(None for _ in known))

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        known = _FirstOrder._known(ctx)
        moved = tangents[0]
        for k, tangent in zip(known, tangents[1:], strict=False):
            if tangent is not None:
                # One number for each coordinate of the event, which share the cost.
                term = (k * tangent).reshape(*ctx.batch, -1).sum(-1)
                moved = term if moved is None else moved + term
        return moved


_SECOND = (
    "`estimator` got 'measure' and its gradient was differentiated again; expected first "
    "derivatives only, because the second one is not known; use estimator='score'."
)


class _Closed(torch.autograd.Function):
    """A gradient that depends on its parameter in a way that is not known."""

    generate_vmap_rule = True

    @staticmethod
    def forward(known: Tensor, parameter: Tensor) -> Tensor:
        return known.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        return None

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        raise ConfigurationError(_SECOND)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        raise ConfigurationError(_SECOND)


# ------------------------------------------------------------------ the splittings
# Each gets the distribution without its `Independent`, samples, and a source of uniform numbers of
# their shape. They run without gradients, but `.probs` made from logits is kept with its graph, by
# which the gradient travels.

Source = Callable[[], Tensor]
Splitting = Callable[[Any, Tensor, Source], list[Split]]


def _exponential(like: Tensor, uniform: Source) -> Tensor:
    return -uniform().log().to(like.dtype)


def _normal(dist: Normal, z: Tensor, uniform: Source) -> list[Split]:
    loc, scale = dist.loc, dist.scale
    # Mean: Rayleigh distances to either side. Scale: a Maxwell distance against the normal sample,
    # which is one coordinate of the three-dimensional vector that is so long.
    side = scale * (2 * _exponential(z, uniform)).sqrt()
    noise = (z - loc) / scale
    length = (noise**2 + 2 * _exponential(z, uniform)).sqrt()
    return [
        Split(loc, 1 / (scale * math.sqrt(2 * math.pi)), loc + side, loc - side),
        Split(scale, 1 / scale, loc + scale * length.copysign(noise), None),
    ]


def _bernoulli(dist: Bernoulli, z: Tensor, uniform: Source) -> list[Split]:
    return [Split(dist.probs, 1.0, torch.ones_like(z), torch.zeros_like(z))]


def _categorical(dist: Categorical, z: Tensor, uniform: Source) -> list[Split]:
    # What all probabilities share cancels, because they sum to one: each may be set against z.
    with torch.enable_grad():
        probs = dist.probs.unbind(-1)
    return [Split(p, 1.0, torch.full_like(z, k), None) for k, p in enumerate(probs)]


def _poisson(dist: Poisson, z: Tensor, uniform: Source) -> list[Split]:
    return [Split(dist.rate, 1.0, z + 1, None)]


def _gamma(dist: Gamma, z: Tensor, uniform: Source) -> list[Split]:
    shape, rate = dist.concentration, dist.rate
    longer = z + _exponential(z, uniform) / rate  # a Gamma of one shape more
    noise = torch.special.ndtri(uniform()).to(z.dtype)
    noise = noise.abs().clamp_min(torch.finfo(z.dtype).eps)
    jump = noise**2 / 2
    return [
        Split(rate, -shape / rate, longer, None),
        Split(shape, (math.pi / jump).sqrt(), z + jump / rate, None),
    ]


_SPLITTINGS: dict[type[Distribution], Splitting] = {
    Normal: _normal,
    Bernoulli: _bernoulli,
    Categorical: _categorical,
    Poisson: _poisson,
    Gamma: _gamma,
}


def _splitting(dist: Distribution) -> tuple[Distribution, Splitting]:
    base = base_of(dist)
    for family, split in _SPLITTINGS.items():
        if isinstance(base, family):
            return base, split
    names = ", ".join(family.__name__ for family in _SPLITTINGS)
    raise ConfigurationError(
        f"`estimator` got 'measure' for {type(base).__name__}; expected one of {names}, or any of "
        "them in Independent; use another estimator, such as 'score' or 'pathwise'."
    )
