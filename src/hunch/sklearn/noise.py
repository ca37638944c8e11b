"""How far predictions are off: a noise that depends on x, and the shape of what remains.

Everything is learned from errors that members made on data they did not see, so neither
over-fitting nor a held-out part enters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.inference.bootstrap import scattered
from hunch.nn import Ensemble
from hunch.seeding import derive
from hunch.sklearn.blend import shares_by_row
from hunch.sklearn.reach import Reach
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays, named
from hunch.sklearn.training import Recipe, absentees_at, build, members_at, rebuilt, train
from hunch.storage.parts import under

_ENOUGH = 20_000  # rows, of which the noise is learned
_FEWEST = 30  # rows; of fewer no dependence of the noise on x can be learned
_SYMMETRIC_BELOW = 100  # rows; fewer have no two tails to tell apart
_FEWEST_OF_STRATUM = 20  # rows, of which the quantiles at 5 and 95 % are the outermost
_LEAST_LOG_NOISE = -14.0  # in units of the scaled target
_MOST_LEARNED = 6.0  # logarithms from the overall size: a factor of 400


@dataclass(frozen=True)
class Residuals:
    """Errors of members on data that they did not see, in units of the scaled targets.

    Args:
        mean: predictions `(data, outputs)`; NaN for a datum that every member saw.
        error: target minus prediction, shortened to what it would be were all members absent.
        epistemic: the absentees' standard deviation.
    """

    mean: Tensor
    error: Tensor
    epistemic: Tensor

    @property
    def size(self) -> Tensor:
        """What stands for the size of all errors alike, where none is learned, `(outputs,)`."""
        return self.error[self.known].square().mean(dim=0).sqrt()

    @property
    def known(self) -> Tensor:
        """Which data some member did not see, `(data,)`."""
        return ~self.mean.isnan().any(dim=1)


@dataclass(frozen=True)
class Absent:
    """What members say of data that they did not see.

    Args:
        mean: their mean, `(data, outputs)`; NaN for a datum that every member saw.
        std: their standard deviation; where only one is absent, that of all members.
        count: how many they are, `(data,)`.
        num_members: how many members there are.
    """

    mean: Tensor
    std: Tensor
    count: Tensor
    num_members: int


def absent_of(ensemble: Ensemble, x: Tensor, weights: Tensor) -> Absent:
    """Ask each datum's absentees about it."""
    means, stds, counts = [], [], []
    for bag in absentees_at(ensemble, x, weights):
        every = bag.members.std(dim=0, correction=min(1, ensemble.num_members - 1))
        means.append(bag.mean)
        stds.append(torch.where(bag.std.isnan(), every, bag.std))
        counts.append(bag.count)
    return Absent(torch.cat(means), torch.cat(stds), torch.cat(counts), ensemble.num_members)


def residuals_of(
    views: Sequence[Absent], y: Tensor, shares: Tensor, beside: Sequence[Tensor] = ()
) -> Residuals:
    """The errors of what several ensembles say together, and other models beside them.

    Args:
        views: what the absentees of each ensemble say.
        y: scaled targets `(data, outputs)`.
        shares: how much each counts, the other models last, `(views + others, outputs)`.
        beside: what each of the other models says, without having seen the datum.
    """
    networks = torch.stack([view.mean for view in views])
    said = torch.stack([*networks, *beside])
    by_row = shares_by_row(said, shares)
    mean = (by_row * said.nan_to_num()).sum(dim=0)
    unknown = networks.isnan().any(dim=2).all(dim=0)
    mean = torch.where(unknown.unsqueeze(1), torch.nan, mean)
    counts = torch.stack([view.num_members * (view.count > 0) for view in views]).unsqueeze(2)
    variance = torch.stack([view.std.square() for view in views])
    spread = (counts / counts.sum(dim=0) * variance).sum(dim=0).sqrt()
    shorter = _share_of_all(y - mean, views, by_row)
    return Residuals(mean, shorter * (y - mean), spread)


def _share_of_all(error: Tensor, views: Sequence[Absent], shares: Tensor) -> Tensor:
    """The error of all members' mean as a share of that of few members' means, `(outputs,)`.

    Members are alike and independent given the data, so a mean of m has a variance of V/m about
    that of infinitely many. Of K members some 0.37 K are absent, and where members differ more than
    observations are noisy, their errors would be too long by up to 64 %.
    """
    known = ~error.isnan().any(dim=1)
    squared = error[known].square().mean(dim=0)
    excess, least = torch.zeros_like(squared), torch.ones_like(squared)
    for view, share in zip(views, shares, strict=False):
        absent = known & (view.count > 0)
        variance, inverse = view.std[absent].square(), 1 / view.count[absent].unsqueeze(1)
        more = share[absent].square() * variance * (inverse - 1 / view.num_members)
        excess = excess + more.sum(dim=0) / known.sum()
        # An estimate, which chance may take beyond what is possible: errors made of V/m alone.
        own = 1 / (view.num_members * inverse.mean(dim=0))
        least = torch.minimum(least, own.nan_to_num(1.0))
    return torch.maximum(1 - excess / squared, least).sqrt().nan_to_num(1.0)


def square_about_mean(square: Tensor, said: Tensor) -> Tensor:
    """The mean square of errors of the mean of what several folds say, given that of one fold's.

    It is smaller by just the variance among the folds.

    Args:
        square: of errors of one fold's, `(batch, ...)`.
        said: by each fold, as far as the error depends on it, `(folds, batch, ...)`.

    Example:
        >>> square_about_mean(torch.tensor([5.0]), torch.tensor([[1.0], [3.0]]))
        tensor([4.])

    Reference:
        Krogh & Vedelsby (1994), "Neural network ensembles, cross validation, and active learning",
        equation 6.
    """
    # The variance is an estimate, which chance may take beyond what independent errors gain.
    return torch.maximum(square - said.var(dim=0, correction=0), square / len(said))


@dataclass(frozen=True)
class Noise:
    """The standard deviation of an observation about the members' mean, as a function of x.

    Args:
        log_level: logarithm of its overall size, `(outputs,)`, in units of the scaled targets.
        ensemble: what x adds to the logarithm; None for a noise that is the same everywhere.
    """

    log_level: Tensor
    ensemble: Ensemble | None

    def at(self, x: Tensor, reach: Reach | None = None) -> Tensor:
        """The noise at scaled features `(batch, features)`: `(batch, outputs)`.

        Beyond the reach of the training data it goes back to its overall size: what was learned of
        its logarithm would go on as a straight line, to noises of 1e±100.
        """
        if self.ensemble is None:
            return self.log_level.exp().expand(len(x), -1)
        learned = _bounded(members_at(self.ensemble, x)).mean(dim=0)
        if reach is not None:
            learned = learned / (1 + reach.distance(x).square()).unsqueeze(1)
        return (self.log_level + learned).exp()

    def left_out(self, recipe: Recipe, x: Tensor, ids: npt.NDArray[np.int64]) -> Tensor:
        """As `at`, by those of its members alone that did not see the errors there.

        Args:
            recipe: of the estimator's members.
            x: scaled features of the data that the noise was learned from.
            ids: of these data, as in `learn_noise`.
        """
        if self.ensemble is None:
            return self.at(x)
        weights = _noise_recipe(recipe).weights(ids)
        parts = absentees_at(self.ensemble, x, weights, _bounded)
        learned = torch.cat([bag.mean for bag in parts])
        learned = torch.where(
            learned.isnan(), _bounded(members_at(self.ensemble, x)).mean(0), learned
        )
        return (self.log_level + learned).exp()

    def to_state(self) -> dict[str, Tensor]:
        """All of it by name."""
        learned = {} if self.ensemble is None else {"ensemble": self.ensemble.state_dict()}
        return {"log_level": self.log_level, **named(learned)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], recipe: Recipe, in_features: int) -> Noise:
        """The noise that `to_state` was called on, of an estimator of this recipe."""
        level, learned = tensors["log_level"], under("ensemble.", tensors)
        if not learned:
            return cls(level, None)
        return cls(level, rebuilt(_noise_recipe(recipe), in_features, len(level), learned))


def learn_noise(
    recipe: Recipe,
    x: Tensor,
    residuals: Residuals,
    evidence: Floats | None,
    *,
    learned: bool,
    before: Noise | None,
    groups: npt.NDArray[np.int64] | None = None,
) -> Noise:
    """Find the noise that explains the errors together with the members' spread.

    Its level makes the mean of error² / (epistemic² + noise²) one. What x adds starts at nothing
    and is trained on the Gaussian likelihood of the errors, until it no longer helps for data that
    its own members do not see; where the noise is the same everywhere that is soon.

    Args:
        recipe: of the members, from which the noise takes all but its size.
        x: scaled features of the data the errors belong to.
        residuals: the errors.
        evidence: how much each error counts, or None if all count alike.
        learned: whether the noise may depend on x.
        before: a noise learned from earlier data, to go on from.
        groups: which errors belong together, and leave the noise's own members together; None if
            each stands for itself.
    """
    known = residuals.known
    x, error, epistemic = x[known], residuals.error[known], residuals.epistemic[known]
    weight = None if evidence is None else torch.from_numpy(evidence)[known]
    log_level = _level(error.square(), epistemic.square(), weight)
    ensemble = None
    if before is not None:
        log_level, ensemble = before.log_level, before.ensemble
    if not learned or (ensemble is None and len(x) < _FEWEST):
        return Noise(log_level, None)
    own = _noise_recipe(recipe)
    if own.batch_size is None:  # errors are noisier than targets
        own = dataclasses.replace(own, batch_size=min(max(len(x) // 8, 8), 512))
    ensemble = ensemble or build(own, x.shape[1], error.shape[1])
    target = torch.stack([error.square(), epistemic.square()], dim=-1)
    level = log_level.float()

    def likelihood(prediction: Tensor, target: Tensor) -> Tensor:
        squared, spread = target.unbind(-1)
        variance = spread + (2 * (level + _bounded(prediction))).exp()
        return (0.5 * squared / variance + 0.5 * variance.log()).sum(dim=-1)

    ids = _ids(known, groups)
    some = torch.from_numpy(_enough(ids, recipe.seed))
    weight = None if weight is None else weight[some]
    train(ensemble, own, x[some], target[some], weight, likelihood, ids=ids[some.numpy()])
    return Noise(log_level, ensemble)


def _ids(known: Tensor, groups: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
    """Which of the errors that are known leave the noise's members together."""
    return np.arange(int(known.sum())) if groups is None else groups[known.numpy()]


def _bounded(logarithm: Tensor) -> Tensor:
    """A row far out could lead to a noise of nothing there, and a likelihood without end."""
    return logarithm.clamp(-_MOST_LEARNED, _MOST_LEARNED)


def _enough(ids: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.intp]:
    """Which rows of a long table teach the noise: some 20,000, groups whole."""
    if len(ids) <= _ENOUGH:
        return np.arange(len(ids))
    chance = scattered(ids.astype(np.uint64) ^ np.uint64(derive(seed, "noise rows") % 2**63))
    return np.flatnonzero(chance < 2.0**64 * _ENOUGH / len(ids))


def _noise_recipe(recipe: Recipe) -> Recipe:
    """How the networks of the noise are trained, given how the members are."""
    return dataclasses.replace(
        recipe,
        num_members=10,
        hidden_sizes=(32,),
        prior_scale=None,
        patience=None if recipe.patience is None else 10,
        finer=False,
        seed=derive(recipe.seed, "noise"),
    )


def _level(squared: Tensor, spread: Tensor, weight: Tensor | None) -> Tensor:
    """Logarithm of the constant noise, by bisection, `(outputs,)`."""
    share = torch.ones(len(squared)).to(squared) if weight is None else weight
    share = (share / share.sum()).unsqueeze(1)
    high = squared.amax(dim=0).clamp_min(1e-12).log() / 2 + 1
    low = torch.full_like(high, _LEAST_LOG_NOISE)
    for _ in range(50):
        middle = (low + high) / 2
        unexplained = (share * squared / (spread + (2 * middle).exp())).sum(dim=0) > 1
        low, high = torch.where(unexplained, middle, low), torch.where(unexplained, high, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Shape(Arrays):
    """The distribution of errors in units of their predicted size.

    Args:
        scores: errors divided by the standard deviation predicted for them, `(data, outputs)`.
        weight: of each, `(data,)`.
        group: which scores came together, `(data,)`; None if each stands for itself.
        stratum: of each, whose quantiles are its own, `(data,)`; None if all are of one.
    """

    scores: Floats
    weight: Floats
    group: npt.NDArray[np.int64] | None = None
    stratum: npt.NDArray[np.intp] | None = None

    def quantiles(self, levels: Floats) -> Floats:
        """Quantiles `(levels, outputs)`.

        The i-th smallest of n stands for the level i/(n + 1), which is what a new, exchangeable
        score stays below; levels between are interpolated. Beyond the outermost score the tail is
        taken to be Gaussian in shape. Fewer than 100 scores are made symmetric first. Of scores
        that came in groups it is the groups that are counted, since a new group is what is new.

        Reference:
            Lee, Barber & Willett (2023), "Distribution-free inference with hierarchical data".
        """
        return np.stack([quantiles_at(levels, *rising) for rising in self._rising], axis=1)

    @cached_property
    def _rising(self) -> list[tuple[Floats, Floats]]:
        """Of each output its scores in their order, and the levels that they stand for."""
        scores, weight, count = self.scores, self.weight, self.count
        new = weight.mean() if self.group is None else weight.sum() / count
        if count < _SYMMETRIC_BELOW:
            scores, weight = np.concatenate([scores, -scores]), np.tile(weight, 2)
        return [levels_of(column, weight, new) for column in scores.T]

    @property
    def count(self) -> int:
        """How many scores there are, or groups of them."""
        return len(self.scores) if self.group is None else len(np.unique(self.group))

    def quantiles_about(
        self, mean: Floats, std: Floats, levels: Floats, stratum: npt.NDArray[np.intp] | None = None
    ) -> Floats:
        """Quantiles, `(..., levels)`, of observations with a predicted mean and size of error.

        Each is the mean plus the size times a quantile of the errors in units of their size, of
        those of its stratum if strata are given, `(batch,)`.
        """
        found = np.empty((*mean.shape, len(levels)))
        for own, rows in self.by_stratum(stratum):
            found[rows] = mean[rows][..., None] + std[rows][..., None] * own.quantiles(levels).T
        return found

    def by_stratum(
        self, stratum: npt.NDArray[np.intp] | None
    ) -> Iterator[tuple[Shape, slice | npt.NDArray[np.bool_]]]:
        """The errors for the rows of each stratum, and which rows these are.

        A stratum of fewer than 20 scores, or groups, says too little; its rows get those of all.

        Args:
            stratum: of the rows, `(batch,)`; None if they are told apart by nothing.
        """
        if stratum is None or self.stratum is None:
            yield self, slice(None)
            return
        rest = np.ones(len(stratum), bool)
        for number in np.unique(stratum[stratum >= 0]):
            own = self._of(self.stratum == number)
            if own.count >= _FEWEST_OF_STRATUM:
                yield own, stratum == number
                rest &= stratum != number
        if rest.any():
            yield self, rest

    @property
    def tells_apart(self) -> bool:
        """Whether some stratum has scores enough."""
        numbers = None if self.stratum is None else np.unique(self.stratum)
        parts = self.by_stratum(numbers)
        return any(own is not self for own, _ in parts)

    def _of(self, kept: npt.NDArray[np.bool_]) -> Shape:
        group = None if self.group is None else self.group[kept]
        return Shape(self.scores[kept], self.weight[kept], group)

    def extended(self, other: Shape, most: int) -> Shape:
        """With newer scores behind, the latest `most` kept."""
        group = None
        if self.group is not None or other.group is not None:
            group = np.concatenate([self._apart(0), other._apart(len(self.scores))])[-most:]
        stratum = None
        if self.stratum is not None and other.stratum is not None:
            stratum = np.concatenate([self.stratum, other.stratum])[-most:]
        return Shape(
            np.concatenate([self.scores, other.scores])[-most:],
            np.concatenate([self.weight, other.weight])[-most:],
            group,
            stratum,
        )

    def _apart(self, first: int) -> npt.NDArray[np.int64]:
        """The groups; of scores without any, each is one, numbered from `first`."""
        if self.group is not None:
            return self.group
        return np.arange(first, first + len(self.scores), dtype=np.int64)


def shape_of(
    noise: Noise,
    recipe: Recipe,
    x: Tensor,
    residuals: Residuals,
    weight: npt.NDArray[np.float64] | None,
    groups: npt.NDArray[np.int64] | None = None,
    stratum: npt.NDArray[np.intp] | None = None,
) -> Shape:
    """The errors' distribution, once noise and spread have said how large they should be."""
    known = residuals.known
    seen = noise.left_out(recipe, x[known], _ids(known, groups))
    size = torch.hypot(seen, residuals.epistemic[known])
    scores: Floats = (residuals.error[known] / size).numpy()
    kept = known.numpy()
    return Shape(
        scores,
        np.ones(len(scores)) if weight is None else weight[kept],
        None if groups is None else groups[kept],
        None if stratum is None else stratum[kept],
    )


def weighted_quantiles(scores: Floats, weight: Floats, new: float, levels: Floats) -> Floats:
    """Weighted quantiles, where what is to come weighs `new` and may lie beyond all others."""
    return quantiles_at(levels, *levels_of(scores, weight, new))


def levels_of(scores: Floats, weight: Floats, new: float) -> tuple[Floats, Floats]:
    """Scores in their order, and the level that each stands for."""
    order = np.argsort(scores, kind="stable")
    total = np.cumsum(weight[order])
    return scores[order], total / (total[-1] + new)


def quantiles_at(levels: Floats, scores: Floats, at: Floats) -> Floats:
    """Quantiles, given scores in their order and the levels that they stand for."""
    found: Floats = np.interp(levels, at, scores)
    middle = np.interp(0.5, at, scores)
    for edge, outside in ((0, levels < at[0]), (-1, levels > at[-1])):
        stretch = _normal(levels[outside]) / _normal(at[[edge]])
        found[outside] = middle + (scores[edge] - middle) * np.abs(stretch)
    return found


def _normal(levels: Floats) -> Floats:
    """The standard normal quantile."""
    quantile: Floats = torch.special.ndtri(torch.from_numpy(levels)).numpy()
    return quantile
