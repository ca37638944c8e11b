"""Is the ensemble a Bayes posterior? For a linear model with Gaussian noise, exactly.

The model is y = x·θ + ε with θ ~ N(0, λI) and ε ~ N(0, σ²), whose posterior has a closed form:

    θ | data ~ N(A⁻¹ Xᵀy / σ², A⁻¹),   A = XᵀX / σ² + I / λ.

A member with a prior draw θ̃ ~ N(0, λI) in its `RandomizedPrior`, trained on targets with noise σ
under a ridge σ²/λ, is one draw from it (Osband et al. 2018, lemma 3). Leaving out any of the three
ingredients, or replacing the noise by the row bootstrap that is often used instead, is not. Members
here are fitted by linear algebra, so that what is compared is the recipe; some of the exact recipe
are trained by `hunch.inference.fit` too, from random initial values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult, written
from hunch.inference import bootstrap_weights, fit, standard_normals
from hunch.inference.bootstrap import Bootstrap
from hunch.nn import Ensemble, RandomizedPrior
from hunch.progress import progress_bar
from hunch.seeding import torch_generator

CLAIM = (
    "On a linear model with Gaussian noise the ensemble with prior, target noise and ridge is the "
    "exact Bayes posterior: KL at most 0.02 in closed form and 0.05 for members trained by `fit`, "
    "on 5 shapes from 2 data in 4 dimensions to 40 in 8; without the prior, 2 data leave under 5 % "
    "of the true variance."
)


@dataclass(frozen=True)
class Ingredients:
    """Which ingredients an ensemble is made of."""

    name: str  # for tables
    prior: bool = True  # whether members carry a random prior
    noise: bool = True  # whether targets carry Gaussian noise
    ridge: bool = True  # whether members are pulled towards their prior
    bootstrap: Bootstrap = "none"  # kind of row bootstrap


ENSEMBLES = (
    Ingredients("prior + noise + ridge (exact)"),
    Ingredients("no prior", prior=False),
    Ingredients("no target noise", noise=False),
    Ingredients("no ridge", ridge=False),
    Ingredients("bootstrap for noise", noise=False, bootstrap="multinomial"),
    Ingredients("the blog: prior + bootstrap", noise=False, ridge=False, bootstrap="multinomial"),
)
EXACT, NO_PRIOR = ENSEMBLES[0].name, ENSEMBLES[1].name
TRAINED = "the exact one, trained by fit"


@dataclass(frozen=True)
class Settings:
    """What is compared."""

    # Number of data and of inputs d, each pair a case of its own.
    shapes: tuple[tuple[int, int], ...] = ((15, 4), (2, 4), (20, 5), (5, 10), (40, 8))
    # Ensemble size K; KL has a bias of about d(d + 3)/4K from the finite number.
    num_members: int = 20_000
    trained_members: int = 2_000  # size of the ensemble that is trained by steps
    steps: int = 1_000  # optimizer steps of that training
    learning_rate: float = 0.1  # of that training
    noise_std: float = 0.1  # σ, in units of y
    prior_variance: float = 1.0  # λ

    @classmethod
    def quick(cls) -> Settings:
        """Fewer members and shapes."""
        return cls(shapes=((15, 4), (2, 4)), num_members=5_000, trained_members=1_000)


@dataclass(frozen=True)
class Row:
    """One recipe on one data set against the exact posterior."""

    recipe: str  # its name
    num_data: int  # number of data
    dimension: int  # number of inputs
    # KL divergence from the members' Gaussian to the posterior, in nats; infinite where the members
    # leave a direction without any variance.
    kl: float = field(metadata=written(none=math.inf))
    variance_ratio: float  # trace of the members' covariance over that of the posterior
    # Members' standard deviation along each principal axis of the posterior.
    std: npt.NDArray[np.float64] | None = field(default=None, metadata=NOT_WRITTEN)
    # The posterior's own.
    exact_std: npt.NDArray[np.float64] | None = field(default=None, metadata=NOT_WRITTEN)


@dataclass(frozen=True)
class Result(SavedResult):
    """All recipes on all data sets."""

    settings: Settings
    rows: tuple[Row, ...]

    def row(self, recipe: str, shape: tuple[int, int]) -> Row:
        """The row of one recipe and number of data and inputs."""
        return next(r for r in self.rows if (r.recipe, r.num_data, r.dimension) == (recipe, *shape))

    def derived(self) -> dict[str, Any]:
        """The sizes of the ensembles."""
        settings = self.settings
        return {
            "num_members": settings.num_members,
            "trained_members": settings.trained_members,
        }


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Fit every recipe on every data set and compare it with the exact posterior."""
    settings = settings or Settings()
    rows = []
    total = len(settings.shapes) * (len(ENSEMBLES) + 1)
    with progress_bar(total, "linear posterior", "recipe", enabled=progress) as bar:
        for shape in settings.shapes:
            x, y = _data(settings, shape, seed)
            exact = exact_posterior(x, y, settings.noise_std, settings.prior_variance)
            for recipe in ENSEMBLES:
                samples = sample_posterior(settings, recipe, x, y, seed)
                rows.append(_compare(recipe.name, shape, samples, *exact))
                bar.update()
            rows.append(_compare(TRAINED, shape, train_posterior(settings, x, y, seed), *exact))
            bar.update()
    return Result(settings, tuple(rows))


def exact_posterior(
    x: Tensor, y: Tensor, noise_std: float, variance: float
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of θ given the data, in closed form.

    Args:
        x: inputs `(data, dimension)`.
        y: targets `(data, 1)`.
        noise_std: σ.
        variance: λ, the prior's.

    Returns:
        Mean `(dimension,)` and covariance `(dimension, dimension)`.

    Example:
        >>> mean, covariance = exact_posterior(torch.ones(1, 1), torch.ones(1, 1), 1.0, 1.0)
        >>> mean.item(), covariance.item()
        (0.5, 0.5)
    """
    precision = x.T @ x / noise_std**2 + torch.eye(x.shape[1], dtype=x.dtype) / variance
    covariance = torch.linalg.inv(precision)
    return covariance @ x.T @ y[:, 0] / noise_std**2, covariance


def sample_posterior(
    settings: Settings, recipe: Ingredients, x: Tensor, y: Tensor, seed: int
) -> Tensor:
    """One parameter vector a member, `(members, dimension)`: what its network computes, read off.

    The members are an `Ensemble` of `RandomizedPrior`s; only the optimizer is replaced, by the
    closed form of the loss that `hunch.inference.fit` minimises.
    """
    k, d = settings.num_members, x.shape[1]
    net = _members(settings, recipe, k, d, seed)
    targets = y.expand(k, *y.shape)
    if recipe.noise:
        normals = standard_normals(k, range(len(x)), (1,), seed=seed)
        targets = targets + settings.noise_std * normals
    weights = bootstrap_weights(recipe.bootstrap, k, range(len(x)), seed=seed).double()
    ridge = settings.noise_std**2 / settings.prior_variance if recipe.ridge else 0.0
    with torch.no_grad():
        residual = targets - net.get_buffer("scale").reshape(-1, 1, 1) * net.part("prior")(x)
        trained = minimize(x, residual, weights, ridge)
        net.get_parameter("model.weight").copy_(trained.mT)
        theta: Tensor = net(torch.eye(d, dtype=x.dtype)).squeeze(-1)
    return theta


def train_posterior(settings: Settings, x: Tensor, y: Tensor, seed: int) -> Tensor:
    """The exact recipe by `fit`, from random initial values, `(members, dimension)`."""
    k, d = settings.trained_members, x.shape[1]
    net = _members(settings, ENSEMBLES[0], k, d, seed)
    with torch.no_grad():
        net.get_parameter("model.weight").uniform_(
            -(d**-0.5), d**-0.5, generator=torch_generator(seed, "linear initial values")
        )
    fit(
        net,
        x,
        y,
        bootstrap="none",
        target_noise=settings.noise_std,
        ridge=settings.noise_std**2 / settings.prior_variance,
        steps=settings.steps,
        lr=settings.learning_rate,
        seed=seed,
        progress=False,
    )
    with torch.no_grad():
        theta: Tensor = net(torch.eye(d, dtype=x.dtype)).squeeze(-1)
    return theta


def minimize(x: Tensor, y: Tensor, weights: Tensor, ridge: float) -> Tensor:
    """Each member's least-squares solution, of least norm where there are many.

    Minimises Σ_i w_ki (y_ki − x_i·θ_k)² + ridge |θ_k|².

    Args:
        x: inputs `(data, dimension)`.
        y: targets `(members, data, 1)`.
        weights: `(members, data)`.
        ridge: at least 0.

    Returns:
        `(members, dimension, 1)`.

    Example:
        >>> minimize(torch.ones(2, 1), torch.ones(1, 2, 1), torch.ones(1, 2), 2.0).item()
        0.5
    """
    weighted = weights.unsqueeze(-1) * x
    gram = weighted.mT @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype)
    right = weighted.mT @ y
    solution: Tensor = (
        torch.linalg.solve(gram, right)
        if ridge
        else torch.linalg.pinv(gram, hermitian=True, rtol=1e-10) @ right
    )
    return solution


def _data(settings: Settings, shape: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    n, d = shape
    g = torch_generator(seed, "linear data", n)
    x = torch.randn(n, d, generator=g, dtype=torch.float64)
    theta = torch.randn(d, 1, generator=g, dtype=torch.float64)
    noise = torch.randn(n, 1, generator=g, dtype=torch.float64)
    return x, x @ theta * settings.prior_variance**0.5 + settings.noise_std * noise


def _members(settings: Settings, recipe: Ingredients, k: int, d: int, seed: int) -> Ensemble:
    def linear() -> nn.Linear:
        return nn.Linear(d, 1, bias=False, dtype=torch.float64)

    g = torch_generator(seed, "linear priors")
    draws = settings.prior_variance**0.5 * torch.randn(k, 1, d, generator=g, dtype=torch.float64)
    return Ensemble.from_state_dict(
        RandomizedPrior(linear(), linear()),
        {
            "scale": torch.full((k,), float(recipe.prior)),
            "model.weight": torch.zeros(k, 1, d),
            "prior.weight": draws,
        },
    )


def _compare(
    name: str, shape: tuple[int, int], samples: Tensor, mean: Tensor, covariance: Tensor
) -> Row:
    found_mean, found = samples.mean(dim=0), samples.T.cov()
    variances, axes = torch.linalg.eigh(covariance)
    along = torch.diagonal(axes.T @ found @ axes).clamp_min(0)
    ratio = torch.linalg.solve(covariance, found)
    sign, log_det = torch.linalg.slogdet(ratio)
    shift = mean - found_mean
    kl = 0.5 * (
        torch.trace(ratio) - len(mean) - log_det + shift @ torch.linalg.solve(covariance, shift)
    )
    flat = torch.linalg.eigvalsh(found)[0] < 1e-12 * variances[-1]
    return Row(
        recipe=name,
        num_data=shape[0],
        dimension=shape[1],
        kl=math.inf if flat or sign <= 0 else float(kl),
        variance_ratio=float(found.trace() / covariance.trace()),
        std=along.sqrt().numpy(),
        exact_std=variances.sqrt().numpy(),
    )


def check(result: Result) -> list[Check]:
    """The claim's figures."""
    checks = []
    for recipe, what, bound in ((EXACT, "in closed form", 0.02), (TRAINED, "trained", 0.05)):
        for n, d in result.settings.shapes:
            kl = result.row(recipe, (n, d)).kl
            checks.append(Check(f"KL to Bayes {what}, {n} data × {d}", kl, "<=", bound))
    n, d = min(result.settings.shapes)
    ratio = result.row(NO_PRIOR, (n, d)).variance_ratio
    checks.append(Check(f"variance left without prior, {n} data × {d}", ratio, "<=", 0.05))
    return checks


def found(result: Result) -> str:
    """What this run found, in a sentence or two."""
    settings = result.settings
    worst = {
        recipe: max(result.row(recipe, shape).kl for shape in settings.shapes)
        for recipe in (EXACT, TRAINED)
    }
    exact = worst[EXACT] <= 0.02 and worst[TRAINED] <= 0.05
    n, d = min(settings.shapes)
    return (
        "On a linear model with Gaussian noise the ensemble with prior, target noise and ridge "
        f"{'is' if exact else 'is not'} the exact Bayes posterior, to within "
        f"{worst[EXACT]:.4f} nats in closed form ({settings.num_members:,} members) and "
        f"{worst[TRAINED]:.4f} for {settings.trained_members:,} members trained in "
        f"{settings.steps:,} steps, at worst of {len(settings.shapes)} shapes. Without the prior, "
        f"{n} data in {d} dimensions leave {result.row(NO_PRIOR, (n, d)).variance_ratio:.1%} of "
        "the true variance."
    )
