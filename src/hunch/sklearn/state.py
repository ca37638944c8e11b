"""A trained estimator as plain tensors and plain values, so that nothing needs to be pickled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.nn import Ensemble
from hunch.sklearn.classifier import RandomizedPriorClassifier
from hunch.sklearn.noise import Noise, Shape, noise_recipe
from hunch.sklearn.reach import Reach
from hunch.sklearn.regressor import RandomizedPriorRegressor
from hunch.sklearn.rows import Floats, Scale
from hunch.sklearn.training import Recipe, build

Estimator = RandomizedPriorRegressor | RandomizedPriorClassifier

_PLAIN = ("n_features_in_", "n_iter_", "loss_curve_", "oob_score_", "_seed", "_seen")


def export_state(estimator: Estimator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a trained estimator is, for safetensors and JSON.

    All that predictions and `partial_fit` depend on is in it. Out-of-bag predictions are not; they
    are as long as the training data.

    Args:
        estimator: a fitted one.

    Returns:
        Tensors by name, and values that JSON can hold.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(20, 2))
        >>> model = RandomizedPriorRegressor(5, max_iter=2, random_state=0).fit(X, X[:, 0])
        >>> again = restore_state(*export_state(model))
        >>> bool((again.predict(X) == model.predict(X)).all())
        True
    """
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    parameters = estimator.get_params()
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None  # what a generator has drawn is in the networks by now
    values: dict[str, Any] = {
        name: getattr(estimator, name) for name in _PLAIN if hasattr(estimator, name)
    }
    if np.isnan(values.get("oob_score_", 0.0)):
        del values["oob_score_"]  # JSON has no NaN
    values["parameters"] = parameters
    if hasattr(estimator, "feature_names_in_"):
        values["feature_names_in_"] = estimator.feature_names_in_.tolist()
    tensors = _named("ensemble", estimator.ensemble_) | _of_scale("input", estimator._input_scale)
    reach = estimator._reach
    if reach is not None:
        tensors |= {f"reach.{name}": ends for name, ends in vars(reach).items() if ends is not None}
    if isinstance(estimator, RandomizedPriorClassifier):
        values["classes_"] = estimator.classes_.tolist()
        values["classes_dtype"] = estimator.classes_.dtype.str
        values["temperature_"] = estimator.temperature_
        values["prior_strength"] = estimator._prior_strength
        return tensors, values
    values["n_outputs_"], values["flat"] = estimator.n_outputs_, estimator._flat
    tensors |= _of_scale("target", estimator._target_scale)
    tensors["shape.scores"] = torch.from_numpy(estimator._shape.scores)
    tensors["shape.weight"] = torch.from_numpy(estimator._shape.weight)
    tensors["noise.log_level"] = estimator._noise.log_level
    if estimator._noise.ensemble is not None:
        tensors |= _named("noise.ensemble", estimator._noise.ensemble)
    return tensors, values


def restore_state(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Estimator:
    """The estimator that `export_state` was given.

    Args:
        tensors: its tensors.
        values: its values; lists in place of tuples do no harm.

    Raises:
        KeyError: if a tensor or value is missing.
        ConfigurationError: if tensors do not fit the parameters.
    """
    parameters = dict(values["parameters"])
    if not isinstance(parameters["hidden_layer_sizes"], int):
        parameters["hidden_layer_sizes"] = tuple(parameters["hidden_layer_sizes"])
    classes = "classes_" in values
    estimator: Estimator = (RandomizedPriorClassifier if classes else RandomizedPriorRegressor)(
        **parameters
    )
    for name in _PLAIN:
        if name in values:
            setattr(estimator, name, values[name])
    if "feature_names_in_" in values:
        estimator.feature_names_in_ = np.array(values["feature_names_in_"], dtype=object)
    estimator._input_scale = _to_scale("input", tensors)
    if "reach.low" in tensors:  # else of an earlier version, and it goes on to say what it said
        ends = {field.name: tensors.get(f"reach.{field.name}") for field in fields(Reach)}
        estimator._reach = Reach(**{name: end for name, end in ends.items() if end is not None})
    recipe, features = estimator._recipe(ridge=0.0, seed=0), values["n_features_in_"]
    if isinstance(estimator, RandomizedPriorClassifier):
        estimator.classes_ = np.array(values["classes_"], dtype=values["classes_dtype"])
        estimator.temperature_ = values["temperature_"]
        estimator._prior_strength = values.get("prior_strength", 0.0)
        sizes = (features, len(estimator.classes_))
    else:
        estimator.n_outputs_, estimator._flat = values["n_outputs_"], values["flat"]
        sizes = (features, estimator.n_outputs_)
        estimator._target_scale = _to_scale("target", tensors)
        estimator._shape = Shape(tensors["shape.scores"].numpy(), tensors["shape.weight"].numpy())
        learned = any(name.startswith("noise.ensemble.") for name in tensors)
        noise = (
            _rebuilt("noise.ensemble", tensors, noise_recipe(recipe), *sizes) if learned else None
        )
        estimator._noise = Noise(tensors["noise.log_level"], noise)
    estimator.ensemble_ = _rebuilt("ensemble", tensors, recipe, *sizes)
    return estimator


def error_quantiles(model: RandomizedPriorRegressor, levels: npt.ArrayLike) -> Floats:
    """Quantiles of the out-of-bag errors in units of their predicted size, `(levels, outputs)`.

    An interval at x goes from mean + std · lower to mean + std · upper; see
    `RandomizedPriorRegressor.predict_quantiles`. Taken once, they serve any number of batches.

    Example:
        >>> from hunch import RandomizedPriorRegressor
        >>> x = np.linspace(0, 1, 40)[:, None]
        >>> model = RandomizedPriorRegressor(4, max_iter=2, random_state=0).fit(x, x[:, 0])
        >>> low, high = error_quantiles(model, [0.05, 0.95])[:, 0]
        >>> bool(low < 0 < high)
        True
    """
    return model._shape.quantiles(np.asarray(levels, dtype=np.float64))


def _named(prefix: str, ensemble: Ensemble) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in ensemble.state_dict().items()}


def _of_scale(prefix: str, scale: Scale) -> dict[str, Tensor]:
    parts = {"mean": scale.mean, "std": scale.std, "odd": scale.odd, "place": scale.place}
    return {
        f"{prefix}.{name}": torch.from_numpy(part)
        for name, part in parts.items()
        if part is not None
    }


def _to_scale(prefix: str, tensors: Mapping[str, Tensor]) -> Scale:
    parts = {field.name: tensors.get(f"{prefix}.{field.name}") for field in fields(Scale)}
    return Scale(**{name: part.numpy() for name, part in parts.items() if part is not None})


def _rebuilt(
    prefix: str, tensors: Mapping[str, Tensor], recipe: Recipe, in_features: int, out_features: int
) -> Ensemble:
    own = {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }
    one = build(dataclasses.replace(recipe, num_members=1), in_features, out_features)
    return Ensemble.from_state_dict(one.member(0).double(), own)
