"""What an estimate is held against: the same gradient, come by in another way.

An estimator held against itself is never wrong. So a reference is believed once a second one,
made of other draws by another rule, agrees with it, and each is held against the ways that share
the other's rule. All run in double precision, whatever the problem's is, if the problem allows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.gradients.baselines.learned import EMA
from hunch.gradients.diagnosis.repeated import Params, Repeated, Way, in_order

MATERIAL = 0.01  # of the gradient's length, in one coordinate: less is not called a bias
_LONG = 20  # a reference by Monte Carlo takes so many times the draws of a row
_LEAST = 4000  # and at least so many calls
# Of a difference, in what the distribution tells apart (one over the score's spread); the others
# where a parameter may not be moved by the first.
_STEPS = (0.1, 0.01, 0.001)
_MOST = 64  # coordinates that are moved one by one
# In the order in which they are believed where two disagree. The path comes last: it is wrong for a
# cost with jumps, which cannot always be seen.
_TRUSTED = (
    Way("enumerate"),
    Way("measure"),
    Way("score", "loo", "iid"),
    Way("pathwise", "", "iid"),
)


@dataclass(frozen=True)
class Reference:
    """A gradient, how well it is known, and by what rule.

    Attributes:
        gradient: shape `(coordinates,)`, double precision.
        error: its standard error.
        rule: the estimator; empty for a gradient that was given, or that needs none.
        source: in words.
    """

    gradient: Tensor
    error: Tensor
    rule: str
    source: str

    @property
    def norm(self) -> float:
        """The gradient's length."""
        return float(self.gradient.norm())


@dataclass(frozen=True)
class References:
    """One reference or two that agree: a way is held against the first that is not its own rule."""

    first: Reference
    second: Reference | None

    def reference_for(self, way: Way) -> Reference | None:
        """The reference for a way; None if there is none but its own."""
        if way.estimator != self.first.rule:
            return self.first
        return self.second


def distance(miss: Tensor, variance: Tensor, norm: float, rounding: float, limit: float) -> float:
    """The largest error of a coordinate, in standard errors.

    What happens too rarely to be seen in so many calls, as a coin's tosses that hardly ever fall
    the other way, leaves a small error behind and no variance that would explain it.

    Args:
        miss: errors, shape `(coordinates,)`, with their `variance`.
        variance: of the errors.
        norm: the gradient's length.
        rounding: what may be lost by the precision of the numbers.
        limit: the distance from which on a bias is spoken of.

    Example:
        >>> distance(torch.tensor([0.5]), torch.tensor([0.25]), 1.0, 0.0, 4.0)
        1.0
    """
    least = max(rounding + 1e-30, MATERIAL * norm / limit)
    return float((miss.abs() / variance.sqrt().clamp_min(least)).max())


def given_references(problem: Repeated, exact: Params) -> References:
    """The gradient that the user knows.

    Raises:
        ShapeError: if it does not have the shapes of the parameters.
    """
    values = in_order(exact, problem.names)
    shapes = [tuple(value.shape) for value in values]
    wanted = [tuple(p.shape) for p in problem.params]
    if shapes != wanted:
        raise ShapeError(f"`exact` got shapes {shapes}; expected those of `params`, {wanted}.")
    gradient = torch.cat([value.detach().double().flatten() for value in values])
    return References(Reference(gradient, torch.zeros_like(gradient), "", "given"), None)


def find_references(problem: Repeated, limit: float) -> References:
    """Two references that agree, or the one that is believed most.

    Args:
        problem: runs in double precision, whatever the judged one does.
        limit: the distance in standard errors from which on two do not agree.

    Raises:
        ConfigurationError: if no way applies.
    """
    seen: list[Reference] = []
    reasons: list[str] = []
    for reference in _candidates(problem, reasons):
        if not reference.rule:  # needs no estimator, so that all may be judged by it
            agreed = next((other for other in seen if _agree(other, reference, limit)), None)
            return References(agreed, reference) if agreed else References(reference, None)
        for other in seen:
            if _agree(other, reference, limit):
                return References(other, reference)
        seen.append(reference)
    if not seen:
        raise ConfigurationError(
            f"`estimators` left none that applies here ({'; '.join(reasons)})."
        )
    return References(seen[0], None)


def _agree(one: Reference, two: Reference, limit: float) -> bool:
    variance = one.error**2 + two.error**2
    return distance(one.gradient - two.gradient, variance, one.norm, 0.0, limit) <= limit


def _candidates(problem: Repeated, reasons: list[str]) -> Iterator[Reference]:
    for way in _TRUSTED:
        try:
            reference = _run(problem, way)
        except (ConfigurationError, DataError) as refusal:
            reasons.append(str(refusal))
            continue
        if reference.gradient.isfinite().all() and reference.error.isfinite().all():
            yield reference
    if problem.coordinates <= _MOST:
        last = _difference(problem)
        if last is not None:
            yield last


def _run(problem: Repeated, way: Way) -> Reference:
    if way.estimator == "enumerate":
        generator = problem.generator("reference")
        exact = problem.once(way, 1, generator, EMA(), problem.f)[0]
        return Reference(exact, torch.zeros_like(exact), way.name, "enumeration")
    # Of few calls the spread is not known well enough to be the measure of anything.
    n, runs = max(problem.n, 16), math.ceil(max(_LONG * problem.repeats, _LEAST) / problem.repeats)
    if not problem.stacks:  # many samples in one call are cheaper than many calls
        n, runs = n * _LONG, math.ceil(_LEAST / (_LONG * problem.repeats))
    found = [problem.estimates(way, n, f"reference {way.name} {i}") for i in range(runs)]
    return _summary(torch.stack(found), way.name, f"a long run of {way.name!r}")


def _summary(found: Tensor, rule: str, source: str) -> Reference:
    """Of independent estimates, shape `(runs, repeats, coordinates)`."""
    spread = found.var(1).mean(0)
    error = (spread / (found.shape[0] * found.shape[1])).sqrt()
    return Reference(found.mean((0, 1)), error, rule, source)


def _difference(problem: Repeated) -> Reference | None:
    """How the mean cost moves with each parameter, by the same chance on both sides of it.

    Nothing but samples and their costs is asked. Two steps, one twice the other, leave an error of
    the fourth order in the step.
    """
    for step in _STEPS:
        try:
            spread = problem.scores("reference steps").square().mean(0).sqrt()
            steps = [step / float(scale) if scale > 0 else step for scale in spread]
            runs = [
                torch.stack([_slope(problem, i, by, run) for i, by in enumerate(steps)], dim=1)
                for run in range(max(1, _LONG // problem.coordinates))
            ]
        except Exception:  # a parameter may not be moved so far, in whatever words that is said
            continue
        reference = _summary(torch.stack(runs), "", "differences of the mean cost")
        if reference.gradient.isfinite().all():
            return reference
    return None


def _slope(problem: Repeated, coordinate: int, step: float, run: int) -> Tensor:
    """By one parameter, one figure for each repeat."""
    flat = torch.cat([p.flatten() for p in problem.params])
    sizes = [p.numel() for p in problem.params]

    def value(by: float) -> Tensor:
        moved = flat.clone()
        moved[coordinate] += by
        pairs = zip(moved.split(sizes), problem.params, strict=True)
        purpose = f"reference difference {run} {coordinate}"
        return problem.mean_costs([part.view_as(p) for part, p in pairs], purpose)

    one, two = ((value(k * step) - value(-k * step)) / (2 * k * step) for k in (1, 2))
    return (4 * one - two) / 3
