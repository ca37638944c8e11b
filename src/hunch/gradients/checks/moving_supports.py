"""Whether the support of a distribution moves with a parameter that carries a gradient.

There the score function misses what crosses the border: for Uniform(0, θ) the density inside says
how much thinner it becomes, and nothing says that it also becomes wider. A transformed
distribution names only the last transform's codomain as its support, which for a shift is the whole
line, so its support is followed from the base through the transforms.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    ComposeTransform,
    Distribution,
    Independent,
    MixtureSameFamily,
    PowerTransform,
    TransformedDistribution,
    constraints,
)
from torch.distributions.transforms import (
    CatTransform,
    IndependentTransform,
    StackTransform,
    Transform,
    _InverseTransform,
)

from hunch.errors import ConfigurationError
from hunch.gradients.checks.distributions import base_of
from hunch.gradients.checks.gradient_flow import carries_gradient, underlying

# What is known of a support: its two ends, or the kind of constraint that it is.
Extent = tuple[float, float] | type
_WHOLE: Final = (-torch.inf, torch.inf)
_POSITIVE: Final = (0.0, torch.inf)
_UNIT: Final = (0.0, 1.0)


class _Elsewhere:
    """A support that stays where it is, wherever that may be."""


def refuse_moving_support(dist: Distribution, samples: Tensor) -> None:
    """Refuse a distribution whose support moves with what is trained.

    Args:
        dist: the distribution.
        samples: drawn from it, to ask transforms whether they carry a gradient.

    Raises:
        ConfigurationError: if the support moves, or if a trained transform leaves unknown whether
            it does.

    Example:
        >>> unit = torch.distributions.Uniform(0.0, 1.0)
        >>> refuse_moving_support(unit, unit.sample())
    """
    if _moves(dist, samples):
        remedy = (
            "use estimator='pathwise' with a continuous cost"
            if dist.has_rsample
            else "draw from a support that stays, such as Uniform(0, 1), and let `f` move it"
        )
        raise ConfigurationError(
            f"`dist` got {type(dist).__name__}, whose support moves with a trained parameter; the "
            f"score function is biased there; {remedy}."
        )


def _moves(dist: Distribution, samples: Tensor) -> bool:
    if isinstance(dist, Independent):
        return _moves(dist.base_dist, samples)
    if isinstance(dist, MixtureSameFamily):
        return _moves(dist.component_distribution, samples)
    # Torch's own families name their true support, whatever they are made of.
    if isinstance(dist, TransformedDistribution) and _names_last_step(type(dist)):
        return _moves(dist.base_dist, samples) or _shifted(dist, samples)
    return _ends_carry(_support(dist))


def _names_last_step(kind: type[TransformedDistribution]) -> bool:
    return kind.support is TransformedDistribution.support


def _support(dist: Distribution) -> object:
    try:
        return dist.support
    except NotImplementedError:
        return None


def _ends_carry(constraint: object) -> bool:
    if constraint is None or constraint is constraints.real:
        return False
    ends = vars(_innermost(constraint)).values()
    return any(
        isinstance(end, Tensor) and carries_gradient(end) and not _infinite(end) for end in ends
    )


def _innermost(constraint: object) -> object:
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return constraint


def _infinite(end: Tensor) -> bool:
    """An end at infinity stays there, whatever it was computed from."""
    return not torch.compiler.is_compiling() and bool(underlying(end).isinf().all())


# ------------------------------------------------------------------ through transforms


def _shifted(dist: TransformedDistribution, samples: Tensor) -> bool:
    base = base_of(dist.base_dist)
    return _after_all(dist.transforms, _extent(_support(base)), samples) is None


def _after_all(steps: list[Transform], extent: Extent, samples: Tensor) -> Extent | None:
    for step in steps:
        after = _after(step, extent, samples)
        if after is None:
            return None
        extent = after
    return extent


def _after(step: Transform, extent: Extent, samples: Tensor) -> Extent | None:
    """The support after one more transform; None if it moves."""
    if isinstance(step, ComposeTransform):
        return _after_all(step.parts, extent, samples)
    if isinstance(step, IndependentTransform):
        return _after(step.base_transform, extent, samples)
    if isinstance(step, StackTransform | CatTransform):
        each = [_after(part, extent, samples) for part in step.transforms]
        return None if None in each else each[0] if len(set(each)) == 1 else _Elsewhere
    # All of its domain becomes all of its codomain.
    if extent is not _Elsewhere and extent == _extent(step.domain):
        return None if _ends_carry(step.codomain) else _extent(step.codomain)
    if isinstance(step, AffineTransform):
        return _stretched(step, extent)
    if isinstance(step, PowerTransform) and extent == _UNIT:
        return _UNIT  # zero and one are their own powers
    return None if _carries(step, samples) else _Elsewhere


def _stretched(step: AffineTransform, extent: Extent) -> Extent | None:
    loc, scale = (_number(value) for value in (step.loc, step.scale))
    if loc is not None and scale is not None and isinstance(extent, tuple):
        low, high = sorted(loc + scale * end for end in extent)
        return low, high
    moves = [isinstance(v, Tensor) and carries_gradient(v) for v in (step.loc, step.scale)]
    if not any(moves):
        return _Elsewhere
    # Stretched from its own end, half a line stays where it is.
    if extent != _POSITIVE or moves[0]:
        return None
    return _POSITIVE if loc == 0 else _Elsewhere


def _carries(step: Transform, samples: Tensor) -> bool:
    """Whether the transform carries a gradient, of an attribute or of what it closes over."""
    # The method behind the call fills no cache of the user's; an inverse borrows its original's.
    inverted = isinstance(step, _InverseTransform)
    call = step._inv._inverse if inverted else step._call  # type: ignore[union-attr]
    try:
        after = call(samples.detach())
    except Exception:  # made for another shape: then it is not known
        return True
    return carries_gradient(after)


def _extent(constraint: object) -> Extent:
    inner = _innermost(constraint)
    if inner is constraints.real:
        return _WHOLE
    state = vars(inner) if inner is not None else {}
    low, high = state.get("lower_bound", -torch.inf), state.get("upper_bound", torch.inf)
    if "lower_bound" in state or "upper_bound" in state:
        ends = _number(low), _number(high)
        return _Elsewhere if None in ends else ends  # type: ignore[return-value]
    return type(inner) if not state else _Elsewhere


def _number(value: Tensor | float) -> float | None:
    """One number, if it is one, known from here, and not trained."""
    if not isinstance(value, Tensor):
        return float(value)
    if torch.compiler.is_compiling() or carries_gradient(value) or value.numel() == 0:
        return None
    numbers = underlying(value)
    low, high = numbers.min().item(), numbers.max().item()
    return float(low) if low == high else None
