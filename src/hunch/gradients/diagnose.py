"""How noisy, how biased, how dear: every way to estimate a gradient, measured on your problem."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.gradients.diagnosis import Diagnosis, Row, recommend
from hunch.gradients.guards import Cost
from hunch.gradients.learned import EMA
from hunch.gradients.relax import Relax
from hunch.gradients.relaxations import Gumbel
from hunch.gradients.repeated import Params, Repeated, Way, in_order

_SAMPLERS = ("iid", "antithetic", "sobol")
_MATERIAL = 0.01  # of the gradient's length, in one coordinate: less is not called a bias
_LONG = 20  # a reference by Monte Carlo takes so many times the draws of a row


WAYS = (
    *(Way("score", baseline, "iid") for baseline in ("none", "loo", "ema", "self-critical")),
    *(Way("score", base, sampler) for sampler in _SAMPLERS[1:] for base in ("none", "loo")),
    *(Way("pathwise", "", sampler) for sampler in _SAMPLERS),
    Way("measure"),
    Way("enumerate"),
    Way("rebar", "", "iid"),
    Way("straight_through", "", "iid"),
    Way("gumbel", "", "iid"),
)
_BIASED = ("straight_through", "gumbel")


def diagnose(
    f: Cost,
    dist_fn: Callable[..., Distribution],
    params: Params,
    n: int = 16,
    *,
    estimators: str | Sequence[str | Gumbel | Relax] = "all",
    exact: Params | None = None,
    repeats: int = 1000,
    seed: int = 0,
) -> Diagnosis:
    """Bias, variance, cost and time of every estimator that applies to `E[f(z)]`.

    All repeats are computed at once, on parameters with a leading axis of `repeats` rows, where
    `dist_fn` and `f` work row by row; that is tried first. Where they do not they are called
    `repeats` times.

    Args:
        f: samples `(n, *batch, *event)` to costs `(n, *batch)`, as in
            `hunch.gradients.expectation`.
        dist_fn: parameters to a distribution: `dist_fn(*params)`, or `dist_fn(**params)` for a
            dict.
        params: where the gradient is taken: a tensor, several, or a dict of them.
        n: samples per call.
        estimators: `"all"`, or names, or `Gumbel` and `Relax` objects.
        exact: the true gradient of the summed expectation, in the form of `params`. None for the
            sum over a finite support if there is one, else for the mean of 20 times `repeats` calls
            of an estimator that is unbiased for any cost, whose error is allowed for.
        repeats: calls per row, at least 10. The variances have a relative error of about
            `sqrt(2 / repeats)`, more for heavy tails.
        seed: decides every draw, on the CPU.

    Returns:
        The rows, best first, and a recommendation; `print` it.

    Raises:
        ConfigurationError: if an argument cannot work, or no estimator applies.
        ShapeError: if `exact` does not have the shapes of `params`.

    Example:
        >>> import torch
        >>> from torch.distributions import Normal
        >>> mu, sigma = torch.tensor(1.0), torch.tensor(0.01)
        >>> found = diagnose(lambda z: z**2, Normal, (mu, sigma), n=4, repeats=200)
        >>> found.rows[0].estimator, found.rows[-1].label
        ('pathwise', 'score + none + antithetic')
        >>> ratio = found.rows[-1].variance_cost / found.rows[0].variance_cost
        >>> ratio > 1000
        True

    Reference:
        Mohamed et al. (2020), "Monte Carlo Gradient Estimation in Machine Learning", section 3, for
        the criteria.
    """
    problem = Repeated(f, dist_fn, params, n, repeats, seed)
    ways = _chosen(estimators)
    reference = _given(problem, exact) if exact is not None else _reference(problem)
    limit = _limit(problem.coordinates * len(ways))
    rows: list[Row] = []
    skipped: list[tuple[str, str]] = []
    for way in ways:
        try:
            rows.append(_row(problem, way, reference, limit))
        except (ConfigurationError, DataError) as error:
            skipped.append((way.label, str(error)))
    if not rows:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in skipped)
        raise ConfigurationError(f"`estimators` left none that applies here ({reasons}).")
    rows.sort(key=lambda row: (not row.trusted, row.variance_cost, row.evaluations))
    return Diagnosis(
        rows=tuple(rows),
        skipped=tuple(skipped),
        n=n,
        repeats=repeats,
        coordinates=problem.coordinates,
        gradient_norm=float(reference.gradient.norm()),
        reference=reference.source,
        limit=limit,
        seed=seed,
        recommendation=recommend(rows),
    )


class _Reference(NamedTuple):
    gradient: Tensor  # (coordinates,), double precision
    error: Tensor  # its standard error
    source: str


def _chosen(estimators: str | Sequence[str | Gumbel | Relax]) -> list[Way]:
    if isinstance(estimators, str):
        if estimators == "all":
            return list(WAYS)
        estimators = [estimators]
    ways: list[Way] = []
    for name in estimators:
        found = [Way(name, "", "iid")] if isinstance(name, Gumbel | Relax) else []
        found = found or [way for way in WAYS if way.estimator == name]
        if not found:
            names = ", ".join(dict.fromkeys(repr(way.estimator) for way in WAYS))
            raise ConfigurationError(
                f"`estimators` got {name!r}; expected 'all', {names}, or a Gumbel or Relax."
            )
        ways += found
    return ways


def _given(problem: Repeated, exact: Params) -> _Reference:
    values = in_order(exact, problem.names)
    shapes = [tuple(value.shape) for value in values]
    wanted = [tuple(p.shape) for p in problem.params]
    if shapes != wanted:
        raise ShapeError(f"`exact` got shapes {shapes}; expected those of `params`, {wanted}.")
    gradient = torch.cat([value.detach().double().flatten() for value in values])
    return _Reference(gradient, torch.zeros_like(gradient), "given")


def _reference(problem: Repeated) -> _Reference:
    """The gradient by enumeration, or by a long run of what is unbiased for any cost."""
    generator = problem.generator("reference")
    try:
        exact = problem.once(Way("enumerate"), 1, generator, EMA(), problem.f)[0]
        return _Reference(exact, torch.zeros_like(exact), "enumeration")
    except ConfigurationError:
        pass
    n, runs = max(problem.n, 16), _LONG
    if not problem.stacks:  # many samples in one call are cheaper than many calls
        n, runs = n * _LONG, 1
    reasons = []
    # The path comes last: it is wrong for a cost with jumps, which cannot always be seen.
    for way in (Way("measure"), Way("score", "loo", "iid"), Way("pathwise", "", "iid")):
        try:
            found = [problem.estimates(way, n, f"reference {i}") for i in range(runs)]
        except ConfigurationError as refusal:
            reasons.append(str(refusal))
            continue
        mean = torch.stack([run.mean(0) for run in found]).mean(0)
        spread = torch.stack([run.var(0) for run in found]).mean(0)
        error = (spread / (runs * problem.repeats)).sqrt()
        return _Reference(mean, error, f"a long run of {way.name!r}")
    raise ConfigurationError(f"`estimators` left none that applies here ({'; '.join(reasons)}).")


def _limit(comparisons: int) -> float:
    """The |z| that one of so many normal numbers passes with a probability of 1/1000."""
    tail = torch.tensor(0.0005 / comparisons, dtype=torch.float64)
    return float(-torch.special.ndtri(tail))


def _row(problem: Repeated, way: Way, reference: _Reference, limit: float) -> Row:
    found = problem.estimates(way, problem.n, f"row {way.label}")
    mean, variance = found.mean(0), found.var(0)
    miss = mean - reference.gradient
    # An estimator may be exact in a coordinate; then rounding is all the error there is.
    rounding = 16 * torch.finfo(problem.params[0].dtype).eps * float(found.abs().max())
    total, norm = float(variance.sum()), float(reference.gradient.norm())
    # What happens too rarely to be seen in so many calls, as a coin's tosses that hardly ever fall
    # the other way, leaves a small error behind and no variance that would explain it.
    least = max(rounding + 1e-30, _MATERIAL * norm / limit)
    error = (variance / problem.repeats + reference.error**2).sqrt().clamp_min(least)
    if total <= rounding**2 * problem.coordinates:
        total = 0.0
    bias_z = float((miss.abs() / error).max())
    evaluations, milliseconds = _price(problem, way)
    return Row(
        estimator=way.name,
        baseline=way.baseline,
        sampler=way.sampler,
        bias_z=bias_z,
        relative_bias=float(miss.norm()) / norm if norm else float("inf"),
        biased=bias_z > limit,
        unbiased_by_design=not isinstance(way.estimator, Gumbel) and way.estimator not in _BIASED,
        variance=total,
        evaluations=evaluations,
        signal_to_noise=norm / total**0.5 if total else float("inf"),
        milliseconds=milliseconds,
    )


def _price(problem: Repeated, way: Way) -> tuple[int, float]:
    """Evaluations of the cost and median milliseconds of one call, as the user would make it."""
    counts = [0]

    def counted(z: Tensor) -> Tensor:
        counts[0] += len(z)
        return problem.f(z)

    generator, ema = problem.generator("price"), EMA()
    problem.once(way, problem.n, generator, ema, counted)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        problem.once(way, problem.n, generator, ema, problem.f)
        times.append(time.perf_counter() - start)
    return counts[0], 1000 * statistics.median(times)
