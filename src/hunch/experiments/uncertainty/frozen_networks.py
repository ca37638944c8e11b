"""Trained networks: can doubt that is added afterwards tell other data from theirs?

Nobody tells the doubt what the other data are. Its settings are the defaults of
`hunch.nn.PostHocEpinet`, chosen with other seeds; the wine table, and stripes, pixels moved, a
tenth of new words and two words in turns, were looked at for the first time with these. How
predictions fade was chosen later, with all four and other seeds.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import cells, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult, written
from hunch.experiments.uncertainty.frozen_problems import (
    CANCER,
    CHAINS,
    DIGITS,
    WINE,
    Problem,
    make_problem,
)
from hunch.inference import ClassPredictive, expected_calibration_error, predict
from hunch.nn import PostHocEpinet
from hunch.seeding import default_generator_seeded, torch_generator

CLAIM = (
    "On four frozen networks, two perceptrons on tables, convolutions on the digits and a small "
    "transformer, the novelty of PostHocEpinet at its defaults tells data of another kind from "
    "test data with a mean AUROC of at least 0.95 on each, over its far sets and ten seeds; of "
    "inputs of quite another size, which three of them take, predict says an epistemic part of at "
    "least 0.8 of the largest there is, in the mean over each set; and no prediction changes by a "
    "bit."
)
LARGEST: Final = "largest probability"
NOVELTY: Final = "novelty"
EPISTEMIC: Final = "epistemic"
LAPLACE_LARGEST: Final = "laplace-torch, largest probability"
LAPLACE_EPISTEMIC: Final = "laplace-torch, epistemic"
SCORES: Final = (LARGEST, LAPLACE_LARGEST, LAPLACE_EPISTEMIC, EPISTEMIC, NOVELTY)
FAR, NEAR, SCALED = "far", "near", "another size"
_DRAWS: Final = 100  # functions, of ours and of Laplace's


@dataclass(frozen=True)
class Settings:
    """Which networks, and how often."""

    problems: tuple[str, ...] = (CANCER, WINE, DIGITS, CHAINS)
    num_seeds: int = 10  # trainings of each network, on other splits
    thrift: int = 1  # networks are trained so many times less
    jobs: int = 1  # trainings at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """Two networks, badly trained."""
        return cls((WINE, DIGITS), num_seeds=1, thrift=6)


@dataclass(frozen=True)
class Row:
    """What one score says of one set of other data."""

    problem: str
    data: str
    kind: str
    score: str
    auroc: npt.NDArray[np.float64] = field(metadata=written(decimals=4))  # by seed


@dataclass(frozen=True)
class Scaled:
    """What is said of one set of another size, by seed, in the mean over its rows."""

    problem: str
    data: str
    network: npt.NDArray[np.float64] = field(metadata=written(decimals=4))  # largest probability
    laplace: npt.NDArray[np.float64] = field(metadata=written(decimals=4))  # Laplace's; or NaN
    largest: npt.NDArray[np.float64] = field(metadata=written(decimals=4))  # of the members' mean
    epistemic: npt.NDArray[np.float64] = field(metadata=written(decimals=4))  # of log(classes)
    least: npt.NDArray[np.float64] = field(metadata=written(decimals=4))  # of one row


@dataclass(frozen=True)
class Trained:
    """One network and what was found about it."""

    problem: str
    seed: int
    accuracy: float = field(metadata=written(decimals=4))
    same: bool  # whether it says what it said, to the bit
    nll: float = field(metadata=written(decimals=4))  # of the network's probabilities, in nats
    doubted_nll: float = field(metadata=written(decimals=4))  # of the members' mean
    ece: float = field(metadata=written(decimals=4))
    doubted_ece: float = field(metadata=written(decimals=4))
    seconds: float = field(metadata=NOT_WRITTEN, default=0.0)  # to make the doubt


@dataclass(frozen=True)
class Result(SavedResult):
    """All scores on all sets."""

    settings: Settings
    rows: tuple[Row, ...]
    networks: tuple[Trained, ...]
    scaled: tuple[Scaled, ...]

    def mean(self, problem: str, score: str, *, kind: str = FAR) -> float:
        """AUROC over sets and seeds; NaN where the score was not made."""
        found = [r.auroc.mean() for r in self.rows if self._is(r, problem, score, kind)]
        return float(np.mean(found)) if found else float("nan")

    def worst(self, problem: str, score: str) -> float:
        """AUROC over seeds of the far set where it is least."""
        found = [r.auroc.mean() for r in self.rows if self._is(r, problem, score, FAR)]
        return float(min(found)) if found else float("nan")

    @property
    def least_doubt(self) -> float:
        """Epistemic part, of the largest there is, of the set of another size where it is least."""
        return float(min(s.epistemic.mean() for s in self.scaled))

    @property
    def scores(self) -> list[str]:
        """Those that were made."""
        return [score for score in SCORES if any(row.score == score for row in self.rows)]

    @staticmethod
    def _is(row: Row, problem: str, score: str, kind: str) -> bool:
        return (row.problem, row.score, row.kind) == (problem, score, kind)

    def to_markdown(self) -> str:
        """Every set, then the networks."""
        scores = self.scores
        lines = []
        for problem in self.settings.problems:
            for kind in (FAR, NEAR, SCALED):
                own = [r for r in self.rows if r.problem == problem and r.kind == kind]
                for data in dict.fromkeys(row.data for row in own):
                    by = {r.score: f"{r.auroc.mean():.3f}" for r in own if r.data == data}
                    lines.append(cells(problem, kind, data, *(by.get(s, "–") for s in scores)))
                means = [f"**{self.mean(problem, s, kind=kind):.3f}**" for s in scores]
                lines += [] if not own else [cells(problem, kind, "**mean**", *means)]
        sets = table(
            cells("network", "kind", "other data", *scores),
            lines,
            "AUROC, mean over seeds: how often a row of the other data has the larger score than a "
            "test row. Far sets count for the claim; others are printed beside them. 0.5 is "
            "chance, and what the network itself cannot tell, such as the order of words where it "
            "averages over them, no score of its features can. The largest probability counts "
            "downwards.",
        )
        return f"{sets}\n\n{self._of_scaled()}\n\n{self._of_networks()}"

    def _of_scaled(self) -> str:
        lines = [
            cells(
                s.problem,
                s.data,
                *(f"{_mean(v):.3f}" for v in (s.network, s.laplace, s.largest, s.epistemic)),
                f"{s.least.min():.3f}",
            )
            for s in self.scaled
        ]
        return table(
            cells(
                "network",
                "inputs of another size",
                "largest probability",
                "laplace-torch, largest probability",
                "members' mean, largest probability",
                "epistemic",
                "epistemic, least",
            ),
            lines,
            "Mean over rows and seeds; least of all rows and seeds. The epistemic part is in units "
            "of the largest there is, the logarithm of the number of classes.",
        )

    def _of_networks(self) -> str:
        lines = []
        for problem in self.settings.problems:
            own = [n for n in self.networks if n.problem == problem]
            means = (np.mean([getattr(n, what) for n in own]) for what in _MEANS)
            lines.append(cells(problem, *(f"{value:.3f}" for value in means)))
        return table(
            cells(
                "network",
                "accuracy",
                "log loss",
                "log loss of the members' mean",
                "calibration error",
                "calibration error of the members' mean",
                "seconds",
            ),
            lines,
            "Test data; expected calibration error in 15 bins; seconds of CPU to make the doubt, "
            "beside a training of the network.",
        )


_MEANS: Final = ("accuracy", "nll", "doubted_nll", "ece", "doubted_ece", "seconds")


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(np.mean(values))


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train each network on each seed, freeze it, and ask all scores about all sets."""
    settings = settings or Settings()
    seeds = range(10 * seed, 10 * seed + settings.num_seeds)
    tasks = [(name, s, settings.thrift) for name in settings.problems for s in seeds]
    found = collect(
        _compare, tasks, settings.jobs, label="frozen", unit="network", progress=progress
    )
    networks = sorted((n for n, _, _ in found), key=lambda n: (n.problem, n.seed))
    by_seed = {(n.problem, n.seed): scores for n, scores, _ in found}
    sizes = {(n.problem, n.seed): said for n, _, said in found}
    rows, scaled = [], []
    for problem in settings.problems:
        first = by_seed[problem, seeds[0]]
        for data, kind, score in first:
            auroc = np.array([by_seed[problem, s][data, kind, score] for s in seeds])
            rows.append(Row(problem, data, kind, score, auroc))
        for data in sizes[problem, seeds[0]]:
            said = np.array([sizes[problem, s][data] for s in seeds])
            scaled.append(Scaled(problem, data, *said.T))
    return Result(settings, tuple(rows), tuple(networks), tuple(scaled))


Aurocs = dict[tuple[str, str, str], float]
Said = dict[str, tuple[float, ...]]


def _compare(task: tuple[str, int, int]) -> list[tuple[Trained, Aurocs, Said]]:
    name, seed, thrift = task
    problem = make_problem(name, seed, thrift)
    with torch.no_grad():
        before = problem.net(problem.test)
    started = time.process_time()
    doubt = PostHocEpinet(problem.net, problem.x, seed=seed)
    seconds = time.process_time() - started
    scores = _scores(problem, doubt, seed)
    own = {score: of(problem.test) for score, of in scores.items()}
    aurocs = {
        (data, kind, score): auroc(own[score], of(x))
        for kind, sets in ((FAR, problem.far), (NEAR, problem.near), (SCALED, problem.scaled))
        for data, x in sets.items()
        for score, of in scores.items()
    }
    doubted = predict(doubt, problem.test, classes=True, seed=seed).log_probs
    with torch.no_grad():
        same = torch.equal(before, problem.net(problem.test))
        same = same and torch.equal(before, doubt.mean(problem.test))
    right = (before.argmax(1) == problem.test_y).double().mean()
    nll = torch.nn.functional.nll_loss
    log_probs = before.log_softmax(1), doubted
    own_nll, doubted_nll = (float(nll(p, problem.test_y)) for p in log_probs)
    ece, doubted_ece = (
        float(expected_calibration_error(p.exp(), problem.test_y)) for p in log_probs
    )
    network = Trained(
        name, seed, float(right), same, own_nll, doubted_nll, ece, doubted_ece, seconds
    )
    said = {data: _said(doubt, scores, x, seed) for data, x in problem.scaled.items()}
    return [(network, aurocs, said)]


def _said(doubt: PostHocEpinet, scores: dict[str, Any], x: Tensor, seed: int) -> tuple[float, ...]:
    """What `Scaled` holds."""
    p = predict(doubt, x, classes=True, num_members=_DRAWS, seed=seed)
    epistemic = p.epistemic / math.log(p.probs.shape[1])
    claimed = -scores[LARGEST](x).mean()
    laplace = -scores[LAPLACE_LARGEST](x).mean() if LAPLACE_LARGEST in scores else math.nan
    own = p.probs.amax(1).mean()
    return tuple(map(float, (claimed, laplace, own, epistemic.mean(), epistemic.min())))


def _scores(problem: Problem, doubt: PostHocEpinet, seed: int) -> dict[str, Any]:
    """Functions from inputs to a score `(batch,)` that is larger where doubt is."""

    @torch.no_grad()
    def largest(x: Tensor) -> Tensor:
        return -torch.as_tensor(problem.net(x)).softmax(1).amax(1)

    @torch.no_grad()
    def novelty(x: Tensor) -> Tensor:
        return doubt.novelty(x)

    def epistemic(x: Tensor) -> Tensor:
        return predict(doubt, x, classes=True, num_members=_DRAWS, seed=seed).epistemic

    scores = {LARGEST: largest, EPISTEMIC: epistemic, NOVELTY: novelty}
    if find_spec("laplace") is not None:
        scores |= _laplace(problem, seed)
    return scores


def _laplace(problem: Problem, seed: int) -> dict[str, Any]:
    """Laplace's approximation on the last layer, its prior tuned by the marginal likelihood."""
    from laplace import Laplace
    from torch.utils.data import DataLoader, TensorDataset

    rows = TensorDataset(problem.x, problem.y)
    order = torch_generator(seed, "frozen networks", "laplace")
    posterior = Laplace(
        problem.net,
        "classification",
        subset_of_weights="last_layer",
        hessian_structure="kron",
        last_layer_name="out",
    )
    posterior.fit(DataLoader(rows, batch_size=64, shuffle=True, generator=order))
    posterior.optimize_prior_precision(method="marglik")

    def probabilities(x: Tensor) -> Tensor:
        found: Tensor = posterior(x, link_approx="probit")
        return -found.detach().amax(1)

    def epistemic(x: Tensor) -> Tensor:
        with default_generator_seeded(seed, "frozen networks", "laplace"):
            mean, covariance = posterior._glm_predictive_distribution(x)
            normal = torch.randn(_DRAWS, *mean.shape)
        factor = torch.linalg.cholesky(
            covariance + 1e-6 * torch.eye(mean.shape[1]) * covariance.diagonal(0, 1, 2).mean()
        )
        drawn = mean + torch.einsum("bij,kbj->kbi", factor, normal)
        return ClassPredictive(drawn.detach()).epistemic

    return {LAPLACE_LARGEST: probabilities, LAPLACE_EPISTEMIC: epistemic}


def auroc(own: Tensor, other: Tensor) -> float:
    """How often a number of `other` is larger than one of `own`; equal ones count a half.

    Example:
        >>> auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
        0.875
    """
    ordered = own.double().sort().values
    below = torch.searchsorted(ordered, other.double())
    up_to = torch.searchsorted(ordered, other.double(), right=True)
    return float((below + up_to).double().mean() / (2 * len(own)))


def check(result: Result) -> list[Check]:
    """The claim's figures; for smaller runs that predictions stay and noise is told."""
    same = float(np.mean([n.same for n in result.networks]))
    checks = [Check("share of networks that say what they said, to the bit", same, ">=", 1.0)]
    smaller = result.settings.num_seeds < Settings.num_seeds
    of = partial(result.mean, score=NOVELTY)
    what = "mean AUROC of the novelty, far sets, {}"
    bound = 0.8 if smaller else 0.95
    checks += [
        Check(what.format(problem), of(problem), ">=", bound)
        for problem in result.settings.problems
    ]
    what = "epistemic part of the largest there is, set of another size where it is least"
    return [*checks, Check(what, result.least_doubt, ">=", 0.3 if smaller else 0.8)]
