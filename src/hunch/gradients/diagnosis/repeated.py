"""Many independent estimates of one gradient, all at once where the problem allows it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from hunch.errors import ConfigurationError
from hunch.gradients.baselines.given import Baseline
from hunch.gradients.baselines.learned import EMA
from hunch.gradients.checks.costs import Cost, checked
from hunch.gradients.estimators.by_name import ESTIMATORS
from hunch.gradients.estimators.request import Estimator
from hunch.gradients.expectation import expectation
from hunch.gradients.sampling.samplers import draw
from hunch.seeding import drawing_from, torch_generator
from hunch.validation import whole_number

Params = Tensor | Sequence[Tensor] | Mapping[str, Tensor]

_BASELINES: Final[dict[str, Baseline]] = {
    "": "auto",
    "none": 0.0,  # as None, but on purpose
    "loo": "loo",
    "self-critical": "self-critical",
}
_WARM = 10  # calls from which a moving average has learned before it is evaluated


class Way(NamedTuple):
    """One combination; an empty baseline or sampler plays no part in it.

    Example:
        >>> Way("score", "loo", "sobol").label
        'score + loo + sobol'
    """

    estimator: str | Estimator
    baseline: str = ""
    sampler: str = ""

    @property
    def name(self) -> str:
        """The estimator in words."""
        if isinstance(self.estimator, str):
            return self.estimator
        name = getattr(self.estimator, "__name__", None) or f"{self.estimator}"
        return re.sub(r" at 0x[0-9a-fA-F]+", "", name)  # it names a stream of random numbers

    @property
    def biased(self) -> bool:
        """Whether it says of itself that it is biased."""
        how = self.estimator
        return getattr(ESTIMATORS[how] if isinstance(how, str) else how, "biased", False)

    @property
    def label(self) -> str:
        """The whole in words."""
        return " + ".join(part for part in (self.name, self.baseline, self.sampler) if part)


_TYPICAL = 1000  # samples of which a typical cost is the mean


class Repeated:
    """A problem, and independent estimates of its gradient.

    The arguments are those of `hunch.gradients.diagnose`.

    Raises:
        ConfigurationError: if an argument cannot work.

    Example:
        >>> normal = torch.distributions.Normal
        >>> problem = Repeated(torch.square, normal, (torch.zeros(3), torch.ones(3)), 2, 50, seed=0)
        >>> problem.estimates(Way("score", "loo"), 2, "a purpose").shape
        torch.Size([50, 6])
    """

    def __init__(
        self,
        f: Cost,
        dist_fn: Callable[..., Distribution],
        params: Params,
        n: int,
        repeats: int,
        seed: int,
    ) -> None:
        repeats = whole_number("repeats", repeats, at_least=10)
        self.f, self.n, self.repeats, self.seed = f, n, repeats, seed
        self.names = tuple(params) if isinstance(params, Mapping) else None
        self.params = [p.detach() for p in in_order(params, self.names)]
        self.dist_fn = dist_fn
        self.coordinates = sum(p.numel() for p in self.params)
        if not self.coordinates:
            raise ConfigurationError("`params` got nothing; expected at least one number.")
        # Called as the user would call it, so that what is wrong with `f` is said plainly.
        dist = self.dist(self.leaves())
        expectation(f, dist, n, baseline=0.0, generator=self.generator("first"))
        self.stacks = _stacks(self, dist)

    def in_double(self) -> Repeated:
        """The same problem in double precision; the problem itself where it does not run in it."""
        if all(p.dtype == torch.float64 for p in self.params):
            return self
        values = [p.double() for p in self.params]
        params = values if self.names is None else dict(zip(self.names, values, strict=True))
        try:
            return Repeated(self.f, self.dist_fn, params, self.n, self.repeats, self.seed)
        except Exception:  # the user's functions may fail in any way on numbers of another kind
            return self

    def generator(self, purpose: str) -> torch.Generator | None:
        """Random numbers for a purpose; None on a device whose draws it cannot decide."""
        if any(p.device.type != "cpu" for p in self.params):
            return None
        return torch_generator(self.seed, "diagnose", purpose)

    def dist(self, leaves: Sequence[Tensor]) -> Distribution:
        """The distribution of these parameters."""
        if self.names is None:
            return self.dist_fn(*leaves)
        return self.dist_fn(**dict(zip(self.names, leaves, strict=True)))

    def leaves(self, rows: int | None = None) -> list[Tensor]:
        """Fresh parameters that carry a gradient, each with `rows` equal rows if asked for."""
        lead = () if rows is None else (rows,)
        return [p.expand((*lead, *p.shape)).clone().requires_grad_() for p in self.params]

    def estimates(self, way: Way, n: int, purpose: str) -> Tensor:
        """Independent gradients, shape `(repeats, coordinates)`, in double precision."""
        batch = self.dist(self.leaves()).batch_shape
        ema = EMA(shape=(self.repeats, *[1] * len(batch)) if self.stacks else ())
        rows, calls = (self.repeats, 1) if self.stacks else (None, self.repeats)
        one = partial(self.once, way, n, self.generator(purpose), ema, self.f, rows)
        for _ in range(_WARM if way.baseline == "ema" else 0):
            one()
        return torch.cat([one() for _ in range(calls)])

    def unseen(self, way: Way, purpose: str) -> Tensor:
        """What is missing in the mean of `estimates` of the score for want of rare samples.

        With a constant for a cost the gradient is 0; what the same draws say of it is what samples
        that never came would have taken away, and no variance tells.
        """
        with torch.no_grad():
            dist = self.dist(self.leaves())
            z = draw(dist, _TYPICAL, self.generator("typical cost"), differentiable=False)
            typical = checked(self.f(z), z, dist).mean(0)
        events = len(dist.event_shape)

        def constant(z: Tensor) -> Tensor:
            return typical.expand(z.shape[: z.dim() - events])

        alike = copy.copy(self)
        alike.f = constant
        return alike.estimates(way, self.n, purpose).mean(0)

    def once(
        self,
        way: Way,
        n: int,
        generator: torch.Generator | None,
        ema: EMA,
        f: Cost,
        rows: int | None = None,
    ) -> Tensor:
        """The gradients of one call, shape `(rows or 1, coordinates)`."""
        leaves = self.leaves(rows)
        value = expectation(
            f,
            self.dist(leaves),
            n,
            estimator=way.estimator,
            baseline=ema if way.baseline == "ema" else _BASELINES[way.baseline],
            sampler=way.sampler or "iid",
            generator=generator,
        )
        if not value.requires_grad:
            raise ConfigurationError(
                "`dist_fn` made a distribution that carries no gradient of `params`; expected one "
                "computed from the tensors it is given."
            )
        found = torch.autograd.grad(value.sum(), leaves, materialize_grads=True)
        gradient = torch.cat([g.reshape(rows or 1, -1) for g in found], dim=1).double()
        spoilt = ~value.detach().reshape(rows or 1, -1).isfinite().all(1)
        return gradient.masked_fill(spoilt.unsqueeze(1), torch.nan)

    def mean_costs(self, params: Sequence[Tensor], purpose: str) -> Tensor:
        """The summed mean cost of `repeats` calls, by samples that the purpose alone decides.

        Raises:
            ConfigurationError: if the parameters are none that the distribution may have.
        """
        generator = self.generator(purpose)
        rows = self.repeats if self.stacks else 1
        found = []
        with torch.no_grad():
            leaves = [p.expand((rows, *p.shape)) if self.stacks else p for p in params]
            dist = self.dist(leaves)
            if not _valid(dist):
                raise ConfigurationError("`params` were moved beyond what the distribution allows.")
            for _ in range(self.repeats // rows):
                z = draw(dist, self.n, generator, differentiable=False)
                cost = checked(self.f(z), z, dist)
                found.append(cost.double().mean(0).reshape(rows, -1).sum(1))
        return torch.cat(found)

    def scores(self, purpose: str) -> Tensor:
        """How far the log-probability of a sample moves with each parameter, a row for a sample."""
        generator = self.generator(purpose)
        rows = self.repeats if self.stacks else 1
        found = []
        for _ in range(1 if self.stacks else 50):
            leaves = self.leaves(rows if self.stacks else None)
            dist = self.dist(leaves)
            z = draw(dist, 1, generator, differentiable=False)
            slopes = torch.autograd.grad(dist.log_prob(z).sum(), leaves, materialize_grads=True)
            found.append(torch.cat([g.reshape(rows, -1) for g in slopes], dim=1).double())
        return torch.cat(found)


def in_order(params: Params, names: Sequence[str] | None) -> list[Tensor]:
    """The tensors of `params` in a fixed order.

    Raises:
        ConfigurationError: if they are anything but floating-point tensors, or are named otherwise.

    Example:
        >>> in_order({"b": torch.ones(1), "a": torch.zeros(1)}, ["a", "b"])
        [tensor([0.]), tensor([1.])]
    """
    if names is not None:
        if not isinstance(params, Mapping) or set(params) != set(names):
            raise ConfigurationError(
                f"`exact` does not have the names of `params`; expected {', '.join(names)}."
            )
        values: list[Any] = [params[name] for name in names]
    elif isinstance(params, Mapping):
        raise ConfigurationError("`exact` got names; expected tensors in the order of `params`.")
    else:
        values = list(params) if isinstance(params, list | tuple) else [params]
    for value in values:
        if not (isinstance(value, Tensor) and value.is_floating_point()):
            raise ConfigurationError(
                f"`params` got {type(value).__name__}; expected floating-point tensors: one, "
                "several, or a dict of them."
            )
    return values


def _valid(dist: Distribution) -> bool:
    """What torch looks at by default, until torch.compile turns that off for the whole process."""
    found = vars(dist)
    limits = {
        name: limit
        for name, limit in dist.arg_constraints.items()
        if name in found and not constraints.is_dependent(limit)
    }
    if not all(limit.check(found[name]).all() for name, limit in limits.items()):
        return False
    return "base_dist" not in found or _valid(found["base_dist"])


def _stacks(problem: Repeated, single: Distribution) -> bool:
    """Whether many equal problems can be computed as one, row by row."""
    rows = 3
    try:
        leaves = problem.leaves(rows)
        dist = problem.dist(leaves)
        if (
            dist.batch_shape != (rows, *single.batch_shape)
            or dist.event_shape != single.event_shape
        ):
            return False
        with drawing_from(problem.generator("stacks")):
            z = dist.sample(torch.Size([2]))
        first = dist.log_prob(z)[:, 0].sum()
        slopes = torch.autograd.grad(first, leaves, materialize_grads=True)
        each = torch.stack([problem.f(z[:, r]) for r in range(rows)], dim=1)
        stacked = problem.f(z)
        return (
            all(not slope[1:].any() for slope in slopes)
            and stacked.shape == each.shape
            and torch.allclose(stacked, each, rtol=1e-3, atol=1e-5)
        )
    except Exception:  # the user's functions may fail in any way on shapes they do not expect
        return False
