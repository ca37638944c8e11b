"""What the two estimators share: their parameters, and how they reach a recipe."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn.mlp import ACTIVATIONS
from hunch.sklearn.reach import Reach
from hunch.sklearn.rows import Floats, Scale, check_size, odd_cells
from hunch.sklearn.training import Recipe
from hunch.validation import real_number, whole_number

Kind = Literal["multinomial", "poisson", "double_or_nothing"]

# scikit-learn's names for what torch calls otherwise.
_ACTIVATIONS: Final[dict[str, str | type[nn.Module]]] = {
    **{name: name for name in ACTIVATIONS},
    "identity": nn.Identity,
    "logistic": "sigmoid",
}


class RandomizedPriorBase(BaseEstimator):
    """Parameters of both estimators, which their own pages explain."""

    n_features_in_: int

    def __init__(
        self,
        n_estimators: int = 50,
        hidden_layer_sizes: int | tuple[int, ...] = (50, 50),
        activation: str = "silu",
        *,
        prior_scale: float = 1.0,
        bootstrap: Kind = "poisson",
        alpha: float = 0.1,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float = 0.01,
        max_iter: int | Literal["auto"] = "auto",
        early_stopping: bool = True,
        n_iter_no_change: int = 20,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_estimators = n_estimators
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.prior_scale = prior_scale
        self.bootstrap = bootstrap
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.verbose = verbose

    def _recipe(self, *, ridge: float, seed: int) -> Recipe:
        """The parameters, checked, in hunch's own words."""
        sizes = self.hidden_layer_sizes
        hidden = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
        whole_number("n_estimators", self.n_estimators, at_least=1)
        for size in hidden:
            whole_number("hidden_layer_sizes", size, at_least=1)
        for name in ("batch_size", "max_iter"):
            if (value := getattr(self, name)) != "auto":
                whole_number(name, value, at_least=1, instead="'auto'")
        whole_number("n_iter_no_change", self.n_iter_no_change, at_least=1)
        _check_choice("activation", self.activation, list(_ACTIVATIONS))
        _check_choice("bootstrap", self.bootstrap, list(get_args(Kind)))
        real_number("prior_scale", self.prior_scale, at_least=0.0)
        real_number("alpha", self.alpha, at_least=0.0)
        real_number("learning_rate_init", self.learning_rate_init, above=0.0)
        return Recipe(
            num_members=int(self.n_estimators),
            hidden_sizes=tuple(int(size) for size in hidden),
            activation=_ACTIVATIONS[self.activation],
            prior_scale=float(self.prior_scale),
            bootstrap=self.bootstrap,
            ridge=ridge,
            batch_size=None if self.batch_size == "auto" else int(self.batch_size),
            lr=float(self.learning_rate_init),
            epochs=None if self.max_iter == "auto" else int(self.max_iter),
            patience=int(self.n_iter_no_change) if self.early_stopping else None,
            seed=seed,
            progress=bool(self.verbose),
        )

    def _weights_of(self, sample_weight: npt.ArrayLike | None, X: Floats) -> Floats | None:
        if sample_weight is None:
            return None
        weight: Floats = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        return weight

    def _check_cells(self, X: Floats) -> None:
        """Refuse numbers too large to compute with, and name what hardly belongs to its column."""
        check_size("X", X)
        odd = np.argwhere(odd_cells(X))
        if len(odd):
            row, column = odd[0]
            name = getattr(self, "feature_names_in_", range(X.shape[1]))[column]
            more = f", and {len(odd) - 1} more such cells" if len(odd) > 1 else ""
            warnings.warn(
                f"X holds {X[row, column]:.6g} in row {row}, column {name!r}, far from all other "
                f"values there{more}; if it stands for a missing value, fill or remove it.",
                UserWarning,
                stacklevel=4,
            )

    def _inputs(self, X: Any) -> Tensor:
        """Scaled features of rows to predict."""
        check_is_fitted(self)
        values: Floats = validate_data(self, X, reset=False, dtype=np.float64)
        check_size("X", values)
        scale: Scale = self._input_scale
        return torch.from_numpy(scale.apply(values))

    def _extend_reach(self, x: Tensor) -> None:
        """Count scaled training rows as near, beside those of earlier calls."""
        reach = Reach.of(x.numpy(), self._input_scale.place)
        if not self._seen:
            self._reach = reach
        elif self._reach is not None:
            self._reach = self._reach.joined(reach)

    _input_scale: Scale
    _seen: int
    _reach: Reach | None = None  # what an earlier version has trained knows of none


def as_seed(random_state: int | np.random.RandomState | None) -> int:
    """A seed, given what scikit-learn calls a random state; None is another one each time.

    Example:
        >>> as_seed(7) == as_seed(7), as_seed(None) == as_seed(None)
        (True, False)
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])  # not numpy's global state
    return int(check_random_state(random_state).randint(2**31 - 1))


def forget_out_of_bag(estimator: RandomizedPriorBase) -> None:
    """Remove what a training said of rows that its networks had not seen; others have by now."""
    for name in ("oob_score_", "oob_prediction_", "oob_decision_function_"):
        if hasattr(estimator, name):
            delattr(estimator, name)


def _check_choice(name: str, value: object, choices: list[str]) -> None:
    if value not in choices:
        raise ConfigurationError(f"`{name}` got {value!r}; expected one of {', '.join(choices)}.")
