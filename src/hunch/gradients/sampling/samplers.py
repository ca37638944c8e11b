"""How samples are drawn: independently, in mirrored pairs, or evenly spread.

Mirrored pairs and Sobol points are uniform numbers sent through the inverse distribution function.
Each sample still has the right distribution, so every estimate stays unbiased; what changes is how
the samples depend on each other. The first axis is laid out as `(size, groups)`, flattened: samples
of different groups are independent, those of one group are not.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext, suppress

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
)
from torch.quasirandom import SobolEngine

from hunch.draws import drawing_again, drawn, untraced
from hunch.errors import ConfigurationError
from hunch.gradients.checks.cautions import caution_path
from hunch.gradients.checks.costs import check_generator, check_path
from hunch.gradients.checks.distributions import own_probs, parameter_of
from hunch.gradients.sampling.torch_draws import torch_draw
from hunch.recomputation import may_repeat
from hunch.seeding import drawing_from

SAMPLERS = ("iid", "antithetic", "sobol")
_BITS = SobolEngine.MAXBIT


def check_sampler(sampler: object, n: int) -> None:
    """Refuse a sampler that does not exist, or that cannot give `n` samples.

    Raises:
        ConfigurationError: if so.
    """
    if not isinstance(sampler, str) or sampler not in SAMPLERS:
        names = ", ".join(repr(name) for name in SAMPLERS)
        raise ConfigurationError(f"`sampler` got {sampler!r}; expected one of {names}.")
    if sampler == "antithetic" and n % 2:
        raise ConfigurationError(
            f"`n` got {n} with sampler='antithetic'; expected an even number, because samples come "
            "in mirrored pairs."
        )


def draw(
    dist: Distribution,
    n: int,
    generator: torch.Generator | None,
    *,
    differentiable: bool,
    sampler: str = "iid",
    groups: int = 1,
) -> Tensor:
    """Samples of shape `(n, *batch, *event)`.

    Args:
        dist: the distribution.
        n: samples per factor.
        generator: decides the draws; None for torch's default one.
        differentiable: whether the samples carry the gradient of the parameters.
        sampler: one of `SAMPLERS`.
        groups: of Sobol points that are independent of each other.

    Raises:
        ConfigurationError: if the distribution has no inverse distribution function to draw by.

    Example:
        >>> mirrored = draw(torch.distributions.Normal(3.0, 1.0), 4, None, differentiable=False,
        ...                 sampler="antithetic")
        >>> torch.allclose(mirrored[:2] + mirrored[2:], torch.tensor(6.0))
        True
    """
    if generator is not None and torch.compiler.is_dynamo_compiling():
        return _untraced(
            dist, n, generator, differentiable=differentiable, sampler=sampler, groups=groups
        )
    if sampler != "iid":
        u = uniforms(dist, n, generator, sampler, groups)
        with nullcontext() if differentiable else torch.no_grad():
            samples = _inverse(dist, u, sampler)
        # Forward mode does not stop where gradients are off.
        samples = samples if differentiable else samples.detach()
    else:
        # A sample axis of length 1 would make every operation of the draw broadcast, and its
        # backward pass sum over nothing: a view adds it for less.
        shape = torch.Size((n,) if n > 1 else ())
        if type(dist) is Normal:
            samples = _normal(dist, shape, generator, differentiable)
        else:
            with _source(dist, generator):
                samples = torch_draw(dist, shape, differentiable)
            if differentiable:
                check_path(samples, dist)
                caution_path(dist)
            else:
                samples = samples.detach()
        samples = samples if n > 1 else samples.unsqueeze(0)
    if generator is not None:
        check_generator(generator, samples)
    return samples


_untraced = untraced(draw)  # as `hunch.draws` says


def _source(dist: Distribution, generator: torch.Generator | None) -> AbstractContextManager[None]:
    if generator is not None:
        return drawing_from(generator)
    if not may_repeat():
        return nullcontext()
    parameter = parameter_of(dist)
    return drawing_again(None, None if parameter is None else parameter.device)


def _normal(
    dist: Normal, shape: torch.Size, generator: torch.Generator | None, differentiable: bool
) -> Tensor:
    """Torch's own draw by fewer steps, and without the detour over the default generator."""
    loc, scale = dist.loc, dist.scale
    if generator is not None:
        check_generator(generator, loc)
    whole = shape + dist.batch_shape
    noise = drawn(torch.randn, whole, generator, loc.dtype, loc.device)
    if differentiable:
        return torch.addcmul(loc, noise, scale)
    return torch.addcmul(loc.detach(), noise, scale.detach())


def uniforms(
    dist: Distribution,
    n: int,
    generator: torch.Generator | None,
    sampler: str = "iid",
    groups: int = 1,
) -> Tensor:
    """Uniform numbers `(n, *batch, *event)`, in double precision and inside (0, 1).

    Each call of a sampler gives numbers that are independent of those of other calls.

    Example:
        >>> u = uniforms(torch.distributions.Normal(0.0, 1.0), 4, None, "antithetic")
        >>> bool((u[:2] + u[2:] == 1).all())
        True
    """
    parameter = parameter_of(dist)
    device = torch.device("cpu") if parameter is None else parameter.device
    if generator is not None and device.type != "cpu":
        check_generator(generator, torch.empty(0, device=device))

    def fresh(*shape: int) -> Tensor:
        return drawn(torch.rand, shape, generator, torch.float64, device)

    if sampler == "iid":
        u = fresh(n, *dist.batch_shape, *dist.event_shape)
    elif sampler == "antithetic":
        half = fresh(n // 2, *dist.batch_shape, *dist.event_shape)
        u = torch.cat([half, 1 - half])
    else:
        dims = math.prod(dist.event_shape)
        if dims > SobolEngine.MAXDIM:
            raise ConfigurationError(
                f"`sampler` got 'sobol' for events of {dims} numbers; expected at most "
                f"{SobolEngine.MAXDIM}; use sampler='antithetic' or 'iid'."
            )
        try:
            points = SobolEngine(dims).draw(n // groups, dtype=torch.float64).to(device)
        except RuntimeError as error:  # the engine reads its own tables, which transforms hide
            raise ConfigurationError(
                "`sampler` got 'sobol' where torch cannot make Sobol points, such as inside a "
                "torch.func transform; expected a plain call; use sampler='antithetic' there."
            ) from error
        points = points.view(-1, *[1] * (1 + len(dist.batch_shape)), dims)
        # Every factor and group shifts the same points by bits of its own: each point becomes
        # uniform, factors and groups become independent, and the spread of the points remains.
        shift = fresh(groups, *dist.batch_shape, dims)
        whole = (shift * 2**_BITS).floor()
        moved = (points * 2**_BITS).long() ^ whole.long()
        u = (moved + (shift * 2**_BITS - whole)) * 2.0**-_BITS
        u = u.view(n, *dist.batch_shape, *dist.event_shape)
    smallest = torch.finfo(torch.float64).eps
    inside: Tensor = u.clamp(smallest, 1 - smallest)
    return inside


def _inverse(dist: Distribution, u: Tensor, sampler: str) -> Tensor:
    """The inverse distribution function at `u`, increasing in each coordinate."""
    if isinstance(dist, Independent):
        return _inverse(dist.base_dist, u, sampler)
    parameter = parameter_of(dist)
    dtype = torch.get_default_dtype() if parameter is None else parameter.dtype
    if isinstance(dist, Bernoulli):
        # In double precision: 1 - p is 1 for what is rare, in bfloat16 for all below 1 in 500.
        probs = own_probs(dist)
        never = dist.logits.double().neg().sigmoid() if probs is None else 1 - probs.double()
        return (u > never).to(dtype)
    if isinstance(dist, Categorical):
        upto = dist.probs.double().cumsum(-1)
        # Probabilities of low precision sum to one by what they were rounded by, and no more.
        below: Tensor = upto[..., :-1] / upto[..., -1:]
        return (u.unsqueeze(-1) > below).sum(-1)
    if isinstance(dist, MultivariateNormal):
        standard: Tensor = torch.special.ndtri(u).to(dtype).unsqueeze(-1)
        return dist.loc + (dist.scale_tril @ standard).squeeze(-1)
    if not dist.event_shape:
        with suppress(NotImplementedError):  # torch's way to say that there is no icdf
            return dist.icdf(u).to(dtype)
    raise ConfigurationError(
        f"`sampler` got {sampler!r} for {type(dist).__name__}, which torch cannot draw by its "
        "inverse distribution function; expected one with icdf(), Bernoulli, Categorical or "
        "MultivariateNormal; use sampler='iid'."
    )
