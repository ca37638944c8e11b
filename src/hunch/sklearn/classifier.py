"""Classification with probabilities that hold, for scikit-learn."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from hunch.errors import DataError
from hunch.seeding import numpy_generator
from hunch.sklearn.base import RandomizedPriorBase, as_seed
from hunch.sklearn.blend import shares_by_row, shares_for_classes
from hunch.sklearn.boosting import boosted_classes, fold_of, log_probabilities
from hunch.sklearn.learned_classes import LearnedClasses, blended
from hunch.sklearn.reach import prior_strength
from hunch.sklearn.rows import Floats, Rows, back_to_source
from hunch.sklearn.training import Recipe, absentees_at, members_at

_ENOUGH = 20_000  # rows to find one number, the temperature, from
_COLDEST, _HOTTEST = 0.1, 10.0


class RandomizedPriorClassifier(ClassifierMixin, RandomizedPriorBase, LearnedClasses):
    """An ensemble of small networks whose probabilities can be taken at their word.

    Each of `n_estimators` networks is trained on a bootstrap of the data, with a fixed random
    function of its own added to its logits. Where there are data, networks learn to agree; where
    there are none, their random functions show, and the mean of their probabilities is unsure. What
    a network did not see tests it: those data stop the training and set the temperature of the
    probabilities, so nothing is held out and nothing is tuned.

    Features are scaled inside. Classes may be numbers or strings. The order of rows does not
    matter, and a row of weight 2 is the same as two rows. Copies of a row share one bootstrap draw,
    and only the proportions of weights count.

    Missing numbers become the median, and a feature of its own says which they are; of text and
    categories of a data frame each of the 64 most frequent values is a feature, and the rest share
    one. Columns without any value are left out, with a warning. A value that `fit` has not seen may
    be like any that it has: how much these differ is part of what is not known.

    What is promised holds for new rows drawn as those of the training were. Where rows come in
    groups, as visits of patients do, and new rows are of new groups, give `fit` the `groups`: whole
    groups then leave a network's data together, so that what it did not see are new groups, and all
    figures of errors count groups, not rows. It holds for no later time than that of the data.

    Args:
        n_estimators: number of networks. Out-of-bag figures need about 10.
            From 10 on every second one sees features by their ranks.
        hidden_layer_sizes: width of each hidden layer.
        activation: `"silu"`, `"relu"`, `"tanh"`, `"gelu"`, `"elu"`, `"selu"`, `"logistic"` or
            `"identity"`.
        prior_scale: size of the random functions, in logits; 0 for none. Larger means less sure far
            from the data.
        bootstrap: `"poisson"`, `"multinomial"` or `"double_or_nothing"`: how networks' data differ.
        alpha: strength of the L2 penalty, as in `MLPClassifier`.
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
        random_state: the same number gives the same result. Neither numpy's nor torch's global
            state is used or changed.
        verbose: show a progress bar on standard error.
        ranks: a `hunch.nn.Ranks`: processes, as `torchrun` starts them, among which the networks
            are divided while they are trained. All must call `fit`, with the same data, and all
            have the same estimator after it. None: this process alone.

    Attributes:
        classes_: the classes, sorted.
        ensemble_: the networks, a `hunch.nn.Ensemble` from scaled features to logits.
        temperature_: what logits are divided by, found on data that networks did not see.
        oob_decision_function_: probabilities for the training data by networks that did not see
            them, `(n_samples, n_classes)`; NaN where all did.
        oob_score_: their accuracy.
        n_iter_: epochs trained.
        loss_curve_: training loss of each epoch, averaged over networks.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from hunch import RandomizedPriorClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = RandomizedPriorClassifier(n_estimators=10, random_state=0).fit(X, y)
        >>> model.predict_proba(X[:3]).shape, bool(model.oob_score_ > 0.9)
        ((3, 3), True)

    Reference:
        Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep reinforcement
        learning"; Guo et al. (2017), "On calibration of modern neural networks", section 4.2, for
        the temperature.
    """

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> RandomizedPriorClassifier:
        """Train on a table.

        Args:
            X: features `(n_samples, n_features)`: numbers, of which some may be missing (NaN), or a
                data frame, in which columns may also hold text, categories, dates or truth values.
            y: classes `(n_samples,)`, at least two different ones.
            sample_weight: how much each row counts, at least 0. Whole numbers are repetitions.
            groups: what names the group that each row is of, such as a patient, `(n_samples,)`:
                what is said is then meant for rows of new groups. See the class.

        Raises:
            ValueError: if the data or a parameter cannot be used; the message says what is wrong.
        """
        recipe = self._recipe(as_seed(self.random_state, self.ranks))
        rows, num_data = self._table(X, y, sample_weight, groups, classes=None, reset=True)
        self._start(recipe, rows, len(self.classes_))
        self._boost(rows)
        said = self._train(recipe, rows)
        self._keep_out_of_bag(said, rows, num_data)
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> RandomizedPriorClassifier:
        """Take more data into account: one epoch over them.

        The first call decides the scales of features, and which values of text are features, so its
        data should be typical.

        Args:
            X: features `(n_samples, n_features)`.
            y: classes.
            classes: all classes there will ever be; needed in the first call, and the same in
                later ones, if given.
            sample_weight: as in `fit`.
            groups: as in `fit`; a group that comes again keeps its bootstrap draw.
        """
        fresh = not hasattr(self, "ensemble_")
        if fresh and classes is None:
            raise DataError("`classes` got None in the first call of partial_fit; expected all.")
        if not fresh and classes is not None:
            self._check_same(np.unique(classes))
        recipe = self._recipe_of_an_epoch()
        rows, _ = self._table(X, y, sample_weight, groups, classes=classes, reset=fresh)
        if fresh:
            self._start(recipe, rows, len(self.classes_))
        self._train(recipe, rows)
        self._forget_out_of_bag()
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The likeliest class of each row, `(n_samples,)`."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        found: npt.NDArray[Any] = self.classes_[likeliest]
        return found

    def predict_proba(self, X: Any) -> Floats:
        """The probability of each class, `(n_samples, n_classes)`, in the order of `classes_`."""
        probabilities: Floats = self.predict_distribution(X).probs.numpy()
        return probabilities

    def predict_log_proba(self, X: Any) -> Floats:
        """Its logarithm, finite where the probability underflows."""
        logarithms: Floats = self.predict_distribution(X).log_probs.numpy()
        return logarithms

    def predict_members(self, X: Any) -> Floats:
        """Every network's own probabilities, `(n_estimators, n_samples, n_classes)`."""
        probabilities: Floats = self.predict_distribution(X).members.numpy()
        return probabilities

    def _check_same(self, classes: npt.NDArray[Any]) -> None:
        if set(classes) != set(self.classes_):
            raise DataError(
                f"`classes` got {classes.tolist()}; expected {self.classes_.tolist()} or None, as "
                "the first training had: for other classes train anew."
            )

    def _table(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None,
        groups: npt.ArrayLike | None,
        *,
        classes: npt.ArrayLike | None,
        reset: bool,
    ) -> tuple[Rows, int]:
        X, y = self._learned_from(X, y, sample_weight, reset=reset)
        calm = self._check_cells(X)
        check_classification_targets(y)
        labels = column_or_1d(y, warn=True)
        if reset:
            self.classes_ = np.unique(labels if classes is None else np.asarray(classes))
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise DataError(f"`y` holds the class {unknown[0]}; expected one of `classes`.")
        numbers = np.searchsorted(self.classes_, labels)
        rows = self._rows(X, numbers, sample_weight, groups, calm)
        present = len(np.unique(rows.y)) if classes is None and reset else len(self.classes_)
        if present < 2:
            raise DataError("`y` holds 1 class; expected at least two classes with a weight.")
        return rows, len(X)

    def _boost(self, rows: Rows) -> None:
        """Grow trees beside the networks."""
        if self.boosting and self._enough(rows):
            x, fold = self._input_scale.apply(rows.x), fold_of(rows.ids, self._seed)
            grow = partial(boosted_classes, classes=len(self.classes_), seed=self._seed)
            self._trees, _ = grow(x, rows.y, rows.weight, fold)

    def _start(self, recipe: Recipe, rows: Rows, outputs: int) -> None:
        super()._start(recipe, rows, outputs)
        self._trees = None

    def _train(self, recipe: Recipe, rows: Rows) -> Tensor:
        """Train on rows, then set temperatures and shares by what is said of rows left out.

        Returns:
            Logarithms of the blended probabilities of rows left out, `(rows, classes)`; NaN for
            those that all networks of a kind saw.
        """
        y = torch.from_numpy(rows.y)
        x = self._train_members(recipe, rows, y, "cross_entropy")
        some = numpy_generator(recipe.seed, "temperature").permutation(len(rows))[:_ENOUGH]
        share = None if rows.evidence is None else torch.from_numpy(rows.evidence[some])
        self._temperatures, self._prior_strengths, said = [], [], []
        for (ensemble, seen), own in zip(self._views(x), self._recipes(recipe), strict=True):
            weights = own.weights(rows.ids)
            cold = temperature(
                members_at(ensemble, seen[some]), weights[:, some] == 0, y[some], share
            )
            self._temperatures.append(cold)
            self._prior_strengths.append(prior_strength(ensemble, seen[some]))
            say = partial(_probabilities, cold)
            bags = absentees_at(ensemble, seen, weights, say)
            said.append(torch.cat([bag.mean for bag in bags]).log())
        self.temperature_ = self._temperatures[0]
        if self._trees is not None:
            left_out = self._trees.out_of_fold(x.numpy(), fold_of(rows.ids, self._seed))
            said.append(torch.from_numpy(log_probabilities(left_out)))
        blended = self._blend_left_out(said, rows)
        self._count_as_seen(x)
        return blended

    def _blend_left_out(self, said: list[Tensor], rows: Rows) -> Tensor:
        seen = torch.stack([own.isnan().any(dim=1) for own in said])  # by all of a model
        # Trees leave every row out once, but alone they are another model.
        known = ~seen[: len(self._temperatures)].all(dim=0)
        every = ~seen.any(dim=0)
        self._shares, self._blend_temperature = np.full(len(said), 1 / len(said)), 1.0
        y = torch.from_numpy(rows.y)
        weight = torch.ones(len(y)) if rows.evidence is None else torch.from_numpy(rows.evidence)
        if len(said) > 1 and every.any():
            self._shares = shares_for_classes(
                [own[every].numpy() for own in said], rows.y[every.numpy()], weight[every].numpy()
            )
        shares = torch.from_numpy(self._shares).unsqueeze(1)
        blend = blended(said, shares_by_row(torch.stack(said), shares))
        blend[~known] = torch.nan
        if len(said) > 1 and known.any():
            unseen = torch.ones(1, int(known.sum()), dtype=torch.bool)
            self._blend_temperature = temperature(
                blend[known][None], unseen, y[known], weight[known]
            )
        return (blend / self._blend_temperature).log_softmax(dim=-1)

    def _keep_out_of_bag(self, said: Tensor, rows: Rows, num_data: int) -> None:
        probabilities = said.exp().numpy()
        self.oob_decision_function_ = back_to_source(probabilities, rows, num_data)
        known = ~np.isnan(probabilities).any(axis=1)
        self.oob_score_ = float("nan")
        if known.any():
            weight = None if rows.evidence is None else rows.evidence[known]
            right = probabilities[known].argmax(axis=1) == rows.y[known]
            self.oob_score_ = float(np.average(right, weights=weight))


def _probabilities(cold: float, logits: Tensor) -> Tensor:
    return (logits / cold).softmax(dim=-1)


def temperature(logits: Tensor, unseen: Tensor, y: Tensor, weight: Tensor | None) -> float:
    """What to divide logits by, so that the absentees' mean probability is likeliest.

    Args:
        logits: of all members, `(members, data, classes)`.
        unseen: where a member did not see a datum, `(members, data)`.
        y: class numbers `(data,)`.
        weight: of each datum, or None.

    Returns:
        A number from 0.1 to 10; 1 if every member saw every datum.

    Example:
        >>> logits = torch.tensor([[[4.0, 0.0]]]).expand(5, 10, 2)  # sure, but right half the time
        >>> temperature(logits, torch.ones(5, 10) > 0, torch.arange(10) % 2, None) > 5
        True
    """
    known = unseen.any(dim=0)
    if not known.any():
        return 1.0
    index = y[known].expand(len(logits), -1).unsqueeze(-1)
    logits, absent = logits[:, known], unseen[:, known]
    weight = torch.ones(int(known.sum())).to(logits) if weight is None else weight[known]

    def loss(log_temperature: float) -> float:
        log_probs = (logits / np.exp(log_temperature)).log_softmax(dim=-1)
        each = log_probs.gather(-1, index).squeeze(-1)
        # The mean over absentees, up to a constant that does not depend on the temperature.
        total = torch.where(absent, each, -torch.inf).logsumexp(dim=0)
        return float(-(weight * total).sum())

    return float(np.exp(_least(loss, np.log(_COLDEST), np.log(_HOTTEST))))


def _least(function: Any, low: float, high: float) -> float:
    """Where a function of one number is least, by golden sections."""
    ratio = (np.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(20):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = function(b)
    return float((low + high) / 2)
