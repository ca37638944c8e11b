"""Intervals that hold the truth as often as promised, whatever the model.

All that is asked of the data is that they are exchangeable: drawn alike, in any order. Where rows
come in groups, as visits of patients do, and new rows are of new groups, it is the groups that must
be: say which row is of which (`groups`). Series in time are neither. The promise is on average over
data sets and points, not at each point; a model that knows where it is unsure makes intervals that
fit better (`scale`).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference.class_metrics import check_classes, check_probabilities
from hunch.inference.groups import ROUNDING, Units, group_ids
from hunch.inference.metrics import widths_like
from hunch.inference.out_of_bag import out_of_bag
from hunch.validation import real_number


def conformal_quantile(
    scores: Tensor, coverage: float, *, groups: npt.ArrayLike | None = None
) -> Tensor:
    """The ⌈(n + 1)·coverage⌉-th smallest of n scores.

    A new score that is exchangeable with these stays at or below it with at least that probability.
    Where n is so small that there is no such score, it is infinite, and a warning says how many
    data it takes. With `groups` it is the groups that are counted: each weighs one, however many
    scores it has, and what stays below with that probability is a score of a new group.

    Args:
        scores: `(data, …)`, one score for each datum along the first axis.
        coverage: between 0 and 1, ends excluded.
        groups: what names each score's group, `(data,)`; None if each stands for itself.

    Returns:
        `(…)`, the shape of one datum's scores.

    Raises:
        ConfigurationError: if `coverage` is out of range.
        DataError: if there is no score, or one is NaN, or a score has no group.
        ShapeError: if there are not as many entries of `groups` as scores.

    Example:
        >>> conformal_quantile(torch.arange(1.0, 20.0), 0.9)
        tensor(18.)
        >>> conformal_quantile(torch.tensor([1.0, 1.0, 1.0, 9.0]), 0.6, groups=list("aaab"))
        tensor(9.)

    Reference:
        Vovk, Gammerman & Shafer (2005), "Algorithmic learning in a random world"; Lei et al.
        (2018), "Distribution-free predictive inference for regression", algorithm 2; for groups
        Lee, Barber & Willett (2023), "Distribution-free inference with hierarchical data".
    """
    if scores.ndim == 0 or len(scores) == 0 or bool(scores.isnan().any()):
        raise DataError(
            f"`scores` got shape {tuple(scores.shape)}, or NaN among them; expected at least one "
            "score for calibration, and numbers only."
        )
    units = Units.of(len(scores), groups)
    rank = _rank(units, coverage)
    if rank is None:
        return torch.full_like(scores[0], torch.inf)
    return units.smallest(scores, rank)


@dataclass(frozen=True)
class SplitConformal:
    """Intervals from the errors on data that the model was not trained on.

    Args:
        scores: errors of the calibration data, `(data, *out)`: |y − mean|, in units of `scale` if
            `normalized`.
        normalized: whether errors were divided by a scale; then new intervals need theirs.
        groups: what names each error's group, `(data,)`; None if each stands for itself.

    Example:
        >>> calibration = split_conformal(torch.zeros(99), torch.linspace(-1, 1, 99))
        >>> low, high = calibration.interval(torch.tensor([5.0]), coverage=0.9)
        >>> low, high
        (tensor([4.0816]), tensor([5.9184]))
    """

    scores: Tensor
    normalized: bool = False
    groups: npt.ArrayLike | None = None

    def radius(self, coverage: float = 0.9) -> Tensor:
        """Half the width of an interval, `(*out,)`, in units of the scale where there is one."""
        return conformal_quantile(self.scores, coverage, groups=self.groups)

    def interval(
        self, mean: Tensor, *, scale: Tensor | float | None = None, coverage: float = 0.9
    ) -> tuple[Tensor, Tensor]:
        """The interval that holds a new observation with at least probability `coverage`.

        Args:
            mean: the model's predictions, `(batch, *out)`, or one of them, `(*out,)`.
            scale: how unsure it is there, above 0, if and only if the calibration had one.
            coverage: between 0 and 1, ends excluded.

        Returns:
            Lower and upper ends, each `(batch, *out)`; infinite if the calibration data are too
            few, which a warning says.

        Raises:
            ConfigurationError: if `scale` is given where there was none, or the other way round.
            DataError: if a scale is not above 0.
            ShapeError: if `mean` is not in the shape of the calibration data, or `scale` in its.
        """
        if (scale is not None) != self.normalized:
            raise ConfigurationError(
                f"`scale` got {'a value' if scale is not None else None}; expected "
                f"{'one' if self.normalized else 'none'}, as in the calibration."
            )
        out = self.scores.shape[1:]
        if out not in (mean.shape, mean.shape[1:]):
            raise ShapeError(
                f"`mean` got shape {tuple(mean.shape)}; expected (batch, *out) with *out = "
                f"{tuple(out)}, as in the calibration."
            )
        width = 1.0 if scale is None else _as_scale(scale, mean)
        radius = self.radius(coverage) * width
        return mean - radius, mean + radius


def split_conformal(
    mean: Tensor,
    y: Tensor,
    *,
    scale: Tensor | float | None = None,
    groups: npt.ArrayLike | None = None,
) -> SplitConformal:
    """Calibrate on data that the model was not trained on.

    Args:
        mean: the model's predictions for the calibration data, `(data, *out)`.
        y: their targets, of the same shape.
        scale: how unsure the model is about each, above 0, such as `p.std`: intervals are then wide
            where it is unsure. None for intervals of one width.
        groups: what names the group of each row, `(data,)`, numbers or texts: intervals then hold
            for rows of new groups, provided the model has not been trained on these groups. None
            if each row stands for itself.

    Returns:
        The calibration, which makes intervals at any coverage.

    Raises:
        ShapeError: if shapes differ.
        DataError: if a scale is not above 0, or a value is NaN, or a row has no group.

    Note:
        Copies of a row are not exchangeable with fresh rows: keep them on one side of the split,
        once (`copy_ids`).

    Example:
        >>> y, std = torch.randn(500), torch.ones(500)
        >>> calibration = split_conformal(torch.zeros(500), y, scale=std)
        >>> low, high = calibration.interval(torch.zeros(3), scale=std[:3], coverage=0.9)
        >>> low.shape
        torch.Size([3])

    Reference:
        Lei, G'Sell, Rinaldo, Tibshirani & Wasserman (2018), "Distribution-free predictive inference
        for regression", algorithm 2 and section 5.2; for groups Lee, Barber & Willett (2023),
        "Distribution-free inference with hierarchical data".
    """
    if mean.shape != y.shape:
        raise ShapeError(
            f"`mean` got shape {tuple(mean.shape)} and `y` {tuple(y.shape)}; expected the same."
        )
    scores = (y - mean).abs()
    if scale is not None:
        scores = scores / _as_scale(scale, mean)
    if bool(scores.isnan().any()):
        raise DataError("`mean` or `y` holds NaN; expected numbers only.")
    if groups is not None:
        group_ids(groups, len(scores))  # refused here rather than when an interval is asked for
    return SplitConformal(scores, scale is not None, groups)


def jackknife_after_bootstrap(
    members: Tensor,
    weights: Tensor,
    y: Tensor,
    new_members: Tensor,
    *,
    coverage: float = 0.9,
    groups: npt.ArrayLike | None = None,
    max_elements: int = 2**24,
) -> tuple[Tensor, Tensor]:
    """Intervals from the training data alone, without a held-out part and without refitting.

    With f₋ᵢ the mean of the members that did not see datum i, and its error Rᵢ = |yᵢ − f₋ᵢ(xᵢ)|,
    the interval at x goes from the ⌊(n + 1)(1 − coverage)⌋-th smallest of f₋ᵢ(x) − Rᵢ to the
    ⌈(n + 1)·coverage⌉-th smallest of f₋ᵢ(x) + Rᵢ. For exchangeable data it holds the truth with
    probability at least 2·coverage − 1, and in practice close to `coverage`.

    Args:
        members: each member's prediction for each training datum, `(members, data, *out)`.
        weights: what the members were trained with, `(members, data)`; see `bootstrap_weights`.
        y: training targets, `(data, *out)`.
        new_members: each member's prediction for each new point, `(members, batch, *out)`.
        coverage: between 0 and 1, ends excluded.
        groups: what names the group of each training datum, `(data,)`, numbers or texts: intervals
            then hold for data of new groups. All data of a group must share one draw: give `fit`
            and `bootstrap_weights` one number for each group as `ids`. None if each datum stands
            for itself.
        max_elements: how many numbers of the table data × batch are held at once.

    Returns:
        Lower and upper ends, each `(batch, *out)`; infinite if the data are too few, which a
        warning says.

    Raises:
        ShapeError: if shapes do not fit each other.
        DataError: if no member is without some datum, or a value is NaN, or data of one group have
            different weights.

    Note:
        Copies of a row must share one draw (`copy_ids`), or what is left out has a twin in the bag.

        A datum that every member saw counts as infinitely far off: the guarantee stays, at the
        price of a wider interval. The paper's guarantee is for a random number of members, about
        which it says that a fixed one does as well in practice.

    Example:
        >>> from hunch.inference import bootstrap_weights
        >>> weights = bootstrap_weights("poisson", 50, range(100), seed=0)
        >>> y = torch.linspace(-1, 1, 100)
        >>> members = torch.zeros(50, 100)
        >>> low, high = jackknife_after_bootstrap(members, weights, y, members[:, :1])
        >>> low, high
        (tensor([-0.9192]), tensor([0.9192]))

    Reference:
        Kim, Xu & Barber (2020), "Predictive inference is free with the jackknife+-after-bootstrap",
        algorithm 1 and theorem 1.
    """
    bag = out_of_bag(members, weights)
    same_members = new_members.ndim == members.ndim and len(new_members) == len(members)
    if y.shape != members.shape[1:] or not same_members or new_members.shape[2:] != y.shape[1:]:
        raise ShapeError(
            f"`members` got shape {tuple(members.shape)}, `y` {tuple(y.shape)} and `new_members` "
            f"{tuple(new_members.shape)}; expected (members, data, *out), (data, *out) and "
            "(members, batch, *out)."
        )
    for name, value in (("members", members), ("y", y), ("new_members", new_members)):
        if bool(value.isnan().any()):
            raise DataError(f"`{name}` holds NaN; expected numbers only.")
    n, batch = len(y), new_members.shape[1]
    units = Units.of(n, groups)
    if groups is not None:
        _check_shared_draws(weights, group_ids(groups, n))
    rank = _rank(units, coverage)
    if rank is None:
        infinite = torch.full_like(new_members[0], torch.inf)
        return -infinite, infinite
    # nan_to_num: of a datum without out-of-bag members nothing is known.
    residuals = (y - bag.mean).abs().nan_to_num(nan=torch.inf).reshape(n, -1)
    average = bag.unseen.T.to(members) / bag.count.clamp_min(1).unsqueeze(1)
    rows = max(1, max_elements // residuals.numel())
    ends = []
    for part in new_members.reshape(len(members), batch, -1).split(rows, dim=1):
        without = torch.einsum("nk,kbo->nbo", average, part)
        high = units.smallest(without + residuals.unsqueeze(1), rank)
        low = -units.smallest(residuals.unsqueeze(1) - without, rank)
        ends.append(torch.stack([low, high]))
    low, high = torch.cat(ends, dim=1).reshape(2, batch, *y.shape[1:])
    return low, high


def conformal_classes(
    probs: Tensor,
    y: Tensor,
    new_probs: Tensor,
    *,
    coverage: float = 0.9,
    groups: npt.ArrayLike | None = None,
) -> Tensor:
    """Sets of classes that hold the true one with at least probability `coverage`.

    A class is in the set if its probability is at least that which the calibration data gave their
    true class, but for the share 1 − coverage of them. Of all such sets these are the smallest on
    average; where nothing is likely enough a set is empty.

    Args:
        probs: probabilities for the calibration data, `(data, classes)`, which the model was not
            trained on.
        y: their class numbers, `(data,)`.
        new_probs: probabilities for new points, `(batch, classes)`.
        coverage: between 0 and 1, ends excluded.
        groups: what names the group of each calibration row, as in `split_conformal`.

    Returns:
        `(batch, classes)`, True for what is in the set.

    Raises:
        ShapeError: if shapes do not fit each other, or classes are no whole numbers.
        DataError: if a probability or a class number is out of range.

    Example:
        >>> probs = torch.tensor([[0.9, 0.1]]).expand(50, 2)
        >>> conformal_classes(probs, torch.zeros(50).long(), torch.tensor([[0.95, 0.05]]))
        tensor([[ True, False]])

    Reference:
        Sadinle, Lei & Wasserman (2019), "Least ambiguous set-valued classifiers with bounded error
        levels".
    """
    fits = probs.ndim == new_probs.ndim == 2 and new_probs.shape[1] == probs.shape[1]
    if not fits or y.shape != probs.shape[:1]:
        raise ShapeError(
            f"`probs` got shape {tuple(probs.shape)}, `y` {tuple(y.shape)} and `new_probs` "
            f"{tuple(new_probs.shape)}; expected (data, classes), (data,) and (batch, classes)."
        )
    check_classes(probs, y)
    check_probabilities("new_probs", new_probs)
    scores = 1 - probs.gather(1, y.long().unsqueeze(1)).squeeze(1)
    return 1 - new_probs <= conformal_quantile(scores, coverage, groups=groups)


def _as_scale(scale: Tensor | float, mean: Tensor) -> Tensor:
    """A number, or one for each prediction."""
    widths = widths_like(mean, scale)
    if widths.ndim and widths.shape != mean.shape:
        raise ShapeError(
            f"`scale` got shape {tuple(widths.shape)}; expected a number, or {tuple(mean.shape)}, "
            "the shape of `mean`."
        )
    if not bool((widths > 0).all()):
        raise DataError("`scale` holds values that are not above 0; expected only such.")
    return widths


def _check_shared_draws(weights: Tensor, ids: npt.NDArray[np.int64]) -> None:
    """Refuse a group of which some member has seen a part."""
    _, first, place = np.unique(ids, return_index=True, return_inverse=True)
    if not weights.equal(weights[:, torch.from_numpy(first[place])]):
        raise DataError(
            "`weights` differ among data of one group; expected one draw for each group: give "
            "`fit` and `bootstrap_weights` one number for each group as `ids`."
        )


def _rank(units: Units, coverage: float) -> float | None:
    """How many units must lie below, (n + 1)·coverage; None, with a warning, if there are fewer."""
    real_number("coverage", coverage, above=0.0, below=1.0)
    rank = (units.count + 1) * coverage
    if math.ceil(rank - ROUNDING) > units.count:
        need = math.ceil(coverage / (1 - coverage) - ROUNDING)
        warnings.warn(
            f"{units.count} {units.name} are too few for a coverage of {coverage}, so intervals "
            f"are infinite; it takes at least {need}.",
            stacklevel=3,
        )
        return None
    return rank
