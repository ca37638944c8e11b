"""Randomised priors on one-dimensional data: the blog post's figures, and what the prior adds.

Four ensembles on two data sets: with a network as prior, with the fixed function sin(3x), with a
network pretrained on a related task, and without prior. On the data of Osband et al. (2016) they
follow the post's recipe (1-20-20-1 with SELU, Glorot initialisation, Adam at 0.05 for 100 epochs, a
full-batch bootstrap drawn anew each epoch); on the data of the `enn` library they follow that one's
(two layers of 50 ReLUs, prior scale 5, noise of 0.1 on the targets, Adam at 0.001 for 1,000 steps).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.saved import SavedResult, plain_values, written
from hunch.experiments.uncertainty.toy_regression import toy_data
from hunch.inference import fit, predict
from hunch.inference.bootstrap import Bootstrap
from hunch.nn import MLP, Ensemble, RandomizedPrior
from hunch.progress import progress_bar

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
class EnsembleSetup:
    """How one ensemble is built and trained."""

    data: str  # name of the data set
    hidden_sizes: tuple[int, ...]  # of model and prior
    activation: str  # of model and prior
    scale: float  # the prior's, in units of y, for a random network; fixed functions have scale 1
    fit: dict[str, Any]  # arguments of `hunch.inference.fit`


BLOG: Final = EnsembleSetup(
    "osband2016",
    (20, 20),
    "selu",
    1.0,
    {"steps": 100, "lr": 0.05, "bootstrap": "multinomial", "redraw": True},
)
ENN: Final = EnsembleSetup(
    "enn",
    (50, 50),
    "relu",
    5.0,
    {"steps": 1000, "lr": 1e-3, "bootstrap": "none", "target_noise": 0.1},
)


@dataclass(frozen=True)
class Settings:
    """How much is trained."""

    num_members: int = 50  # K, members of each ensemble
    setups: tuple[EnsembleSetup, ...] = (BLOG, ENN)  # one set of four ensembles each
    num_grid: int = 121  # points on [−1, 2] at which members are drawn
    video_members: int = 40  # members of the ensembles that are shown as they learn; 0 for none
    video_steps: int = 100  # optimizer steps that are shown

    @classmethod
    def quick(cls) -> Settings:
        """Fewer members and shorter videos."""
        return cls(num_members=20, video_members=20, video_steps=60)


@dataclass(frozen=True)
class Case:
    """One trained ensemble."""

    data: str  # name of the data set
    prior: str  # key of `PRIORS`
    x: Array  # data, `(n,)`
    y: Array  # data, `(n,)`
    num_members: int  # K
    mean: Array  # the members' on the grid, `(grid,)`
    std: Array  # their standard deviation there
    at_data: float  # mean over the data of the members' standard deviation
    far: float  # mean of it at the ends of the grid
    # Predictions on the grid, `(members, grid)`; None where read from a file.
    members: Array | None = None
    # What the priors alone say there, `(members, grid)`; None without prior.
    priors: Array | None = None
    # What members predict at the data, `(members, n)`; None where read from a file.
    fitted: Array | None = None


@dataclass(frozen=True)
class Video:
    """A training as it goes."""

    title: str  # what is trained
    steps: tuple[int, ...]  # optimizer steps of the frames
    frames: Array  # predictions, `(frames, members, grid)`


@dataclass(frozen=True)
class Result(SavedResult):
    """All ensembles, on one grid."""

    settings: Settings
    grid: Array
    cases: tuple[Case, ...]
    videos: tuple[Video, ...] = ()

    def case(self, data: str, prior: str) -> Case:
        """The ensemble with that prior on those data."""
        return next(c for c in self.cases if (c.data, c.prior) == (data, prior))

    def to_json(self) -> dict[str, Any]:
        """Mean and standard deviation on a coarse grid for each ensemble."""
        coarse = slice(None, None, max(1, len(self.grid) // 30))
        values = {
            "grid": self.grid[coarse].tolist(),
            "ensembles": [
                {
                    "data": c.data,
                    "prior": c.prior,
                    "num_members": c.num_members,
                    "mean": c.mean[coarse].tolist(),
                    "std": c.std[coarse].tolist(),
                    "std_at_data": c.at_data,
                    "std_far": c.far,
                }
                for c in self.cases
            ],
        }
        plain: dict[str, Any] = plain_values(values, written(decimals=6))
        return plain

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Settings, seed: int = 0) -> Result:
        """The result that `to_json` wrote; the data are drawn again by the seed."""
        cases = []
        for c in values["ensembles"]:
            x, y = toy_data(c["data"], seed)
            cases.append(
                Case(
                    c["data"],
                    c["prior"],
                    _flat(x),
                    _flat(y),
                    c["num_members"],
                    np.array(c["mean"]),
                    np.array(c["std"]),
                    c["std_at_data"],
                    c["std_far"],
                )
            )
        return cls(settings, np.array(values["grid"]), tuple(cases))


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train every ensemble, and keep four of them as they learn."""
    settings = settings or Settings()
    grid = torch.linspace(*FAR, settings.num_grid).unsqueeze(1)
    total = len(settings.setups) * len(PRIORS) + (4 if settings.video_members else 0)
    cases: list[Case] = []
    videos: list[Video] = []
    with progress_bar(total, "randomised priors", "ensemble", enabled=progress) as bar:
        for setup in settings.setups:
            for prior in PRIORS:
                cases.append(_train(setup, prior, settings.num_members, grid, seed))
                bar.update()
        if settings.video_members:
            for video in _videos(settings, seed):
                videos.append(video)
                bar.update()
    return Result(settings, _flat(grid), tuple(cases), tuple(videos))


def build_ensemble(setup: EnsembleSetup, prior: str, num_members: int, seed: int) -> Ensemble:
    """An untrained ensemble.

    Args:
        setup: sizes, activation and scale.
        prior: key of `PRIORS`.
        num_members: K.
        seed: decides the initial values.

    Example:
        >>> build_ensemble(BLOG, "sine", 5, seed=0)(torch.zeros(3, 1)).shape
        torch.Size([5, 3, 1])
    """

    def network() -> MLP:
        return MLP(1, setup.hidden_sizes, 1, activation=setup.activation)

    if prior == "none":
        return Ensemble(network, num_members, seed=seed)
    fixed: nn.Module | Callable[[Tensor], Tensor]
    if prior == "mlp":
        return Ensemble(
            lambda: RandomizedPrior(network(), network(), setup.scale), num_members, seed=seed
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


def _train(setup: EnsembleSetup, prior: str, num_members: int, grid: Tensor, seed: int) -> Case:
    x, y = toy_data(setup.data, seed)
    net = build_ensemble(setup, prior, num_members, seed)
    fit(net, x, y, seed=seed, progress=False, **setup.fit)
    members = _flat(predict(net, grid).members)
    std = members.std(axis=0, ddof=1)
    return Case(
        data=setup.data,
        prior=prior,
        x=_flat(x),
        y=_flat(y),
        num_members=len(members),
        mean=members.mean(axis=0),
        std=std,
        at_data=float(predict(net, x).std.mean()),
        far=float(std[[0, -1]].mean()),
        members=members,
        priors=None if prior == "none" else _flat(_prior_only(net, grid)),
        fitted=_flat(predict(net, x).members),
    )


def _prior_only(net: Ensemble, grid: Tensor) -> Tensor:
    with torch.no_grad():
        scale = net.get_buffer("scale").reshape(-1, 1, 1)
        out: Tensor = scale * net.part("prior")(grid)
        return out


def _videos(settings: Settings, seed: int) -> list[Video]:
    """Four trainings: what prior and bootstrap each change while an ensemble learns."""
    scenes: tuple[tuple[str, str, Bootstrap], ...] = (
        ("no prior, no bootstrap", "none", "none"),
        ("prior", "mlp", "none"),
        ("prior + bootstrap", "mlp", "multinomial"),
        ("sine prior + bootstrap", "sine", "multinomial"),
    )
    x, y = toy_data(BLOG.data, seed)
    grid = torch.linspace(*FAR, 61).unsqueeze(1)
    every = max(1, settings.video_steps // 50)
    videos = []
    for title, prior, bootstrap in scenes:
        net = build_ensemble(BLOG, prior, settings.video_members, seed)
        frames = [_flat(predict(net, grid).members)]
        steps = [0]

        def keep(
            step: int,
            losses: Tensor,
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
            steps=settings.video_steps,
            lr=BLOG.fit["lr"],
            bootstrap=bootstrap,
            redraw=True,
            seed=seed,
            progress=False,
            callback=keep,
        )
        videos.append(Video(title, tuple(steps), np.stack(frames)))
    return videos


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
        f"Far from the data an ensemble of {case.num_members} with random priors is "
        f"{' and '.join(said)} as unsure as at the data. {conclusion}"
    )
