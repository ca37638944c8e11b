"""Randomised priors on one-dimensional data: the blog post's pictures, and what the prior adds.

Four ensembles on two data sets: with a network as prior, with the fixed function sin(3x), with a
network pretrained on a related task, and without prior. On the data of Osband et al. (2016) they
follow the post's recipe (1-20-20-1 with SELU, Glorot initialisation, Adam at 0.05 for 100 epochs, a
full-batch bootstrap drawn anew each epoch); on the data of the `enn` library they follow that one's
(two layers of 50 ReLUs, prior scale 5, noise of 0.1 on the targets, Adam at 0.001 for 1,000 steps).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.experiments.claims.checks import Check
from hunch.experiments.uncertainty.toy_regression import toy_data
from hunch.inference import fit, predict
from hunch.inference.bootstrap import Bootstrap
from hunch.nn import MLP, Ensemble, RandomizedPrior
from hunch.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = (
    "Far from the data an ensemble of 50 with random priors is at least 3 times as unsure as at "
    "the data. So is the same ensemble without priors, whose members start from different values: "
    "what priors add is seen where nothing else is random, as in the linear case."
)

PRIORS: Final = {
    "mlp": "a random network",
    "sine": "the fixed function sin(3x)",
    "pretrained": "a network pretrained on x + sin(3x)",
    "none": "no prior",
}
FAR: Final = (-1.0, 2.0)  # ends of the plots, outside all data

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """How one ensemble is built and trained.

    Args:
        data: name of the data set.
        hidden_sizes: of model and prior.
        activation: of model and prior.
        scale: the prior's, in units of y, for a random network; fixed functions have scale 1.
        fit: arguments of `hunch.inference.fit`.
    """

    data: str
    hidden_sizes: tuple[int, ...]
    activation: str
    scale: float
    fit: dict[str, Any]


BLOG: Final = Recipe(
    "osband2016",
    (20, 20),
    "selu",
    1.0,
    {"steps": 100, "lr": 0.05, "bootstrap": "multinomial", "redraw": True},
)
ENN: Final = Recipe(
    "enn",
    (50, 50),
    "relu",
    5.0,
    {"steps": 1000, "lr": 1e-3, "bootstrap": "none", "target_noise": 0.1},
)


@dataclass(frozen=True)
class Settings:
    """How much is trained.

    Args:
        num_members: K, members of each ensemble.
        recipes: one set of four ensembles each.
        num_grid: points on [−1, 2] at which members are drawn.
        film_members: members of the filmed ensembles; 0 for no film.
        film_steps: optimizer steps of the film.
    """

    num_members: int = 50
    recipes: tuple[Recipe, ...] = (BLOG, ENN)
    num_grid: int = 121
    film_members: int = 40
    film_steps: int = 100

    @classmethod
    def quick(cls) -> Settings:
        """Fewer members and a shorter film."""
        return cls(num_members=20, film_members=20, film_steps=60)


@dataclass(frozen=True)
class Case:
    """One trained ensemble.

    Args:
        data: name of the data set.
        prior: key of `PRIORS`.
        x: data, `(n,)`.
        y: data, `(n,)`.
        members: predictions on the grid, `(members, grid)`.
        priors: what the priors alone say there, `(members, grid)`; None without prior.
        at_data: mean over the data of the members' standard deviation.
        fitted: what members predict at the data, `(members, n)`.
    """

    data: str
    prior: str
    x: Array
    y: Array
    members: Array
    priors: Array | None
    at_data: float
    fitted: Array

    @property
    def residual(self) -> float:
        """What is left between the data and the mean, beyond the members' own spread there.

        Noise, and what the fit has missed: a standard deviation, in units of y.
        """
        error = float(np.square(self.y - self.fitted.mean(axis=0)).mean())
        spread = float(self.fitted.var(axis=0, ddof=1).mean())
        return float(np.sqrt(max(0.0, error - spread)))

    def within(self, added: float) -> int:
        """How many data lie within two standard deviations of the mean.

        Args:
            added: standard deviation that is joined with the members'.
        """
        std = np.hypot(self.fitted.std(axis=0, ddof=1), added)
        return int((np.abs(self.y - self.fitted.mean(axis=0)) <= 2 * std).sum())

    @property
    def far(self) -> float:
        """Mean of the members' standard deviation at the ends of the grid."""
        return float(self.members.std(axis=0, ddof=1)[[0, -1]].mean())


@dataclass(frozen=True)
class Film:
    """A training as it goes.

    Args:
        title: what is trained.
        steps: optimizer steps of the frames.
        frames: predictions, `(frames, members, grid)`.
    """

    title: str
    steps: tuple[int, ...]
    frames: Array


@dataclass(frozen=True)
class Result:
    """All ensembles, on one grid."""

    grid: Array
    cases: tuple[Case, ...]
    films: tuple[Film, ...]

    def case(self, data: str, prior: str) -> Case:
        """The ensemble with that prior on those data."""
        return next(c for c in self.cases if (c.data, c.prior) == (data, prior))

    def to_json(self) -> dict[str, Any]:
        """Mean and standard deviation on a coarse grid for each ensemble."""
        coarse = slice(None, None, max(1, len(self.grid) // 30))
        return {
            "grid": _rounded(self.grid[coarse]),
            "ensembles": [
                {
                    "data": c.data,
                    "prior": c.prior,
                    "num_members": len(c.members),
                    "mean": _rounded(c.members.mean(axis=0)[coarse]),
                    "std": _rounded(c.members.std(axis=0, ddof=1)[coarse]),
                    "std_at_data": round(c.at_data, 6),
                    "std_far": round(c.far, 6),
                }
                for c in self.cases
            ],
        }


def _rounded(values: Array) -> list[float]:
    return [round(float(v), 6) for v in values]


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train every ensemble, and film four of them.

    Args:
        settings: how much; the claim's own if None.
        seed: decides data, initial values and bootstraps.
        progress: show a bar.
    """
    settings = settings or Settings()
    grid = torch.linspace(*FAR, settings.num_grid).unsqueeze(1)
    total = len(settings.recipes) * len(PRIORS) + (4 if settings.film_members else 0)
    cases: list[Case] = []
    films: list[Film] = []
    with progress_bar(total, "randomised priors", "ensemble", enabled=progress) as bar:
        for recipe in settings.recipes:
            for prior in PRIORS:
                cases.append(_train(recipe, prior, settings.num_members, grid, seed))
                bar.update()
        if settings.film_members:
            for film in _films(settings, seed):
                films.append(film)
                bar.update()
    return Result(_flat(grid), tuple(cases), tuple(films))


def build_ensemble(recipe: Recipe, prior: str, num_members: int, seed: int) -> Ensemble:
    """An untrained ensemble.

    Args:
        recipe: sizes, activation and scale.
        prior: key of `PRIORS`.
        num_members: K.
        seed: decides the initial values.

    Example:
        >>> build_ensemble(BLOG, "sine", 5, seed=0)(torch.zeros(3, 1)).shape
        torch.Size([5, 3, 1])
    """

    def network() -> MLP:
        return MLP(1, recipe.hidden_sizes, 1, activation=recipe.activation)

    if prior == "none":
        return Ensemble(network, num_members, seed=seed)
    fixed: nn.Module | Callable[[Tensor], Tensor]
    if prior == "mlp":
        return Ensemble(
            lambda: RandomizedPrior(network(), network(), recipe.scale), num_members, seed=seed
        )
    fixed = _sine if prior == "sine" else _pretrained(network, seed)
    return Ensemble(lambda: RandomizedPrior(network(), fixed), num_members, seed=seed)


def _sine(x: Tensor) -> Tensor:
    return torch.sin(3 * x)


def _pretrained(network: Callable[[], MLP], seed: int) -> nn.Module:
    """A network that has learnt the slow part of the data's truth, on plenty of clean data."""
    x = torch.linspace(*FAR, 200).unsqueeze(1)
    teacher = Ensemble(network, 1, seed=seed)
    fit(teacher, x, x + _sine(x), bootstrap="none", steps=600, lr=0.01, progress=False)
    return teacher.member(0)


def _train(recipe: Recipe, prior: str, num_members: int, grid: Tensor, seed: int) -> Case:
    x, y = toy_data(recipe.data, seed)
    net = build_ensemble(recipe, prior, num_members, seed)
    fit(net, x, y, seed=seed, progress=False, **recipe.fit)
    return Case(
        data=recipe.data,
        prior=prior,
        x=_flat(x),
        y=_flat(y),
        members=_flat(predict(net, grid).members),
        priors=None if prior == "none" else _flat(_prior_alone(net, grid)),
        at_data=float(predict(net, x).std.mean()),
        fitted=_flat(predict(net, x).members),
    )


def _prior_alone(net: Ensemble, grid: Tensor) -> Tensor:
    with torch.no_grad():
        scale = net.get_buffer("scale").reshape(-1, 1, 1)
        out: Tensor = scale * net.part("prior")(grid)
        return out


def _films(settings: Settings, seed: int) -> list[Film]:
    """Four trainings: what prior and bootstrap each change while an ensemble learns."""
    scenes: tuple[tuple[str, str, Bootstrap], ...] = (
        ("no prior, no bootstrap", "none", "none"),
        ("prior", "mlp", "none"),
        ("prior + bootstrap", "mlp", "multinomial"),
        ("sine prior + bootstrap", "sine", "multinomial"),
    )
    x, y = toy_data(BLOG.data, seed)
    grid = torch.linspace(*FAR, 61).unsqueeze(1)
    every = max(1, settings.film_steps // 50)
    films = []
    for title, prior, bootstrap in scenes:
        net = build_ensemble(BLOG, prior, settings.film_members, seed)
        frames = [_flat(predict(net, grid).members)]
        steps = [0]

        def shoot(
            step: int,
            net: Ensemble = net,
            frames: list[Array] = frames,
            steps: list[int] = steps,
        ) -> None:
            if step % every == 0:
                frames.append(_flat(predict(net, grid).members))
                steps.append(step)
                net.train()

        fit(
            net,
            x,
            y,
            steps=settings.film_steps,
            lr=BLOG.fit["lr"],
            bootstrap=bootstrap,
            redraw=True,
            seed=seed,
            progress=False,
            callback=shoot,
        )
        films.append(Film(title, tuple(steps), np.stack(frames)))
    return films


def _flat(t: Tensor) -> Array:
    return np.asarray(t.detach().squeeze(-1).numpy(), dtype=np.float32)


def check(result: Result) -> list[Check]:
    """The claim's figures, on each data set."""
    checks = []
    for data in dict.fromkeys(c.data for c in result.cases):
        for prior, what in (("mlp", ""), ("none", ", control without priors")):
            case = result.case(data, prior)
            checks.append(
                Check(f"{data}: std far / at data{what}", case.far / case.at_data, ">=", 3.0)
            )
    return checks


def found(result: Result) -> str:
    """What this run found, in a sentence or two, with its control."""
    said, added = [], []
    for data in dict.fromkeys(c.data for c in result.cases):
        case, naive = result.case(data, "mlp"), result.case(data, "none")
        ratios = [c.far / c.at_data for c in (case, naive)]
        said.append(f"{ratios[0]:.1f} times on {data} (without priors {ratios[1]:.1f})")
        if ratios[0] > 1.5 * ratios[1]:
            added.append(data)
    conclusion = (
        f"Priors make much of the difference on {' and '.join(added)}."
        if added
        else "So it is not the priors that make the difference here: initial values differ too."
    )
    return (
        f"Far from the data an ensemble of {len(case.members)} with random priors is "
        f"{' and '.join(said)} as unsure as at the data. {conclusion}"
    )


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """The post's three views of each ensemble, and the bands on the second data set."""
    figures = {}
    for case in result.cases:
        figures[f"{case.data}-{case.prior}-band"] = _plot_band(result.grid, case)
        if case.data == BLOG.data:
            figures[f"{case.data}-{case.prior}-members"] = _plot_members(result.grid, case)
            if case.priors is not None:
                figures[f"{case.data}-{case.prior}-prior"] = _plot_prior(result.grid, case)
    return figures


def _limits(case: Case) -> tuple[float, float]:
    return (-4.5, 4.5) if case.data == BLOG.data else (-9.0, 9.0)


def _title(case: Case, what: str) -> str:
    short = {"mlp": "network prior", "sine": "sine prior", "pretrained": "pretrained prior"}
    return f"{what}: {short.get(case.prior, 'no prior')}"


def _plot_band(grid: Array, case: Case) -> tuple[Figure, str]:
    from hunch.plots import BLUE, GRAY, RED, panel

    figure, ax = panel(_title(case, "Uncertainty"), "x", "y")
    mean, std = case.members.mean(axis=0), case.members.std(axis=0, ddof=1)
    both = 2 * np.hypot(std, case.residual)
    ax.fill_between(
        grid, mean - both, mean + both, color=GRAY, alpha=0.2, linewidth=0, label="an observation"
    )
    ax.fill_between(
        grid, mean - 2 * std, mean + 2 * std, color=BLUE, alpha=0.35, linewidth=0, label="members"
    )
    ax.plot(grid, mean, color=BLUE, linewidth=1.8)
    ax.plot(case.x, case.y, "o", color=RED, markersize=4)
    ax.set_ylim(*_limits(case))
    ax.legend(loc="upper right")
    return figure, (
        f"Mean of {len(case.members)} members and two standard deviations: blue, of the members, "
        f"which leave out the noise and hold {case.within(0.0)} of {len(case.x)} data; gray, of an "
        f"observation, with what is left at the data (a standard deviation of "
        f"{case.residual:.2f}: noise, and what the fit has missed), {case.within(case.residual)} "
        f"of {len(case.x)}. Data in red; prior: {PRIORS[case.prior]}."
    )


def _plot_members(grid: Array, case: Case) -> tuple[Figure, str]:
    from hunch.plots import BLUE, RED, panel

    figure, ax = panel(_title(case, "Members"), "x", "y")
    ax.plot(grid, case.members.T, color=BLUE, alpha=0.35, linewidth=0.8)
    ax.plot(case.x, case.y, "o", color=RED, markersize=4)
    ax.set_ylim(*_limits(case))
    return figure, f"All {len(case.members)} members; data in red."


def _plot_prior(grid: Array, case: Case) -> tuple[Figure, str]:
    from hunch.plots import GREEN, panel

    if case.priors is None:
        raise ValueError("this ensemble has no prior")
    figure, ax = panel(_title(case, "Prior alone"), "x", "y")
    same = np.ptp(case.priors, axis=0).max() < 1e-5
    shown = case.priors[:1] if same else case.priors
    ax.plot(grid, shown.T, color=GREEN, alpha=1.0 if same else 0.45, linewidth=1.8 if same else 0.9)
    ax.set_ylim(*_limits(case))
    text = "The same function for every member." if same else "One untrained function a member."
    return figure, text
