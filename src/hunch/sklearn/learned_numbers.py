"""What the regressor learns, to be asked without scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.nn import Ensemble
from hunch.sklearn.boosting import Trees
from hunch.sklearn.forecast import Forecast, Seen, Units
from hunch.sklearn.gaussian_process import GaussianProcess
from hunch.sklearn.learned import LearnedNetworks
from hunch.sklearn.noise import Noise, Shape, square_about_mean
from hunch.sklearn.rows import Floats, Scale
from hunch.sklearn.state import named
from hunch.sklearn.strata import Strata
from hunch.sklearn.targets import TargetForm
from hunch.sklearn.training import mean_at, members_at
from hunch.storage.parts import under


class LearnedNumbers(LearnedNetworks):
    """Networks, trees and processes that predict numbers, and how far they are off.

    Example:
        >>> from hunch import RandomizedPriorRegressor
        >>> X = np.random.default_rng(0).normal(size=(20, 2))
        >>> model = RandomizedPriorRegressor(5, max_iter=2, random_state=0).fit(X, X[:, 0])
        >>> learned = LearnedNumbers.from_state(*model.to_state())
        >>> ours, theirs = (own.predict_distribution(X).mean for own in (learned, model))
        >>> torch.equal(ours, theirs), np.allclose(ours, model.predict(X), rtol=1e-12)
        (True, True)
    """

    n_outputs_: int
    _flat: bool
    _target_scale: Scale
    _noise: Noise
    _shape: Shape
    _strata: Strata | None = None  # an earlier version knew of none
    _form: TargetForm
    _shares: Floats
    _trees: list[Trees]  # one for each output, or none
    _processes: list[GaussianProcess]  # likewise

    def predict_distribution(self, X: Any) -> Forecast:
        """What is known at X as a `hunch.inference.Predictive`, in units of y.

        Its `epistemic` is what more data would remove, its `aleatoric` what they would not. Its
        quantiles, intervals and samples are those of the errors on rows that networks did not see.
        """
        return self._forecast(self._inputs(X))

    def _forecast(self, x: Tensor) -> Forecast:
        """The same of scaled features."""
        center, deviations, noise = self._said_of(x)
        members = center + deviations
        for unseen in self._unseen_in(x):
            center, deviations, own = self._said_of(unseen.flat())
            members[:, unseen.rows] = unseen.members(center, deviations)
            # A constant noise is one number seen as many.
            noise = noise.index_copy(0, torch.from_numpy(unseen.rows), unseen.noise(own))
        return Forecast.of(Seen(members, noise, self._stratum_of(x)), self._units)

    def _said_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The prediction, how far each member is from it, and the noise, in scaled units."""
        views = self._views(x)
        parts = [members_at(ensemble, seen) for ensemble, seen in views]
        trees = self._trees_at(x)
        center = self._blended(x, views, [members.mean(dim=0) for members in parts], trees)
        deviations = torch.cat([own - own.mean(dim=0) for own in parts])
        noise = self._noise.at(x, self._reach)
        if trees is not None:
            # Errors are known about trees of one fold, and what is asked is the mean of all.
            counted = torch.from_numpy(self._shares[len(parts)]) * trees
            noise = square_about_mean(noise.square(), counted).sqrt()
        return center, deviations, noise

    def _mean_of(self, x: Tensor) -> Tensor:
        """The mean alone, of scaled features: as `_forecast` has it, but for the last digit.

        What members add to it in pairs, as priors do, cancels where it is not bent on the way back.
        """
        if not self._form.is_plain or any(True for _ in self._unseen_in(x)):
            return self._forecast(x).mean
        views = self._views(x)
        means = [mean_at(ensemble, seen) for ensemble, seen in views]
        center = self._blended(x, views, means, self._trees_at(x))
        return self._units.flattened(self._units.back(center))

    def _blended(
        self,
        x: Tensor,
        views: Sequence[tuple[Ensemble, Tensor]],
        means: Sequence[Tensor],
        trees: Tensor | None,
    ) -> Tensor:
        """What networks, trees and processes say together, given the means of the networks."""
        said = [*means, *([] if trees is None else [trees.mean(dim=0)])]
        said += self._processes_at(x, views[1][1].numpy() if len(views) > 1 else None)
        return (torch.from_numpy(self._shares) * torch.stack(said, dim=1)).sum(dim=1)

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:  # noqa: D102  # see the base
        tensors, values = super().to_state()
        parts = {
            "target": self._target_scale.to_state(),
            "shape": self._shape.to_state(),
            "noise": self._noise.to_state(),
            "form": self._form.to_state(),
            "blend": {"shares": torch.from_numpy(self._shares)},
            "strata": {} if self._strata is None else self._strata.to_state(),
            **{f"trees_{j}": trees.to_state() for j, trees in enumerate(self._trees)},
            **{f"process_{j}": own.to_state() for j, own in enumerate(self._processes)},
        }
        return tensors | named(parts), values | {"n_outputs_": self.n_outputs_, "flat": self._flat}

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        super()._restore(tensors, values)
        self.n_outputs_, self._flat = values["n_outputs_"], values["flat"]
        self._target_scale = Scale.from_state(under("target.", tensors))
        self._shape = Shape.from_state(under("shape.", tensors))
        recipe = self._recipe(self._seed)
        self._noise = Noise.from_state(under("noise.", tensors), recipe, self._width)
        self._restore_networks(tensors, self.n_outputs_)
        # An earlier version had one kind of networks, nothing beside them, and no ends.
        free = np.full(self.n_outputs_, np.inf)
        self._form = TargetForm.plain(-free, free, np.zeros(self.n_outputs_, bool))
        self._shares = np.ones((1, self.n_outputs_))
        if form := under("form.", tensors):
            self._form = TargetForm.from_state(form)
            self._shares = tensors["blend.shares"].numpy()
        trees = [under(f"trees_{j}.", tensors) for j in range(self.n_outputs_)]
        self._trees = [Trees.from_state(own) for own in trees if own]
        if strata := under("strata.", tensors):
            self._strata = Strata.from_state(strata)
        processes = [under(f"process_{j}.", tensors) for j in range(self.n_outputs_)]
        self._processes = [GaussianProcess.from_state(own) for own in processes if own]

    def _trees_at(self, x: Tensor) -> Tensor | None:
        """What the trees of each fold say of scaled features, `(folds, batch, outputs)`."""
        if not self._trees:
            return None
        said = [own.at(x.numpy()) for own in self._trees]
        return torch.from_numpy(np.concatenate(said, axis=2))

    def _processes_at(self, x: Tensor, ranked: Floats | None) -> list[Tensor]:
        """What processes say of them, `(batch, outputs)`, if there are any."""
        if not self._processes:
            return []
        seen = self._both_views(x, ranked)
        return [torch.from_numpy(np.stack([own.at(seen) for own in self._processes], axis=1))]

    @property
    def _units(self) -> Units:
        return Units(self._form, self._target_scale, self._shape, self._flat)

    def _stratum_of(self, x: Tensor) -> npt.NDArray[np.intp] | None:
        """The strata of scaled features; None if nothing is calibrated by."""
        return None if self._strata is None else self._strata.at(x.numpy())
