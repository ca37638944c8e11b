"""Fitted estimators as plain values and tensors, so that they can be kept without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.adapters.sklearn_base import _ACTIVATIONS
from hunch.adapters.sklearn_classifier import RandomizedPriorClassifier
from hunch.adapters.sklearn_regressor import RandomizedPriorRegressor
from hunch.adapters.sklearn_residuals import Noise, Shape
from hunch.adapters.sklearn_rows import Floats, Scale
from hunch.errors import ConfigurationError
from hunch.nn import MLP, Ensemble, RandomizedPrior

Estimator = RandomizedPriorRegressor | RandomizedPriorClassifier


def export_state(model: Estimator) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a fitted estimator needs to predict: plain values for JSON, and tensors by name.

    Out-of-bag predictions of the training rows are left out, as is what `partial_fit` needs.

    Args:
        model: fitted; its `random_state` is a number or None.

    Returns:
        Values and tensors for `import_state`.

    Example:
        >>> from hunch import RandomizedPriorRegressor
        >>> x = np.linspace(0, 1, 40)[:, None]
        >>> model = RandomizedPriorRegressor(4, max_iter=2, random_state=0).fit(x, x[:, 0])
        >>> again = import_state(*export_state(model))
        >>> bool((again.predict(x) == model.predict(x)).all())
        True
    """
    values: dict[str, Any] = {
        "estimator": type(model).__name__,
        "parameters": model.get_params(),
        "n_features_in": model.n_features_in_,
        "n_iter": model.n_iter_,
        "oob_score": _finite(model.oob_score_),
    }
    tensors = _scale_tensors("inputs", model._input_scale) | _stacked("members", model.ensemble_)
    if isinstance(model, RandomizedPriorClassifier):
        values |= {"classes": model.classes_.tolist(), "temperature": model.temperature_}
    else:
        values |= {"n_outputs": model.n_outputs_, "flat": model._flat}
        tensors |= _scale_tensors("targets", model._target_scale)
        tensors |= {"noise.log_level": model._noise.log_level}
        tensors |= _stacked("noise.members", model._noise.ensemble)
        tensors |= {"errors.scores": torch.from_numpy(model._shape.scores)}
        tensors |= {"errors.weight": torch.from_numpy(model._shape.weight)}
    return json.loads(json.dumps(values)), tensors


def import_state(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Estimator:
    """The estimator that `export_state` was given; its predictions are the same to the last bit.

    Raises:
        ConfigurationError: if the values name no estimator of hunch.
    """
    parameters = dict(values["parameters"])
    if isinstance(parameters["hidden_layer_sizes"], list):
        parameters["hidden_layer_sizes"] = tuple(parameters["hidden_layer_sizes"])
    model: Estimator
    if values["estimator"] == "RandomizedPriorClassifier":
        model = RandomizedPriorClassifier(**parameters)
        model.classes_ = np.asarray(values["classes"])
        model.temperature_ = float(values["temperature"])
    elif values["estimator"] == "RandomizedPriorRegressor":
        model = RandomizedPriorRegressor(**parameters)
        model.n_outputs_, model._flat = int(values["n_outputs"]), bool(values["flat"])
        model._target_scale = _scale("targets", tensors)
        noise = _unstacked("noise.members", tensors, model)
        model._noise = Noise(tensors["noise.log_level"], noise)
        scores, weight = tensors["errors.scores"].numpy(), tensors["errors.weight"].numpy()
        model._shape = Shape(scores, weight)
    else:
        raise ConfigurationError(
            f"`estimator` got {values['estimator']!r}; expected one of hunch's two."
        )
    model.n_features_in_, model.n_iter_ = int(values["n_features_in"]), int(values["n_iter"])
    score = values["oob_score"]
    model.oob_score_ = float("nan") if score is None else float(score)
    model._input_scale = _scale("inputs", tensors)
    members = _unstacked("members", tensors, model)
    if members is None:
        raise ConfigurationError("`tensors` hold no members; expected what export_state gave.")
    model.ensemble_ = members
    return model


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


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _scale_tensors(name: str, scale: Scale) -> dict[str, Tensor]:
    return {
        f"{name}.mean": torch.from_numpy(np.asarray(scale.mean)),
        f"{name}.std": torch.from_numpy(np.asarray(scale.std)),
    }


def _scale(name: str, tensors: Mapping[str, Tensor]) -> Scale:
    return Scale(tensors[f"{name}.mean"].numpy(), tensors[f"{name}.std"].numpy())


def _stacked(name: str, ensemble: Ensemble | None) -> dict[str, Tensor]:
    state = {} if ensemble is None else ensemble.state_dict()
    return {f"{name}.{key}": tensor for key, tensor in state.items()}


def _unstacked(name: str, tensors: Mapping[str, Tensor], model: Estimator) -> Ensemble | None:
    """The ensemble whose stacked tensors stand under a name, its architecture read from them."""
    prefix = f"{name}."
    state = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    if not state:
        return None
    if "scale" not in state:
        return Ensemble.from_state_dict(_network("", state, model), state)
    member = RandomizedPrior(_network("model.", state, model), _network("prior.", state, model))
    return Ensemble.from_state_dict(member.double(), state)


def _network(prefix: str, state: Mapping[str, Tensor], model: Estimator) -> MLP:
    weights = [key for key in state if key.startswith(prefix) and key.endswith(".weight")]
    shapes = [state[key].shape for key in sorted(weights, key=_layer_number)]
    sizes = [shape[1] for shape in shapes]
    generator = torch.Generator().manual_seed(0)  # of values that are replaced
    return MLP(
        shapes[0][2],
        sizes[:-1],
        sizes[-1],
        activation=_ACTIVATIONS[model.activation],
        generator=generator,
        dtype=torch.float64,
    )


def _layer_number(key: str) -> int:
    return int(key.split(".")[-2])
