"""What the doubts about somebody else's model share: the model, the rows, and who tests whom."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference import copy_ids
from hunch.inference.bootstrap import scattered
from hunch.inference.training import as_evidence
from hunch.seeding import derive
from hunch.sklearn.base import RandomizedPriorBase
from hunch.sklearn.columns import weights_of
from hunch.sklearn.mixed import MixedTable
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import named
from hunch.storage.parts import under
from hunch.validation import shown, whole_number

_MEMBERS: Final = 10  # of each fold's ensemble
_FEWEST_ROWS: Final = 20

Numbers = npt.NDArray[Any]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Fresh:
    """Rows that the model has not seen, each once, and the folds in which they are left out.

    Args:
        source: where each stands among the caller's rows, `(rows,)`.
        weight: how much each counts, with mean 1; None if all count alike.
        fold: which ensemble does not see it, `(rows,)`.
        group: which group it is of, `(rows,)`; None if each stands for itself.
    """

    source: Places
    weight: Floats | None
    fold: Places
    group: Numbers | None = None

    @classmethod
    def of(
        cls,
        x: Floats,
        y: Floats,
        weight: Floats,
        cv: int,
        seed: int,
        *,
        groups: Any = None,
        strata: Numbers | None = None,
    ) -> Fresh:
        """Put copies together, and deal rows out to folds, whatever their order.

        Args:
            x: features `(rows, features)`.
            y: targets `(rows,)`.
            weight: of each row.
            cv: folds.
            seed: decides which row is in which.
            groups: names of groups `(rows,)`, whose rows are in one fold each; None for none.
            strata: classes, of which each fold gets its share; without groups.

        Example:
            >>> x = np.append(np.arange(20.0), 7.0)[:, None]  # one row twice
            >>> fresh = Fresh.of(x, x[:, 0], np.ones(21), cv=5, seed=0)
            >>> len(fresh.source), np.bincount(fresh.fold)
            (20, array([4, 4, 4, 4, 4]))
        """
        given = np.flatnonzero(weight)
        if not len(given):
            raise DataError("`sample_weight` is 0 in every row; expected at least one above 0.")
        ids, first, place = np.unique(
            copy_ids(x[given], y[given]), return_index=True, return_inverse=True
        )
        if len(ids) < _FEWEST_ROWS:
            raise DataError(
                f"`X` has {len(ids)} different rows with a weight; expected at least "
                f"{_FEWEST_ROWS} that the model has not seen."
            )
        source = given[first]
        total = np.bincount(place, weight[given])
        chance = scattered(ids.view(np.uint64) + np.uint64(derive(seed, "folds")))
        group = None if groups is None else np.asarray(groups)[source]
        if group is not None:
            fold = _folds_of_groups(group, chance, cv)
        else:
            order = np.lexsort((chance, chance if strata is None else strata[source]))
            fold = np.empty(len(ids), np.intp)
            fold[order] = np.arange(len(ids)) % cv
        share = None if (total == total[0]).all() else total / total.mean()
        return cls(source, share, fold, group)

    @property
    def evidence(self) -> Floats:
        """How much each row counts where the doubt is judged, with mean 1."""
        if self.weight is None:
            return np.ones(len(self.source))
        found: Floats = as_evidence(torch.from_numpy(self.weight)).numpy()
        return found


def _folds_of_groups(groups: Numbers, chance: Numbers, cv: int) -> Places:
    """The fold of each row, of which the least full takes the next group."""
    _, place, size = np.unique(groups, return_inverse=True, return_counts=True)
    if len(size) < cv:
        raise DataError(
            f"`groups` has {len(size)} different groups; expected at least {cv}, the number of "
            "folds: `cv`."
        )
    least = np.full(len(size), np.iinfo(np.uint64).max)
    np.minimum.at(least, place, chance)
    of_group, full = np.empty(len(size), np.intp), np.zeros(cv)
    for group in np.lexsort((least, -size)):
        of_group[group] = full.argmin()
        full[of_group[group]] += size[group]
    found: Places = of_group[place]
    return found


# A dataclass, as the other estimators are; see `RandomizedPriorBase`.
@dataclass(eq=False, repr=False)
class DoubtBase(BaseEstimator):
    """Parameters of both doubts, which their own pages explain."""

    model: Any
    _: KW_ONLY
    ensemble: Any = None
    cv: int = 5
    random_state: int | np.random.RandomState | None = None

    n_features_in_: int = field(init=False)
    ensembles_: list[Any] = field(init=False)
    _table: MixedTable = field(init=False)

    _kind: ClassVar[type[RandomizedPriorBase]]

    def __sklearn_clone__(self) -> Self:
        """A doubt about the same model, not about an untrained copy of it."""
        others = self.get_params(deep=False)
        model = others.pop("model")
        return type(self)(model, **{k: clone(v, safe=False) for k, v in others.items()})

    def __sklearn_is_fitted__(self) -> bool:
        """Whether the doubt is; the model must be in any case."""
        return hasattr(self, "ensembles_")

    @property
    def n_iter_(self) -> int:
        """Epochs that the networks of a fold were trained, at most."""
        return max(int(ensemble.n_iter_) for ensemble in self.ensembles_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the doubt has learned, without pickle; the model is not in it.

        Returns:
            Tensors by name, for safetensors, and values that JSON can hold. `from_state` makes the
            doubt of them again, given the model.

        Raises:
            NotFittedError: if it is not fitted.
        """
        check_is_fitted(self)
        states = [ensemble.to_state() for ensemble in self.ensembles_]
        tensors = named({f"fold{k}": tensors for k, (tensors, _) in enumerate(states)})
        values = [values for _, values in states]
        return tensors, {"table": self._table.to_json(), "folds": values}

    @classmethod
    def from_state(
        cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any], model: Any
    ) -> Self:
        """The doubt that `to_state` was called on.

        Args:
            tensors: its tensors.
            values: its values.
            model: what it is about, which must predict as it did.

        Raises:
            KeyError: if a tensor or value is missing.
        """
        doubt = cls(model, cv=len(values["folds"]))
        doubt._restore(tensors, values)
        return doubt

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self._learn_columns(MixedTable.from_json(values["table"]))
        self.ensembles_ = [
            self._kind.from_state(under(f"fold{k}.", tensors), own)
            for k, own in enumerate(values["folds"])
        ]

    def _look_at(self, X: Any, sample_weight: npt.ArrayLike | None) -> None:
        """Decide what becomes of each column."""
        self._learn_columns(MixedTable.of(X, weights_of(sample_weight, X)))

    def _learn_columns(self, table: MixedTable) -> None:
        self._table, self.n_features_in_ = table, len(table.columns)
        self.__dict__.pop("feature_names_in_", None)
        if table.named:
            names = [column.name for column in table.columns]
            self.feature_names_in_ = np.array(names, dtype=object)

    def _fresh(
        self,
        x: Floats,
        y: Numbers,
        sample_weight: npt.ArrayLike | None,
        groups: Any,
        seed: int,
        strata: Numbers | None = None,
    ) -> Fresh:
        """The rows of `fit`, checked against each other."""
        for name, given in (("y", y), ("groups", groups)):
            if given is not None and len(given) != len(x):
                raise ShapeError(
                    f"`X` has {len(x)} rows and `{name}` {len(given)}; expected as many."
                )
        given = weights_of(sample_weight, x)
        weight = np.ones(len(x)) if given is None else given
        return Fresh.of(x, y.astype(float), weight, self.cv, seed, groups=groups, strata=strata)

    def _fit_folds(self, z: Floats, y: Numbers, fresh: Fresh, seed: int) -> None:
        """An ensemble for each fold, trained on the rows of all others.

        Args:
            z: the doubt's features of the fresh rows.
            y: what they are to predict.
            fresh: the rows.
            seed: decides everything.
        """
        prototype = self._prototype()
        self.ensembles_ = []
        for k in range(self.cv):
            rest = fresh.fold != k
            weight = None if fresh.weight is None else fresh.weight[rest]
            group = None if fresh.group is None else fresh.group[rest]
            ensemble = clone(prototype).set_params(random_state=derive(seed, "fold", k) % 2**32)
            with warnings.catch_warnings():
                # The model has taken the table as it is.
                warnings.filterwarnings("ignore", "X holds", UserWarning)
                self.ensembles_.append(ensemble.fit(z[rest], y[rest], weight, group))

    def _prototype(self) -> RandomizedPriorBase:
        """What is trained for each fold.

        Raises:
            ConfigurationError: if a parameter cannot be used.
        """
        whole_number("cv", self.cv, at_least=2, at_most=_FEWEST_ROWS)
        if not callable(self.model) and not hasattr(self.model, self._asks):
            raise ConfigurationError(
                f"`model` got {shown(self.model)}; expected a fitted model with "
                f"`{self._asks}`, or a function of X."
            )
        if self.ensemble is None:
            return self._kind(_MEMBERS)
        if not isinstance(self.ensemble, self._kind) or self.ensemble.n_estimators < 2:
            raise ConfigurationError(
                f"`ensemble` got {shown(self.ensemble)}; expected a {self._kind.__name__} of at "
                "least 2 networks, or None."
            )
        return self.ensemble

    _asks: ClassVar[str]

    def _answers(self, X: Any) -> Numbers:
        """What the model says, as it says it."""
        ask = getattr(self.model, self._asks, self.model)
        answers: Numbers = ask(X)
        return answers
