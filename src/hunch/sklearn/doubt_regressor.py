"""Intervals for a model that predicts a number and is fitted already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError, warn_user
from hunch.inference import Predictive
from hunch.sklearn.base import RandomizedPriorBase, as_seed
from hunch.sklearn.doubt import DoubtBase, Fresh, Numbers
from hunch.sklearn.noise import Shape, square_about_mean
from hunch.sklearn.regressor import RandomizedPriorRegressor
from hunch.sklearn.rows import Floats
from hunch.sklearn.targets import Support, ends_of
from hunch.storage.parts import under
from hunch.validation import real_number

_RATIOS = 2.0 ** np.arange(-2, 3)  # of the two parts' weights that are tried
_TINY = float(np.finfo(np.float64).tiny)
_TOO_GOOD = 1e-6  # of its standard error: the mean of errors of rows that were fitted


@dataclass(frozen=True, repr=False)
class Doubted(Predictive):
    """A `Predictive` whose quantiles and intervals are those of tested errors, not Gaussian.

    Args:
        shape: the errors of tested rows, in units of their predicted size.
        support: least and largest value there can be, None for no such; no quantile lies beyond.
    """

    shape: Shape | None = None
    support: Support = (None, None)

    def quantiles(self, levels: Floats) -> Tensor:
        """Values that an observation stays below with these probabilities, `(batch, levels)`."""
        mean, std = self.mean.numpy(), self.std.numpy()
        return self._within(torch.from_numpy(self._tested.quantiles_about(mean, std, levels)))

    def quantile(self, q: float) -> Tensor:
        """The value that an observation stays below with probability `q`."""
        real_number("q", q, above=0.0, below=1.0)
        return self.quantiles(np.array([q]))[..., 0]

    def interval(self, coverage: float = 0.9) -> tuple[Tensor, Tensor]:
        """The interval that holds an observation with probability `coverage`.

        Its sides are equally long, which takes the fewest rows to get right; tails need not be, and
        `quantiles` has these.
        """
        real_number("coverage", coverage, above=0.0, below=1.0)
        tested = self._tested
        both = Shape(np.concatenate([tested.scores, -tested.scores]), np.tile(tested.weight, 2))
        reach = self.std * both.quantiles(np.array([(1 + coverage) / 2])).item()
        return self._within(self.mean - reach), self._within(self.mean + reach)

    def _within(self, values: Tensor) -> Tensor:
        low, high = self.support
        return values if low is None and high is None else values.clamp(low, high)

    @property
    def _tested(self) -> Shape:
        if self.shape is None:
            raise ConfigurationError("`shape` got None; expected the errors of tested rows.")
        return self.shape


@dataclass(eq=False, repr=False)
class DoubtRegressor(RegressorMixin, DoubtBase):
    """How far off a fitted model may be, whatever it is: intervals that hold.

    The model stays as it is, and its predictions stay its own to the last bit. What it gets wrong
    on rows that it has not seen is learned: an ensemble of small networks with random functions of
    their own (`RandomizedPriorRegressor`) predicts the model's error from its features and its
    prediction, with how far networks disagree and how noisy the error is there. The rows are dealt
    out to `cv` folds, and each row is tested by networks that have not seen it. These tests weigh
    the two parts against each other, say how much of the predicted error is to be believed, and set
    the width of intervals.

    Args:
        model: fitted; an object with `predict`, or a function from X to numbers `(n_samples,)`. It
            is neither changed, nor cloned, nor kept by `to_state`.
        ensemble: a `RandomizedPriorRegressor`, which is cloned for each fold; None for one of 10
            networks, 50 in all.
        cv: folds, from 2 to 20.
        random_state: the same number gives the same result.

    Attributes:
        ensembles_: one for each fold.
        shift_weight_: how much of the predicted error is believed, from 0 to 1.
        epistemic_weight_: what the networks' disagreement is multiplied by.
        aleatoric_weight_: what the noise is multiplied by.
        n_iter_: epochs that networks were trained, at most.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Note:
        `fit` needs rows that the model has not seen. Errors on its training rows are too small, and
        so would intervals be. Where the rows give themselves away, a warning says so: a model that
        is right about many of them to the last digit, or whose errors there add up to nothing, as
        those of least squares and of boosting do. Forests give nothing away.

        Where the model is off in a way that can be predicted, intervals lie about the better value,
        not about the model's own, and may not even hold the latter; `predict_distribution(X).mean`
        is that value.

        Where no `y` is below 0, no end of an interval and no quantile is; of shares, which lie from
        0 to 1, none is above 1.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> from hunch import DoubtRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> forest = RandomForestRegressor(random_state=0).fit(X[:150], y[:150])
        >>> doubt = DoubtRegressor(forest, random_state=0).fit(X[150:350], y[150:350])
        >>> bool((doubt.predict(X[350:]) == forest.predict(X[350:])).all())
        True
        >>> low, high = doubt.predict_interval(X[350:], coverage=0.9)
        >>> bool(np.mean((low <= y[350:]) & (y[350:] <= high)) > 0.8)
        True

    Reference:
        Azizi, Bodik, Heiss & Yu (2026), "CLEAR: Calibrated learning for epistemic and aleatoric
        risk", for the two weights; Vovk (2015), "Cross-conformal predictors"; Lei et al. (2018),
        "Distribution-free predictive inference for regression", section 5.2, for errors in units of
        their size; Osband, Aslanides & Cassirer (2018) for the ensemble.
    """

    shift_weight_: float = field(init=False)
    epistemic_weight_: float = field(init=False)
    aleatoric_weight_: float = field(init=False)
    _shape: Shape = field(init=False)
    _support: Support = field(init=False)

    _kind: ClassVar[type[RandomizedPriorBase]] = RandomizedPriorRegressor
    _asks: ClassVar[str] = "predict"

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> DoubtRegressor:
        """Learn how far off the model is.

        Args:
            X: rows that the model has not seen, as it takes them: numbers `(n_samples,
                n_features)`, or a data frame, which may hold text. Cells may be missing if the
                model allows it.
            y: what was observed there, `(n_samples,)`.
            sample_weight: how much each row counts, at least 0. Whole numbers are repetitions.
            groups: the group of each row, such as a patient, if what is wanted holds for rows of
                new groups: the rows of a group are tested together.

        Raises:
            ValueError: if the data or a parameter cannot be used; the message says what is wrong.
        """
        self._prototype()
        seed = as_seed(self.random_state)
        truth = _numbers("`y`", y)
        self._look_at(X, sample_weight)
        z = self._inputs(X)
        fresh = self._fresh(z[:, :-1], truth, sample_weight, groups, seed)
        ends = np.concatenate(ends_of(truth[fresh.source][:, None], "auto"))
        low, high = (None if np.isinf(end) else float(end) for end in ends)
        self._support = low, high
        z, errors = z[fresh.source], (truth - z[:, -1])[fresh.source]
        _warn_of_fitted_rows(errors)
        self._fit_folds(z, errors, fresh, seed)
        self._calibrate(z, errors, fresh)
        return self

    def predict(self, X: Any) -> Numbers:
        """What the model predicts, untouched."""
        check_is_fitted(self)
        return self._answers(X)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """The interval that holds an observation with probability `coverage`.

        Args:
            X: rows.
            coverage: between 0 and 1, ends excluded.

        Returns:
            Lower and upper ends, `(n_samples,)` each.
        """
        low, high = self.predict_distribution(X).interval(coverage)
        return low.numpy(), high.numpy()

    def predict_quantiles(self, X: Any, quantiles: npt.ArrayLike = (0.05, 0.5, 0.95)) -> Floats:
        """Values that an observation stays below with given probabilities.

        Args:
            X: rows.
            quantiles: probabilities between 0 and 1, ends excluded; one or several.

        Returns:
            `(n_samples, n_quantiles)`.
        """
        levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
        if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
            raise ConfigurationError(
                f"`quantiles` got {quantiles!r}; expected probabilities between 0 and 1."
            )
        found: Floats = self.predict_distribution(X).quantiles(levels).numpy()
        return found

    def predict_members(self, X: Any) -> Floats:
        """Where each network would put the observation, `(networks, n_samples)`."""
        members: Floats = self.predict_distribution(X).members.numpy()
        return members

    def predict_distribution(self, X: Any) -> Doubted:
        """What is known at X as a `hunch.inference.Predictive`, in units of y.

        Its `mean` is the model's prediction and what is believed of its error; `epistemic` is what
        more fresh rows would remove, `aleatoric` what they would not, both as the tests weigh them.
        Its quantiles and intervals are those of the tests.
        """
        check_is_fitted(self)
        z = self._inputs(X)
        folds = [ensemble.predict_distribution(z) for ensemble in self.ensembles_]
        shifts = self.shift_weight_ * torch.stack([p.mean for p in folds])
        spread = _mean_size([p.epistemic for p in folds])
        # Of each network its distance from those of its fold, as a row is tested by one fold alone.
        apart = torch.cat([p.members - p.mean for p in folds])
        apart = apart * (spread / apart.std(dim=0)).nan_to_num(0.0, 0.0)
        mean = torch.from_numpy(z[:, -1]) + shifts.mean(dim=0)
        noise = self.aleatoric_weight_ * _mean_size([p.aleatoric for p in folds])
        # A row is tested by one fold, and answered by the mean of all.
        square = ((self.epistemic_weight_ * spread).square() + noise.square()).clamp_min(_TINY)
        nearer = (square_about_mean(square, shifts) / square).sqrt()
        members = mean + nearer * self.epistemic_weight_ * apart
        noise = nearer * noise
        return Doubted(members, noise, self._shape, self._support)

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:  # noqa: D102  # see the base
        tensors, values = super().to_state()
        shape = {f"shape.{name}": tensor for name, tensor in self._shape.to_state().items()}
        names = ("shift_weight_", "epistemic_weight_", "aleatoric_weight_")
        weights = {name: getattr(self, name) for name in names}
        return tensors | shape, values | weights | {"support": list(self._support)}

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        super()._restore(tensors, values)
        self._shape = Shape.from_state(under("shape.", tensors))
        self.shift_weight_ = values["shift_weight_"]
        self.epistemic_weight_ = values["epistemic_weight_"]
        self.aleatoric_weight_ = values["aleatoric_weight_"]
        low, high = values["support"]
        self._support = low, high

    def _inputs(self, X: Any) -> Floats:
        """What the doubt looks at: the features of rows, and last the model's prediction."""
        features = self._table.features(X)
        predicted = _numbers("the model's prediction", self._answers(X))
        if len(predicted) != len(features):
            raise ShapeError(
                f"the model's prediction has {len(predicted)} rows; expected {len(features)}, as X."
            )
        return np.column_stack([features, predicted])

    def _calibrate(self, z: Floats, errors: Floats, fresh: Fresh) -> None:
        """Weigh what the networks say of rows that they have not seen."""
        shift, epistemic, aleatoric = np.empty((3, len(errors)))
        for k, ensemble in enumerate(self.ensembles_):
            own = fresh.fold == k
            p = ensemble.predict_distribution(z[own])
            shift[own], epistemic[own], aleatoric[own] = p.mean, p.epistemic, p.aleatoric
        evidence = fresh.evidence
        power = max(float(np.sum(evidence * shift**2)), _TINY)
        self.shift_weight_ = float(np.clip(np.sum(evidence * errors * shift) / power, 0.0, 1.0))
        left = errors - self.shift_weight_ * shift
        self.epistemic_weight_, self.aleatoric_weight_ = likeliest_weights(
            left, epistemic, aleatoric, evidence
        )
        size = np.hypot(self.epistemic_weight_ * epistemic, self.aleatoric_weight_ * aleatoric)
        # A model without any error leaves nothing to doubt, and no size.
        size = np.maximum(size, _TINY)
        self._shape = Shape((left / size)[:, None], evidence)


def likeliest_weights(
    errors: Floats, epistemic: Floats, aleatoric: Floats, evidence: Floats
) -> tuple[float, float]:
    """By what to multiply two parts of a standard deviation, so that errors are likeliest.

    Neither is left out: the weights' ratio is from ¼ to 4, for far from the data the networks'
    disagreement is all that grows, and no test row lies there.

    Args:
        errors: of rows that were left out, `(rows,)`.
        epistemic: the networks' disagreement there.
        aleatoric: the noise that they expect.
        evidence: how much each row counts, with mean 1.

    Returns:
        The weights of the two parts.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> one, size = np.ones(5000), rng.uniform(1, 3, 5000)
        >>> a, b = likeliest_weights(size * rng.normal(size=5000), one, size, one)
        >>> a < 0.3, 0.9 < b < 1.1
        (True, True)
    """
    best = (np.inf, 1.0, 1.0)
    for ratio in _RATIOS:
        size = np.hypot(ratio * epistemic, aleatoric)
        size = np.maximum(size, _TINY)
        scale = np.sqrt(np.mean(evidence * (errors / size) ** 2))
        scale = max(float(scale), _TINY)
        loss = float(np.mean(evidence * np.log(size)) + np.log(scale))
        best = min(best, (loss, float(ratio * scale), scale))
    return best[1:]


def _mean_size(parts: list[Tensor]) -> Tensor:
    """The root of the mean of squares over folds."""
    return torch.stack(parts).square().mean(dim=0).sqrt()


def _numbers(name: str, values: Any) -> Floats:
    """One finite number for each row."""
    found = np.asarray(values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise ShapeError(
            f"{name} got shape {found.shape}; expected one number for each row, `(n_samples,)`: a "
            "doubt is about one output, so make one for each."
        )
    try:
        numbers = found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} holds {found[0]!r}; expected numbers.") from error
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise DataError(f"{name} holds {numbers[row]} in row {row}; expected finite numbers.")
    return numbers


def _warn_of_fitted_rows(errors: Floats) -> None:
    """Say so where errors look like those of rows that the model was fitted on.

    Errors of fresh rows add up to so little once in a million times. Where many are equal, as of
    whole numbers, they may do so more often, and nothing is said.
    """
    exact = float(np.mean(errors == 0))
    of_mean = abs(errors.mean()) * np.sqrt(len(errors))
    if exact > 0.5:
        warn_user(
            f"the model is right to the last digit on {exact:.0%} of the rows of `X`: was it "
            "fitted on them? Intervals hold only if `fit` gets rows that it has not seen."
        )
    elif of_mean < _TOO_GOOD * errors.std() and 2 * len(np.unique(errors)) > len(errors):
        warn_user(
            "the errors of the model on `X` add up to nothing, as they do on rows that it was "
            "fitted on; intervals hold only if `fit` gets rows that it has not seen."
        )
