"""Calibrated probabilities and their doubt for a classifier that is fitted already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor

from hunch.errors import DataError, ShapeError
from hunch.inference import ClassPredictive, conformal_classes
from hunch.sklearn.base import RandomizedPriorBase, as_seed
from hunch.sklearn.classifier import RandomizedPriorClassifier
from hunch.sklearn.doubt import DoubtBase, Fresh, Numbers
from hunch.sklearn.rows import Floats

_SHARES: Final = np.linspace(0.0, 1.0, 11)  # of the networks beside the model
_SHARPNESSES: Final = 2.0 ** np.arange(-3, 2.5, 0.5)
_LEAST_SHARE: Final = 0.1


@dataclass(eq=False, repr=False)
class DoubtClassifier(ClassifierMixin, DoubtBase):
    """How far a fitted classifier is to be believed: its doubt, calibrated, and sets of classes.

    The model stays as it is, and its probabilities stay its own to the last bit. On rows that it
    has not seen an ensemble of small networks with random functions of their own
    (`RandomizedPriorClassifier`) learns the class from the features and the model's probabilities.
    The rows are dealt out to `cv` folds, and each row is tested by networks that have not seen it.
    These tests weigh the networks and the model against each other (`predict_distribution`), and
    decide which sets of classes hold the true one as often as promised (`predict_sets`).

    Args:
        model: fitted; an object with `predict_proba`, or a function from X to probabilities
            `(n_samples, n_classes)`. It is neither changed, nor cloned, nor kept by `to_state`.
        classes: of the columns of the model's probabilities; None: its `classes_`, or what `y`
            holds, sorted.
        ensemble: a `RandomizedPriorClassifier`, which is cloned for each fold; None for one of 10
            networks, 50 in all.
        cv: folds, from 2 to 20.
        random_state: the same number gives the same result.

    Attributes:
        classes_: the classes.
        ensembles_: one for each fold.
        model_weight_, ensemble_weight_: what the logarithms of the model's and of the networks'
            probabilities are multiplied by, before they are added.
        n_iter_: epochs that networks were trained, at most.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Note:
        `fit` needs rows that the model has not seen; on those it was trained on it is right too
        often, and would be believed too much.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> from hunch import DoubtClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> forest = RandomForestClassifier(random_state=0).fit(X[::3], y[::3])
        >>> doubt = DoubtClassifier(forest, random_state=0).fit(X[1::3], y[1::3])
        >>> bool((doubt.predict_proba(X[2::3]) == forest.predict_proba(X[2::3])).all())
        True
        >>> sets = doubt.predict_sets(X[2::3], coverage=0.9)
        >>> bool(sets[np.arange(50), y[2::3]].mean() > 0.8)
        True

    Reference:
        Azizi, Bodik, Heiss & Yu (2026), "CLEAR: Calibrated learning for epistemic and aleatoric
        risk", for two weights found by validation; Sadinle, Lei & Wasserman (2019) for the sets;
        Osband, Aslanides & Cassirer (2018) for the ensemble.
    """

    classes: npt.ArrayLike | None = field(default=None, kw_only=True)

    classes_: npt.NDArray[Any] = field(init=False)
    model_weight_: float = field(init=False)
    ensemble_weight_: float = field(init=False)
    _least: float = field(init=False)  # a probability that is added to each of the model's
    _tested: Tensor = field(init=False)  # probabilities of the rows of `fit`, by their tests
    _truth: Tensor = field(init=False)

    _kind: ClassVar[type[RandomizedPriorBase]] = RandomizedPriorClassifier
    _asks: ClassVar[str] = "predict_proba"

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> DoubtClassifier:
        """Learn how far the model is to be believed.

        Args:
            X: rows that the model has not seen, as it takes them: numbers `(n_samples,
                n_features)`, or a data frame, which may hold text. Cells may be missing if the
                model allows it.
            y: their classes, `(n_samples,)`.
            sample_weight: how much each row counts, at least 0. Whole numbers are repetitions.
            groups: the group of each row, such as a patient, if what is wanted holds for rows of
                new groups: the rows of a group are tested together.

        Raises:
            ValueError: if the data or a parameter cannot be used; the message says what is wrong.
        """
        self._prototype()
        seed = as_seed(self.random_state)
        truth = self._class_numbers(column_or_1d(y))
        self._look_at(X, sample_weight)
        features = self._table.features(X)
        fresh = self._fresh(features, truth, sample_weight, groups, seed, strata=truth)
        self._least = 1 / (len(fresh.source) + 1)
        z = np.column_stack([features, self._log_model(X, len(features))])
        z, truth = z[fresh.source], truth[fresh.source]
        if int((np.bincount(truth) > 1).sum()) < 2:  # one of each fold must be left to learn from
            raise DataError("`y` holds 1 class in more than one row; expected at least two such.")
        self._fit_folds(z, truth, fresh, seed)
        self._calibrate(z, truth, fresh)
        return self

    def predict(self, X: Any) -> Numbers:
        """The model's likeliest class of each row, or what its own `predict` says."""
        check_is_fitted(self)
        if hasattr(self.model, "predict"):
            own: Numbers = self.model.predict(X)
            return own
        likeliest: Numbers = self.classes_[np.asarray(self._answers(X)).argmax(axis=1)]
        return likeliest

    def predict_proba(self, X: Any) -> Numbers:
        """What the model says, untouched."""
        check_is_fitted(self)
        return self._answers(X)

    def predict_sets(self, X: Any, coverage: float = 0.9) -> npt.NDArray[np.bool_]:
        """Sets of classes that hold the true one with probability `coverage`.

        Args:
            X: rows.
            coverage: between 0 and 1, ends excluded.

        Returns:
            `(n_samples, n_classes)`, True for what is in the set. A set is empty where no class is
            likely enough.

        Note:
            The rows of `fit` count alike here, whatever their weights.
        """
        new = self.predict_distribution(X).probs
        found = conformal_classes(self._tested, self._truth, new, coverage=coverage)
        sets: npt.NDArray[np.bool_] = found.numpy()
        return sets

    def predict_members(self, X: Any) -> Floats:
        """What each network makes of the model's word, `(networks, n_samples, n_classes)`."""
        probabilities: Floats = self.predict_distribution(X).members.numpy()
        return probabilities

    def predict_distribution(self, X: Any) -> ClassPredictive:
        """What is known at X as a `hunch.inference.ClassPredictive`.

        Its `probs` are calibrated, unlike the model's; `epistemic` is what more fresh rows would
        remove, `aleatoric` what they would not, in nats.
        """
        check_is_fitted(self)
        features = self._table.features(X)
        said = self._log_model(X, len(features))
        z = np.column_stack([features, said])
        members = torch.cat([self._log_members(ensemble, z) for ensemble in self.ensembles_])
        return ClassPredictive(
            self.model_weight_ * torch.from_numpy(said) + self.ensemble_weight_ * members
        )

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:  # noqa: D102  # see the base
        tensors, values = super().to_state()
        return tensors | {"tested": self._tested, "truth": self._truth}, values | {
            "classes_": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "model_weight_": self.model_weight_,
            "ensemble_weight_": self.ensemble_weight_,
            "least": self._least,
        }

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        super()._restore(tensors, values)
        self.classes_ = np.array(values["classes_"], dtype=values["classes_dtype"])
        self.model_weight_ = values["model_weight_"]
        self.ensemble_weight_ = values["ensemble_weight_"]
        self._least, self._tested, self._truth = (
            values["least"],
            tensors["tested"],
            tensors["truth"],
        )

    def _class_numbers(self, y: Numbers) -> npt.NDArray[np.intp]:
        """Which column of the model's probabilities each row's class is."""
        known = self.classes if self.classes is not None else getattr(self.model, "classes_", y)
        self.classes_ = np.asarray(known) if known is not y else np.unique(y)
        order = np.argsort(self.classes_)
        place = order[np.searchsorted(self.classes_[order], y).clip(0, len(order) - 1)]
        strange = self.classes_[place] != y
        if strange.any():
            raise DataError(
                f"`y` holds the class {y[strange].tolist()[0]!r}, which the model does not know; "
                f"expected one of {self.classes_.tolist()}."
            )
        found: npt.NDArray[np.intp] = place
        return found

    def _log_model(self, X: Any, rows: int) -> Floats:
        """Logarithms of what the model says, none of them endless, `(rows, classes)`."""
        said = np.asarray(self._answers(X), dtype=np.float64)
        expected = (rows, len(self.classes_))
        if said.shape != expected:
            raise ShapeError(
                f"the model's probabilities have shape {said.shape}; expected {expected}, a column "
                f"for each of its classes {self.classes_.tolist()}."
            )
        if not ((said >= 0) & (said <= 1 + 1e-6)).all():
            raise DataError("the model's probabilities hold numbers outside 0 to 1, or NaN.")
        smoothed = said + self._least / said.shape[1]
        logarithms: Floats = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))
        return logarithms

    def _log_members(self, ensemble: RandomizedPriorClassifier, z: Floats) -> Tensor:
        """Logarithms of a fold's members' probabilities, `(members, rows, classes)`.

        A class that the fold has not seen is as likely as one row of them all.
        """
        own = ensemble.predict_distribution(z).logits.log_softmax(dim=-1)
        found = own.new_full((*own.shape[:2], len(self.classes_)), math.log(self._least))
        found[..., torch.from_numpy(ensemble.classes_.astype(np.int64))] = own
        return found

    def _calibrate(self, z: Floats, truth: npt.NDArray[np.intp], fresh: Fresh) -> None:
        """Weigh the networks and the model by what they say of rows that neither has seen."""
        count = self.ensembles_[0].n_estimators
        said = torch.from_numpy(z[:, -len(self.classes_) :])
        members = said.new_empty(count, *said.shape)
        for k, ensemble in enumerate(self.ensembles_):
            own = fresh.fold == k
            members[:, own] = self._log_members(ensemble, z[own])
        self._truth = torch.from_numpy(truth.astype(np.int64))
        weights = likeliest_pool(said, members, self._truth, torch.from_numpy(fresh.evidence))
        self.model_weight_, self.ensemble_weight_ = weights
        pooled = ClassPredictive(weights[0] * said + weights[1] * members)
        self._tested = pooled.probs


def likeliest_pool(
    said: Tensor, members: Tensor, truth: Tensor, evidence: Tensor
) -> tuple[float, float]:
    """By what to multiply two parts' log probabilities, so that the truth is likeliest.

    The networks are never left out: their share is at least a tenth, for far from the data their
    disagreement is the doubt, and no test row lies there.

    Args:
        said: log probabilities of the model, `(rows, classes)`.
        members: of the networks that have not seen a row, `(members, rows, classes)`.
        truth: class numbers `(rows,)`.
        evidence: how much each row counts, with mean 1.

    Returns:
        The weights of the model and of the networks.

    Example:
        >>> truth = torch.arange(100) % 2
        >>> right = torch.nn.functional.one_hot(truth).double() * 4
        >>> model, networks = likeliest_pool(right, torch.zeros(3, 100, 2), truth, torch.ones(100))
        >>> model > networks
        True
    """
    best = (math.inf, 1.0, 1.0)
    for share in _SHARES[_SHARES >= _LEAST_SHARE]:
        for sharpness in _SHARPNESSES:
            weights = float(sharpness * (1 - share)), float(sharpness * share)
            each = ClassPredictive(weights[0] * said + weights[1] * members).log_probs
            right = each.gather(1, truth[:, None]).squeeze(1)
            best = min(best, (-float((evidence * right).mean()), *weights))
    return best[1:]
