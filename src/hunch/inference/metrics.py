"""How good a predictive distribution of numbers is: scores, coverage, calibration.

Scores are of one datum each, lower is better, and proper: nothing expects a better one than the
truth does. They are in the shape of the observations, so the mean is yours to take; those of
numbers can be differentiated.

Forecasts have the shape of the observations: a column `(n, 1)` against `(n,)` would be paired with
each of them, and is refused with a `ShapeError`. What is no forecast, such as NaN or a negative
standard deviation, is refused with a `DataError`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.seeding import numpy_generator
from hunch.validation import real_number


def nll(log_prob: Tensor) -> Tensor:
    """Negative logarithm of the likelihood, averaged over members: −log (1/K) Σ_k p_k(y).

    Args:
        log_prob: each member's log-likelihood of each observation, `(members, …)`: the predictive's
            `member_log_prob(y)`.

    Returns:
        `(…)`, in nats.

    Example:
        >>> from hunch.inference import Predictive
        >>> p, y = Predictive(torch.randn(5, 3), noise_std=1.0), torch.zeros(3)
        >>> torch.allclose(nll(p.member_log_prob(y)), -p.distribution().log_prob(y))
        True
    """
    return math.log(log_prob.shape[0]) - log_prob.logsumexp(dim=0)


def joint_nll(log_prob: Tensor, batches: Tensor) -> Tensor:
    """Negative log-likelihood of several observations together: −log (1/K) Σ_k Π_t p_k(y_t).

    It tells what the score of each alone cannot: whether a member that is right at one input is
    right at the other, which is what members are for.

    Args:
        log_prob: each member's log-likelihood of each observation, `(members, data)`: the
            predictive's `member_log_prob(y)`, summed over outputs.
        batches: which observations belong together, `(batches, size)`, positions in `data`; see
            `dyadic_batches`.

    Returns:
        `(batches,)`, in nats.

    Raises:
        ShapeError: if `log_prob` or `batches` has another number of axes.

    Example:
        >>> joint_nll(torch.tensor([[0.5, 1.0], [0.5, 0.0]]).log(), torch.tensor([[0, 1], [0, 0]]))
        tensor([1.3863, 1.3863])

    Reference:
        Osband et al. (2022), "The Neural Testbed: evaluating joint predictions", section 2.
    """
    if log_prob.ndim != 2 or batches.ndim != 2:
        raise ShapeError(
            f"`log_prob` got shape {tuple(log_prob.shape)} and `batches` {tuple(batches.shape)}; "
            "expected (members, data) and (batches, size)."
        )
    return nll(log_prob[:, batches].sum(dim=-1))


def dyadic_batches(
    num_data: int, num_batches: int, *, size: int = 10, num_anchors: int = 2, seed: int = 0
) -> Tensor:
    """Batches that repeat a few points, for `joint_nll`.

    Points drawn at random say little about each other, so that even at size 10 a joint score is
    nearly the sum of single ones. Here each batch draws two anchors, and its points from those.

    Args:
        num_data: how many points there are, at least `num_anchors`.
        num_batches: how many batches, at least 1.
        size: τ, points in a batch, at least 1.
        num_anchors: κ, distinct points in a batch at most, at least 1.
        seed: decides the draws.

    Returns:
        Positions `(num_batches, size)`, int64.

    Raises:
        ConfigurationError: for a number below 1, or more anchors than data.

    Note:
        The Neural Testbed draws a new label for each repetition of a point. Where labels can be
        drawn, make `log_prob` of observations drawn for `batches` and score those; with one label a
        datum, as here, a repetition has the label of its anchor.

    Example:
        >>> batches = dyadic_batches(100, 5)
        >>> batches.shape, max(len(set(row.tolist())) for row in batches)
        (torch.Size([5, 10]), 2)

    Reference:
        Osband et al. (2022), "Evaluating high-order predictive distributions in deep learning",
        section 3.
    """
    sizes = {"num_batches": num_batches, "size": size, "num_anchors": num_anchors}
    for name, value in sizes.items():
        if value < 1:
            raise ConfigurationError(f"`{name}` got {value}; expected at least 1.")
    if num_data < num_anchors:
        raise ConfigurationError(
            f"`num_data` got {num_data}; expected at least num_anchors = {num_anchors}."
        )
    rng = numpy_generator(seed, "dyadic")
    anchors = np.empty((num_batches, 0), dtype=np.int64)
    for taken in range(num_anchors):
        # A number among those left becomes a position by stepping over the anchors before it.
        anchor = rng.integers(num_data - taken, size=num_batches)
        for other in np.sort(anchors, axis=1).T:
            anchor += anchor >= other
        anchors = np.column_stack([anchors, anchor])
    which = rng.integers(num_anchors, size=(num_batches, size))
    return torch.from_numpy(np.take_along_axis(anchors, which, axis=1))


def gaussian_nll(mean: Tensor, std: Tensor, y: Tensor) -> Tensor:
    """Negative log-density of a Gaussian.

    Args:
        mean: its mean, `(…)`.
        std: its standard deviation, at least 0: of each, or one number for all. With 0 the score
            is infinite, below zero where the forecast is the truth.
        y: observations, `(…)`.

    Example:
        >>> gaussian_nll(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0))
        tensor(0.9189)
    """
    std = _check_gaussians(mean, std, y)
    exact = torch.where(y == mean, -torch.inf, torch.inf).to(std)
    width = torch.where(std > 0, std, 1.0)
    density = 0.5 * ((y - mean) / width).square() + width.log() + 0.5 * math.log(2 * math.pi)
    return torch.where(std > 0, density, exact)


def gaussian_crps(mean: Tensor, std: Tensor, y: Tensor) -> Tensor:
    """Continuous ranked probability score of a Gaussian, in units of y.

    CRPS = ∫ (F(t) − 1{t ≥ y})² dt; for a point forecast it is the absolute error.

    Args:
        mean: its mean, `(…)`.
        std: its standard deviation, at least 0: of each, or one number for all.
        y: observations, `(…)`.

    Example:
        >>> gaussian_crps(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0))
        tensor(0.2337)

    Reference:
        Gneiting & Raftery (2007), "Strictly proper scoring rules, prediction, and estimation",
        eq. 21.
    """
    std = _check_gaussians(mean, std, y)
    return _absolute_moment(y - mean, std) - std / math.sqrt(math.pi)


def ensemble_crps(members: Tensor, y: Tensor, *, fair: bool = False) -> Tensor:
    """CRPS of the members themselves, without noise: E|X − y| − E|X − X′|/2.

    Args:
        members: `(members, …)`.
        y: observations, `(…)`.
        fair: if False, the score of the empirical distribution, which small ensembles do worse in;
            if True, an unbiased estimate of what infinitely many such members would score.

    Raises:
        ConfigurationError: if `fair` is asked of a single member.

    Example:
        >>> members, y = torch.tensor([[0.0], [2.0]]), torch.tensor([1.0])
        >>> ensemble_crps(members, y), ensemble_crps(members, y, fair=True)
        (tensor([0.5000]), tensor([0.]))

    Reference:
        Gneiting & Raftery (2007), eq. 20; Ferro (2014), "Fair scores for ensemble forecasts".
    """
    _check_members(members, y)
    k = members.shape[0]
    if fair and k == 1:
        raise ConfigurationError("`fair` got True for one member; expected at least two.")
    rank = torch.arange(1 - k, k, 2, dtype=members.dtype, device=members.device)
    # Sorted, each pair's difference appears once: Σ_i (2i − K − 1) x_(i), for i from 1.
    pairs: Tensor = torch.tensordot(rank, members.sort(dim=0).values, dims=1)
    distance: Tensor = (members - y).abs().mean(dim=0)
    return distance - pairs / (k * (k - 1) if fair else k * k)


def mixture_crps(members: Tensor, noise_std: Tensor | float, y: Tensor) -> Tensor:
    """CRPS of a mixture of one Gaussian a member: that of a `Predictive` with noise.

    Args:
        members: means `(members, …)`.
        noise_std: standard deviations of at least 0: a number, or of each datum `(…)`, or of each
            member too.
        y: observations, `(…)`.

    Example:
        >>> mixture_crps(torch.zeros(3, 1), 1.0, torch.zeros(1))
        tensor([0.2337])

    Reference:
        Grimit, Gneiting, Berrocal & Johnson (2006), "The continuous ranked probability score for
        circular variables and its application to mesoscale forecast ensemble verification", eq. 6.
    """
    _check_members(members, y)
    noise = widths_like(members, noise_std)
    one = members if noise.ndim == members.ndim else members[0]
    std = _check_std("noise_std", noise, one).expand_as(members)
    spread = torch.zeros_like(members[0])
    for mean_k, std_k in zip(
        members, std, strict=True
    ):  # all pairs at once would take K times more
        spread = spread + _absolute_moment(members - mean_k, torch.hypot(std, std_k)).mean(dim=0)
    distance: Tensor = _absolute_moment(y - members, std).mean(dim=0)
    return distance - spread / (2 * members.shape[0])


def interval_score(low: Tensor, high: Tensor, y: Tensor, *, coverage: float) -> Tensor:
    """The width of an interval, plus a fine of 2/(1 − coverage) times the distance to a miss.

    Args:
        low: lower ends, `(…)`.
        high: upper ends.
        y: observations.
        coverage: what the interval promises, between 0 and 1.

    Returns:
        `(…)`, in units of y.

    Raises:
        ConfigurationError: if `coverage` is out of range.

    Example:
        >>> low, high, y = torch.tensor([0.0]), torch.tensor([2.0]), torch.tensor([3.0])
        >>> interval_score(low, high, y, coverage=0.5)
        tensor([6.])

    Reference:
        Gneiting & Raftery (2007), eq. 43.
    """
    real_number("coverage", coverage, above=0.0, below=1.0)
    _check_alike({"low": low, "high": high, "y": y})
    missed = (low - y).clamp_min(0) + (y - high).clamp_min(0)
    return high - low + 2 / (1 - coverage) * missed


def interval_coverage(low: Tensor, high: Tensor, y: Tensor) -> Tensor:
    """The share of observations inside their intervals, ends included, for each output.

    Args:
        low: lower ends, `(data, *out)`.
        high: upper ends.
        y: observations.

    Returns:
        `(*out,)`, between 0 and 1.

    Example:
        >>> interval_coverage(torch.zeros(4), torch.ones(4), torch.tensor([0.5, 1.0, 1.5, -1.0]))
        tensor(0.5000)
    """
    _check_alike({"low": low, "high": high, "y": y})
    return ((low <= y) & (y <= high)).to(low).mean(dim=0)


def calibration_error(cdf: Tensor, *, num_levels: int = 100) -> Tensor:
    """How far central intervals' coverage is from what they promise, averaged over promises.

    Args:
        cdf: the predictive distribution function at each observation, `(data, *out)`:
            `p.distribution().cdf(y)`.
        num_levels: promises, evenly from 0 to 1, at least 2.

    Returns:
        `(*out,)`: 0 is perfect, 0.5 the worst.

    Raises:
        ConfigurationError: for fewer levels.

    Note:
        An interval that always covers what it promises may still be useless: read it beside a
        score. With n data the error of a perfect forecast is about 0.3/√n, not 0.

    Example:
        >>> round(calibration_error(torch.linspace(0, 1, 1001)).item(), 2)
        0.0
        >>> round(calibration_error(torch.full((50,), 0.5)).item(), 3)  # far too wide
        0.5

    Reference:
        Kuleshov, Fenner & Ermon (2018), "Accurate uncertainties for deep learning using calibrated
        regression"; Chung et al. (2021), "Uncertainty Toolbox", for this form.
    """
    if num_levels < 2:
        raise ConfigurationError(f"`num_levels` got {num_levels}; expected at least 2.")
    if cdf.ndim == 0 or not bool(((cdf >= 0) & (cdf <= 1)).all()):
        raise DataError(
            f"`cdf` got shape {tuple(cdf.shape)}, or values outside 0 to 1; expected the "
            "probability of a smaller observation, one for each datum."
        )
    # y lies in the central interval of this coverage and in all wider ones.
    reached = (2 * cdf - 1).abs().sort(dim=0).values
    levels = torch.linspace(0, 1, num_levels, dtype=cdf.dtype, device=cdf.device)
    rows = reached.reshape(len(cdf), -1).T.contiguous()
    inside = torch.searchsorted(rows, levels.expand(len(rows), -1).contiguous(), right=True)
    error = (inside / len(cdf) - levels).abs().mean(dim=1)
    return error.reshape(cdf.shape[1:]).to(cdf.dtype)


def _absolute_moment(mean: Tensor, std: Tensor) -> Tensor:
    """E|X| for a Gaussian X, which without a width is a point."""
    width = torch.where(std > 0, std, 1.0)
    z = mean / width
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    moment = mean * torch.erf(z / math.sqrt(2)) + 2 * width * density
    return torch.where(std > 0, moment, mean.abs())


def _check_gaussians(mean: Tensor, std: Tensor | float, y: Tensor) -> Tensor:
    _check_alike({"mean": mean, "y": y})
    return _check_std("std", widths_like(mean, std), mean)


def widths_like(mean: Tensor, widths: Tensor | float) -> Tensor:
    """Widths as a tensor beside means, whose type would cut them off if it is of whole numbers."""
    kind = mean.dtype if mean.is_floating_point() else torch.get_default_dtype()
    return torch.as_tensor(widths).to(mean.device, kind)


def _check_members(members: Tensor, y: Tensor) -> None:
    _check_tensors({"members": members, "y": y})
    if members.ndim == 0 or not len(members) or members.shape[1:] != y.shape:
        raise ShapeError(
            f"`members` got shape {tuple(members.shape)} and `y` {tuple(y.shape)}; expected "
            "(members, …) and (…)."
        )
    _check_known({"members": members, "y": y})


def _check_tensors(values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise DataError(
                f"`{name}` got {type(value).__name__}; expected a tensor, as torch.as_tensor makes."
            )


def _check_alike(values: dict[str, Tensor]) -> None:
    _check_tensors(values)
    if len({value.shape for value in values.values()}) > 1:
        got = ", ".join(f"`{name}` {tuple(value.shape)}" for name, value in values.items())
        raise ShapeError(f"shapes differ: {got}; expected one and the same.")
    _check_known(values)


def _check_known(values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        if bool(value.isnan().any()):
            raise DataError(f"`{name}` holds NaN; expected numbers only.")


def _check_std(name: str, std: Tensor, like: Tensor) -> Tensor:
    """A number for all, or one for each; of those along an axis of size 1 all are meant."""
    fits = std.ndim in (0, like.ndim) and all(
        size in (1, full) for size, full in zip(std.shape, like.shape, strict=False)
    )
    if not fits:
        raise ShapeError(
            f"`{name}` got shape {tuple(std.shape)}; expected a number, or {tuple(like.shape)}."
        )
    if not bool((std >= 0).all()):
        raise DataError(f"`{name}` holds negative values or NaN; expected at least 0.")
    return std
