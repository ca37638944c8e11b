"""Regression with error bars that hold, for scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, warn_user
from hunch.seeding import torch_generator
from hunch.sklearn.base import RandomizedPriorBase, as_seed
from hunch.sklearn.blend import shares_for_numbers
from hunch.sklearn.boosting import boosted_numbers, fold_of
from hunch.sklearn.forecast import Forecast
from hunch.sklearn.gaussian_process import gaussian_process
from hunch.sklearn.learned_numbers import LearnedNumbers
from hunch.sklearn.noise import (
    Absent,
    Residuals,
    absent_of,
    learn_noise,
    residuals_of,
    shape_of,
)
from hunch.sklearn.rows import Floats, Rows, Scale, back_to_source, check_size
from hunch.sklearn.strata import By, Strata, columns_by
from hunch.sklearn.targets import (
    Support,
    TargetForm,
    asked_logarithm_of,
    better_as_logarithm,
    ends_of,
    logarithm_of,
    whole_in,
)
from hunch.sklearn.training import Recipe

_REMEMBERED = 10_000  # errors that partial_fit keeps
_AT_ONCE = 4_096  # rows that are predicted together


@dataclass(eq=False, repr=False)
class RandomizedPriorRegressor(RegressorMixin, RandomizedPriorBase, LearnedNumbers):
    """An ensemble of small networks that knows how far off it may be.

    Each of `n_estimators` networks is trained on a bootstrap of the data, with a fixed random
    function of its own added to its output. Where there are data, networks learn to agree; where
    there are none, their random functions show, and they do not. All are trained at once. What a
    network did not see tests it: those errors stop the training, teach how the noise depends on X,
    and set the width of intervals, so nothing is held out and nothing is tuned.

    Features and targets are scaled inside. The order of rows does not matter, and a row of weight 2
    is the same as two rows. Copies of a row share one bootstrap draw, and only the proportions of
    weights count. Several targets `(n_samples, n_outputs)` are predicted together.

    Missing numbers become the median, and a feature of its own says which they are; of text and
    categories of a data frame each of the 64 most frequent values is a feature, and the rest share
    one. Columns without any value are left out, with a warning. A value that `fit` has not seen may
    be like any that it has: how much these differ is part of what is not known.

    What is promised holds for new rows drawn as those of the training were. Where rows come in
    groups, as visits of patients do, and new rows are of new groups, give `fit` the `groups`: whole
    groups then leave a network's data together, so that what it did not see are new groups, and all
    figures of errors count groups, not rows. It holds for no later time than that of the data.

    Args:
        n_estimators: number of networks. Out-of-bag figures need about 10; more make error bars
            smoother.
            From 10 on every second one sees features by their ranks.
        hidden_layer_sizes: width of each hidden layer.
        activation: `"silu"`, `"relu"`, `"tanh"`, `"gelu"`, `"elu"`, `"selu"`, `"logistic"` or
            `"identity"`.
        prior_scale: size of the random functions, in standard deviations of y; 0 for none. Larger
            means less sure far from the data.
        bootstrap: `"poisson"`, `"multinomial"` or `"double_or_nothing"`: how networks' data differ.
        alpha: strength of the L2 penalty, as in `MLPRegressor`.
        batch_size: rows in a step. `"auto"`: a 24th of the table, at least 8, at most 256.
        learning_rate_init: step size of Adam; with `early_stopping` a fifth of it in the end.
        max_iter: most epochs. `"auto"`: 1,000, and fewer beyond 1,000 rows, down to 10.
        early_stopping: stop when the loss on data that networks did not see no longer falls, go
            back to where it was least, and go on from there with smaller steps until it no longer
            falls again. Needs no validation set.
        n_iter_no_change: epochs without improvement after which to stop, or a quarter of the epochs
            so far if that is more; half as many in the end. `"auto"`: 20, and fewer beyond 4,000
            rows, down to 12.
        boosting: let gradient boosting stand beside the networks, with the weight that data which
            neither saw give it; from 40 rows on.
        gaussian_process: let a Gaussian process stand beside them too, from 40 rows on. It knows at
            most 3,000 rows, and adds its mean alone: how unsure a prediction is, networks say.
        noise: `"learned"`: the noise depends on X; `"constant"`: it does not.
        support: between which values targets may lie, and predictions therefore do: a pair of ends,
            None for no such end. `"auto"`: from 0 on if no target is below, to 1 if all are shares.
            Quantiles of targets that are all whole numbers are whole. None: any number.
        calibrate_by: a column of X, by name or number, or several: intervals hold for each of its
            values, not only over all rows, where 20 rows have it or more. A value that fewer have,
            or none, gets the intervals of all. None: no column.
        logarithm: whether networks learn the logarithm of the targets. `"auto"`: where boosting
            predicts skewed targets from 0 on better that way.
        random_state: the same number gives the same result. Neither numpy's nor torch's global
            state is used or changed.
        verbose: show a progress bar on standard error.
        ranks: a `hunch.nn.Ranks`: processes, as `torchrun` starts them, among which the networks
            are divided while they are trained. All must call `fit`, with the same data, and all
            have the same estimator after it. None: this process alone.

    Attributes:
        ensemble_: the networks, a `hunch.nn.Ensemble` on scaled features and targets.
        oob_prediction_: predictions for the training data by networks that did not see them, shaped
            like y; NaN where all did.
        oob_score_: their R².
        n_iter_: epochs trained.
        loss_curve_: training loss of each epoch, averaged over networks.
        n_features_in_, feature_names_in_, n_outputs_: as everywhere in scikit-learn.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from hunch import RandomizedPriorRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = RandomizedPriorRegressor(n_estimators=10, random_state=0).fit(X[:350], y[:350])
        >>> mean, std = model.predict(X[350:], return_std=True)
        >>> low, high = model.predict_interval(X[350:], coverage=0.9)
        >>> bool(np.mean((low <= y[350:]) & (y[350:] <= high)) > 0.8)
        True

    Reference:
        Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep reinforcement
        learning"; Breiman (1996), "Out-of-bag estimation"; Lei et al. (2018), "Distribution-free
        predictive inference for regression", section 5.2, for errors in units of their size; Vovk,
        Gammerman & Shafer (2005), "Algorithmic learning in a random world", section 4.5, for
        `calibrate_by` (Mondrian prediction).
    """

    gaussian_process: bool = field(default=True, kw_only=True)
    noise: Literal["learned", "constant"] = field(default="learned", kw_only=True)
    support: Literal["auto"] | Support | None = field(default="auto", kw_only=True)
    calibrate_by: By | None = field(default=None, kw_only=True)
    logarithm: bool | Literal["auto"] = field(default="auto", kw_only=True)

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> RandomizedPriorRegressor:
        """Train on a table.

        Args:
            X: features `(n_samples, n_features)`: numbers, of which some may be missing (NaN), or a
                data frame, in which columns may also hold text, categories, dates or truth values.
            y: targets `(n_samples,)` or `(n_samples, n_outputs)`.
            sample_weight: how much each row counts, at least 0. Whole numbers are repetitions.
            groups: what names the group that each row is of, such as a patient, `(n_samples,)`:
                what is said is then meant for rows of new groups. See the class.

        Raises:
            ValueError: if the data or a parameter cannot be used; the message says what is wrong.
        """
        recipe = self._recipe(as_seed(self.random_state, self.ranks))
        rows, num_data = self._table(X, y, sample_weight, groups, reset=True)
        self._start(recipe, rows, self.n_outputs_)
        self._boost(rows)
        residuals = self._train(recipe, rows, self._learn_processes(rows))
        self._keep_out_of_bag(rows, residuals, num_data)
        if self._strata is not None and not self._shape.tells_apart:
            warn_user(
                "what `calibrate_by` names has no value with 20 rows that some network did not "
                "see: intervals hold over all rows alone."
            )
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> RandomizedPriorRegressor:
        """Take more data into account: one epoch over them.

        The first call decides the scales of features and targets, and which values of text are
        features, so its data should be typical.
        Intervals follow the out-of-bag errors of the latest 10,000 rows. A row that comes again, as
        in a second epoch, keeps its bootstrap draw. Out-of-bag figures of an earlier `fit` go: they
        are of networks that are no more.

        Args:
            X: features `(n_samples, n_features)`.
            y: targets.
            sample_weight: as in `fit`.
            groups: as in `fit`; a group that comes again keeps its bootstrap draw.
        """
        fresh = not hasattr(self, "ensemble_")
        recipe = self._recipe_of_an_epoch()
        rows, _ = self._table(X, y, sample_weight, groups, reset=fresh)
        if fresh:
            self._start(recipe, rows, self.n_outputs_)
        self._train(recipe, rows)
        self._forget_out_of_bag()
        return self

    @overload
    def predict(
        self, X: Any, return_std: Literal[False] = ..., return_cov: Literal[False] = ...
    ) -> Floats: ...

    @overload
    def predict(
        self, X: Any, return_std: Literal[True], return_cov: bool = ...
    ) -> tuple[Floats, Floats]: ...

    @overload
    def predict(
        self, X: Any, return_std: bool = ..., *, return_cov: Literal[True]
    ) -> tuple[Floats, Floats]: ...

    @overload
    def predict(
        self, X: Any, return_std: bool = ..., return_cov: bool = ...
    ) -> Floats | tuple[Floats, Floats]: ...

    def predict(
        self, X: Any, return_std: bool = False, return_cov: bool = False
    ) -> Floats | tuple[Floats, Floats]:
        """Predict the mean, and on demand how far an observation may be from it.

        Args:
            X: features `(n_samples, n_features)`.
            return_std: also return the standard deviation of an observation, shaped like the mean.
            return_cov: also return the covariance of observations,
                `(n_samples, n_samples[, n_outputs])`.

        Returns:
            Means `(n_samples[, n_outputs])`, or a pair.
        """
        if return_std and return_cov:
            raise ConfigurationError(
                "`return_std` and `return_cov` got True; expected at most one of them."
            )
        if return_cov:
            p = self.predict_distribution(X)
            return p.mean.numpy(), p.covariance().numpy()
        if return_std:
            mean, std = self._in_parts(X, lambda p: (p.mean, p.std))
            return mean, std
        means = [self._mean_of(rows) for rows in self._inputs(X).split(_AT_ONCE)]
        whole: Floats = torch.cat(means).numpy()
        return whole

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """The interval that holds an observation with probability `coverage`.

        It leaves out as much below as above, but for targets at an end of their support, such as
        counts that may well be 0: nothing lies beyond it, so the other end leaves out all.

        Args:
            X: features `(n_samples, n_features)`.
            coverage: between 0 and 1, ends excluded.

        Returns:
            Lower and upper ends, each shaped like the mean.
        """
        low, high = self._in_parts(X, lambda p: p.interval(coverage))
        return low, high

    def predict_quantiles(self, X: Any, quantiles: npt.ArrayLike = (0.05, 0.5, 0.95)) -> Floats:
        """Values that an observation stays below with given probabilities.

        Args:
            X: features `(n_samples, n_features)`.
            quantiles: probabilities between 0 and 1, ends excluded; one or several.

        Returns:
            `(n_samples[, n_outputs], n_quantiles)`.

        Note:
            A quantile is the mean plus the predicted standard deviation times a quantile of the
            out-of-bag errors in those units, which need be neither symmetric nor Gaussian. Levels
            beyond the outermost error continue it as a Gaussian would.
        """
        levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
        if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
            raise ConfigurationError(
                f"`quantiles` got {quantiles!r}; expected probabilities between 0 and 1."
            )
        (found,) = self._in_parts(X, lambda p: (p.quantiles(levels),))
        return found

    def predict_members(self, X: Any) -> Floats:
        """Every network's own prediction, `(n_estimators, n_samples[, n_outputs])`."""
        members: Floats = self.predict_distribution(X).members.numpy()
        return members

    def sample_y(
        self, X: Any, n_samples: int = 1, random_state: int | np.random.RandomState | None = 0
    ) -> Floats:
        """Draw observations: each sample is one network over all of X, plus Gaussian noise.

        Args:
            X: features.
            n_samples: number of draws.
            random_state: the same number draws the same.

        Returns:
            `(n_samples_of_X[, n_outputs], n_samples)`, as `GaussianProcessRegressor` does.
        """
        p = self.predict_distribution(X)
        generator = torch_generator(as_seed(random_state), "sample_y")
        drawn: Floats = p.sample(n_samples, generator=generator).movedim(0, -1).numpy()
        return drawn

    def _in_parts(self, X: Any, say: Callable[[Forecast], tuple[Tensor, ...]]) -> list[Floats]:
        """What is said of X, some rows at a time: members' numbers stay in the cache."""
        parts = [say(self._forecast(rows)) for rows in self._inputs(X).split(_AT_ONCE)]
        return [torch.cat(own).numpy() for own in zip(*parts, strict=True)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _table(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None,
        groups: npt.ArrayLike | None,
        *,
        reset: bool,
    ) -> tuple[Rows, int]:
        X, y = self._learned_from(
            X,
            y,
            sample_weight,
            reset=reset,
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2 if reset else 1,
        )
        calm = self._check_cells(X)
        targets = _as_numbers(y)
        check_size("y", targets)
        if reset:
            self._flat = targets.ndim == 1
            self.n_outputs_ = 1 if self._flat else targets.shape[1]
        targets = targets.reshape(len(targets), -1)
        if targets.shape[1] != self.n_outputs_:
            raise DataError(
                f"`y` has {targets.shape[1]} outputs; expected {self.n_outputs_}, as before."
            )
        return self._rows(X, targets, sample_weight, groups, calm), len(X)

    def _recipe(self, seed: int) -> Recipe:
        if self.noise not in ("learned", "constant"):
            raise ConfigurationError(f"`noise` got {self.noise!r}; expected learned or constant.")
        if self.logarithm not in (True, False, "auto"):
            raise ConfigurationError(
                f"`logarithm` got {self.logarithm!r}; expected True, False or 'auto'."
            )
        return super()._recipe(seed)

    def _start(self, recipe: Recipe, rows: Rows, outputs: int) -> None:
        super()._start(recipe, rows, outputs)
        self._trees, self._processes, self._strata = [], [], None
        if self.calibrate_by is not None:
            names = getattr(self, "feature_names_in_", range(self.n_features_in_))
            place = columns_by(self.calibrate_by, names, self._owners)
            self._strata = Strata.of(self._input_scale.apply(rows.x), place)
        low, high = ends_of(rows.y, self.support)
        form = TargetForm.plain(low, high, whole_in(rows.y, self.support))
        if self.logarithm is True:
            shift = np.array([asked_logarithm_of(y) for y in rows.y.T])
            form = dataclasses.replace(form, shift=shift, top=rows.y.max(axis=0))
        self._look(rows, form)

    def _look(self, rows: Rows, form: TargetForm) -> None:
        """See targets in a form from now on."""
        self._form = form
        self._target_scale = Scale.of(form.apply(rows.y), rows.evidence)

    def _seen_targets(self, rows: Rows) -> Floats:
        """Targets as the networks see them, `(rows, outputs)`."""
        return self._target_scale.apply(self._form.apply(rows.y))

    def _boost(self, rows: Rows) -> None:
        """Grow trees beside the networks, and see by them which targets to take logarithms of."""
        if not self.boosting or not self._enough(rows):
            return
        x, fold = self._input_scale.apply(rows.x), fold_of(rows.ids, self._seed)
        grow = partial(boosted_numbers, x, weight=rows.weight, fold=fold, seed=self._seed)
        plain = [grow(column) for column in self._seen_targets(rows).T]
        self._trees = [own for own, _ in plain]
        if self.logarithm != "auto":
            return
        low = self._form.low
        shift = np.array([logarithm_of(y, end) for y, end in zip(rows.y.T, low, strict=True)])
        bent = dataclasses.replace(self._form, shift=shift, top=rows.y.max(axis=0))
        seen = bent.apply(rows.y)
        for j in np.flatnonzero(~np.isnan(shift)):
            scale = Scale.of(seen[:, [j]], rows.evidence)
            own, logged = grow(scale.apply(seen[:, [j]])[:, 0])
            straight = plain[j][1] * self._target_scale.std[j] + self._target_scale.mean[j]
            logged = logged * scale.std[0] + scale.mean[0]
            if better_as_logarithm(rows.y[:, j], rows.evidence, straight, logged, shift[j]):
                self._trees[j] = own
            else:
                bent.shift[j] = np.nan
        self._look(rows, bent)

    def _learn_processes(self, rows: Rows) -> Tensor | None:
        """Gaussian processes beside the networks, and what they say of rows without them."""
        if not self.gaussian_process or not self._enough(rows):
            return None
        seen = self._both_views(torch.from_numpy(self._input_scale.apply(rows.x)))
        owners = self._owners_of_both
        found = [
            gaussian_process(seen, column, rows.weight, rows.ids, owners, self._seed)
            for column in self._seen_targets(rows).T
        ]
        self._processes = [process for process, _ in found]
        return torch.from_numpy(np.stack([left_out for _, left_out in found], axis=1))

    def _train(self, recipe: Recipe, rows: Rows, by_processes: Tensor | None = None) -> Residuals:
        """Train on rows, then learn from the absentees' errors there."""
        y = torch.from_numpy(self._seen_targets(rows))
        x = self._train_members(recipe, rows, y, "mse")
        beside = self._left_out_beside(x, rows, by_processes)
        absent = [
            absent_of(ensemble, seen, own.weights(rows.ids))
            for (ensemble, seen), own in zip(self._views(x), self._recipes(recipe), strict=True)
        ]
        if not self._seen:
            self._shares = self._shares_of(absent, y, beside, rows.evidence)
        shares = torch.from_numpy(self._shares)
        residuals = residuals_of(absent, y, shares, beside)
        errors = residuals
        if not residuals.known.any():  # too few members or rows for anything better
            every = [
                absent_of(ensemble, seen, torch.zeros(ensemble.num_members, len(rows)))
                for ensemble, seen in self._views(x)
            ]
            errors = residuals_of(every, y, shares, beside)
        self._noise = learn_noise(
            recipe,
            x,
            errors,
            rows.evidence,
            learned=self.noise == "learned",
            before=self._noise if self._seen else None,
            groups=rows.groups,
        )
        stratum = self._stratum_of(x)
        shape = shape_of(self._noise, recipe, x, errors, rows.evidence, rows.groups, stratum)
        self._shape = shape.extended(self._shape, _REMEMBERED) if self._seen else shape
        self._count_as_seen(x)
        return residuals

    def _left_out_beside(self, x: Tensor, rows: Rows, by_processes: Tensor | None) -> list[Tensor]:
        """What trees and processes say of rows that they have not seen, each `(rows, outputs)`."""
        said = []
        if self._trees:
            fold = fold_of(rows.ids, self._seed)
            trees = [own.out_of_fold(x.numpy(), fold) for own in self._trees]
            said.append(torch.from_numpy(np.concatenate(trees, axis=1)))
        if by_processes is not None:
            said.append(by_processes)
        elif self._processes:  # of an earlier `fit`; here are later rows
            seen = self._both_views(x)
            later = [own.at_others(seen) for own in self._processes]
            said.append(torch.from_numpy(np.stack(later, axis=1)))
        return said

    def _shares_of(
        self, absent: list[Absent], y: Tensor, beside: list[Tensor], evidence: Floats | None
    ) -> Floats:
        """How much each part counts; where no network was left out of any row, all alike."""
        said = [view.mean for view in absent] + beside
        known = ~torch.stack(said).isnan().any(dim=2).any(dim=0)
        if len(said) == 1 or not known.any():
            return np.full((len(said), y.shape[1]), 1 / len(said))
        weight = None if evidence is None else evidence[known.numpy()]
        return shares_for_numbers([own[known].numpy() for own in said], y[known].numpy(), weight)

    def _keep_out_of_bag(self, rows: Rows, residuals: Residuals, num_data: int) -> None:
        known = residuals.known.numpy()
        predicted = self._units.moments(residuals.mean, residuals.size)[0].numpy()
        by_row = back_to_source(predicted, rows, num_data)
        self.oob_prediction_ = by_row[:, 0] if self._flat else by_row
        self.oob_score_ = float("nan")
        if known.sum() > 1:
            weight = None if rows.evidence is None else rows.evidence[known]
            self.oob_score_ = float(r2_score(rows.y[known], predicted[known], sample_weight=weight))


def _as_numbers(y: Any) -> Floats:
    try:
        return np.asarray(y, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"`y` holds {np.asarray(y).ravel()[0]!r}; expected numbers. For classes use "
            "RandomizedPriorClassifier."
        ) from error
