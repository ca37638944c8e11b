"""An ensemble with randomized priors as a model for BoTorch (extra `botorch`).

    model = RandomizedPriorModel(train_X, train_Y)
    acquisition = qLogExpectedImprovement(model, best_f=train_Y.max())
    candidate, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=5, raw_samples=256)

The model trains itself when it is made. Its members are functions, so each is a Thompson sample:
`model.thompson_paths()` gives some, to be maximized like any other model, and BoTorch's own
`PathwiseThompsonSampling(model)` draws them too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError, MissingDependencyError, ShapeError
from hunch.inference import fit
from hunch.nn import MLP, Ensemble, RandomizedPrior
from hunch.nn.inputs import as_data
from hunch.seeding import torch_generator

try:
    from botorch.acquisition.objective import PosteriorTransform
    from botorch.models.deterministic import DeterministicModel
    from botorch.models.ensemble import EnsembleModel
    from botorch.posteriors.ensemble import EnsemblePosterior
    from botorch.sampling.pathwise.paths import SamplePath
    from botorch.sampling.pathwise.posterior_samplers import DrawMatheronPaths
except ImportError as error:
    raise MissingDependencyError(
        "hunch.adapters.botorch needs BoTorch, which is not installed; "
        'install it with: pip install "torch-hunch[botorch]"'
    ) from error

# Networks are smooth on the scale of 1. Over [-1, 1] they were too sure that between two points
# nothing happens, and Thompson sampling stayed where it was.
_REACH: Final = 3.0
_FIRST_STEPS: Final = 600
# Added observations are mostly learned in one round; what surprises the members takes more.
_MORE_STEPS: Final = 120
_MORE_ROUNDS: Final = 5
_LEARNED: Final = 1e-3  # mean squared error, in variances of the targets


class RandomizedPriorModel(EnsembleModel):
    """Networks with randomized priors, trained on all observations when the model is made.

    `posterior(X)` is BoTorch's `EnsemblePosterior` over the members' predictions, without noise,
    for any acquisition function; `posterior(X, observation_noise=True)` is that of an observation,
    with `noise_std`. Inside, inputs are scaled to [-3, 3] over the range of `train_X`
    and targets to mean 0 and standard deviation 1. All tensors are double precision.

    Args:
        train_X: inputs `(n, d)`.
        train_Y: observations `(n, m)`.
        num_members: networks; also how many Thompson paths there are.
        hidden_sizes: widths of the hidden layers, of network and prior alike.
        activation: as for `hunch.nn.MLP`.
        prior_scale: how strongly the priors speak, in standard deviations of `train_Y`.
        noise_std: standard deviation of the noise of an observation, in units of `train_Y`; with 0
            members pass through the data, else they disagree there too.
        steps: optimizer steps; `"auto"` is 600, and 120 where observations are added, up to five
            times over if they surprise the members.
        lr: Adam's learning rate.
        seed: decides initial values, priors and noise.
        progress: show a bar once training has lasted two seconds.

    Attributes:
        ensemble: the trained `hunch.nn.Ensemble`, on scaled inputs and targets.

    Raises:
        ConfigurationError: for a setting that cannot work, or noise on several outputs.
        DataError: if there is no observation, or one is NaN or infinite.
        ShapeError: if `train_X` and `train_Y` are not `(n, d)` and `(n, m)`.

    Example:
        >>> X = torch.linspace(0, 1, 6, dtype=torch.double).unsqueeze(-1)
        >>> model = RandomizedPriorModel(X, (6 * X).sin(), num_members=8, progress=False)
        >>> bool((model.posterior(X).mean - (6 * X).sin()).abs().max() < 0.1)
        True

    Reference:
        Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep reinforcement
        learning", algorithm 1.

    Note:
        A model of several outputs shares its hidden layers. For noise, or outputs that have little
        in common, use one model each in BoTorch's `ModelList`.
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        *,
        num_members: int = 16,
        hidden_sizes: Sequence[int] = (32, 32),
        activation: str = "silu",
        prior_scale: float = 1.0,
        noise_std: float = 0.0,
        steps: int | Literal["auto"] = "auto",
        lr: float = 0.01,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        super().__init__()
        _check_shapes("train_X", train_X, "train_Y", train_Y)
        inputs, outputs = train_X.shape[1], train_Y.shape[1]
        if not noise_std >= 0 or (noise_std and outputs > 1):
            raise ConfigurationError(
                f"`noise_std` got {noise_std} for {outputs} outputs; expected a number of at least "
                "0, and 0 for several outputs: use one model for each, in a ModelList."
            )
        self._num_outputs = outputs
        self.noise_std, self.steps, self.lr = noise_std, steps, lr
        self.seed, self.progress = seed, progress

        def network() -> MLP:
            sizes = (inputs, tuple(hidden_sizes), outputs)
            return MLP(*sizes, activation=activation, dtype=torch.double)

        self.ensemble = Ensemble(
            lambda: RandomizedPrior(network(), network(), prior_scale), num_members, seed=seed
        ).to(train_X.device)
        self._learn(train_X, train_Y, _FIRST_STEPS, rounds=1)

    def forward(self, X: Tensor) -> Tensor:
        """The members' predictions `(…, members, n, m)` at `X (…, n, d)`."""
        return self._scaling.outputs(self.ensemble(self._scaling.inputs(X)).movedim(0, -3))

    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        posterior_transform: PosteriorTransform | None = None,
        **kwargs: Any,
    ) -> EnsemblePosterior:
        """What is known at `X (…, n, d)`.

        Args:
            X: where.
            output_indices: of which outputs; all if None.
            posterior_transform: BoTorch's own.
            kwargs: `observation_noise=True` for an observation, with the noise of `noise_std`,
                rather than for the function.

        Example:
            >>> X = torch.linspace(0, 1, 6, dtype=torch.double).unsqueeze(-1)
            >>> model = RandomizedPriorModel(X, X, num_members=4, noise_std=2.0, progress=False)
            >>> seen = model.posterior(X, observation_noise=True).variance
            >>> torch.allclose(seen - model.posterior(X).variance, torch.full_like(seen, 4.0))
            True
        """
        found = super().posterior(X, output_indices, **kwargs)
        if kwargs.get("observation_noise") is True and self.noise_std:
            found = _ObservationPosterior(found.values, self.noise_std, self.seed)
        return found if posterior_transform is None else posterior_transform(found)

    def condition_on_observations(
        self, X: Tensor, Y: Tensor, **kwargs: Any
    ) -> RandomizedPriorModel:
        """A new model with more observations, trained on from the members of this one.

        Args:
            X: further inputs `(k, d)`.
            Y: their observations `(k, m)`.
            kwargs: BoTorch's own, not used here.

        Returns:
            The model; this one and its paths stay as they are.

        Raises:
            DataError: if an observation is NaN or infinite.
            ShapeError: if shapes do not fit; a batch of models would be a training each.

        Example:
            >>> X = torch.rand(5, 2, dtype=torch.double)
            >>> model = RandomizedPriorModel(X, X.sum(1, keepdim=True), num_members=4)
            >>> more = model.condition_on_observations(X[:1] / 2, X[:1].sum(1, keepdim=True) / 2)
            >>> len(model.train_targets), len(more.train_targets)
            (5, 6)
        """
        _check_shapes("X", X, "Y", Y)
        (train_X,), train_Y = self.train_inputs, self.train_targets
        if (X.shape[1], Y.shape[1]) != (train_X.shape[1], train_Y.shape[1]):
            raise ShapeError(
                f"`X` and `Y` got shapes {tuple(X.shape)} and {tuple(Y.shape)}; expected "
                f"(k, {train_X.shape[1]}) and (k, {train_Y.shape[1]}), as at training."
            )
        model = copy.deepcopy(self)
        x, y = torch.cat([train_X, X.to(train_X)]), torch.cat([train_Y, Y.to(train_Y)])
        model._learn(x, y, _MORE_STEPS, rounds=_MORE_ROUNDS)
        return model

    def thompson_paths(
        self, num_paths: int = 1, *, generator: torch.Generator | None = None
    ) -> list[ThompsonPath]:
        """Draw Thompson samples: whole functions, deterministic and differentiable in x.

        Each is one member, drawn without replacement. To maximize one, maximize
        `PosteriorMean(path)`; `PathwiseThompsonSampling(model)`, BoTorch's own, does both.

        Args:
            num_paths: from 1 to the number of members.
            generator: source of the draw; torch's default generator if None.

        Raises:
            ConfigurationError: if there are not so many members.

        Example:
            >>> X = torch.rand(5, 2, dtype=torch.double)
            >>> model = RandomizedPriorModel(X, X.sum(1, keepdim=True), num_members=4)
            >>> one, another = model.thompson_paths(2)
            >>> one(X).shape, bool((one(X) == one(X)).all())
            (torch.Size([5, 1]), True)

        Reference:
            Thompson (1933), "On the likelihood that one unknown probability exceeds another in
            view of the evidence of two samples".
        """
        members = self.ensemble.num_members
        if not 1 <= num_paths <= members:
            raise ConfigurationError(
                f"`num_paths` got {num_paths}; expected 1 to {members}, the number of members."
            )
        drawn = torch.randperm(members, generator=generator)[:num_paths].tolist()
        return [self._path(k) for k in drawn]

    def _path(self, member: int) -> ThompsonPath:
        return ThompsonPath(self.ensemble.member(member), self._scaling, self._num_outputs)

    def _learn(self, X: Tensor, Y: Tensor, steps: int, *, rounds: int) -> None:
        """Train on all observations; one round of steps, or as many as it takes."""
        x, y = as_data("train_X", X, self.ensemble), as_data("train_Y", Y, self.ensemble)
        self.train_inputs, self.train_targets = (x,), y
        self._scaling = scaling = _Scaling(x, y)
        noise = self.noise_std / float(scaling.spread[0])
        if self.steps != "auto":
            steps, rounds = self.steps, 1
        for _ in range(rounds):
            history = fit(
                self.ensemble,
                scaling.inputs(x),
                (y - scaling.mean) / scaling.spread,
                bootstrap="none",
                target_noise=noise,
                ridge=noise**2,
                steps=steps,
                lr=self.lr,
                seed=self.seed,
                progress=self.progress,
            )
            # Noisy targets are not to be met; twice their variance allows for the ridge.
            if float(history.loss[-1:].mean()) <= _LEARNED + 2 * noise**2:
                break
        self.ensemble.eval()


class _ObservationPosterior(EnsemblePosterior):
    """Members' predictions, and the noise of an observation about them.

    Args:
        values: predictions `(…, members, n, m)`.
        noise_std: of the noise.
        seed: decides the noise of samples, which is the same for the same shapes, so that an
            acquisition function is one function.
    """

    def __init__(self, values: Tensor, noise_std: float, seed: int) -> None:
        super().__init__(values)
        self.noise_std, self.seed = noise_std, seed

    @property
    def variance(self) -> Tensor:
        variance: Tensor = super().variance + self.noise_std**2
        return variance

    @property
    def mixture_variance(self) -> Tensor:
        variance: Tensor = super().mixture_variance + self.noise_std**2
        return variance

    def rsample_from_base_samples(self, sample_shape: torch.Size, base_samples: Tensor) -> Tensor:
        values = super().rsample_from_base_samples(sample_shape, base_samples)
        generator = torch_generator(self.seed, "observation noise")
        normals = torch.randn(values.shape, generator=generator, dtype=values.dtype)
        noisy: Tensor = values + self.noise_std * normals.to(values)
        return noisy


class ThompsonPath(DeterministicModel):
    """One function out of the posterior, as a BoTorch model without uncertainty.

    Args:
        member: a network on scaled inputs and targets.
        scaling: how they are scaled.
        num_outputs: m.
    """

    def __init__(self, member: nn.Module, scaling: _Scaling, num_outputs: int) -> None:
        super().__init__()
        self.member, self.scaling, self._num_outputs = member.eval(), scaling, num_outputs

    def forward(self, X: Tensor) -> Tensor:
        """Values `(…, n, m)` at `X (…, n, d)`."""
        return self.scaling.outputs(self.member(self.scaling.inputs(X)))


class _Paths(SamplePath):
    """Several paths as BoTorch's pathwise sampling evaluates them: each at inputs of its own.

    Args:
        paths: as many as `sample_shape` has places.
        sample_shape: how they are laid out.
        num_outputs: m; several are one more axis behind those of `sample_shape`.
    """

    def __init__(
        self, paths: Sequence[ThompsonPath], sample_shape: torch.Size, num_outputs: int
    ) -> None:
        super().__init__()
        self.paths, self.sample_shape = nn.ModuleList(paths), sample_shape
        self.outputs = [num_outputs] if num_outputs > 1 else []

    def forward(self, x: Tensor) -> Tensor:
        """Values `(…, *sample_shape[, m], n)` at `x`, which broadcasts to those axes and d."""
        shape = torch.broadcast_shapes(x.shape[:-2], [*self.sample_shape, *self.outputs])
        first = len(shape) - len(self.outputs) - len(self.sample_shape)  # axis of the samples
        samples = shape[first : len(shape) - len(self.outputs)]
        which = torch.arange(len(self.paths)).reshape(self.sample_shape).expand(samples).flatten()
        x = x.expand(*shape, *x.shape[-2:])
        parts = x.reshape(*shape[:first], len(which), *self.outputs, *x.shape[-2:]).unbind(first)
        drawn = [self.paths[k](part) for k, part in zip(which.tolist(), parts, strict=True)]
        values = torch.stack(drawn, dim=first)
        if self.outputs:  # of each input the output it is there for
            values = values.diagonal(dim1=first + 1, dim2=-1).movedim(-1, first + 1)
        return values.reshape(*shape, x.shape[-2])

    def set_ensemble_as_batch(self, ensemble_as_batch: bool) -> None:
        """Nothing to set: a path is one member, so there is no axis of members."""


@DrawMatheronPaths.register(RandomizedPriorModel)  # type: ignore[untyped-decorator]
def _draw_paths(model: RandomizedPriorModel, *, sample_shape: torch.Size, **_: Any) -> _Paths:
    """Members drawn by torch's default generator, as BoTorch draws: none twice before all once."""
    count, members = sample_shape.numel(), model.ensemble.num_members
    rounds = [torch.randperm(members) for _ in range(-(-count // members))]
    paths = [model._path(k) for k in torch.cat(rounds)[:count].tolist()]
    return _Paths(paths, sample_shape, model.num_outputs)


class _Scaling(nn.Module):
    """From the user's units to the networks' and back."""

    center: Tensor
    radius: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__()
        low, high = x.min(dim=0).values, x.max(dim=0).values
        self.register_buffer("center", (low + high) / 2)
        self.register_buffer("radius", _positive((high - low) / 2))
        self.register_buffer("mean", y.mean(dim=0))
        self.register_buffer("spread", _positive(y.std(dim=0, correction=0)))

    def inputs(self, x: Tensor) -> Tensor:
        return (x.to(self.center) - self.center) * (_REACH / self.radius)

    def outputs(self, y: Tensor) -> Tensor:
        return y * self.spread + self.mean


def _positive(sizes: Tensor) -> Tensor:
    """Sizes to divide by: a column that never changes has none."""
    return torch.where(sizes > 0, sizes, torch.ones_like(sizes))


def _check_shapes(x_name: str, x: Tensor, y_name: str, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ShapeError(
            f"`{x_name}` and `{y_name}` got shapes {tuple(x.shape)} and {tuple(y.shape)}; expected "
            "(n, d) and (n, m), one row of each for each observation."
        )
