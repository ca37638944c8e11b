"""What both estimators learn of a table, to be asked without scikit-learn.

A process that only predicts, such as `hunch predict`, takes a second less to begin that way. The
estimators are these classes and scikit-learn's, with its checks and its training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.nn import Ensemble
from hunch.sklearn.mixed import MixedTable
from hunch.sklearn.parameters import recipe_of
from hunch.sklearn.ranks import Ranks
from hunch.sklearn.reach import Reach
from hunch.sklearn.rows import Floats, Scale, check_size
from hunch.sklearn.state import named
from hunch.sklearn.training import Recipe, rebuilt
from hunch.sklearn.unseen import Category, StandIns, stand_ins
from hunch.storage.parts import under

_KEPT: Final = ("n_features_in_", "n_iter_", "loss_curve_", "oob_score_", "_seed", "_seen")


class LearnedNetworks:
    """Networks that see features as they are, those that see ranks, and how rows become features.

    Attributes:
        n_estimators: number of networks.
        n_features_in_: columns of X.
        n_iter_: epochs trained.
        ensemble_: networks that see features as they are.
    """

    n_estimators: int
    n_features_in_: int
    n_iter_: int
    ensemble_: Ensemble
    _kept_parameters: dict[str, Any]
    _columns: MixedTable | None = None  # an earlier version knew of none
    _input_scale: Scale
    _ranks: Ranks | None = None  # an earlier version knew of none
    _ranked: Ensemble | None = None
    _reach: Reach | None = None  # an earlier version knew of none
    _told: tuple[Category, ...] | None = None
    _seed: int
    _seen: int

    # `ridge` for an `alpha` of 1: scikit-learn halves the penalty, and of numbers the loss as well.
    _ridge_of_alpha: ClassVar[float] = 1.0

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and values that JSON can hold, of which `from_state` makes it again."""
        values = {name: getattr(self, name) for name in _KEPT if hasattr(self, name)}
        if np.isnan(values.get("oob_score_", 0.0)):
            del values["oob_score_"]  # JSON has no NaN
        # Who trains together is no part of what was learned.
        parameters = self._parameters.items()
        values["parameters"] = {name: value for name, value in parameters if name != "ranks"}
        if self._columns is not None:
            values["columns"] = self._columns.to_json()
        parts = {"ensemble": self.ensemble_.state_dict(), "input": self._input_scale.to_state()}
        if self._ranks is not None:
            parts["ranks"] = self._ranks.to_state()
        if self._ranked is not None:
            parts["ranked"] = self._ranked.state_dict()
        if self._reach is not None:
            parts["reach"] = self._reach.to_state()
        return named(parts), values

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        """What `to_state` was called on: an estimator, or only what it has learned.

        Args:
            tensors: its tensors.
            values: its values; lists in place of tuples do no harm.

        Raises:
            KeyError: if a tensor or value is missing.
            ConfigurationError: if tensors do not fit the parameters.
        """
        learned = cls._with(dict(values["parameters"]))
        learned._restore(tensors, values)
        return learned

    @classmethod
    def _with(cls, parameters: dict[str, Any]) -> Self:
        """One that has these parameters and has learned nothing yet."""
        learned = cls()
        learned._kept_parameters, learned.n_estimators = parameters, parameters["n_estimators"]
        return learned

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Take over all but the networks, of which subclasses know how many outputs they have."""
        for name in _KEPT:
            if name in values:
                setattr(self, name, values[name])
        if "columns" in values:
            self._columns = MixedTable.from_json(values["columns"])
        self._input_scale = Scale.from_state(under("input.", tensors))
        if reach := under("reach.", tensors):  # else it goes on to say what it said
            self._reach = Reach.from_state(reach)
        if ranks := under("ranks.", tensors):
            self._ranks = Ranks.from_state(ranks)

    def _restore_networks(self, tensors: Mapping[str, Tensor], outputs: int) -> None:
        recipe, features = self._recipe(self._seed), self._width
        self.ensemble_ = rebuilt(recipe, features, outputs, under("ensemble.", tensors))
        if ranked := under("ranked.", tensors):
            self._ranked = rebuilt(recipe, features, outputs, ranked)

    @property
    def _parameters(self) -> dict[str, Any]:
        """Those of the estimator that learned."""
        return self._kept_parameters

    def _recipe(self, seed: int) -> Recipe:
        """The parameters, checked, in hunch's own words."""
        return recipe_of(self._parameters, seed, self._ridge_of_alpha)

    def _inputs(self, X: Any) -> Tensor:
        """Scaled features of rows of numbers."""
        values = X if self._columns is None else self._columns.features_and_gaps(X)[0]
        check_size("X", values, self._owners)
        return torch.from_numpy(self._input_scale.apply(values))

    def told_of(self, categories: Sequence[Category]) -> None:
        """Learn which features are the values of a column, from who made features of columns."""
        self._told = tuple(categories)

    def _unseen_in(self, x: Tensor) -> Iterator[StandIns]:
        """Of scaled features the rows that hold a value which training has not seen."""
        own = () if self._columns is None else self._columns.categories
        ends = np.array([[0.0], [1.0]]).repeat(self._width, axis=1)
        zero, one = self._input_scale.apply(ends)
        return stand_ins(x, own if self._told is None else self._told, zero, one, self._seed)

    @property
    def _owners(self) -> Sequence[int]:
        """The column of X that each feature of the networks comes from."""
        return range(self.n_features_in_) if self._columns is None else self._columns.owners

    @property
    def _width(self) -> int:
        """How many features the networks see."""
        return len(self._owners)

    def _views(self, x: Tensor) -> list[tuple[Ensemble, Tensor]]:
        """Each ensemble of networks, and what it sees of scaled features."""
        views = [(self.ensemble_, x)]
        if self._ranked is not None:
            views.append((self._ranked, torch.from_numpy(self._ranked_features(x))))
        return views

    def _ranked_features(self, x: Tensor) -> Floats:
        """Scaled features by their ranks."""
        return x.numpy() if self._ranks is None else self._ranks.apply(x.numpy())

    def _both_views(self, x: Tensor, ranked: Floats | None = None) -> Floats:
        """Scaled features by their ranks, and beside them as they are if that says more.

        Args:
            x: scaled features.
            ranked: they by their ranks, if they are known already.
        """
        ranked = self._ranked_features(x) if ranked is None else ranked
        return np.concatenate([ranked, x.numpy()[:, self._bent]], axis=1)

    @property
    def _owners_of_both(self) -> list[int]:
        """The column that each of these comes from; as they are they count as another one."""
        owners = np.asarray(self._owners)
        return [*owners, *(1 + owners.max() + owners[self._bent])]

    @property
    def _bent(self) -> npt.NDArray[np.bool_]:
        """Which features have ranks that are not on one straight line."""
        if self._ranks is None:
            return np.zeros(self._width, bool)
        several: npt.NDArray[np.bool_] = (np.diff(self._ranks.value, axis=0) > 0).sum(axis=0) > 1
        return several
