"""Bayesian optimization with an ensemble as the model, against random search and the exact GP."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.parallel import in_processes
from hunch.progress import progress_bar
from hunch.seeding import default_generator_seeded, derive, torch_generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = (
    "With an ensemble of networks with random priors as BoTorch's model, Thompson sampling and "
    "qLogEI both reach, with equal evaluations, a median simple regret at least 10 times lower "
    "than random search's on Branin and at least 3 times lower on Hartmann-6."
)
RANDOM: Final = "random search"
THOMPSON: Final = "ensemble, Thompson sampling"
IMPROVEMENT: Final = "ensemble, qLogEI"
EXACT: Final = "exact GP, qLogEI"
METHODS: Final = (RANDOM, THOMPSON, IMPROVEMENT, EXACT)
# By how much the ensembles are to beat random search.
FACTORS: Final = {"Branin": 10.0, "Hartmann-6": 3.0}
FIRST_SEED: Final = 100  # settings were chosen on seeds from 900 on


@dataclass(frozen=True)
class Problem:
    """A function to maximize.

    Args:
        name: a key of `FACTORS`.
        initial: evaluations at Sobol points, the same for all methods but random search.
        evaluations: in all.
    """

    name: str
    initial: int
    evaluations: int


@dataclass(frozen=True)
class Settings:
    """Which problems, and how often each is solved.

    Args:
        problems: the functions and their budgets.
        num_seeds: runs of each method on each of them.
        num_restarts: starts of the search for an acquisition function's maximum.
        raw_samples: points of which the starts are chosen.
        jobs: runs at a time, each in a process of its own.
    """

    problems: tuple[Problem, ...] = (Problem("Branin", 10, 50), Problem("Hartmann-6", 20, 60))
    num_seeds: int = 10
    num_restarts: int = 5
    raw_samples: int = 256
    jobs: int = 1

    @classmethod
    def quick(cls) -> Settings:
        """A few evaluations of one seed."""
        return cls((Problem("Branin", 5, 8),), num_seeds=1, num_restarts=2, raw_samples=16)

    def __post_init__(self) -> None:
        """Refuse a problem that is not one."""
        for problem in self.problems:
            if problem.name not in FACTORS:
                raise ConfigurationError(
                    f"`problems` got {problem.name!r}; expected one of {', '.join(FACTORS)}."
                )
            if not 2 <= problem.initial <= problem.evaluations:
                raise ConfigurationError(
                    f"`initial` got {problem.initial} of {problem.evaluations} evaluations; "
                    "expected at least 2, and no more than all."
                )


@dataclass(frozen=True)
class Trial:
    """One method on one problem.

    Args:
        method: its name.
        problem: the problem's name.
        seed: of the run.
        regrets: distance of the best value so far from the maximum, `(evaluations,)`.
    """

    method: str
    problem: str
    seed: int
    regrets: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """All methods on all problems."""

    settings: Settings
    trials: tuple[Trial, ...]

    def median(self, method: str, problem: str) -> npt.NDArray[np.float64]:
        """A method's median regret after each evaluation, `(evaluations,)`."""
        of_all = [t.regrets for t in self.trials if (t.method, t.problem) == (method, problem)]
        middle: npt.NDArray[np.float64] = np.median(np.stack(of_all), axis=0)
        return middle

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        return {
            "median_regret": {
                p.name: {m: float(self.median(m, p.name)[-1]) for m in METHODS}
                for p in self.settings.problems
            },
            "final_regrets": [
                {
                    "method": t.method,
                    "problem": t.problem,
                    "seed": t.seed,
                    "regret": float(t.regrets[-1]),
                }
                for t in self.trials
            ],
            "median_regret_by_evaluation": {
                p.name: {m: [float(f"{r:.4g}") for r in self.median(m, p.name)] for m in METHODS}
                for p in self.settings.problems
            },
        }

    def to_markdown(self) -> str:
        """Regrets after the last evaluation."""
        lines = ["| problem | evaluations | method | median regret | worst | times lower |"]
        lines.append("|---|---|---|---|---|---|")
        for p in self.settings.problems:
            chance = self.median(RANDOM, p.name)[-1]
            for method in METHODS:
                last = [
                    t.regrets[-1] for t in self.trials if (t.method, t.problem) == (method, p.name)
                ]
                middle = float(np.median(last))
                lines.append(
                    f"| {p.name} | {p.evaluations} | {method} | {middle:.3g} | {max(last):.3g} | "
                    f"{chance / middle:.3g} |"
                )
        return "\n".join([*lines, "", "Times lower: than random search's median."])


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Solve all problems with all methods.

    Args:
        settings: the claim's own if None.
        seed: decides all draws.
        progress: show a bar over the runs.

    Raises:
        MissingDependencyError: if BoTorch is not installed.
    """
    settings = settings or Settings()
    first = FIRST_SEED * (seed + 1)
    tasks = [
        (method, problem, first + s, settings)
        for problem in settings.problems
        for s in range(settings.num_seeds)
        for method in METHODS
    ]
    trials: list[Trial] = []
    with progress_bar(len(tasks), "optimization", "run", enabled=progress) as bar:
        for trial in in_processes(_solve, tasks, settings.jobs):
            trials.append(trial)
            bar.update()
    names = [p.name for p in settings.problems]
    trials.sort(key=lambda t: (names.index(t.problem), METHODS.index(t.method), t.seed))
    return Result(settings, tuple(trials))


def _solve(task: tuple[str, Problem, int, Settings]) -> Trial:
    method, problem, seed, settings = task
    # BoTorch draws from torch's default generator, and warns of much that is no concern here.
    with warnings.catch_warnings(), default_generator_seeded(seed, "optimization", method):
        warnings.simplefilter("ignore")
        function = make_function(problem.name)
        values = _values(method, function, problem, seed, settings)
    best = np.maximum.accumulate(values.squeeze(1).numpy())
    return Trial(method, problem.name, seed, float(function.optimal_value) - best)


def make_function(name: str) -> Any:
    """One of BoTorch's test functions, negated, so that its maximum is sought.

    Raises:
        MissingDependencyError: if BoTorch is not installed.
    """
    import hunch.adapters.botorch  # noqa: F401  # first, for its word on a missing library

    from botorch.test_functions import Branin, Hartmann  # isort: skip

    return Branin(negate=True) if name == "Branin" else Hartmann(6, negate=True)


def _values(method: str, function: Any, problem: Problem, seed: int, settings: Settings) -> Tensor:
    """What the function returned at each evaluation, `(evaluations, 1)`."""
    dim = function.dim
    low, high = function.bounds.double()

    def evaluate(points: Tensor) -> Tensor:
        values: Tensor = function(low + (high - low) * points).unsqueeze(-1)
        return values

    if method == RANDOM:
        generator = torch_generator(seed, "random search")
        shape = (problem.evaluations, dim)
        return evaluate(torch.rand(shape, generator=generator, dtype=torch.double))
    sobol = torch.quasirandom.SobolEngine(dim, scramble=True, seed=derive(seed, "start") % 2**31)
    x = sobol.draw(problem.initial, dtype=torch.double)
    y = evaluate(x)
    model = None
    for _ in range(problem.evaluations - problem.initial):
        model = _train(method, x, y, model, seed)
        new = _maximize(_acquisition(method, model, y), dim, settings)
        x, y = torch.cat([x, new]), torch.cat([y, evaluate(new)])
    return y


def _train(method: str, x: Tensor, y: Tensor, model: Any, seed: int) -> Any:
    """A model of all observations; an ensemble goes on from the one before the last of them."""
    if method == EXACT:
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        gp = SingleTaskGP(x, y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(gp.likelihood, gp))
        return gp
    from hunch.adapters.botorch import RandomizedPriorModel

    if model is None:
        return RandomizedPriorModel(x, y, seed=seed, progress=False)
    return model.condition_on_observations(x[-1:], y[-1:])


def _acquisition(method: str, model: Any, y: Tensor) -> Any:
    from botorch.acquisition import PosteriorMean, qLogExpectedImprovement

    if method == THOMPSON:
        (path,) = model.thompson_paths()
        return PosteriorMean(path)
    return qLogExpectedImprovement(model, best_f=y.max())


def _maximize(acquisition: Any, dim: int, settings: Settings) -> Tensor:
    """The next point `(1, d)` in the unit cube."""
    from botorch.optim import optimize_acqf

    bounds = torch.stack([torch.zeros(dim), torch.ones(dim)]).double()
    point: Tensor = optimize_acqf(
        acquisition,
        bounds=bounds,
        q=1,
        num_restarts=settings.num_restarts,
        raw_samples=settings.raw_samples,
    )[0]
    return point


def check(result: Result) -> list[Check]:
    """The claim's ratios; for fewer seeds that no method lost what it had found."""
    if result.settings.num_seeds < Settings.num_seeds:
        rises = max(float(np.diff(t.regrets).max()) for t in result.trials)
        return [Check("largest rise of a regret, too few seeds to compare", rises, "<=", 0.0)]
    return [
        Check(
            f"{p.name}: random search's median regret over that of {method}",
            float(result.median(RANDOM, p.name)[-1] / result.median(method, p.name)[-1]),
            ">=",
            FACTORS[p.name],
        )
        for p in result.settings.problems
        for method in (THOMPSON, IMPROVEMENT)
    ]


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """Median regret over evaluations, one figure a problem."""
    from hunch.plots import CYCLE, panel

    figures = {}
    for p in result.settings.problems:
        figure, axes = panel(p.name, "evaluation", "median simple regret")
        for method, color in zip(METHODS, CYCLE, strict=False):
            at = np.arange(1, p.evaluations + 1)
            axes.plot(at, result.median(method, p.name), color=color, lw=1.6, label=method)
        axes.set_yscale("log")
        axes.legend(fontsize=8)
        seeds = result.settings.num_seeds
        caption = f"Median of {seeds} seeds; the first {p.initial} evaluations are Sobol points."
        figures[f"bayesian-optimization-{p.name.lower()}"] = (figure, caption)
    return figures
