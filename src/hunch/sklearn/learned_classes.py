"""What the classifier learns, to be asked without scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.inference import ClassPredictive
from hunch.sklearn.boosting import Trees, log_probabilities
from hunch.sklearn.learned import LearnedNetworks
from hunch.sklearn.reach import logits_at
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import named
from hunch.storage.parts import under

_LEAST_LOG: Final = -700.0  # of a probability; its exponential still is a number


class LearnedClasses(LearnedNetworks):
    """Networks and trees that predict classes.

    Example:
        >>> from hunch import RandomizedPriorClassifier
        >>> X = np.random.default_rng(0).normal(size=(20, 2))
        >>> model = RandomizedPriorClassifier(5, max_iter=2, random_state=0).fit(X, X[:, 0] > 0)
        >>> learned = LearnedClasses.from_state(*model.to_state())
        >>> bool((learned.predict_distribution(X).probs.numpy() == model.predict_proba(X)).all())
        True
    """

    classes_: npt.NDArray[Any]
    temperature_: float
    _prior_strengths: list[float]
    _temperatures: list[float]
    _blend_temperature: float
    _shares: Floats
    _trees: Trees | None
    _ridge_of_alpha: ClassVar[float] = 0.5

    def predict_distribution(self, X: Any) -> ClassPredictive:
        """What is known at X as a `hunch.inference.ClassPredictive`.

        Its `epistemic` is what more data would remove, its `aleatoric` what they would not, in
        nats.
        """
        x = self._inputs(X)
        blend, deviations = self._said_of(x)
        members = blend + deviations
        for unseen in self._unseen_in(x):
            members[:, unseen.rows] = unseen.members(*self._said_of(unseen.flat()))
        return ClassPredictive(members / self._blend_temperature)

    def _said_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the blended probabilities, and how far each network's are from them."""
        distance = None if self._reach is None else self._reach.distance(x)
        views = [
            (logits_at(ensemble, seen, distance, strength) / cold).log_softmax(dim=-1)
            for (ensemble, seen), strength, cold in zip(
                self._views(x), self._prior_strengths, self._temperatures, strict=True
            )
        ]
        said = [_log_mean(own) for own in views]
        shares = torch.from_numpy(self._shares).reshape(-1, 1, 1).repeat(1, len(x), 1)
        if self._trees is not None:
            said.append(_trees_at(self._trees, x))
            if distance is not None:
                # Trees say at any distance what they say at the edge of the data.
                far = distance.nonzero().squeeze(1)
                shares[-1, far] /= 1 + distance[far].square().unsqueeze(1)
                shares /= shares.sum(dim=0)
        blend = blended(said, shares)
        return blend, torch.cat([own - mean for own, mean in zip(views, said, strict=False)])

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:  # noqa: D102  # see the base
        tensors, values = super().to_state()
        if self._trees is not None:
            tensors |= named({"trees": self._trees.to_state()})
        return tensors, values | {
            "classes_": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "temperature_": self.temperature_,
            "prior_strengths": self._prior_strengths,
            "temperatures": self._temperatures,
            "blend_temperature": self._blend_temperature,
            "shares": self._shares.tolist(),
        }

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        super()._restore(tensors, values)
        self.classes_ = np.array(values["classes_"], dtype=values["classes_dtype"])
        self.temperature_ = values["temperature_"]
        # An earlier version had one kind of networks and nothing beside them.
        self._prior_strengths = values.get("prior_strengths", [values.get("prior_strength", 0.0)])
        self._temperatures = values.get("temperatures", [self.temperature_])
        self._blend_temperature = values.get("blend_temperature", 1.0)
        self._shares = np.array(values.get("shares", [1.0]))
        trees = under("trees.", tensors)
        self._trees = Trees.from_state(trees) if trees else None
        self._restore_networks(tensors, len(self.classes_))


def _trees_at(trees: Trees, x: Tensor) -> Tensor:
    """Logarithms of the mean probabilities of all folds' trees."""
    return _log_mean(torch.from_numpy(log_probabilities(trees.at(x.numpy()))))


def _log_mean(log_probs: Tensor) -> Tensor:
    """Logarithm of the mean probability over the first axis."""
    return log_probs.logsumexp(dim=0) - math.log(len(log_probs))


def blended(said: list[Tensor], shares: Tensor) -> Tensor:
    """Logarithm of the weighted mean of probabilities.

    Args:
        said: each model's logarithms of probabilities `(rows, classes)`.
        shares: of each model in each row, `(models, rows, 1)`.
    """
    logs = torch.stack(said).nan_to_num().clamp_min(_LEAST_LOG)
    return (shares.log() + logs).logsumexp(dim=0)
