"""What the two estimators share: their parameters, how they train, and how they are kept."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hunch.inference.groups import group_ids
from hunch.inference.losses import Loss
from hunch.nn import Ranks as ProcessRanks
from hunch.seeding import derive
from hunch.sklearn.boosting import FEWEST
from hunch.sklearn.columns import TakesColumns, weights_of
from hunch.sklearn.learned import LearnedNetworks
from hunch.sklearn.parameters import Kind
from hunch.sklearn.ranks import Ranks
from hunch.sklearn.reach import Reach
from hunch.sklearn.rows import Floats, Numbers, Rows, Scale, as_rows, check_size, odd_cells
from hunch.sklearn.training import Recipe, build, train

_ENOUGH_TO_HALVE: Final = 10  # networks
_OUT_OF_BAG: Final = ("oob_score_", "oob_prediction_", "oob_decision_function_")


# A dataclass, since scikit-learn wants every parameter in the signature of `__init__`, and one that
# takes more must name all of them again where it is written by hand.
@dataclass(eq=False, repr=False)
class RandomizedPriorBase(TakesColumns, BaseEstimator, LearnedNetworks):
    """Parameters of both estimators, which their own pages explain."""

    n_estimators: int = 20
    hidden_layer_sizes: int | tuple[int, ...] = (50, 50)
    activation: str = "silu"
    _: KW_ONLY
    prior_scale: float = 1.0
    bootstrap: Kind = "poisson"
    alpha: float = 0.03
    batch_size: int | Literal["auto"] = "auto"
    learning_rate_init: float = 0.01
    max_iter: int | Literal["auto"] = "auto"
    early_stopping: bool = True
    n_iter_no_change: int | Literal["auto"] = "auto"
    boosting: bool = True
    random_state: int | np.random.RandomState | None = None
    verbose: bool = False
    ranks: ProcessRanks | None = None

    loss_curve_: list[float] = field(init=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a trained estimator is, without pickle.

        All that predictions and `partial_fit` depend on is in it. Out-of-bag predictions are not;
        they are as long as the training data.

        Returns:
            Tensors by name, for safetensors, and values that JSON can hold. `from_state` makes
            the estimator of them again.

        Raises:
            NotFittedError: if it is not trained.

        Example:
            >>> from hunch import RandomizedPriorRegressor
            >>> X = np.random.default_rng(0).normal(size=(20, 2))
            >>> model = RandomizedPriorRegressor(5, max_iter=2, random_state=0).fit(X, X[:, 0])
            >>> again = RandomizedPriorRegressor.from_state(*model.to_state())
            >>> bool((again.predict(X) == model.predict(X)).all())
            True
        """
        check_is_fitted(self)
        tensors, values = super().to_state()
        if hasattr(self, "feature_names_in_"):
            values["feature_names_in_"] = self.feature_names_in_.tolist()
        return tensors, values

    @classmethod
    def _with(cls, parameters: dict[str, Any]) -> Self:
        sizes = parameters["hidden_layer_sizes"]
        sizes = sizes if isinstance(sizes, int) else tuple(sizes)
        return cls(**{**parameters, "hidden_layer_sizes": sizes})

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        super()._restore(tensors, values)
        if "feature_names_in_" in values:
            self.feature_names_in_ = np.array(values["feature_names_in_"], dtype=object)

    @property
    def _parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = self.get_params()
        if not isinstance(self.random_state, int):
            # What a generator has drawn is in the networks by now.
            parameters["random_state"] = None
        return parameters

    def _recipe_of_an_epoch(self) -> Recipe:
        """How `partial_fit` trains: as long as it goes on, with the seed that it began with."""
        seed = self._seed if hasattr(self, "ensemble_") else as_seed(self.random_state, self.ranks)
        return dataclasses.replace(self._recipe(seed), epochs=1, patience=None)

    def _rows(
        self,
        X: Floats,
        y: Numbers,
        sample_weight: npt.ArrayLike | None,
        groups: npt.ArrayLike | None,
        calm: bool,
    ) -> Rows:
        ids = None if groups is None else group_ids(groups, len(X))
        return as_rows(X, y, weights_of(sample_weight, X), ids, calm)

    def _check_cells(self, X: Floats) -> bool:
        """Refuse numbers too large to compute with; name what hardly belongs to its column.

        Returns:
            Whether nothing had to be named.
        """
        check_size("X", X, self._owners)
        odd = np.argwhere(odd_cells(X))
        if len(odd):
            row, column = odd[0]
            name = self._name_of(self._owners[column])
            more = f", and {len(odd) - 1} more such cells" if len(odd) > 1 else ""
            warnings.warn(
                f"X holds {X[row, column]:.6g} in row {row}, column {name!r}, far from all other "
                f"values there{more}; if it stands for a missing value, fill or remove it.",
                UserWarning,
                stacklevel=4,
            )
        return not len(odd)

    def _inputs(self, X: Any) -> Tensor:
        """Scaled features of rows to predict."""
        check_is_fitted(self)
        values = self._asked_about(X)
        check_size("X", values, self._owners)
        return torch.from_numpy(self._input_scale.apply(values))

    def _start(self, recipe: Recipe, rows: Rows, outputs: int) -> None:
        """Networks that have seen nothing."""
        self._seed, self._seen, self.loss_curve_ = recipe.seed, 0, []
        self._input_scale = Scale.without_odd_cells(rows.x, rows.evidence, rows.calm)
        self._ranks = Ranks.of(self._input_scale.apply(rows.x), rows.evidence)
        self._ranked = None
        recipes = self._recipes(recipe)
        self.ensemble_ = build(recipes[0], rows.x.shape[1], outputs)
        if len(recipes) > 1:
            self._ranked = build(recipes[1], rows.x.shape[1], outputs)

    def _recipes(self, recipe: Recipe) -> list[Recipe]:
        """How the networks are trained that see features as they are, and those that see ranks.

        Of few networks all see features as they are: half of them would leave too few rows out.
        """
        ranked = recipe.num_members // 2 if recipe.num_members >= _ENOUGH_TO_HALVE else 0
        plain = dataclasses.replace(recipe, num_members=recipe.num_members - ranked)
        if not ranked:
            return [plain]
        seed = derive(recipe.seed, "ranks")
        return [plain, dataclasses.replace(recipe, num_members=ranked, seed=seed)]

    def _enough(self, rows: Rows) -> bool:
        """Whether rows are enough for other models beside the networks."""
        return len(np.unique(rows.ids)) >= FEWEST

    def _train_members(self, recipe: Recipe, rows: Rows, y: Tensor, loss: Loss) -> Tensor:
        """Train the networks; returns the scaled features of the rows."""
        x = torch.from_numpy(self._input_scale.apply(rows.x))
        weight = None if rows.weight is None else torch.from_numpy(rows.weight)
        curves = [
            train(ensemble, own, seen, y, weight, loss, ids=rows.ids)
            for (ensemble, seen), own in zip(self._views(x), self._recipes(recipe), strict=True)
        ]
        self.loss_curve_ = [*self.loss_curve_, *curves[0]]
        self.n_iter_ = len(self.loss_curve_)
        return x

    def _count_as_seen(self, x: Tensor) -> None:
        """Count scaled training rows as near, beside those of earlier calls."""
        reach = Reach.of(x.numpy(), self._input_scale.place)
        if not self._seen:
            self._reach = reach
        elif self._reach is not None:
            self._reach = self._reach.joined(reach)
        self._seen += len(x)

    def _forget_out_of_bag(self) -> None:
        """Remove what was said of rows that networks had not seen; others have by now."""
        for name in _OUT_OF_BAG:
            self.__dict__.pop(name, None)


def as_seed(
    random_state: int | np.random.RandomState | None, ranks: ProcessRanks | None = None
) -> int:
    """A seed, given what scikit-learn calls a random state; None is another one each time.

    Args:
        random_state: as there.
        ranks: processes that are to have the same one.

    Example:
        >>> as_seed(7) == as_seed(7), as_seed(None) == as_seed(None)
        (True, False)
    """
    if random_state is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])  # not numpy's global state
    else:
        seed = int(check_random_state(random_state).randint(2**31 - 1))
    return ranks.agreed(seed) if isinstance(ranks, ProcessRanks) else seed
