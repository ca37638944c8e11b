"""What the estimators' parameters mean, in hunch's own words; scikit-learn is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Final, Literal, get_args

from torch import nn

from hunch.errors import ConfigurationError
from hunch.nn import Ranks
from hunch.nn.mlp import ACTIVATIONS
from hunch.sklearn.training import Recipe
from hunch.validation import real_number, whole_number

Kind = Literal["multinomial", "poisson", "double_or_nothing"]

# scikit-learn's names for what torch calls otherwise.
_ACTIVATIONS: Final[dict[str, str | type[nn.Module]]] = {
    **{name: name for name in ACTIVATIONS},
    "identity": nn.Identity,
    "logistic": "sigmoid",
}


def recipe_of(parameters: Mapping[str, Any], seed: int, ridge_of_alpha: float) -> Recipe:
    """How networks are trained.

    Args:
        parameters: of an estimator.
        seed: decides everything.
        ridge_of_alpha: `ridge` for an `alpha` of 1.

    Raises:
        ConfigurationError: if a parameter cannot be used.

    Example:
        >>> from hunch import RandomizedPriorRegressor
        >>> parameters = RandomizedPriorRegressor(7).get_params()
        >>> recipe_of(parameters, seed=0, ridge_of_alpha=1.0).num_members
        7
    """
    said = SimpleNamespace(**parameters)
    sizes = said.hidden_layer_sizes
    hidden = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
    whole_number("n_estimators", said.n_estimators, at_least=1)
    for size in hidden:
        whole_number("hidden_layer_sizes", size, at_least=1)
    for name in ("batch_size", "max_iter", "n_iter_no_change"):
        if (value := getattr(said, name)) != "auto":
            whole_number(name, value, at_least=1, instead="'auto'")
    _check_choice("activation", said.activation, _ACTIVATIONS)
    _check_choice("bootstrap", said.bootstrap, get_args(Kind))
    real_number("prior_scale", said.prior_scale, at_least=0.0)
    real_number("alpha", said.alpha, at_least=0.0)
    real_number("learning_rate_init", said.learning_rate_init, above=0.0)
    patience = said.n_iter_no_change
    return Recipe(
        num_members=int(said.n_estimators),
        hidden_sizes=tuple(int(size) for size in hidden),
        activation=_ACTIVATIONS[said.activation],
        prior_scale=float(said.prior_scale),
        bootstrap=said.bootstrap,
        ridge=ridge_of_alpha * float(said.alpha),
        batch_size=None if said.batch_size == "auto" else int(said.batch_size),
        lr=float(said.learning_rate_init),
        epochs=None if said.max_iter == "auto" else int(said.max_iter),
        patience=patience if said.early_stopping else None,
        seed=seed,
        progress=bool(said.verbose),
        ranks=_ranks_of(parameters.get("ranks")),
    )


def _ranks_of(value: object) -> Ranks | None:
    if value is not None and not isinstance(value, Ranks):
        raise ConfigurationError(
            f"`ranks` got {type(value).__name__}; expected a `hunch.nn.Ranks`, or None."
        )
    return value


def _check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    if value not in list(choices):
        raise ConfigurationError(f"`{name}` got {value!r}; expected one of {', '.join(choices)}.")
