"""Bayesian optimization with an ensemble as the model, against random search and the exact GP."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import Array, SavedResult, written
from hunch.seeding import default_generator_seeded, derive, torch_generator

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
class Objective:
    """A function to maximize."""

    name: str  # a key of `FACTORS`
    initial: int  # evaluations at Sobol points, the same for all methods but random search
    evaluations: int  # in all


@dataclass(frozen=True)
class Settings:
    """Which problems, and how often each is solved."""

    # The functions and their budgets.
    problems: tuple[Objective, ...] = (Objective("Branin", 10, 50), Objective("Hartmann-6", 20, 60))
    num_seeds: int = 10  # runs of each method on each of them
    num_restarts: int = 5  # starts of the search for an acquisition function's maximum
    raw_samples: int = 256  # points of which the starts are chosen
    jobs: int = 1  # runs at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """A few evaluations of one seed."""
        return cls((Objective("Branin", 5, 8),), num_seeds=1, num_restarts=2, raw_samples=16)

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
    """One method on one problem."""

    method: str  # its name
    problem: str  # the problem's name
    seed: int  # of the run
    regrets: Array  # distance of the best value so far from the maximum, `(evaluations,)`


@dataclass(frozen=True)
class Last:
    """Where one method ended on one problem."""

    method: str  # its name
    problem: str  # the problem's name
    seed: int  # of the run
    regret: float  # after the last evaluation


@dataclass(frozen=True)
class Result(SavedResult):
    """All methods on all problems."""

    settings: Settings  # what was solved
    final_regrets: tuple[Last, ...]  # of every run
    # Over seeds, by problem and method, `(evaluations,)`.
    median_regret_by_evaluation: dict[str, dict[str, npt.NDArray[np.float64]]] = field(
        metadata=written(digits=4)
    )

    def last(self, method: str, problem: str) -> list[float]:
        """A method's regret after the last evaluation, for each seed."""
        own = (t for t in self.final_regrets if (t.method, t.problem) == (method, problem))
        return [t.regret for t in own]

    def median(self, method: str, problem: str) -> float:
        """The median of `last`."""
        return float(np.median(self.last(method, problem)))

    def derived(self) -> dict[str, Any]:
        """The medians after the last evaluation."""
        return {
            "median_regret": {
                p.name: {m: self.median(m, p.name) for m in METHODS} for p in self.settings.problems
            }
        }

    def to_markdown(self) -> str:
        """Regrets after the last evaluation."""
        rows = []
        for p in self.settings.problems:
            for method in METHODS:
                middle, worst = self.median(method, p.name), max(self.last(method, p.name))
                lower = self.median(RANDOM, p.name) / middle
                regrets = f"{middle:.3g} | {worst:.3g} | {lower:.3g}"
                rows.append(f"{p.name} | {p.evaluations} | {method} | {regrets}")
        head = "problem | evaluations | method | median regret | worst | times lower"
        return table(head, rows, "Times lower: than random search's median.")


def summary(settings: Settings, trials: Sequence[Trial]) -> Result:
    """Medians over seeds, and where each run ended."""
    medians = {
        p.name: {
            method: np.median(
                [t.regrets for t in trials if (t.method, t.problem) == (method, p.name)], axis=0
            )
            for method in METHODS
        }
        for p in settings.problems
    }
    last = [Last(t.method, t.problem, t.seed, float(t.regrets[-1])) for t in trials]
    return Result(settings, tuple(last), medians)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Solve all problems with all methods.

    Raises:
        MissingDependencyError: if BoTorch is not installed.
    """
    settings = settings or Settings()
    return summary(settings, solve_all(settings, seed, progress=progress))


def solve_all(settings: Settings, seed: int, *, progress: bool = False) -> list[Trial]:
    """Every method on every problem."""
    first = FIRST_SEED * (seed + 1)
    tasks = [
        (method, problem, first + s, settings)
        for problem in settings.problems
        for s in range(settings.num_seeds)
        for method in METHODS
    ]
    trials = collect(
        _solve, tasks, settings.jobs, label="optimization", unit="run", progress=progress
    )
    names = [p.name for p in settings.problems]
    return sorted(trials, key=lambda t: (names.index(t.problem), METHODS.index(t.method), t.seed))


def _solve(task: tuple[str, Objective, int, Settings]) -> list[Trial]:
    method, problem, seed, settings = task
    # BoTorch draws from torch's default generator, and warns of much that is no concern here.
    with warnings.catch_warnings(), default_generator_seeded(seed, "optimization", method):
        warnings.simplefilter("ignore")
        function = make_function(problem.name)
        values = _values(method, function, problem, seed, settings)
    best = np.maximum.accumulate(values.squeeze(1).numpy())
    return [Trial(method, problem.name, seed, float(function.optimal_value) - best)]


def make_function(name: str) -> Any:
    """One of BoTorch's test functions, negated, so that its maximum is sought.

    Raises:
        MissingDependencyError: if BoTorch is not installed.
    """
    import hunch.adapters.botorch  # noqa: F401  # first, for its word on a missing library

    from botorch.test_functions import Branin, Hartmann  # isort: skip

    return Branin(negate=True) if name == "Branin" else Hartmann(6, negate=True)


def _values(
    method: str, function: Any, problem: Objective, seed: int, settings: Settings
) -> Tensor:
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
        by_problem = result.median_regret_by_evaluation.values()
        rises = max(float(np.diff(m).max()) for medians in by_problem for m in medians.values())
        return [
            Check("largest rise of a median regret, too few seeds to compare", rises, "<=", 0.0)
        ]
    return [
        Check(
            f"{p.name}: random search's median regret over that of {method}",
            result.median(RANDOM, p.name) / result.median(method, p.name),
            ">=",
            FACTORS[p.name],
        )
        for p in result.settings.problems
        for method in (THOMPSON, IMPROVEMENT)
    ]
