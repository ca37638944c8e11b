"""How noisy, how biased, how dear: every way to estimate a gradient, measured on your problem."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError, DataError
from hunch.gradients.baselines.learned import EMA
from hunch.gradients.checks.costs import Cost
from hunch.gradients.diagnosis.references import (
    Reference,
    References,
    distance,
    find_references,
    given_references,
)
from hunch.gradients.diagnosis.repeated import Params, Repeated, Way
from hunch.gradients.diagnosis.table import Diagnosis, Row, recommend
from hunch.gradients.estimators.request import Estimator

_SAMPLERS = ("iid", "antithetic", "sobol")
_ENOUGH = 1000  # calls, before a way is called biased
_SINGLE = torch.finfo(torch.float32).eps

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


def diagnose(
    f: Cost,
    dist_fn: Callable[..., Distribution],
    params: Params,
    n: int = 16,
    *,
    estimators: str | Estimator | Sequence[str | Estimator] = "all",
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
        estimators: `"all"`, or one or several: names, `Estimator` objects such as `Gumbel(0.5)`.
        exact: the true gradient of the summed expectation, in the form of `params`. None to find
            it, in double precision where the problem runs in it, by two rules that agree: the sum
            over a finite support, 20 times `repeats` calls of an estimator, or differences of the
            mean cost. Their errors are allowed for. No estimator is judged by itself: one rule
            judges those that share the other's, and if no two agree, what shares the first one's
            stays unjudged.
        repeats: calls per row, at least 10. The variances have a relative error of about
            `sqrt(2 / repeats)`, more for heavy tails. A way that looks biased is called so if it
            looks so together with other calls, at least 1,000 and as many again.
        seed: decides every draw, on the CPU.

    Returns:
        The rows, best first, and a recommendation; `print` it. A way that gave NaN or infinity in
        any call fails, whatever the rest of its calls gave.

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
    limit = _limit(problem.coordinates * len(ways))
    references = (
        given_references(problem, exact)
        if exact is not None
        else find_references(problem.in_double(), limit)
    )
    rows: list[Row] = []
    skipped: list[tuple[str, str]] = []
    for way in ways:
        try:
            rows.append(_row(problem, way, references, limit))
        except (ConfigurationError, DataError) as error:
            skipped.append((way.label, str(error)))
    if not rows:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in skipped)
        raise ConfigurationError(f"`estimators` left none that applies here ({reasons}).")
    rows.sort(key=lambda row: (row.doubt, row.variance_cost, row.evaluations))
    return Diagnosis(
        rows=tuple(rows),
        skipped=tuple(skipped),
        n=n,
        repeats=repeats,
        coordinates=problem.coordinates,
        gradient_norm=references.first.norm,
        reference=references.first.source,
        second_reference=references.second.source if references.second else None,
        limit=limit,
        seed=seed,
        recommendation=recommend(rows),
    )


def _chosen(estimators: str | Estimator | Sequence[str | Estimator]) -> list[Way]:
    if isinstance(estimators, str) and estimators == "all":
        return list(WAYS)
    ways: list[Way] = []
    for name in [estimators] if isinstance(estimators, str) or callable(estimators) else estimators:
        own = callable(name) and not isinstance(name, type)
        found = [Way(name, "", "iid")] if own else [w for w in WAYS if w.estimator == name]
        if not found:
            names = ", ".join(dict.fromkeys(repr(way.estimator) for way in WAYS))
            raise ConfigurationError(
                f"`estimators` got {name!r}; expected 'all', {names}, or an Estimator such as "
                "Gumbel(0.5)."
            )
        ways += found
    return ways


def _limit(comparisons: int) -> float:
    """The |z| that one of so many normal numbers passes with a probability of 1/1000."""
    tail = torch.tensor(0.0005 / comparisons, dtype=torch.float64)
    return float(-torch.special.ndtri(tail))


def _row(problem: Repeated, way: Way, references: References, limit: float) -> Row:
    estimates = problem.estimates(way, problem.n, f"row {way.label}")
    finite = estimates.isfinite().all(1)
    failed = 1 - float(finite.double().mean())
    reference = references.reference_for(way)
    norm = references.first.norm
    bias_z = relative_bias = total = float("inf") if failed else 0.0
    unseen = False
    if not failed:
        eps = torch.finfo(problem.params[0].dtype).eps
        # An estimator may be exact in a coordinate; then rounding is all the error there is. Half
        # precision rounds by more than single, but that is noise, and none of it is exact.
        rounding = 16 * min(eps, _SINGLE) * float(estimates.abs().max())
        variance = estimates.var(0)
        total = float(variance.sum())
        if total <= rounding**2 * problem.coordinates:
            total = 0.0
        if reference is not None:
            miss = estimates.mean(0) - reference.gradient
            error = variance / problem.repeats + reference.error**2
            rounding = max(rounding, 4 * eps * norm / limit)
            bias_z = distance(miss, error, norm, rounding, limit)
            if bias_z > limit and way.estimator == "score":
                error = error + problem.unseen(way, f"row {way.label}").square()
                told = distance(miss, error, norm, rounding, limit)
                bias_z, unseen = (told, True) if told <= limit else (bias_z, False)
            if bias_z > limit:
                bias_z = _found_again(
                    problem, way, estimates, reference, norm, rounding, limit, bias_z
                )
            relative_bias = float(miss.norm()) / norm if norm else float("inf")
    evaluations, milliseconds = _price(problem, way)
    return Row(
        estimator=way.name,
        baseline=way.baseline,
        sampler=way.sampler,
        bias_z=bias_z,
        relative_bias=relative_bias,
        biased=bias_z > limit,
        unbiased_by_design=not way.biased,
        variance=total,
        evaluations=evaluations,
        signal_to_noise=norm / total**0.5 if total else float("inf"),
        milliseconds=milliseconds,
        failed=failed,
        judged=reference is not None and not unseen,
        unseen=unseen,
    )


def _found_again(
    problem: Repeated,
    way: Way,
    estimates: Tensor,
    reference: Reference,
    norm: float,
    rounding: float,
    limit: float,
    bias_z: float,
) -> float:
    """`bias_z`, or that of these calls and others, at least a thousand, if it is not found there.

    Few calls of a skewed estimate lie closer together than they are to its mean, and say so with
    too small a variance: alone they would call it biased.
    """
    runs = math.ceil(_ENOUGH / problem.repeats)
    others = [problem.estimates(way, problem.n, f"again {way.label} {i}") for i in range(runs)]
    again = torch.cat([estimates, *others])
    if not again.isfinite().all():
        return bias_z
    error = again.var(0) / len(again) + reference.error**2
    told = distance(again.mean(0) - reference.gradient, error, norm, rounding, limit)
    return bias_z if told > limit else told


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
